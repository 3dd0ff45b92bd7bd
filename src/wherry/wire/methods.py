"""The calls of `wherry.v1`, once for both sides: name on the wire, method of the service, request and response."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wherry.model import checkpoint as cp
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model import stats
from wherry.model import status as st


@dataclass(frozen=True, slots=True)
class Method:
    """One call. `streams` says that many responses follow."""

    path: str
    name: str
    request: type
    response: type
    streams: bool = False


_TABLE = (
    ("Containers", "Create", req.CreateRequest, st.ContainerInfo),
    ("Containers", "Start", req.ContainerRef, st.ContainerInfo),
    ("Containers", "Run", req.CreateRequest, st.ContainerInfo),
    ("Containers", "Exec", req.ExecRequest, st.ProcessInfo),
    ("Containers", "Kill", req.KillRequest, req.Empty),
    ("Containers", "Stop", req.StopRequest, st.ExitRecord),
    ("Containers", "Restart", req.StopRequest, st.ContainerInfo),
    ("Containers", "Pause", req.ContainerRef, st.ContainerInfo),
    ("Containers", "Resume", req.ContainerRef, st.ContainerInfo),
    ("Containers", "Update", req.UpdateRequest, st.ContainerInfo),
    ("Containers", "Processes", req.ContainerRef, st.HostProcessList),
    ("Containers", "Wait", req.ProcessRef, st.ExitRecord),
    ("Containers", "Delete", req.DeleteRequest, req.Empty),
    ("Containers", "Get", req.ContainerRef, st.ContainerInfo),
    ("Containers", "List", req.ListRequest, st.ContainerList),
    ("Containers", "CloseStdin", req.ProcessRef, req.Empty),
    ("Containers", "Resize", req.ResizeRequest, req.Empty),
    ("Containers", "Stats", req.StatsRequest, stats.Stats),
    ("Containers", "WatchStats", req.StatsRequest, stats.Stats),
    ("Containers", "Logs", req.LogsRequest, st.LogChunk),
    ("Containers", "Checkpoint", cp.CheckpointRequest, cp.CheckpointInfo),
    ("Containers", "ListCheckpoints", cp.ListCheckpointsRequest, cp.CheckpointList),
    ("Containers", "GetCheckpoint", cp.CheckpointRef, cp.CheckpointInfo),
    ("Containers", "DeleteCheckpoint", cp.CheckpointRef, req.Empty),
    ("Containers", "ExportCheckpoint", cp.CheckpointRef, cp.CheckpointPiece),
    ("Containers", "Migrate", mg.MigrateRequest, mg.MigrationInfo),
    ("Containers", "Restore", cp.CheckpointRef, st.ContainerInfo),
    ("Containers", "Clone", cp.CloneRequest, st.ContainerList),
    ("Events", "Subscribe", req.SubscribeRequest, st.Event),
    ("Migrations", "Offer", mg.MigrationOffer, req.Empty),
    ("Migrations", "Commit", mg.MigrationToken, mg.Arrival),
    ("Migrations", "Abandon", mg.MigrationToken, req.Empty),
    ("Migrations", "Forget", mg.MigrationToken, req.Empty),
    ("System", "Version", req.Empty, st.Version),
    ("System", "Info", req.Empty, st.Info),
)
_STREAMS = frozenset({"ExportCheckpoint", "Logs", "Subscribe", "WatchStats"})
METHODS = {
    (service, wire): Method(
        f"/wherry.v1.{service}/{wire}",
        re.sub(r"(?<=.)(?=[A-Z])", "_", wire).lower(),
        request,
        response,
        wire in _STREAMS,
    )
    for service, wire, request, response in _TABLE
}
#: The calls with a stream of requests have their own code on both sides.
ATTACH = "/wherry.v1.Containers/Attach"
IMPORT = "/wherry.v1.Containers/ImportCheckpoint"
RECEIVE = "/wherry.v1.Migrations/Receive"
#: Largest request the daemon accepts, bytes (the default of gRPC).
MAX_REQUEST = 4 * 1024 * 1024
#: Largest answer: some ten thousand containers in a list.
MAX_ANSWER = 64 * 1024 * 1024
#: Initial metadata of Attach: "1" for a process with a terminal, whose stdin cannot be closed.
TERMINAL_KEY = "wherry-terminal"
#: Trailing metadata that carries the name of the error class.
ERROR_KEY = "wherry-error"


def find(name: str) -> Method:
    """Return the method with that Python name."""
    return next(method for method in METHODS.values() if method.name == name)
