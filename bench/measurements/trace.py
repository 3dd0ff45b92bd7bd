"""Where the time of one container goes: the kernel tells each fork, exec and exit, we add when calls began and ended.

The marks are in the order of what waits for what. Each part ends at its mark, or at an earlier one that came later, so
the parts sum up to the whole exactly; work beside the way that is waited for costs nothing here.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import wherry
from bench.figures import summarize
from bench.kernel import Event, Watch
from bench.result import Row, make_rows
from bench.rounds import run, take_turns
from bench.stage import UnusableError, find_descendants
from bench.subjects.wherryd import cycle
from bench.subjects.world import World
from wherry.model import request as req
from wherry.shim.zygote import SPARES

NAME = "trace"
#: Seconds for the zygote to replace a spare shim.
_SPARES_TIMEOUT = 5.0
_API = (
    ("client, wire, daemon: until a shim's child has the request", "spare fork"),
    ("shim's child: directory, streams, mounts, until it runs the runtime", "runtime exec"),
    ("runtime: until the program's first instruction", "program exec"),
    ("the program itself", "program exit"),
    ("runtime and shim's child end; shim: exit record, output, its own end", "shim exit"),
    ("daemon, wire, client: exit told, all removed, answered", "end"),
)
_COMMAND = (
    ("command: until Python is executed", "command exec"),
    ("command: Python, imports, connection; daemon: until a shim's child has the request", "spare fork"),
    *_API[1:-1],
    ("daemon: exit told, all removed; command: its end", "end"),
)


def measure(world: World) -> Iterator[Row]:
    """Yield the time to the first instruction for everybody, then the parts of Wherry's."""
    try:
        with Watch() as watch:
            yield from _first_instruction(world, watch)
            for name in world.runtimes:
                yield from _parts(world, watch, name)
    except UnusableError as error:
        world.stage.remark(f"trace is left out: {error}")
        return
    yield from _in_process(world)


def _first_instruction(world: World, watch: Watch) -> list[Row]:
    subjects: dict[str, Callable[[], float]] = {}
    bases: dict[str, list[str]] = {}
    bundle = world.bundles.get("true")
    pid_file = world.stage.directory / "first-pid"
    option = ("--pid-file", str(pid_file))
    for name, runtime in world.runtimes.items():
        base = f"{name} run"
        subjects[base] = _timer(watch, pid_file, partial(runtime.run_argv, bundle, *option))
        if world.containerd:
            argv = partial(world.containerd.run_argv, name, bundle, *option)
            subjects[f"ctr run, {name}"] = _timer(watch, pid_file, argv)
            bases[f"ctr run, {name}"] = [base]
        subjects[f"wherry run, {name}"] = partial(_from_start, partial(_trace_command, world, watch, name))
        subjects[f"wherry API, {name}"] = partial(_from_start, partial(_trace_api, world, watch, name))
        bases[f"wherry run, {name}"] = bases[f"wherry API, {name}"] = [base, f"ctr run, {name}"]
    found = take_turns(world.stage, subjects, world.level.rounds)
    return make_rows(NAME, "request → first instruction", "ms", found, bases)


def _timer(watch: Watch, pid_file: Path, make_argv: Callable[[], list[str]]) -> Callable[[], float]:
    def measure() -> float:
        pid_file.unlink(missing_ok=True)
        argv = make_argv()
        watch.take()
        start = time.monotonic()
        run(argv)
        execs = [e.time for e in watch.take() if e.kind == "exec" and e.pid == int(pid_file.read_text())]
        if not execs:
            raise UnusableError("the kernel told no exec of the container's program")
        return (execs[-1] - start) * 1000

    return measure


def _from_start(trace: Callable[[], Mapping[str, float]]) -> float:
    marks = trace()
    return (marks["program exec"] - marks["begin"]) * 1000


def _parts(world: World, watch: Watch, name: str) -> Iterator[Row]:
    ways: tuple[tuple[str, Callable[[], dict[str, float]], Sequence[tuple[str, str]]], ...] = (
        ("wherry API", lambda: _trace_api(world, watch, name), _API),
        ("wherry run --rm", lambda: _trace_command(world, watch, name), _COMMAND),
    )
    for subject, trace, steps in ways:
        found: dict[str, list[float]] = {}
        for _ in range(world.level.rounds):
            for part, seconds in split(trace(), steps).items():
                found.setdefault(part, []).append(seconds * 1000)
        totals = [sum(items) for items in zip(*found.values(), strict=True)]
        whole, case = statistics.fmean(totals), f"{subject}, {name}: parts"
        yield Row(measurement=NAME, case=case, subject=subject, unit="ms", summary=summarize(totals), note="the whole")
        for part, values in found.items():
            mean = statistics.fmean(values)
            note = f"mean {mean:.2f} ms, {100 * mean / whole:.0f} % of the whole"
            yield Row(
                measurement=NAME,
                case=case,
                subject=part,
                unit="ms",
                summary=summarize(values),
                note=note,
                part_of=subject,
            )


def split(marks: Mapping[str, float], steps: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Return how long each step took; they sum up to the time from `begin` to `end`. Raises KeyError."""
    found = {}
    last = marks["begin"]
    for part, mark in steps:
        # What is beside the way that is waited for may end later, but never after the whole.
        reached = min(max(last, marks[mark]), marks["end"])
        found[part] = reached - last
        last = reached
    return found


def _trace_api(world: World, watch: Watch, name: str) -> dict[str, float]:
    daemon = world.daemon
    request = daemon.request(name, f"bundle:{world.bundles.get('true')}")
    pids: dict[str, int] = {}

    async def once() -> tuple[float, float]:
        service = daemon.client.service
        begin = time.monotonic()
        pids["program"] = (await service.run(request)).pid
        await service.wait(req.ProcessRef(id=request.id))
        await service.delete(req.DeleteRequest(id=request.id))
        return begin, time.monotonic()

    zygote = daemon.call(daemon.client.info()).zygote_pid
    spares = _find_spares(zygote)
    watch.take()
    begin, end = daemon.call(once())
    marks = find_marks(watch.take(), zygote, spares)
    return {"begin": begin, **marks, "end": end}


def _trace_command(world: World, watch: Watch, name: str) -> dict[str, float]:
    daemon = world.daemon
    argv = daemon.run_argv(name, f"bundle:{world.bundles.get('true')}")
    zygote = daemon.call(daemon.client.info()).zygote_pid
    spares = _find_spares(zygote)
    watch.take()
    begin = time.monotonic()
    command = subprocess.Popen(argv, env=daemon.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    status = command.wait()
    end = time.monotonic()
    if status != 0:
        raise UnusableError(f"{argv[0]} run ended with {status}")
    events = watch.take()
    loaded = _last(events, "exec", {command.pid})
    return {
        "begin": begin,
        "command exec": loaded,
        **find_marks(events, zygote, spares),
        "end": end,
    }


def _find_spares(zygote: int) -> set[int]:
    """Return the spare shims and the child of each, once all of them are there."""
    deadline = time.monotonic() + _SPARES_TIMEOUT
    while len(found := find_descendants(zygote)) != 2 * SPARES:
        if time.monotonic() > deadline:
            raise UnusableError(f"{len(found)} processes wait below the zygote, not {2 * SPARES}")
        time.sleep(0.001)
    return found


def find_marks(events: Iterable[Event], zygote: int, spares: set[int]) -> dict[str, float]:
    """Return when what happened for the one container of these events. Raises UnusableError when something is missing.

    A shim and the child that makes its process are among the `spares` that were there before the request: the zygote
    forks the next when they have one. The runtime is what one of them has forked.
    """
    listed = sorted(events, key=lambda event: event.time)
    forks = {event.pid: event for event in listed if event.kind == "fork"}
    new = [event for event in forks.values() if event.parent == zygote]
    runtimes = [pid for pid, event in forks.items() if event.parent in spares]
    # The shim's child ends first, the shim last.
    ended = [event for event in listed if event.kind == "exit" and event.pid in spares]
    if not new or len(runtimes) != 1 or len(ended) != 2:
        raise UnusableError(f"{len(new)} forks of shims, {len(runtimes)} runtimes and {len(ended)} ends were seen")
    below = {pid for pid in forks if _descends(forks, pid, runtimes[0])} - {runtimes[0]}
    program = _find_program(listed, below)
    return {
        "spare fork": new[0].time,
        "runtime exec": _first(listed, "exec", {runtimes[0]}),
        "program exec": _last(listed, "exec", {program}),
        "program exit": _first(listed, "exit", {program}),
        "shim exit": ended[-1].time,
    }


def _descends(forks: Mapping[int, Event], pid: int, ancestor: int) -> bool:
    while pid in forks:
        if pid == ancestor:
            return True
        pid = forks[pid].parent
    return False


def _find_program(events: Iterable[Event], below: set[int]) -> int:
    """The container's program is the last thing that a process made by the runtime executes."""
    execs = [event for event in events if event.kind == "exec" and event.pid in below]
    if not execs:
        raise UnusableError("the kernel told no exec of the container's program")
    return execs[-1].pid


def _first(events: Iterable[Event], kind: str, pids: set[int]) -> float:
    for event in events:
        if event.kind == kind and event.pid in pids:
            return event.time
    raise UnusableError(f"the kernel told no {kind} of {pids}")


def _last(events: Sequence[Event], kind: str, pids: set[int]) -> float:
    return _first(list(reversed(events)), kind, pids)


def _in_process(world: World) -> list[Row]:
    """The same without client, wire and daemon process: what is left is the supervisor, the shim and the runtime."""
    daemon, bundle, name = world.daemon, world.bundles.get("true"), world.runtime
    work = world.stage.make_directory("embed")
    found: dict[str, list[float]] = {"wherry API": [], "wherry in process": []}

    async def once() -> None:
        async with wherry.supervise(state_dir=work / "state", root_dir=work / "root") as client:
            for number in range(world.level.rounds + 1):
                for subject, caller in (("wherry API", daemon.client), ("wherry in process", client)):
                    request = daemon.request(name, f"bundle:{bundle}")
                    start = time.perf_counter()
                    await cycle(caller, request)
                    if number:
                        found[subject].append((time.perf_counter() - start) * 1000)

    daemon.call(once())
    notes = {"wherry in process": "no client, no wire, one loop"}
    return make_rows(
        NAME,
        f"whole cycle with and without the wire, {name}",
        "ms",
        found,
        {"wherry in process": ["wherry API"]},
        notes=notes,
    )
