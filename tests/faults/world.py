"""A daemon of its own, in directories of its own, that may be killed at any moment; and the check that nothing is left.

The test process is a child subreaper, so that whatever a killed daemon leaves behind becomes its descendant: leaks are
found by descent, and other containers on the same machine do not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import glob
import inspect
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import wherry
from wherry import errors
from wherry.client.client import Client
from wherry.linux import libc
from wherry.model import checkpoint as cp
from wherry.model import request as req
from wherry.model import status as st
from wherry.supervisor import journal

SLOW = float(os.environ.get("WHERRY_TEST_SLOW", "1"))
SLEEPER = ("sleep", "300")
SOURCE_DIRECTORY = str(Path(wherry.__file__).parent.parent)
T = TypeVar("T")
_numbers = itertools.count(1)


def eventually(what: str, look: Callable[[], T], deadline: float = 10.0) -> T:
    """Return what `look` returns once it is true; fail after `deadline` seconds."""
    end = time.monotonic() + deadline * SLOW
    while not (found := look()):
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        time.sleep(0.01)
    return found


async def eventually_async(what: str, look: Callable[[], T], deadline: float = 10.0) -> T:
    """Return what `look` returns once it is true, while other tasks go on; fail after `deadline` seconds."""
    end = time.monotonic() + deadline * SLOW
    while not (found := look()):
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.01)
    return found


def children(pid: int) -> Iterator[int]:
    """Yield the children of a process."""
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            yield from map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())


def name_of(pid: int) -> str:
    """Return the name and state of a process, "" when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text[text.index("(") + 1 : text.rindex(")") + 3]


def is_alive(pid: int) -> bool:
    """Tell whether a process runs: a zombie does not."""
    found = name_of(pid)
    return bool(found) and not found.endswith("Z")


def count_fds(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class World:
    """One state directory, one root directory, and at most one daemon at a time on them."""

    def __init__(self, runtime: str = "crun") -> None:
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
        #: Of other tests: the zygote of a supervisor embedded in this process.
        self.before: set[int] = set()
        self.base = Path(tempfile.mkdtemp(prefix="wf-", dir="/tmp"))
        self.state = self.base / "s"
        self.root = self.base / "r"
        self.token = f"f{os.getpid()}n{next(_numbers)}"
        self.runtime = runtime
        self.daemon: subprocess.Popen[bytes] | None = None
        self.is_checked = False
        #: The test lets happen what no code expects: that belongs into the log.
        self.is_surprised = False
        self.owned: list[subprocess.Popen[Any]] = []
        self.before = set(self.descendants())

    # -- the daemon -----------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The address of the daemon's socket."""
        return f"unix://{self.state}/wherry.sock"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the programs under test."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WHERRY_")}
        return kept | {"PYTHONPATH": SOURCE_DIRECTORY, "WHERRY_ADDRESS": self.address}

    def spawn(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program; it is killed at the end of the test if it still runs."""
        options.setdefault("env", self.environment)
        process: subprocess.Popen[Any] = subprocess.Popen(argv, **options)
        self.owned.append(process)
        return process

    def argv(self, *flags: str, state: Path | None = None, root: Path | None = None) -> list[str]:
        """Return the command line of wherryd on these directories."""
        where = ["--state-dir", str(state or self.state), "--root-dir", str(root or self.root)]
        return [sys.executable, "-m", "wherry.daemon.main", *where, "--runtime", self.runtime, *flags]

    def start(self, *flags: str, failpoint: str = "", environment: Mapping[str, str] | None = None) -> int:
        """Start the daemon, wait until it listens, and return its pid."""
        assert self.daemon is None
        env = self.environment | dict(environment or {}) | {"WHERRY_FAILPOINTS": failpoint}
        with (self.base / "log").open("ab") as log:
            self.daemon = self.spawn(self.argv(*flags), env=env, stdout=log, stderr=log)
        eventually("the daemon listens", self._listens, 15.0)
        return self.daemon.pid

    def _listens(self) -> bool:
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            return True  # died at a failpoint during recovery, or refused: the caller sees it
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(f"{self.state}/wherry.sock"):
                return False
            # Of whoever called listen(2): what the last daemon was just forking when it was killed has its socket, too.
            listener = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return bool(struct.unpack("3i", listener)[0] == self.daemon.pid)

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self.daemon is not None
        return self.daemon.pid

    def log(self) -> str:
        """Return what the daemons have said so far."""
        return (self.base / "log").read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to the daemon and return its exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        return self.join()

    def join(self) -> int:
        """Wait for the daemon's end and return its exit status."""
        assert self.daemon is not None
        status = self.daemon.wait(30 * SLOW)
        self.daemon = None
        return status

    def restart(self) -> None:
        """Kill the daemon if it lives, and start another one."""
        if self.daemon is not None:
            self.kill()
        self.start()

    # -- its clients ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect to the daemon."""
        async with wherry.connect(self.address) as client:
            yield client

    def id(self, name: str) -> str:
        """Return a container id that no other test uses."""
        return f"{self.token}-{name}"

    def request(self, name: str, *args: str, **options: Any) -> req.CreateRequest:
        """Return a request for a container on a view of the host."""
        return req.CreateRequest(id=self.id(name), args=args or SLEEPER, **options)

    def ref(self, name: str) -> req.ContainerRef:
        """Return the reference of a container."""
        return req.ContainerRef(id=self.id(name))

    def process_ref(self, name: str, process: str = "init") -> req.ProcessRef:
        """Return the reference of a process."""
        return req.ProcessRef(id=self.id(name), process=process)

    def directory(self, name: str, process: str = "init") -> Path:
        """Return the directory of a process."""
        return self.state / "default" / self.id(name) / process

    def shim_pid(self, name: str, process: str = "init") -> int:
        """Return the pid of a process's shim."""
        return int((self.directory(name, process) / "shim.pid").read_text())

    def cli_argv(self, *words: str) -> list[str]:
        """Return a command line of wherry."""
        return [sys.executable, "-m", "wherry.cli", *words]

    def cli(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        options.setdefault("env", self.environment)
        return subprocess.run(
            self.cli_argv(*words),
            capture_output=True,
            text=True,
            timeout=60 * SLOW,
            stdin=subprocess.DEVNULL,
            **options,
        )

    async def events(self, client: Client) -> list[st.Event]:
        """Return the whole journal, after checking what must hold of any journal."""
        found = [event async for event in client.events(after=0, follow=False)]
        check_journal(found)
        return found

    async def check_serving(self, client: Client, name: str = "probe") -> None:
        """Run a container and delete it: the daemon is unharmed, and the id is free."""
        await client.service.run(self.request(name, "sh", "-c", "exit 5"))
        assert (await client.service.wait(self.process_ref(name))).status == 5
        await client.service.delete(req.DeleteRequest(id=self.id(name)))

    # -- what is left ---------------------------------------------------------------------------------------------

    def descendants(self) -> Iterator[int]:
        """Yield every process below this one, but for the programs that a test holds itself."""
        held = (
            {process.pid for process in self.owned if process.returncode is None} if hasattr(self, "owned") else set()
        )
        todo = [os.getpid()]
        while todo:
            for pid in children(todo.pop()):
                todo.append(pid)
                if pid not in held and pid not in self.before:
                    yield pid

    def strangers(self) -> list[int]:
        """Return those that are neither a zygote nor a shim, busy or spare."""
        ours = ("wherry-zygote", "wherry-shim")
        return [pid for pid in self.descendants() if name_of(pid) and not name_of(pid).startswith(ours)]

    def reap(self) -> None:
        """Reap orphans: PID 1 may be somebody who does not."""
        for process in self.owned:
            process.poll()
        held = {process.pid for process in self.owned if process.returncode is None}  # numbers come again
        for pid in children(os.getpid()):
            if pid not in held and name_of(pid).endswith("Z"):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def strays(self) -> list[str]:
        """Return the processes that should not be there."""
        self.reap()
        return [f"{pid} {name_of(pid)}" for pid in self.descendants() if name_of(pid)]

    def leftovers(self) -> list[str]:
        """Return every mount, cgroup and directory that containers of this world have left."""
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{self.base}/" in line]
        own = (f" {self.root} ", f" {self.state} ")  # a test's own disk
        mounts = [line for line in mounts if not any(path in line for path in own)]
        # glob.glob and os.walk: unlike those of a Path they pass over what goes away meanwhile.
        cgroups = glob.glob(f"/sys/fs/cgroup/*/wherry~{self.token}*")
        cgroups += glob.glob(f"/sys/fs/cgroup/wherry~{self.token}*")
        files = [str(path) for path in self.state.glob("default/*")]
        if self.daemon is None:  # else it may be trying the runtimes just now
            files += [str(path) for path in self.state.glob(".*")]
        files += [str(path) for path in self.root.glob("containers/*/*")]
        found = (os.path.join(parent, name) for parent, names, _ in os.walk(self.state) for name in names)
        files += [path for path in found if os.path.basename(path).startswith(".removed-")]
        return mounts + cgroups + files

    async def remove_all(self) -> None:
        """Delete every container by force, and every checkpoint, as an operator would."""
        async with self.client() as client:
            for info in await client.containers(all_namespaces=True):
                await client.service.delete(req.DeleteRequest(id=info.id, namespace=info.namespace, force=True))
            for found in await client.checkpoints(all_namespaces=True):
                await client.service.delete_checkpoint(
                    cp.CheckpointRef(id=found.id, namespace=found.namespace, name=found.name)
                )
            await self.events(client)

    def check_clean(self, *others: World) -> None:
        """Remove every container, end the daemon, and fail if anything at all is left, here or in `others`."""
        if self.is_checked:
            return
        self.is_checked = True
        for place in (self, *others):
            if place.daemon is None:
                place.start()
            asyncio.run(place.remove_all())
        gc.collect()  # gRPC lets go of its poller with its last channel
        for place in (self, *others):
            assert place.kill(signal.SIGTERM) == 0, place.log()
        if self.strays():
            eventually(f"no process is left: {self.strays()}", lambda: not self.strays(), 5.0)
        for place in (self, *others):
            left = place.leftovers()
            assert left == [], f"{left}\n{place.log()}"
            assert place.is_surprised or "Traceback" not in place.log(), place.log()

    def destroy(self) -> None:
        """Kill and remove whatever is left, for the neighbours' sake; never fails."""
        for process in self.owned:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        for path in Path("/sys/fs/cgroup").glob(f"freezer/wherry~{self.token}*/freezer.state"):
            with contextlib.suppress(OSError):
                path.write_text("THAWED")  # what is frozen does not die
        for _ in range(100):
            self.reap()
            left = list(self.descendants())
            if not left:
                break
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for place in glob.glob(f"/sys/fs/cgroup/*/wherry~{self.token}*"):
            with contextlib.suppress(OSError):
                os.rmdir(place)
        for disk in filter(os.path.ismount, (self.root, self.state)):
            subprocess.run(["umount", "-l", str(disk)])
        shutil.rmtree(self.base, ignore_errors=True)


def scenario(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test in a loop of its own, closed before the fixtures look for what is left."""

    def run(**arguments: Any) -> None:
        asyncio.run(function(**arguments))

    run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
    run.__signature__ = inspect.signature(function)  # type: ignore[attr-defined] # what pytest reads fixtures from
    return run


def check_journal(events: Sequence[st.Event]) -> None:
    """Fail unless numbers have no gap, nothing is told twice, and everything is told in order."""
    numbers = [event.seq for event in events]
    # A segment without its head may have lost some, for all anybody knows: then the numbers leap.
    steps = {after - before for before, after in itertools.pairwise([0, *numbers])}
    assert steps <= {1, 1 + journal.LEAP}, numbers
    order = {"create": 0, "start": 1, "oom": 2, "migrate": 2, "exit": 3, "delete": 4}
    told: dict[tuple[int, str, int], list[str]] = defaultdict(list)
    ends: dict[int, int] = {}
    restarting: set[int] = set()
    runs: dict[int, int] = defaultdict(int)
    kills: dict[tuple[int, int], int] = defaultdict(int)
    for event in events:
        if event.type == "restart":
            # Only what has ended is started again; or what was to be, and could not.
            assert event.generation in ends or event.generation in restarting, event
            ends.pop(event.generation, None)
            restarting.add(event.generation)
            runs[event.generation] += 1
            continue
        if event.type == "restore":  # also of a container that is deleted: of a new generation, then
            if ends.pop(event.generation, None) is not None:
                runs[event.generation] += 1
            continue
        if event.type == "oom":  # once for each growth of the count, which every run begins anew
            run = event.generation, runs[event.generation]
            assert event.count > kills[run], f"told already: {event}"
            is_first, kills[run] = not kills[run], event.count
            assert event.generation not in ends, f"after the exit of init: {event}"
            if not is_first:
                continue
        if event.type not in ("pause", "resume", "update", "health", "checkpoint"):  # as often as one likes
            told[event.generation, event.process, runs[event.generation]].append(event.type)
        if event.type == "start" and event.process == "init":
            restarting.discard(event.generation)
        if event.type == "exit" and event.process == "init":
            ends[event.generation] = event.seq
        elif event.type in ("exit", "start"):
            assert event.generation not in ends, f"after the exit of init: {event}"
    for key, types in told.items():
        assert len(set(types)) == len(types), (key, types)
        assert sorted(types, key=order.__getitem__) == types, (key, types)


async def get_state(client: Client, ref: req.ContainerRef) -> str:
    """Return the state of a container, "" when there is none."""
    try:
        return (await client.service.get(ref)).state
    except errors.NotFound:
        return ""
