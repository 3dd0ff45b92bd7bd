"""A client of `types.API` like `ctr` and the original's own tests: events first, FIFOs opened read-write."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support import rootfs
from tests.support.daemon import Daemon
from tests.support.eventually import SLOW, eventually
from wherry.wire import v0_pb2 as pb

TIMEOUT = 30.0 * SLOW
#: What a client in Go sends for a time that it has not set.
ZERO = Timestamp(seconds=-62_135_596_800)


class Events:
    """An open stream of events, collected in a thread; made once the server has said that it is subscribed."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.found: list[pb.Event] = []
        self.error: grpc.RpcError | None = None
        call.initial_metadata()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in self.call:
                self.found.append(event)
        except grpc.RpcError as error:
            self.error = error

    def of(self, container: str) -> list[tuple[str, str, int]]:
        """Return type, pid and status of the events of a container so far."""
        return [(event.type, event.pid, event.status) for event in self.found if event.id == container]

    def wait(self, container: str, *wanted: tuple[str, str, int], seconds: float = 10.0) -> None:
        """Wait until exactly these events of a container have come."""
        eventually(lambda: self.of(container)[: len(wanted)] == list(wanted), seconds, f"{wanted}, not {self.found}")

    def wait_exit(self, container: str, pid: str = "init") -> int:
        """Return the status of a process once its exit is told."""

        def find() -> list[int]:
            return [status for kind, process, status in self.of(container) if (kind, process) == ("exit", pid)]

        return eventually(find, 20, f"exit of {container}/{pid}")[-1]

    def close(self) -> None:
        """End the stream."""
        self.call.cancel()
        self._thread.join()


class Fifos:
    """The three FIFOs of a process; `open` as `ctr --attach` does, before the process is asked for."""

    def __init__(self, directory: Path, *, is_open: bool) -> None:
        directory.mkdir()
        self.paths = {name: str(directory / name) for name in ("stdin", "stdout", "stderr")}
        self._fds: dict[str, int] = {}
        self._read: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        for path in self.paths.values():
            os.mkfifo(path, 0o755)
        if is_open:
            self.open()

    def open(self) -> None:
        """Open all three, read-write: that waits for nobody."""
        for name, path in self.paths.items():
            self._fds[name] = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def write(self, data: bytes) -> None:
        """Write to stdin."""
        assert os.write(self._fds["stdin"], data) == len(data)

    def close_stdin(self) -> None:
        """Close our own end of stdin: an end that is kept open is one that may still write."""
        os.close(self._fds.pop("stdin"))

    def read(self, name: str = "stdout") -> bytes:
        """Return everything that has come so far."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._fds[name], 1 << 20):
                self._read[name] += piece
        return self._read[name]

    def wait(self, text: bytes, name: str = "stdout") -> bytes:
        """Wait until `text` has come; return everything so far."""
        eventually(lambda: text in self.read(name), what=f"{text!r} in {name}")
        return self._read[name]

    def close(self) -> None:
        """Leave."""
        while self._fds:
            os.close(self._fds.popitem()[1])


class Client:
    """One connection to a daemon, and a directory for bundles and FIFOs."""

    def __init__(self, daemon: Daemon, work: Path, busybox: Path, runtime: str) -> None:
        self.daemon = daemon
        self.work = work
        self.busybox = busybox
        self.runtime = runtime
        self._opened: list[Fifos | Events] = []
        self._count = 0
        self._channel = grpc.insecure_channel(daemon.address)

    def reconnect(self) -> None:
        """Connect anew, to a daemon that was started again."""
        self._channel.close()
        self._channel = grpc.insecure_channel(self.daemon.address)

    def call(self, rpc: str, **fields: Any) -> Any:
        """Call and return the answer. Raises grpc.RpcError."""
        request = getattr(pb, f"{rpc}Request")
        response = getattr(pb, f"{rpc}Response")
        method = self._channel.unary_unary(f"/types.API/{rpc}", request.SerializeToString, response.FromString)
        return method(request(**fields), timeout=TIMEOUT)

    def start_call(self, rpc: str, **fields: Any) -> Any:
        """Begin a call and return its future, which is to be cancelled or waited for."""
        request = getattr(pb, f"{rpc}Request")
        response = getattr(pb, f"{rpc}Response")
        method = self._channel.unary_unary(f"/types.API/{rpc}", request.SerializeToString, response.FromString)
        return method.future(request(**fields), timeout=TIMEOUT)

    def fail(self, rpc: str, **fields: Any) -> tuple[grpc.StatusCode, str]:
        """Return code and text of a call that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.call(rpc, **fields)
        error: Any = caught.value
        return error.code(), error.details()

    def _stream(self, **fields: Any) -> Any:
        method = self._channel.unary_stream(
            "/types.API/Events", pb.EventsRequest.SerializeToString, pb.Event.FromString
        )
        return method(pb.EventsRequest(**fields))

    def events(self, **fields: Any) -> Events:
        """Open a stream of events."""
        events = Events(self._stream(**fields))
        self._opened.append(events)
        return events

    def stored(self, timestamp: Timestamp, container: str = "") -> list[pb.Event]:
        """Return the events after a time so far."""
        return list(self._stream(timestamp=timestamp, storedOnly=True, id=container))

    def bundle(self, *args: str, terminal: bool = False, cgroup: str | None = None, **linux: Any) -> str:
        """Make a bundle as a modern tool writes it; its config.json runs `args`.

        Without a cgroup ("") a runtime takes one of the container's id, which another run of the tests may have, too.
        """
        self._count += 1
        if cgroup is None:
            cgroup = f"/wherry-v0-{os.getpid()}-{id(self):x}-{self._count}"
        directory = self.work / f"bundle{self._count}"
        directory.mkdir()
        config = rootfs.make_config(*args, rootfs=str(self.busybox), cgroup=cgroup)
        names = ["CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_AUDIT_WRITE"]
        sets = ("bounding", "effective", "permitted")
        config["process"] |= {
            "terminal": terminal,
            "capabilities": dict.fromkeys(sets, names),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        }
        config["mounts"] += [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
        ]
        config["linux"] |= linux
        (directory / "config.json").write_text(json.dumps(config))
        return str(directory)

    def fifos(self, *, is_open: bool = True) -> Fifos:
        """Make FIFOs for a process."""
        self._count += 1
        fifos = Fifos(self.work / f"io{self._count}", is_open=is_open)
        self._opened.append(fifos)
        return fifos

    def start(self, container: str, *args: str, bundle: str = "", fifos: Fifos | None = None, **fields: Any) -> Any:
        """Create a container, with the runtime under test, and return the Container of the answer."""
        paths = fifos.paths if fifos is not None else {}
        wanted = {"runtime": self.runtime, **paths, **fields}
        return self.call("CreateContainer", id=container, bundlePath=bundle or self.bundle(*args), **wanted).container

    def exec(self, container: str, pid: str, *args: str, fifos: Fifos | None = None, **fields: Any) -> int:
        """Start a further process and return its number on this system."""
        wanted = {"user": pb.User(), "cwd": "/", "env": ["PATH=/bin"], **(fifos.paths if fifos else {}), **fields}
        answer = self.call("AddProcess", id=container, pid=pid, args=args, **wanted)
        return int(answer.systemPid)

    def signal(self, container: str, number: int = 9, pid: str = "init") -> None:
        """Send a signal, as `ctr containers kill`."""
        self.call("Signal", id=container, pid=pid, signal=number)

    def state(self, container: str = "") -> list[pb.Container]:
        """Return the containers there are."""
        return list(self.call("State", id=container).containers)

    def close(self) -> None:
        """Kill every container and leave."""
        for opened in self._opened:
            opened.close()
        self._channel.close()


Maker = Callable[..., Client]
