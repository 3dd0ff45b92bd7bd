"""The examples, run as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, make_environment
from tests.support.eventually import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(daemon: Daemon | None, name: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = make_environment({"WHERRY_ADDRESS": daemon.address} if daemon else {})
    argv = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=40)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_explains_itself_and_is_short(path: Path) -> None:
    done = run(None, path.name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Example:" in done.stdout
    assert len(path.read_text().splitlines()) <= 80


def test_the_sandbox_passes_on_output_and_status(daemon: Daemon) -> None:
    done = run(daemon, "sandbox.py", "--", "sh", "-c", "id -u; exit 3")
    assert (done.returncode, done.stdout) == (3, "65534\n"), done.stderr
    assert "ended with status 3" in done.stderr


def test_the_sandbox_kills_what_takes_too_long_or_too_much(daemon: Daemon) -> None:
    done = run(daemon, "sandbox.py", "--timeout", "0.5", "--", "sh", "-c", "echo begun; sleep 60")
    assert (done.returncode, done.stdout) == (124, "begun\n"), done.stderr
    assert "did not end within 0.5 s" in done.stderr
    done = run(daemon, "sandbox.py", "--memory", "20", "--", "python3", "-c", "x = bytearray(10**9)")
    assert done.returncode == 137
    assert "memory" in done.stderr
    assert daemon.read("ps", "-a") == []


def test_the_sandbox_names_the_error(daemon: Daemon) -> None:
    done = run(daemon, "sandbox.py", "--", "/no/such/command")
    assert done.returncode == 125
    assert "/no/such/command" in done.stderr


def test_the_event_follower_resumes_exactly(daemon: Daemon, tmp_path: Path) -> None:
    position = tmp_path / "position"
    daemon.wherry("run", "--rm", "host", "--", "true")
    first = run(daemon, "follow_events.py", "--once", str(position)).stdout.splitlines()
    daemon.wherry("run", "--rm", "host", "--", "true")
    second = run(daemon, "follow_events.py", "--once", str(position)).stdout.splitlines()
    assert [line.split()[0] for line in first + second] == [
        str(event["seq"]) for event in daemon.read("events", "--after", "0")
    ]
    assert second


def test_the_event_follower_outlives_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    env = make_environment({"WHERRY_ADDRESS": daemon.address})
    output = tmp_path / "output"
    with output.open("w") as file:
        argv = [sys.executable, str(EXAMPLES / "follow_events.py"), str(tmp_path / "position")]
        follower = subprocess.Popen(argv, env=env, stdout=file, stderr=subprocess.DEVNULL)
    try:
        for _ in range(2):
            daemon.wherry("run", "--rm", "host", "--", "true")
            seen = len(daemon.read("events", "--after", "0"))
            eventually(lambda: len(output.read_text().splitlines()) >= seen)  # noqa: B023 - called at once
            daemon.restart()
        numbers = [int(line.split()[0]) for line in output.read_text().splitlines()]
        assert numbers == list(range(1, len(numbers) + 1))
    finally:
        follower.kill()
        follower.wait()


def test_the_ci_runner_runs_every_step_and_tells_which_failed(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("kept\n")
    steps = "# steps\nread: cat data; echo gone > data\n\nfail: echo words; exit 4\nalso: cat data\n"
    (tmp_path / "steps").write_text(steps)
    done = run(daemon, "ci_runner.py", "--jobs", "2", "steps", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("--- read\nkept\n--- fail\nwords\n--- also\nkept\n")
    assert [(line.split()[0], line.split()[-1]) for line in done.stdout.splitlines()[-3:]] == [
        ("ok", "read"),
        ("FAILED", "fail"),
        ("ok", "also"),
    ]
    assert (tmp_path / "data").read_text() == "kept\n"
    (tmp_path / "steps").write_text("one: true\n")
    assert run(daemon, "ci_runner.py", "steps", cwd=tmp_path).returncode == 0
    assert daemon.read("ps", "-a") == []
