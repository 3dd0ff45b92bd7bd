"""Which role may call what: one table, and nothing in it by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry.api import roles, v0
from wherry.wire import health_v1_pb2, methods, v0_pb2, wherry_v1_pb2

#: Every call there is, by the .proto files.
CALLS = [
    f"/{service.full_name}/{method.name}"
    for module in (wherry_v1_pb2, v0_pb2, health_v1_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
#: What changes nothing, and lets nobody into a container.
READ = {
    *(f"/wherry.v1.Containers/{name}" for name in ("Get", "List", "Processes", "Stats", "WatchStats", "Logs")),
    *(f"/wherry.v1.Containers/{name}" for name in ("ListCheckpoints", "GetCheckpoint")),
    *("/wherry.v1.Events/Subscribe", "/wherry.v1.System/Version", "/wherry.v1.System/Info"),
    *("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"),
}
MIGRATE = {"/wherry.v1.System/Version", "/wherry.v1.System/Info"}


def test_every_call_is_known_here() -> None:
    assert {method.path for method in methods.METHODS.values()} | {methods.ATTACH} <= set(CALLS)
    assert f"/{v0.SERVICE}/CreateContainer" in CALLS


@pytest.mark.parametrize("path", CALLS)
def test_a_call_is_for_all_only_unless_it_stands_here(path: str) -> None:
    assert roles.may_call("all", path)
    assert roles.may_call("read", path) == (path in READ)
    is_migration = path.startswith("/wherry.v1.Migrations/")
    assert roles.may_call("migrate", path) == (path in MIGRATE or is_migration)


def test_the_table_names_calls_that_there_are() -> None:
    for role, paths in roles.ROLES.items():
        for path in paths:
            assert path in CALLS or path == "/wherry.v1.Migrations/*", (role, path)


@given(some.sampled_from(["read", "migrate", "", "root", "ALL"]), some.text(max_size=40))
def test_nothing_else_is_let_through(role: str, path: str) -> None:
    assert not roles.may_call(role, path)
    assert not roles.may_call(role, f"/types.API/{path}")
    assert not roles.may_call(role, f"/wherry.v1.Containers/{path}/Get")
    assert not roles.may_call(role, f"/wherry.v1.Migrations/../{path}/Create")


def test_a_whole_service_is_that_service_only() -> None:
    assert roles.may_call("migrate", "/wherry.v1.Migrations/Offer")
    for path in ("/wherry.v1.MigrationsToo/Offer", "/Migrations/Offer", "/wherry.v1.Migrations", "*", "/*"):
        assert not roles.may_call("migrate", path)
