"""What crun 1.8.1 and runc 1.1.5 really say, and which error that is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.runtime import driver, spawn

_RUNC = "runc create failed: unable to start container process: "
_TEXTS: list[tuple[str, type[errors.WherryError]]] = [
    # crun 1.8.1
    ("executable file `nosuch` not found in $PATH: No such file or directory", errors.CommandNotFound),
    ("executable file `/bin/nosuch` not found in $PATH: No such file or directory", errors.CommandNotFound),
    ("open executable: Not a directory", errors.CommandNotFound),
    ("open executable: Operation not permitted", errors.CommandNotExecutable),  # a directory
    ("open executable: Permission denied", errors.CommandNotExecutable),
    ("open executable: Too many levels of symbolic links", errors.CommandNotExecutable),
    ("exec container process `/tmp/bad`: Exec format error", errors.CommandNotExecutable),
    ("container `t2` already exists", errors.AlreadyExists),
    ("setns(pid=22715, CLONE_NEWUSER): No such process", errors.FailedPrecondition),
    ("chdir `/nowhere`: No such file or directory", errors.RuntimeFailed),
    ("error loading config.json", errors.RuntimeFailed),
    ("make `/nowhere` private: No such file or directory", errors.RuntimeFailed),
    ("error stat'ing file `/no/such/place`: No such file or directory", errors.RuntimeFailed),
    ("cannot open `/run/crun/t2/exec.fifo`: No such file or directory", errors.RuntimeFailed),
    # runc 1.1.5
    (_RUNC + 'exec: "nosuch": executable file not found in $PATH', errors.CommandNotFound),
    (_RUNC + 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory', errors.CommandNotFound),
    (_RUNC + 'exec: "/bin/sh/x": stat /bin/sh/x: not a directory', errors.CommandNotFound),
    (_RUNC + 'exec: "/tmp/noexec": permission denied', errors.CommandNotExecutable),
    (_RUNC + 'exec: "/tmp/loop": stat /tmp/loop: too many levels of symbolic links', errors.CommandNotExecutable),
    ("exec /tmp/bad: exec format error", errors.CommandNotExecutable),
    ("runc create failed: container with given ID already exists", errors.AlreadyExists),
    ("container does not exist", errors.FailedPrecondition),
    ("cannot start an already running container", errors.FailedPrecondition),
    ("runc create failed: unexpected EOF", errors.RuntimeFailed),
    ("runc create failed: invalid rootfs: stat /nowhere: no such file or directory", errors.RuntimeFailed),
    (
        _RUNC + 'error during container init: error mounting "/no/such" to rootfs at "/x": stat /no/such: '
        "no such file or directory",
        errors.RuntimeFailed,
    ),
]


def entry(message: str, level: str = "error") -> str:
    return json.dumps({"level": level, "msg": message, "time": "2026-01-01T00:00:00Z"}) + "\n"


@pytest.mark.parametrize(("said", "cls"), _TEXTS)
def test_each_known_text_is_its_error_and_is_passed_on_whole(said: str, cls: type[errors.WherryError]) -> None:
    found = driver.failure("create container a", 1, driver.words(entry(said).encode(), "noise"))
    assert type(found) is cls
    assert found.message.startswith("cannot create container a: ")
    assert said in found.message


@pytest.mark.parametrize(
    ("status", "said", "text"),
    [
        (0, "", "cannot x: the runtime ended with status 0, but made no process"),
        (0, "hm", "cannot x: the runtime ended with status 0, but made no process: hm"),
        (3, "", "cannot x: the runtime ended with status 3: it gave no reason"),
        (-9, "", "cannot x: the runtime ended with signal 9: it gave no reason"),
        (1, "bad luck", "cannot x: the runtime ended with status 1: bad luck"),
    ],
)
def test_what_is_not_known_is_a_failed_runtime_with_all_there_is(status: int, said: str, text: str) -> None:
    found = driver.failure("x", status, said)
    assert type(found) is errors.RuntimeFailed
    assert found.message == text


@pytest.mark.parametrize(
    ("log", "output", "said"),
    [
        (entry("first") + entry("second"), "printed", "second"),
        (entry("bad") + entry("all is well", "info"), "", "bad"),
        (entry("only a warning", "warning"), "printed\n\n", "printed"),
        ("not JSON\n", "one\ntwo\n  \n", "two"),
        ("[]\n17\n" + entry("found"), "", "found"),
        ('{"level":"error"}\n', "printed", "printed"),
        ('{"level":"error","msg":17}\n', "", "17"),
        (entry("torn")[:-9], "printed", "printed"),
        (entry("a\nb\t c"), "", "a b c"),
        ("", "", ""),
        ("[" * 60000, "printed", "printed"),
        ("\0" * 100, "printed", "printed"),
        ("9" * 5000, "printed", "printed"),
    ],
)
def test_the_last_error_of_the_log_counts_else_the_last_line(log: str, output: str, said: str) -> None:
    assert driver.words(log.encode(), output) == said


def test_a_megabyte_of_words_becomes_a_short_line() -> None:
    for said in (driver.words(entry("x" * 60000).encode()), driver.words(b"", "y" * 2**20)):
        assert 0 < len(said) <= 2048
    assert driver.words(b"z" * 2**20 + b"\n" + entry("in the end").encode()) == "in the end"


@given(some.binary(max_size=300), some.text(max_size=100), some.integers(-64, 255))
def test_garbage_from_a_runtime_is_always_one_line_of_a_named_error(log: bytes, output: str, status: int) -> None:
    said = driver.words(log, output)
    assert "\n" not in said
    assert isinstance(driver.failure("x", status, said), errors.WherryError)


def test_of_an_absurd_log_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    assert driver.read_log(path) == b""
    path.write_bytes(b"x" * 2**20 + b"\nend")
    found = driver.read_log(path)
    assert len(found) == spawn.MAX_OUTPUT
    assert found.endswith(b"\nend")
    assert driver.read_log(tmp_path) == b""


def test_a_driver_names_every_file_and_never_lets_an_id_be_an_option(tmp_path: Path) -> None:
    one = driver.Driver("/usr/bin/crun", Path("/run/x"))
    create = one.create_argv("a", "/bundle", tmp_path)
    assert create[0] == "/usr/bin/crun"
    assert create[1:3] == ["--root", "/run/x"]
    assert create[create.index("--bundle") + 1] == "/bundle"
    assert create[create.index("--pid-file") + 1] == f"{tmp_path}/pid"
    assert create[create.index("--log") + 1] == f"{tmp_path}/log.json"
    assert create[-1] == "a"
    run = one.exec_argv("a", tmp_path)
    assert run[run.index("--process") + 1] == f"{tmp_path}/process.json"
    assert "--detach" in run
    assert one.kill_all_argv("a")[-4:] == ["kill", "--all", "a", "KILL"]
