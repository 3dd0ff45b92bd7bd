"""The lifecycle against a model of it: whatever is asked in whatever order, answers, states and events are foretold.

Three containers of real runtimes, and a daemon and shims that may be killed in between. What fails is printed as a
program.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import traceback
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as given
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import wherry
from tests.faults.world import World, eventually
from wherry import errors
from wherry.client.client import Client
from wherry.model import request as req
from wherry.model import status as st

#: Lives until a signal that it has a trap for.
SERVER = (
    *("sh", "-c"),
    'trap "exit 40" TERM; trap "exit 41" USR1; echo ready; while :; do sleep 300 & wait $!; done',
)
#: The status that a signal leads to, while it runs.
ENDS = {signal.SIGTERM: 40, signal.SIGUSR1: 41, signal.SIGKILL: 137}
KILLED = 137
ALIVE = ("created", "running", "paused")
#: Steps of one program, and programs; `WHERRY_TEST_EXAMPLES` for more of them.
STEPS = 24
EXAMPLES = int(os.environ.get("WHERRY_TEST_EXAMPLES", "12"))

names = given.sampled_from(["a", "b", "c"])
processes = given.sampled_from(["x", "y"])
statuses = given.sampled_from([0, 1, 77])
_numbers = itertools.count(1)

#: What is known of an event: type, name of the container, process, status of an exit.
Told = tuple[str, str, str, int]


@dataclass
class Known:
    """A container as it must be. Of each process: its status, None while it has not ended."""

    args: tuple[str, ...]
    state: str = "created"
    processes: dict[str, int | None] = field(default_factory=lambda: {"init": None})
    #: A signal that it gets when it goes on.
    pending: int = 0
    runs: int = 0


class Lifecycle(RuleBasedStateMachine):
    """Every call, in any state."""

    def __init__(self, world: World, runner: asyncio.Runner, failures: list[str]) -> None:
        super().__init__()
        self._world = world
        self._runner = runner
        self._failures = failures
        self._prefix = f"m{next(_numbers)}"
        self._known: dict[str, Known] = {}
        self._told: list[Told] = []
        self._connection: Any = None
        self._client: Client
        self._connect()
        self._begin = max((event.seq for event in self._events(0)), default=0)

    # -- what is called -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connection = wherry.connect(self._world.address)
        self._client = self._run(self._connection.__aenter__())

    def _disconnect(self) -> None:
        self._run(self._connection.__aexit__(None, None, None))

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Keep what goes wrong: hypothesis tries it again, and tells only of that, which may go well."""
        try:
            yield
        except Exception:
            self._failures.append(traceback.format_exc())
            raise

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await work

        return self._runner.run(bounded())

    def _events(self, after: int) -> list[st.Event]:
        async def read() -> list[st.Event]:
            return [event async for event in self._client.events(after=after, follow=False)]

        found: list[st.Event] = self._run(read())
        return found

    def _name(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _request(self, name: str, args: tuple[str, ...]) -> req.CreateRequest:
        return self._world.request(self._name(name), *args)

    def _ref(self, name: str) -> req.ContainerRef:
        return self._world.ref(self._name(name))

    def _ask(self, work: Coroutine[Any, Any, Any], refusal: type[errors.WherryError] | None = None) -> Any:
        """Make a call that must be answered, or be refused with `refusal`."""
        with self._noted():
            if refusal is None:
                return self._run(work)
            with pytest.raises(refusal):
                self._run(work)
            return None

    # -- what is foretold ---------------------------------------------------------------------------------------------

    def _tell(self, type: str, name: str, process: str = "", status: int = 0) -> None:
        self._told.append((type, name, process, status))

    def _refusal(self, name: str, *states: str) -> type[errors.WherryError] | None:
        """Return how a call is refused that needs one of these states."""
        known = self._known.get(name)
        if known is None:
            return errors.NotFound
        return None if known.state in states else errors.FailedPrecondition

    def _end(self, name: str, status: int) -> None:
        """Foretell the end of a container, and before it those of its execs."""
        known = self._known[name]
        for process, ended in known.processes.items():
            if ended is None and process != "init":
                known.processes[process] = KILLED
                self._tell("exit", name, process, KILLED)
        known.processes["init"] = status
        known.state, known.pending = "stopped", 0
        self._tell("exit", name, "init", status)

    def _begin_run(self, name: str) -> None:
        """Foretell a start, once it has been answered; and the end of what ends by itself."""
        known = self._known[name]
        known.processes["init"] = None
        known.state = "running"
        known.runs += 1
        self._tell("start", name, "init")
        if known.args != SERVER:
            self._end(name, int(known.args[-1].split()[-1]))
            return
        container = self._client.container(self._world.id(self._name(name)))
        eventually("the traps are set", lambda: self._run(container.output()).count(b"ready\n") == known.runs)

    def _start_again(self, name: str) -> None:
        known = self._known[name]
        if known.state == "stopped":
            self._tell("restart", name, "init")
        self._begin_run(name)

    # -- a container --------------------------------------------------------------------------------------------------

    def _make(self, name: str, args: tuple[str, ...]) -> type[errors.WherryError] | None:
        known = self._known.get(name)
        if known is not None:
            return None if known.args == args else errors.AlreadyExists
        self._known[name] = Known(args)
        self._tell("create", name)
        return None

    @rule(name=names, status=given.none() | statuses)
    def create(self, name: str, status: int | None) -> None:
        args = _args(status)
        refusal = self._make(name, args)
        self._ask(self._client.service.create(self._request(name, args)), refusal)

    @rule(name=names, status=given.none() | statuses)
    def run(self, name: str, status: int | None) -> None:
        args = _args(status)
        refusal = self._make(name, args)
        self._ask(self._client.service.run(self._request(name, args)), refusal)
        if refusal is None and self._known[name].state == "created":
            self._begin_run(name)

    @rule(name=names)
    def start(self, name: str) -> None:
        refusal = self._refusal(name, "created", "stopped")
        self._ask(self._client.service.start(self._ref(name)), refusal)
        if refusal is None:
            self._start_again(name)

    @rule(name=names, number=given.sampled_from([signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL, signal.SIGWINCH]))
    def kill(self, name: str, number: int) -> None:
        refusal = self._refusal(name, *ALIVE)
        known = self._known.get(name)
        # Which of two that it gets at once is told by the shell; and what a runtime does with one is its own business.
        hypothesis.assume(known is None or not known.pending or number == signal.SIGKILL)
        hypothesis.assume(known is None or known.state != "created" or number == signal.SIGKILL)
        self._ask(self._client.service.kill(req.KillRequest(id=self._ref(name).id, signal=number)), refusal)
        if refusal is not None or known is None or number not in ENDS:
            return
        if known.state == "paused" and number != signal.SIGKILL:
            known.pending = number
        else:
            self._end(name, ENDS[signal.Signals(number)])

    @rule(name=names)
    def stop(self, name: str) -> None:
        refusal = self._refusal(name, *ALIVE, "stopped")
        known = self._known.get(name)
        hypothesis.assume(known is None or not known.pending)
        record = self._ask(self._client.service.stop(req.StopRequest(id=self._ref(name).id, timeout=20.0)), refusal)
        if known is None:
            return
        if known.state != "stopped":
            self._end(name, KILLED if known.state == "created" else ENDS[signal.SIGTERM])
        assert record.status == known.processes["init"], record

    @rule(name=names)
    def restart(self, name: str) -> None:
        refusal = self._refusal(name, *ALIVE, "stopped")
        known = self._known.get(name)
        hypothesis.assume(known is None or not known.pending)
        self._ask(self._client.service.restart(req.StopRequest(id=self._ref(name).id, timeout=20.0)), refusal)
        if known is None:
            return
        if known.state in ("running", "paused"):
            self._end(name, ENDS[signal.SIGTERM])
        self._start_again(name)

    @rule(name=names)
    def pause(self, name: str) -> None:
        refusal = self._refusal(name, "running")
        self._ask(self._client.service.pause(self._ref(name)), refusal)
        if refusal is None:
            self._known[name].state = "paused"
            self._tell("pause", name)

    @rule(name=names)
    def resume(self, name: str) -> None:
        refusal = self._refusal(name, "paused")
        self._ask(self._client.service.resume(self._ref(name)), refusal)
        if refusal is not None:
            return
        known = self._known[name]
        known.state = "running"
        self._tell("resume", name)
        if known.pending:
            self._end(name, ENDS[signal.Signals(known.pending)])

    @rule(name=names, force=given.booleans())
    def delete(self, name: str, force: bool) -> None:
        refusal = self._refusal(name, *(ALIVE if force else ()), "stopped")
        self._ask(self._client.service.delete(req.DeleteRequest(id=self._ref(name).id, force=force)), refusal)
        if refusal is not None:
            return
        if self._known[name].state != "stopped":
            self._end(name, KILLED)
        self._tell("delete", name)
        del self._known[name]

    # -- its execs ----------------------------------------------------------------------------------------------------

    @rule(name=names, process=processes, status=given.none() | statuses)
    def exec(self, name: str, process: str, status: int | None) -> None:
        refusal = self._refusal(name, "running")
        known = self._known.get(name)
        if known is not None and process in known.processes:
            refusal = errors.AlreadyExists
        args = ("sleep", "300") if status is None else ("sh", "-c", f"exit {status}")
        request = req.ExecRequest(id=self._ref(name).id, process=process, args=args)
        self._ask(self._client.service.exec(request), refusal)
        if refusal is not None or known is None:
            return
        known.processes[process] = status
        self._tell("start", name, process)
        if status is not None:
            self._tell("exit", name, process, status)

    @rule(name=names, process=processes)
    def kill_exec(self, name: str, process: str) -> None:
        known = self._known.get(name)
        hypothesis.assume(known is None or known.state != "paused")  # it gets it when the container goes on
        refusal: type[errors.WherryError] | None = None
        if known is None or process not in known.processes:
            refusal = errors.NotFound
        elif known.processes[process] is not None:
            refusal = errors.FailedPrecondition
        request = req.KillRequest(id=self._ref(name).id, process=process, signal=signal.SIGKILL)
        self._ask(self._client.service.kill(request), refusal)
        if refusal is None and known is not None:
            known.processes[process] = KILLED
            self._tell("exit", name, process, KILLED)

    @rule(name=names, process=given.just("init") | processes)
    def wait(self, name: str, process: str) -> None:
        known = self._known.get(name)
        refusal = errors.NotFound if known is None or process not in known.processes else None
        hypothesis.assume(known is None or refusal or known.processes[process] is not None)
        record = self._ask(self._client.service.wait(self._world.process_ref(self._name(name), process)), refusal)
        assert known is None or refusal or record.status == known.processes[process], record

    # -- what happens to us -------------------------------------------------------------------------------------------

    @rule()
    def kill_daemon(self) -> None:
        with self._noted():
            self._disconnect()
            self._world.restart()
            self._connect()

    @rule(name=names, process=given.just("init") | processes)
    def kill_shim(self, name: str, process: str) -> None:
        known = self._known.get(name)
        if known is None or known.state not in ALIVE or known.processes.get(process, 0) is not None:
            hypothesis.reject()
        hypothesis.assume(process == "init" or known.state != "paused")
        os.kill(self._world.shim_pid(self._name(name), process), signal.SIGKILL)
        if process == "init":
            self._end(name, KILLED)
        else:
            known.processes[process] = KILLED
            self._tell("exit", name, process, KILLED)

    # -- what must be -------------------------------------------------------------------------------------------------

    @invariant()
    def is_as_foretold(self) -> None:
        with self._noted():
            found = self._look()
            for _ in range(500):
                if found == self._wanted():
                    return
                self._run(asyncio.sleep(0.02))
                found = self._look()
            assert found == self._wanted()

    def _wanted(self) -> tuple[object, ...]:
        states = {name: (known.state, known.processes) for name, known in self._known.items()}
        return states, _in_order(self._told)

    def _look(self) -> tuple[object, ...]:
        prefix = self._world.id(self._prefix)
        infos = [info for info in self._run(self._client.containers()) if info.id.startswith(prefix)]
        states = {
            info.id.removeprefix(prefix): (
                info.state,
                {process.id: process.exit.status if process.exit else None for process in info.processes},
            )
            for info in infos
        }
        told = [
            (event.type, event.container.removeprefix(prefix), event.process, event.status)
            for event in self._events(self._begin)
        ]
        return states, _in_order(told)

    def teardown(self) -> None:
        for name in list(self._known):
            self._run(self._client.service.delete(req.DeleteRequest(id=self._ref(name).id, force=True)))
        self._disconnect()


def _args(status: int | None) -> tuple[str, ...]:
    return SERVER if status is None else ("sh", "-c", f"exit {status}")


def _in_order(told: list[Told]) -> list[Told]:
    """Execs that end with their container end in any order, all before it: sort them among themselves."""
    found: list[Told] = []
    for is_exec, group in itertools.groupby(told, lambda item: item[0] == "exit" and item[2] != "init"):
        items = list(group)
        found += sorted(items) if is_exec else items
    return found


@pytest.mark.timeout(120 + 30 * EXAMPLES)
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_every_answer_state_and_event_is_foretold(world: World, runtime: str) -> None:
    world.runtime = runtime
    world.start()
    # Not made shorter: with real containers that takes an hour.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    settings = hypothesis.settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=phases)
    failures: list[str] = []
    with asyncio.Runner() as runner:
        try:
            # It takes whatever makes one.
            run_state_machine_as_test(lambda: Lifecycle(world, runner, failures), settings=settings)  # type: ignore[arg-type]
        except BaseException as error:
            error.add_note("\n".join([*failures[:1], world.log()[-8000:]]))
            raise
