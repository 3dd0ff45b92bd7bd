"""Health checks of real containers: what they say, what comes of it, and that nothing is seen of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model import status as st
from wherry.model.request import HealthCheck, RestartPolicy, Stdio

#: Waits to be told its status: the name of a file in /tmp.
OBEYS = "echo >>/tmp/runs; until status=$(cd /tmp/say && ls | grep .); do sleep 0.02; done; rm /tmp/say/*; exit $status"
#: How many bytes a check's log may take: two files, and an entry that is longer than what is left.
LOG_LIMIT = 3 * 64 * 1024


def _shell(script: str, **options: Any) -> HealthCheck:
    return HealthCheck(args=("sh", "-c", script), **{"interval": 0.05, "retries": 1, **options})


class Obedient:
    """A container whose health check ends when it is told to, with the status that it is told."""

    def __init__(self, box: Box, *, runtime: str = "crun", **options: Any) -> None:
        check = _shell(OBEYS, timeout=60.0, **options)
        self.box = box
        self.container = box.run("sleep", "300", health=check, runtime=runtime)
        self.tmp = Path(f"/proc/{self.container.info().pid}/root/tmp")
        (self.tmp / "say").mkdir()

    def let_go(self, status: int) -> None:
        """Let the check under way end."""
        (self.tmp / "say" / str(status)).touch()

    def say(self, status: int) -> st.Health:
        """Let one check end, and return what is known of the container once it has."""
        before = self.health.checked_at_ns
        self.let_go(status)
        eventually(lambda: self.health.checked_at_ns > before)
        return self.health

    @property
    def health(self) -> st.Health:
        """What is known of the container."""
        return self.container.info().health

    def count_runs(self) -> int:
        """Return how many checks have begun."""
        runs = self.tmp / "runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def told(self) -> list[str]:
        """Return every status that was told."""
        return _told(self.box, self.container)


def _told(box: Box, container: SyncContainer) -> list[str]:
    return [event.reason for event in box.read_events(container, "health")]


def _wait_status(container: SyncContainer, status: str) -> st.Health:
    eventually(lambda: container.info().health.status == status, what=f"it is {status}")
    return container.info().health


def _traces(box: Box, container: SyncContainer) -> list[str]:
    """Return the files of health checks that are on disk."""
    info = box.client.info()
    places = (Path(info.state_dir, "default"), Path(info.root_dir, "containers", "default"))
    return [name for place in places for name in os.listdir(place / container.container_id) if "health" in name]


def test_a_container_is_starting_then_healthy(box: Box, runtime: str) -> None:
    container = box.run("sleep", "300", health=_shell("echo fine; echo bad >&2"), runtime=runtime)
    health = _wait_status(container, "healthy")
    assert (health.failures, health.exit_status, sorted(health.output.split())) == (0, 0, ["bad", "fine"])
    assert health.checked_at_ns > container.info().started_at_ns
    assert _told(box, container) == ["starting", "healthy"]
    listed = [info.health.status for info in box.client.containers() if info.id == container.container_id]
    assert listed == ["healthy"]


def test_the_check_of_a_container_with_a_terminal_has_none(box: Box) -> None:
    check = _shell("if [ -t 0 ] || [ -t 1 ]; then exit 1; fi; id -u; echo $WORD")
    stdio = Stdio(terminal=True, width=80, height=25)
    container = box.run("sleep", "300", health=check, stdio=stdio, user="7:8", env={"WORD": "said"})
    assert _wait_status(container, "healthy").output == "7\nsaid\n"


def test_one_without_a_check_has_no_status(box: Box) -> None:
    container = box.run("sleep", "300")
    assert container.info().health == st.Health()
    assert _told(box, container) == []


def test_it_is_unhealthy_after_so_many_failures_in_a_row_and_healthy_after_one_success(box: Box, runtime: str) -> None:
    place = Obedient(box, retries=3, runtime=runtime)
    for failures in (1, 2):
        health = place.say(7)
        assert (health.status, health.failures, health.exit_status) == ("starting", failures, 7)
    assert place.say(7).status == "unhealthy"
    assert (place.say(8).failures, place.health.exit_status) == (4, 8)
    health = place.say(0)
    assert (health.status, health.failures, health.exit_status) == ("healthy", 0, 0)
    assert place.say(1).status == "healthy"
    assert place.told() == ["starting", "unhealthy", "healthy"]
    assert place.container.info().state == "running"


def test_failures_of_the_start_do_not_count_until_one_check_has_succeeded(box: Box) -> None:
    place = Obedient(box, start_period=3600.0)
    for _ in range(2):
        health = place.say(3)
        assert (health.status, health.failures, health.exit_status) == ("starting", 0, 3)
    assert place.say(0).status == "healthy"
    assert place.say(3).status == "unhealthy"


def test_failures_after_the_start_count(box: Box) -> None:
    container = box.run("sleep", "300", health=_shell("exit 3", start_period=0.3))
    _wait_status(container, "unhealthy")
    told = box.read_events(container, "health")
    assert told[-1].time_ns - container.info().started_at_ns >= 0.3e9


def test_a_check_that_hangs_is_killed_with_all_that_it_has_started(box: Box, runtime: str) -> None:
    check = _shell("echo begun; sleep 61; true", timeout=0.3)
    container = box.run("sleep", "300", health=check, runtime=runtime)
    health = _wait_status(container, "unhealthy")
    assert (health.exit_status, health.output) == (137, "begun\nkilled after 0.3 s\n")
    eventually(lambda: container.info().health.failures >= 3)
    eventually(lambda: [process.command for process in container.processes()].count(("sleep", "61")) <= 1)


def test_output_without_end_fills_nothing(box: Box) -> None:
    container = box.run("sleep", "300", health=_shell("yes yes-and-no", timeout=1.0))
    storage = Path(container.info().processes[0].log_path).parent
    sizes = []

    def is_checked() -> bool:
        for path in storage.glob(".health-*"):
            try:
                sizes.append(sum(part.stat().st_size for part in storage.glob(f"{path.name}*")))
            except FileNotFoundError:
                continue
        return bool(container.info().health.checked_at_ns)

    eventually(is_checked)
    assert max(sizes) > 1000, "the log was seen"
    assert max(sizes) <= LOG_LIMIT
    output = container.info().health.output
    assert len(output.encode()) == 4096
    assert output.endswith("\nkilled after 1 s\n")
    assert "\nyes-and-no\n" in output


def test_bytes_that_are_no_text_are_replaced(box: Box) -> None:
    container = box.run("sleep", "300", health=_shell(r"printf 'a\377b\n'"))
    assert _wait_status(container, "healthy").output == "a\N{REPLACEMENT CHARACTER}b\n"


@pytest.mark.parametrize(("command", "status"), [("/no/such/command", 127), ("/etc", 126)])
def test_a_command_that_cannot_be_started_is_a_failure(box: Box, runtime: str, command: str, status: int) -> None:
    check = HealthCheck(args=(command,), interval=0.05, retries=2)
    container = box.run("sleep", "300", health=check, runtime=runtime)
    health = _wait_status(container, "unhealthy")
    assert health.exit_status == status
    assert health.failures >= 2
    assert command in health.output
    eventually(lambda: not _traces(box, container))


def test_what_a_check_leaves_behind_does_not_hold_up_the_next(box: Box, runtime: str) -> None:
    script = "echo >>/tmp/runs; sleep 300 & echo fine"
    container = box.run("sleep", "300", health=_shell(script), runtime=runtime)
    runs = Path(f"/proc/{container.info().pid}/root/tmp/runs")
    eventually(lambda: runs.exists() and len(runs.read_text()) >= 3)
    assert _wait_status(container, "healthy").output == "fine\n"
    eventually(lambda: not _traces(box, container))


def test_a_check_under_way_at_a_pause_does_not_count(box: Box, runtime: str) -> None:
    place = Obedient(box, runtime=runtime)
    eventually(lambda: place.count_runs() == 1)
    place.container.pause()
    place.let_go(5)
    place.container.resume()
    eventually(lambda: place.count_runs() == 2, what="the next check")
    assert place.health == st.Health(status="starting")
    assert place.say(5).status == "unhealthy"


def test_nothing_is_checked_while_paused(box: Box) -> None:
    check = _shell("echo >>/tmp/runs")
    paused, other = (box.run("sleep", "300", health=check) for _ in range(2))

    def count(container: SyncContainer) -> int:
        return len(Path(f"/proc/{container.info().pid}/root/tmp/runs").read_text())

    _wait_status(paused, "healthy")
    _wait_status(other, "healthy")
    paused.pause()
    before, reached = count(paused), count(other)
    eventually(lambda: count(other) >= reached + 5)
    assert count(paused) == before
    assert not [info for info in paused.info().processes if info.id != "init"]
    paused.resume()
    eventually(lambda: count(paused) > before + 1, what="it goes on")
    assert _told(box, paused) == ["starting", "healthy"]


def test_checks_are_seen_nowhere(box: Box, runtime: str) -> None:
    place = Obedient(box, runtime=runtime)
    eventually(lambda: place.count_runs() == 1)
    container = place.container
    eventually(lambda: [process.process for process in container.processes() if "health" in process.process])
    name = next(process.process for process in container.processes() if "health" in process.process)
    assert [process.id for process in container.info().processes] == ["init"]
    with pytest.raises(errors.InvalidArgument, match="process id"):
        container.exec("true", id=name)
    place.say(0)
    container.stop(0)
    assert _traces(box, container) == []
    assert [event.type for event in box.read_events(container)] == ["create", "start", "health", "health", "exit"]


def test_an_end_with_a_check_under_way_leaves_nothing_and_tells_nothing(box: Box, runtime: str) -> None:
    for end in ("stop", "stop paused", "kill", "delete"):
        place = Obedient(box, runtime=runtime)
        eventually(lambda place=place: place.count_runs() == 1)  # type: ignore[misc]
        if end == "stop paused":
            place.container.pause()
        if end.startswith("stop"):
            place.container.stop(0)
        elif end == "kill":
            place.container.kill("KILL")
            place.container.wait(10)
        if end != "delete":
            assert _traces(box, place.container) == []
            assert place.health == st.Health(status="starting")
        place.container.delete(force=end == "delete")
        assert place.told() == ["starting"]


def test_a_check_that_fails_because_its_container_ends_does_not_count(box: Box) -> None:
    def run(number: int) -> SyncContainer:
        return box.run("sh", "-c", f"sleep 0.{number}", health=_shell("sleep 0.1", interval=0.01))

    for container in at_once(8, run):
        assert isinstance(container, SyncContainer)
        container.wait(20)
        assert "unhealthy" not in _told(box, container)
        assert box.read_events(container)[-1].type == "exit"


def test_killed_when_unhealthy_it_says_so(box: Box, runtime: str) -> None:
    container = box.run("sleep", "300", health=_shell("exit 1", on_unhealthy="kill"), runtime=runtime)
    record = container.wait(20)
    assert (record.status, record.reason) == (137, "unhealthy")
    assert (container.info().state, container.info().health.status) == ("stopped", "unhealthy")
    events = [(event.type, event.reason) for event in box.read_events(container)]
    assert events[2:] == [("health", "starting"), ("health", "unhealthy"), ("exit", "unhealthy")]


def test_restarted_when_unhealthy_whatever_its_policy(box: Box, runtime: str) -> None:
    policy = RestartPolicy(name="no", delay=0.02)
    check = _shell("exit $(cat /tmp/status)", on_unhealthy="restart", retries=2)
    container = box.run("sh", "-c", "trap 'exit 0' TERM; cd /tmp; echo run >>runs; [ -e status ]; echo $? >status; "
                        "while :; do sleep 0.05; done", restart=policy, health=check, runtime=runtime)  # fmt: skip
    eventually(lambda: container.info().restarts == 1)
    _wait_status(container, "healthy")
    events = [(event.type, event.reason) for event in box.read_events(container)]
    assert events == [
        ("create", ""),
        ("start", ""),
        ("health", "starting"),
        ("health", "unhealthy"),
        ("exit", "unhealthy"),
        ("restart", ""),
        ("start", ""),
        ("health", "starting"),
        ("health", "healthy"),
    ]


def test_each_run_begins_anew(box: Box) -> None:
    place = Obedient(box, retries=2)
    assert place.say(0).status == "healthy"
    assert place.say(1).failures == 1
    place.container.stop(0)
    assert place.health.status == "healthy", "the last that was known"
    place.container.start()
    assert place.health == st.Health(status="starting")
    assert place.told() == ["starting", "healthy", "starting"]


def test_starting_again_before_the_first_check_is_no_change(box: Box) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=2, delay=0.02, factor=1.0)
    container = box.run("false", restart=policy, health=_shell("true", interval=100.0))
    assert container.wait(20).status == 1
    assert container.info().restarts == 2
    assert _told(box, container) == ["starting"]


def test_many_checks_at_once_leave_room_for_calls(box: Box) -> None:
    check = _shell("sleep 0.01", interval=0.01)
    made = [box.run("sleep", "300", health=check) for _ in range(12)]
    for container in made:
        _wait_status(container, "healthy")
    process = made[0].exec("echo", "hello")
    assert process.wait(20).status == 0
    assert process.output() == b"hello\n"
