"""`wherry checkpoint`, `restore`, `clone`: what is asked for, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.test_cli_fake import FakeService, install, wherry_main
from wherry.model import checkpoint as cp


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Return a service behind the command line, with a container."""
    fake = FakeService()
    fake.add("job")
    install(monkeypatch, fake)
    return fake


def test_create_asks_for_all_that_is_given(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--exit", "--tcp", "--unix-sockets", "--shell", "--pre-copy", "2", "--empty-ns", "network")
    assert wherry_main("checkpoint", "create", *flags, "job", "evening") == 0
    assert fake.sent(cp.CheckpointRequest) == [
        cp.CheckpointRequest(
            id="job",
            name="evening",
            exit=True,
            tcp=True,
            unix_sockets=True,
            shell=True,
            pre_copy=2,
            empty_ns=("network",),
        )
    ]
    assert capsys.readouterr().out == "job@evening: stood still for 0 ms, image 0B, layer 0B\n"


def test_a_container_goes_on_unless_it_is_to_end(fake: FakeService) -> None:
    assert wherry_main("checkpoint", "create", "--leave-running", "job", "a") == 0
    assert wherry_main("checkpoint", "create", "job", "b") == 0
    assert [request.exit for request in fake.sent(cp.CheckpointRequest)] == [False, False]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("checkpoint",), 2, "one of these is missing: create, list, inspect, export, import, rm"),
        (("checkpoint", "nope"), 2, "'nope' is not one of create, list, inspect, export, import, rm"),
        (("checkpoint", "create", "job"), 2, "NAME"),
        (("checkpoint", "create", "job", "../x"), 2, "checkpoint name '../x' is not valid"),
        (("checkpoint", "create", "--exit", "--leave-running", "job", "x"), 125, "exclude each other"),
        (("checkpoint", "create", "--pre-copy", "many", "job", "x"), 2, "a whole number is expected"),
        (("checkpoint", "create", "none", "x"), 125, "no such container"),
        (("restore", "job"), 2, "NAME"),
        (("clone", "job"), 2, "NEW"),
        (("clone", "job@", "x"), 2, "checkpoint name '' is not valid"),
        (("clone", "job@a/b", "x"), 2, "checkpoint name 'a/b' is not valid"),
    ],
)
def test_misuse_is_told_in_a_line(
    fake: FakeService, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int, said: str
) -> None:
    assert wherry_main(*words) == status
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_help_of_the_group_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("checkpoint", "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("create", "list", "inspect", "rm"))
    assert wherry_main("checkpoint", "create", "--help") == 0
    assert "wherry checkpoint create" in capsys.readouterr().out


def test_checkpoints_are_listed_and_shown(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("checkpoint", "list", "-q") == 0
    assert capsys.readouterr().out == "job@cp\n"
    assert wherry_main("checkpoint", "list") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["job", "cp"]
    assert wherry_main("checkpoint", "list", "--json", "job") == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)] == ["cp"]
    assert wherry_main("checkpoint", "inspect", "job", "cp") == 0
    assert json.loads(capsys.readouterr().out)["name"] == "cp"


def test_several_are_deleted_and_each_is_asked_for(fake: FakeService) -> None:
    assert wherry_main("checkpoint", "rm", "job", "a", "b") == 0
    assert [request.name for request in fake.sent(cp.CheckpointRef)] == ["a", "b"]


def test_restore_and_clone_print_ids(fake: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert wherry_main("restore", "job", "a") == 0
    assert wherry_main("clone", "job@a", "x", "y") == 0
    assert wherry_main("clone", "job", "z") == 0
    assert capsys.readouterr().out == "job\nx\ny\nz\n"
    assert fake.sent(cp.CloneRequest) == [
        cp.CloneRequest(id="job", name="a", new_ids=("x", "y")),
        cp.CloneRequest(id="job", new_ids=("z",)),
    ]


def test_export_writes_a_file_that_only_its_owner_reads(
    fake: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.wherry"
    assert wherry_main("checkpoint", "export", "job", "noon", str(file)) == 0
    assert file.read_bytes() == b"onetwo"
    assert file.stat().st_mode & 0o777 == 0o600
    assert fake.sent(cp.CheckpointRef) == [cp.CheckpointRef(id="job", name="noon")]
    assert capsys.readouterr().out == f"job@noon: 6B in {file}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["job.wherry"]


def test_import_sends_the_file_and_what_is_granted(
    fake: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.wherry"
    file.write_bytes(b"x" * 600_000)
    flags = ("--as", "job@later", "--grant", "privileged", "--grant", "path=/a:/b")
    assert wherry_main("checkpoint", "import", *flags, str(file)) == 0
    assert fake.sent(cp.ImportRequest) == [
        cp.ImportRequest(id="job", name="later", grants=("privileged", "path=/a:/b"))
    ]
    assert fake.imported == b"x" * 600_000
    assert capsys.readouterr().out == "job@later\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "job", "noon", "/nonexistent/file"), "cannot write /nonexistent/file"),
        (("import", "/nonexistent"), "cannot read /nonexistent: no such file"),
        (("import", "/"), "cannot read /"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    fake: FakeService, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wherry_main("checkpoint", *words) == 125
    assert said in capsys.readouterr().err
