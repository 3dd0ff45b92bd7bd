"""Capabilities, leak checks and fixtures for all tests; what they are made of is in tests/support."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import capabilities, leaks, rootfs
from tests.support.daemon import Daemon
from tests.support.eventually import SLOW
from tests.support.fake_runtime import FakeRuntime
from wherry.linux import libc

#: Tests in these directories run real containers.
_CONTAINERS = frozenset({"integration", "faults", "soak", "contract", "examples", "v0"})
_TIMEOUT = 60.0

hypothesis.settings.register_profile(
    "wherry", deadline=None, derandomize=bool(os.environ.get("CI")), database=None, print_blob=True
)
hypothesis.settings.load_profile("wherry")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        metavar="NAMES",
        default=os.environ.get("WHERRY_TEST_REQUIRE", ""),
        help=f"fail, not skip, without these: a comma-separated list of {', '.join(capabilities.PROBES)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        capabilities.parse(config.getoption("--require"))
    except ValueError as error:
        raise pytest.UsageError(f"--require: {error}") from None
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    _hide_mounts()


def _hide_mounts() -> None:
    """Give the run its own mount namespace, if it may: nobody else's mounts are seen, ours by nobody."""
    if os.geteuid() != 0:
        return
    try:
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount("", "/", "", libc.MS_REC | libc.MS_PRIVATE)
    except PermissionError:
        return  # the probes will find that, too


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [
        "can: " + ", ".join(name for name in capabilities.PROBES if not capabilities.reason(name)),
        *(f"cannot: {name} ({why})" for name in capabilities.PROBES if (why := capabilities.reason(name))),
    ]


def _missing(config: pytest.Config) -> list[str]:
    required = capabilities.parse(config.getoption("--require"))
    return [f"{name} ({capabilities.reason(name)})" for name in sorted(required) if capabilities.reason(name)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _missing(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for text in _missing(config):
        terminalreporter.write_line(f"required, and missing here: {text}", red=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _CONTAINERS & set(item.path.parts):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.requires("root", "mountns", "cgroup", "runtime"))
        if SLOW != 1:
            own = item.get_closest_marker("timeout")
            seconds = own.args[0] if own and own.args else _TIMEOUT
            item.add_marker(pytest.mark.timeout(seconds * SLOW), append=False)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(inspect.unwrap(item.obj)):
            # Behind no_leaks: torn down before it and after everything the test itself asked for.
            item.fixturenames.insert(item.fixturenames.index("no_leaks") + 1, "no_leaked_tasks")


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = capabilities.parse(item.config.getoption("--require"))
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            if why := capabilities.reason(name):
                (pytest.fail if name in required else pytest.skip)(f"this host lacks {name}: {why}")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests in asyncio, with the checks of its debug mode."""
    return "asyncio", {"debug": True}


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves something behind."""
    containers = request.node.get_closest_marker("integration") is not None
    before = leaks.take(containers=containers)
    yield
    if left := leaks.check(before, containers=containers):
        pytest.fail("the test has left behind:\n  " + "\n  ".join(left))


@pytest.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fail an asynchronous test that leaves a task behind; used by all of them."""
    yield
    others: list[asyncio.Task[Any]] = []
    for _ in range(100):
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not _is_runner(task)]
        if not others:
            return
        await asyncio.sleep(0.01 * SLOW)
    pytest.fail(f"the test has left tasks behind: {others}")


def _is_runner(task: asyncio.Task[Any]) -> bool:
    """Tell whether the task is that of anyio's plugin, which hands tests and fixtures to the loop."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")


@pytest.fixture(scope="session")
def busybox_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root filesystem with busybox, its applets, and users; to be left as it is."""
    if why := capabilities.reason("busybox"):
        pytest.skip(why)
    return rootfs.make_busybox_rootfs(tmp_path_factory.mktemp("busybox") / "rootfs")


@pytest.fixture(
    params=[
        pytest.param("crun", marks=pytest.mark.requires("crun")),
        pytest.param("runc", marks=pytest.mark.requires("runc")),
    ]
)
def runtime(request: pytest.FixtureRequest) -> str:
    """Return the name of each OCI runtime in turn."""
    name: str = request.param
    return name


@pytest.fixture
def fake_runtime(runtime: str, tmp_path: Path) -> FakeRuntime:
    """Return a runtime that misbehaves when told to, round each real one in turn."""
    return FakeRuntime(tmp_path, runtime)


@pytest.fixture
def make_daemon(no_leaks: None) -> Iterator[Callable[..., Daemon]]:
    """Return a function that starts a Daemon, with the arguments of that class."""
    daemons: list[Daemon] = []
    before = tuple(leaks.take(containers=False).children)

    def make(*arguments: str, start: bool = True, **options: Any) -> Daemon:
        daemon = Daemon(*arguments, **options)
        daemons.append(daemon)
        if start:
            daemon.start()
        return daemon

    yield make
    for daemon in daemons:
        daemon.destroy(before)


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """Return a running daemon with the default runtime of this host."""
    return make_daemon()
