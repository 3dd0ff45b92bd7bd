"""Managed stdio: logs and attach."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

import pytest

from tests.contract.conftest import Box, at_once
from tests.support.eventually import eventually
from wherry import errors
from wherry.client.sync import SyncContainer
from wherry.model.request import Stdio

#: All 256 bytes, and no line end behind the last one.
BINARY = "".join(f"\\{number:03o}" for number in range(256))
PIPED = Stdio(stdin_open=True)


def attach_all(container: SyncContainer, offset: int = 0) -> bytes:
    with container.attach(offset=offset) as attachment:
        return b"".join(output.data for output in attachment)


def count_fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def read_shim_pid(box: Box, container: SyncContainer) -> int:
    directory = Path(box.client.info().state_dir, container.namespace, container.container_id, "init")
    return int((directory / "shim.pid").read_text())


def test_every_byte_arrives_as_it_was_written(box: Box) -> None:
    container = box.run("printf", BINARY)
    container.wait(10)
    assert container.output() == bytes(range(256))
    assert attach_all(container) == bytes(range(256)), "the log makes an attach to an ended container whole"


def test_both_streams_are_told_apart(box: Box) -> None:
    container = box.run("sh", "-c", "echo out; echo err >&2")
    container.wait(10)
    assert {(chunk.stream, chunk.data) for chunk in container.logs()} == {("stdout", b"out\n"), ("stderr", b"err\n")}


def test_a_line_of_200_kilobytes_stays_whole(box: Box) -> None:
    container = box.run("sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x; echo; printf end")
    container.wait(10)
    assert container.output() == b"x" * 200000 + b"\nend"
    assert b"".join(chunk.data for chunk in container.logs(tail=2)) == b"x" * 200000 + b"\nend"


def test_tail_and_since_leave_out_what_came_before(box: Box) -> None:
    container = box.run("sh", "-c", "for i in 1 2 3 4 5; do echo $i; done; sleep 0.2; printf last")
    container.wait(10)
    for lines, expected in ((0, b""), (1, b"last"), (2, b"5\nlast"), (100, b"1\n2\n3\n4\n5\nlast")):
        assert b"".join(chunk.data for chunk in container.logs(tail=lines)) == expected
    chunks = list(container.logs())
    assert b"".join(chunk.data for chunk in container.logs(since_ns=chunks[-1].time_ns)) == b"last"
    assert list(container.logs(since_ns=chunks[-1].time_ns + 1)) == []


def test_follow_ends_with_the_container(box: Box) -> None:
    container = box.run("sh", "-c", "echo one; read x; echo two", stdio=PIPED)
    chunks = container.logs(follow=True)
    assert next(chunks).data == b"one\n"
    container.close_stdin()
    assert [chunk.data for chunk in chunks] == [b"two\n"]


def test_rotation_loses_nothing_that_is_kept(box: Box) -> None:
    # About 45 bytes of log for each line, so ten files.
    stdio = Stdio(log_max_bytes=65536, log_max_files=100, stdin_open=True)
    container = box.run("sh", "-c", "read x; seq 1 15000", stdio=stdio)
    expected = "".join(f"{number}\n" for number in range(1, 15001)).encode()
    with container.attach(offset=0) as attachment:
        attachment.write(b"go\n")
        assert b"".join(output.data for output in attachment) == expected
    assert attach_all(container) == expected
    assert container.output() == expected
    log = Path(container.info().processes[0].log_path)
    assert len(list(log.parent.glob("init.log*"))) > 5


def test_rotation_keeps_only_so_many_files(box: Box) -> None:
    container = box.run("seq", "1", "15000", stdio=Stdio(log_max_bytes=65536, log_max_files=2))
    container.wait(10)
    log = Path(container.info().processes[0].log_path)
    files = list(log.parent.glob("init.log*"))
    assert len(files) == 2
    assert all(file.stat().st_size <= 65536 for file in files)
    with container.attach(offset=0) as attachment:
        outputs = list(attachment)
    assert outputs[0].dropped_bytes > 0, "what is gone is told"
    assert b"".join(output.data for output in outputs).endswith(b"14999\n15000\n")


def test_attach_from_now_leaves_out_what_was_before(box: Box) -> None:
    container = box.run("sh", "-c", "echo before; read x; echo after", stdio=PIPED)
    eventually(container.output)
    with container.attach(offset=-1) as attachment:
        outputs = iter(attachment)
        attachment.write(b"go\n")
        assert b"".join(output.data for output in outputs) == b"after\n"
    assert attach_all(container) == b"before\nafter\n"


def test_several_clients_get_the_same_bytes(box: Box) -> None:
    container = box.run("sh", "-c", "read x; seq 1 20000", stdio=PIPED)

    def follow(number: int) -> bytes:
        with container.attach(offset=0) as attachment:
            if number == 0:
                attachment.write(b"go\n")
            return b"".join(output.data for output in attachment)

    expected = "".join(f"{number}\n" for number in range(1, 20001)).encode()
    assert at_once(4, follow) == [expected] * 4


def test_a_slow_client_misses_nothing(box: Box) -> None:
    container = box.run("sh", "-c", "read x; seq 1 100000", stdio=PIPED)
    with container.attach(offset=0) as attachment:
        attachment.write(b"go\n")
        outputs = iter(attachment)
        first = next(outputs)
        assert container.wait(20).status == 0, "a slow client never holds the container up"
        data = first.data + b"".join(output.data for output in outputs)
    assert data == "".join(f"{number}\n" for number in range(1, 100001)).encode()


def test_cat_echoes_five_megabytes_exactly(box: Box) -> None:
    container = box.run("cat", stdio=PIPED)
    data = os.urandom(5 << 20)
    with container.attach() as attachment:

        def talk(number: int) -> bytes:
            if number == 0:
                attachment.write(data)
                attachment.close_stdin()
                return b""
            return b"".join(output.data for output in attachment)

        assert at_once(2, talk)[1] == data
    assert container.wait(10).status == 0


def test_close_stdin_does_not_overtake_what_was_written_before(box: Box, runtime: str) -> None:
    """Bytes on their way through an attachment were cut off by the call that closes stdin."""
    container = box.client.run(box.source, "sh", "-c", "sleep 1; wc -c", runtime=runtime, stdio=Stdio(stdin_open=True))
    with container.attach() as attachment:
        for _ in range(20):
            attachment.write(b"x" * 65536)
        container.close_stdin()
        assert container.wait(20).status == 0
    assert container.output().split() == [b"1310720"]


def test_close_stdin_ends_the_input(box: Box, runtime: str) -> None:
    container = box.run("cat", stdio=PIPED, runtime=runtime)
    container.close_stdin()
    assert container.wait(10).status == 0
    with pytest.raises(errors.FailedPrecondition):
        container.close_stdin()


def test_without_stdin_open_the_input_is_empty(box: Box) -> None:
    assert box.run("cat").wait(10).status == 0


def test_clients_that_leave_mid_stream_leave_no_descriptor(box: Box) -> None:
    container = box.run("sh", "-c", "while :; do echo chatter; sleep 0.01; done")
    pids = (box.client.info().pid, read_shim_pid(box, container))

    def leave(count: int) -> None:
        for _ in range(count):
            with container.attach(offset=-1) as attachment:
                assert next(iter(attachment)).data.startswith(b"chatter")

    leave(2)
    time.sleep(0.2)
    before = [count_fds(pid) for pid in pids]
    leave(50)
    eventually(lambda: all(now <= then for now, then in zip(map(count_fds, pids), before, strict=True)))


def test_logs_and_attach_need_managed_stdio(box: Box) -> None:
    container = box.run("echo", "nobody hears", stdio=Stdio(mode="null"))
    assert container.wait(10).status == 0
    with pytest.raises(errors.FailedPrecondition, match="no managed stdio"):
        container.output()
    with pytest.raises(errors.FailedPrecondition, match="no managed stdio"), container.attach():
        pass


def test_leaving_a_followed_log_does_not_end_the_container(box: Box) -> None:
    container = box.run("sh", "-c", "while :; do echo chatter; sleep 0.01; done")
    assert len(list(itertools.islice(container.logs(follow=True), 5))) == 5
    assert container.info().state == "running"


def test_a_write_behind_the_end_takes_no_output_away(box: Box) -> None:
    """A client that writes when the daemon has just ended the call was told of an internal error, and read no more."""
    for _ in range(20):
        container = box.run("sh", "-c", "head -c 300000 /dev/zero", stdio=PIPED)
        container.wait(10)
        found = b""
        with container.attach(offset=0) as attachment:
            for output in attachment:
                found += output.data
                with contextlib.suppress(errors.FailedPrecondition):
                    attachment.write(b"x")
            with pytest.raises(errors.FailedPrecondition, match="it has ended"):
                attachment.write(b"x")
        assert len(found) == 300000
        container.delete()


def test_nothing_is_written_behind_the_end_of_stdin(box: Box) -> None:
    container = box.run("cat", stdio=PIPED)
    with container.attach(offset=0) as attachment:
        attachment.write(b"before")
        attachment.close_stdin()
        with pytest.raises(errors.FailedPrecondition, match=r"stdin was closed here|it has ended"):
            attachment.write(b"after")
        assert b"".join(output.data for output in attachment) == b"before"
