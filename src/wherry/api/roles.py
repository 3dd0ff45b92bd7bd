"""What a client on TCP may call, by its role. Whatever stands under no role is for `all` only.

Keyed by the paths of gRPC; one that ends in `/*` is a whole service. A new call that changes nothing and lets nobody
into a container belongs to `read`; the tests show what is there.
"""

from __future__ import annotations

#: May call everything, `types.API` and calls to come included. It is root on this host.
ALL = "all"
#: `migrate` is what another wherryd needs to hand a container over: it sees none of those that are here.
ROLES: dict[str, frozenset[str]] = {
    ALL: frozenset(),
    "read": frozenset(
        {
            "/wherry.v1.Containers/Get",
            "/wherry.v1.Containers/List",
            "/wherry.v1.Containers/Processes",
            "/wherry.v1.Containers/Stats",
            "/wherry.v1.Containers/WatchStats",
            "/wherry.v1.Containers/Logs",
            "/wherry.v1.Containers/ListCheckpoints",
            "/wherry.v1.Containers/GetCheckpoint",
            "/wherry.v1.Events/Subscribe",
            "/wherry.v1.System/Version",
            "/wherry.v1.System/Info",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
        }
    ),
    "migrate": frozenset(
        {
            "/wherry.v1.Migrations/*",
            "/wherry.v1.System/Version",
            "/wherry.v1.System/Info",
        }
    ),
}


def may_call(role: str, path: str) -> bool:
    """Tell whether a role may make the call with this path; a role that there is none of may make none."""
    if role == ALL:
        return True
    calls = ROLES.get(role, frozenset())
    return path in calls or f"{path.rpartition('/')[0]}/*" in calls
