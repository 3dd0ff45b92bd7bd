"""`wherry doctor`: its findings, and that it leaves nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.test_cli_fake import wherry_main
from wherry.cli.doctor import cgroups, filesystem, finding, host, leftovers, report, runtimes
from wherry.cli.doctor.finding import FAIL, OK, WARN, Finding, Outcome, Places

ALL_CAPABILITIES = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(run=tmp_path / "run", root=tmp_path / "lib", cgroup=tmp_path / "cgroup", proc=tmp_path / "proc")
    for path in (made.run, made.root, made.cgroup, made.proc):
        path.mkdir(mode=0o700)
    return made


def make(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ALL_CAPABILITIES, OK),
        ("Uid:\t0\t0\t0\t0\nCapEff:\t000001fffeffffff\n", WARN),
        ("Uid:\t0\t0\t0\t0\nCapEff:\t0000000000000000\n", FAIL),
        ("Uid:\t7\t7\t7\t7\nCapEff:\t0000000000000000\n", WARN),
        ("", WARN),
        ("Uid:\nCapEff: x\n", WARN),
    ],
)
def test_privileges(status: str, expected: str) -> None:
    assert host.check_privileges(status).status == expected


def test_cgroup_modes(places: Places) -> None:
    assert cgroups.read_mode(places.cgroup) == "none"
    assert [found.status for found in cgroups.check(places)] == [FAIL]
    for name in ("cpu,cpuacct", "memory", "pids", "freezer", "devices"):
        make(places.cgroup / name / "cgroup.procs")
    assert cgroups.read_mode(places.cgroup) == "v1"
    assert [found.status for found in cgroups.check(places)] == [OK]
    make(places.cgroup / "unified/cgroup.controllers", "io hugetlb\n")
    assert cgroups.read_mode(places.cgroup) == "hybrid"
    _, leftover = cgroups.check(places)
    assert leftover.status == WARN
    blkio = places.cgroup / "blkio"
    assert f"mkdir -p {blkio} && mount -t cgroup -o blkio cgroup {blkio}; " in leftover.advice
    make(places.cgroup / "cgroup.controllers", "cpu memory\n")
    assert cgroups.read_mode(places.cgroup) == "v2"
    (unified,) = cgroups.check(places)
    assert (unified.status, "not: pids" in unified.detail) == (WARN, True)


def test_a_runtime_that_fails_is_quoted(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "crun"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo crun version 9; exit 0; }\necho no such luck >&2; exit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    make(places.cgroup / "unified/cgroup.controllers", "io\n")
    found = runtimes.check_one("crun", places)
    assert found.status == WARN
    assert found.detail == f"crun version 9 at {program} cannot run a container: no such luck"
    assert "mount -t cgroup -o blkio" in found.advice


def test_no_runtime_at_all_fails(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert [found.status for found in runtimes.check(places)] == [WARN, WARN, FAIL]


def test_the_probe_container_is_deleted_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Sequence[str]] = []

    def fail(argv: Sequence[str]) -> Outcome:
        calls.append(argv)
        config = Path(argv[argv.index("--bundle") + 1], "config.json") if "--bundle" in argv else None
        assert config is None or json.loads(config.read_text())["process"]["args"][0].endswith("true")
        return Outcome(1, "no")

    monkeypatch.setattr(finding, "try_program", fail)
    assert runtimes.run_container("/bin/crun").status == 1
    assert [argv[3] for argv in calls] == ["run", "delete"]
    assert not Path(calls[0][2]).parent.exists()


def test_programs_that_are_missing_or_fail_are_answers() -> None:
    assert finding.try_program(["/nonexistent/x"]).status == 127
    assert finding.try_program(["sh", "-c", "echo a; echo b >&2; exit 3"]) == Outcome(3, "a / b")
    assert finding.try_program(["/"]).status == 126


def test_a_program_that_hangs_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "PROBE_SECONDS", 0.05)
    assert finding.try_program(["sleep", "5"]).status == 124


def test_modes(places: Places) -> None:
    places.run.chmod(0o711)
    expected = OK if os.geteuid() == 0 else FAIL
    assert filesystem.check_modes(places).status == expected
    places.root.chmod(0o711)
    found = filesystem.check_modes(places)
    assert found.status == FAIL
    assert f"chmod 0700 {places.root}" in found.advice


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def named(places: Places) -> dict[str, Finding]:
    return {found.name: found for found in leftovers.check(places)}


@pytest.mark.usefixtures("as_root")
def test_nothing_left_is_fine(places: Places) -> None:
    assert {found.status for found in leftovers.check(places)} == {OK}


@pytest.mark.usefixtures("as_root")
def test_what_is_left_is_found(places: Places) -> None:
    make(places.run / "wherry.sock")
    make(places.run / "default/c1/state.json")
    make(places.run / "quarantine/default~c9/state.json")
    make(places.cgroup / "memory/wherry~default~c1/cgroup.procs")
    make(places.cgroup / "memory/wherry~default~c2/cgroup.procs")
    make(places.root / "containers/default/c3/log")
    make(places.proc / "77/comm", "wherry-shim\n")
    (places.proc / "77/cwd").symlink_to("/run/wherry/default/c4/init (deleted)")
    make(places.proc / "78/comm", "bash\n")
    found = named(places)
    assert {name for name, each in found.items() if each.status == WARN} == set(found)
    assert all(each.advice for each in found.values())
    assert "default/c1" in found["state"].detail
    assert "c2" in found["cgroups of containers"].detail
    assert "c1" not in found["cgroups of containers"].detail
    assert "default/c3" in found["logs and layers"].detail
    assert "pid 77" in found["shims"].detail


def test_a_check_that_fails_is_a_finding(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(places: Places) -> list[Finding]:
        raise PermissionError("no")

    monkeypatch.setattr(report, "_CHECKS", {"host": broken})
    assert list(report.examine(places)) == [Finding("host", WARN, "cannot examine it: no")]


def test_doctor_prints_every_finding_and_fails_on_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("a", OK, "fine"), Finding("b", WARN, "so \x1b so", "do x"), Finding("c", FAIL, "bad", "do y")]
    monkeypatch.setattr(report, "examine", lambda _: iter(findings))
    assert wherry_main("doctor") == 1
    assert (
        capsys.readouterr().out == "ok    a: fine\nwarn  b: so \\x1b so\n      -> do x\nFAIL  c: bad\n      -> do y\n"
    )
    assert wherry_main("doctor", "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert [set(each) for each in shown] == [{"name", "status", "detail", "advice"}] * 3
    findings.pop()
    assert wherry_main("doctor") == 0


def test_doctor_examines_this_host_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in Path("/tmp").iterdir()}
    assert wherry_main("doctor", "--json") in (0, 1)
    shown = json.loads(capsys.readouterr().out)
    assert {each["status"] for each in shown} <= {OK, WARN, FAIL}
    assert all(each["advice"] for each in shown if each["status"] != OK)
    left = {path.name for path in Path("/tmp").iterdir()} - before
    assert not [name for name in left if name.startswith("wherry-doctor-")]
