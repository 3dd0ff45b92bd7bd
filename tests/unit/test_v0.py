"""The pure parts of `types.API`: texts, labels, times, limits, the words of events, and the wire."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as some

from wherry import errors
from wherry.api import v0_events, v0_requests, v0_state, v0_texts
from wherry.model import status as st
from wherry.model.request import Limits
from wherry.wire import v0_pb2 as pb

ENDED = "cannot create container c1: the runtime ended with status 1: "


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.RuntimeFailed(f"{ENDED}no: good"), "oci runtime error: no: good"),
        (errors.RuntimeFailed(f"{ENDED}it gave no reason"), v0_texts.NOT_STARTED),
        (errors.RuntimeFailed("cannot exec e in container c1: the runtime ended with signal 9: it gave no reason"),
         v0_texts.NOT_STARTED),
        (errors.RuntimeFailed("cannot create container c1: the runtime ended with status 0, but made no process: x"),
         v0_texts.NO_PID_FILE),
        (errors.FailedPrecondition(f"container c1 has ended meanwhile: {ENDED}why"), "oci runtime error: why"),
        (errors.DeadlineExceeded("cannot create container c1: the runtime did not"), v0_texts.TIMED_OUT),
        (errors.Aborted("cannot create container c1: the shim was killed"), v0_texts.SHIM_ENDED),
        (errors.NotFound("cannot create container c1: shim: /x: y: No such file or directory"),
         "shim error: stat /x: y: no such file or directory"),
        (errors.PermissionDenied("cannot create container c1: shim: /x: Permission denied"),
         "shim error: /x: Permission denied"),
        (errors.CommandNotFound('cannot create container c1: runc create failed: exec: "a b": not in $PATH'),
         'oci runtime error: runc create failed: exec: "a b": not in $PATH'),
        (errors.CommandNotFound("cannot create container c1: executable `a b` not found"),
         'oci runtime error: executable `a b` not found: exec: "a b": executable file not found in $PATH'),
        (errors.CommandNotExecutable("cannot create container c1: open executable: Permission denied: a b"),
         'oci runtime error: open executable: Permission denied: a b: exec: "a b": permission denied'),
        (errors.InvalidArgument("label 'x' is not valid: no"), "label 'x' is not valid: no"),
    ],
)  # fmt: skip
def test_a_failed_start_is_told_in_the_original_words_and_keeps_its_class(error: errors.WherryError, text: str) -> None:
    found = v0_texts.of_start(error, "a b")
    assert (type(found), found.message) == (type(error), text)


def test_a_failed_call_of_the_runtime_is_quoted() -> None:
    error = errors.RuntimeFailed('cannot pause container c1: the runtime ended with status 3: say "x"')
    assert v0_texts.of_runtime(error).message == 'exit status 3: "say \\"x\\"\\n"'


@given(some.lists(some.text(some.characters(exclude_categories=["Cs"]), max_size=8), max_size=5))
def test_labels_come_back_as_they_were(texts: list[str]) -> None:
    assert v0_requests.from_labels(v0_requests.to_labels(tuple(texts))) == texts


def test_ordinary_labels_are_ordinary() -> None:
    assert v0_requests.to_labels(("a=b", "c=d=e", "f=")) == {"a": "b", "c": "d=e", "f": ""}


@given(some.integers(0, 2**62))
def test_times_go_both_ways(time_ns: int) -> None:
    request = pb.EventsRequest(timestamp=v0_state.timestamp(time_ns))
    assert v0_requests.to_time_ns(request) == time_ns


def test_zero_in_go_is_no_time() -> None:
    assert v0_requests.to_time_ns(pb.EventsRequest()) is None
    zero = Timestamp(seconds=v0_requests.ZERO_TIME)
    assert v0_requests.to_time_ns(pb.EventsRequest(timestamp=zero)) is None
    zero.nanos = 1
    assert v0_requests.to_time_ns(pb.EventsRequest(timestamp=zero)) is not None
    assert v0_requests.to_time_ns(pb.EventsRequest(timestamp=Timestamp())) == 0, "1970 is a time"


def test_limits_that_are_not_asked_for_stay() -> None:
    assert v0_requests.to_limits("c1", pb.UpdateResource()) == Limits()
    found = v0_requests.to_limits("c1", pb.UpdateResource(memorySwap=2**64 - 1, cpuShares=5))
    assert (found.memory_swap_bytes, found.cpu_shares, found.memory_bytes) == (-1, 5, None)


def event(seq: int, type: str, process: str = "init", generation: int = 7) -> st.Event:
    return st.Event(
        seq=seq, time_ns=seq, type=type, namespace="default", container="c", generation=generation, process=process,
        pid=99, status=3 if type == "exit" else 0,
    )  # fmt: skip


def translate(*events: st.Event, not_started: frozenset[int] = frozenset()) -> list[tuple[str, str, int]]:
    translator = v0_events.Translator(set(not_started))
    found = [item for one in events if (item := translator.translate(one)) is not None]
    return [(item.type, item.pid, item.status) for item in found]


def test_events_in_the_words_of_v0() -> None:
    told = translate(
        event(1, "create", ""), event(2, "start"), event(3, "start", "e1"), event(4, "pause", ""),
        event(5, "resume", ""), event(6, "update", ""), event(7, "health", ""), event(8, "oom"),
        event(9, "exit", "e1"), event(10, "exit"), event(11, "delete", ""),
    )  # fmt: skip
    assert told == [
        ("start-container", "", 0), ("start-process", "e1", 0), ("pause", "", 0), ("resume", "", 0), ("oom", "", 0),
        ("exit", "e1", 3), ("exit", "init", 3),
    ]  # fmt: skip


def test_the_end_of_what_was_not_started_is_not_told() -> None:
    assert translate(event(1, "create", ""), event(2, "exit"), event(3, "delete", "")) == []
    assert translate(event(2, "exit"), not_started=frozenset({7})) == []
    assert translate(event(2, "exit")) == [("exit", "init", 3)], "its start was before the stream"
    again = translate(event(1, "create", ""), event(2, "start"), event(3, "exit"), event(4, "exit"))
    assert [kind for kind, _, _ in again] == ["start-container", "exit", "exit"], "a container may be started again"


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        (pb.AddProcessRequest, ("id1 terminal2 user3 args4 env5 cwd6 pid7 stdin8 stdout9 stderr10 capabilities11"
         " apparmorProfile12 selinuxLabel13 noNewPrivileges14 rlimits15")),
        (pb.CreateContainerRequest, ("id1 bundlePath2 checkpoint3 stdin4 stdout5 stderr6 labels7 noPivotRoot8 runtime9"
         " runtimeArgs10 checkpointDir11")),
        (pb.Container, "id1 bundlePath2 processes3 status4 labels5 pids6 runtime7"),
        (pb.Event, "type1 id2 status3 pid4 timestamp6"),
        (pb.EventsRequest, "timestamp2 storedOnly3 id4"),
        (pb.StatsResponse, "network_stats1 cgroup_stats2 timestamp4"),
        (pb.NetworkStats, ("name1 rx_bytes2 rx_Packets3 Rx_errors4 Rx_dropped5 Tx_bytes6 Tx_packets7 Tx_errors8"
         " Tx_dropped9")),
        (pb.SignalRequest, "id1 pid2 signal3"),
        (pb.UpdateProcessRequest, "id1 pid2 closeStdin3 width4 height5"),
        (pb.StateResponse, "containers1 machine2"),
    ],
)  # fmt: skip
def test_numbers_on_the_wire_never_change(message: type[pb.Event], numbers: str) -> None:
    assert [f"{field.name}{field.number}" for field in message.DESCRIPTOR.fields] == numbers.split()


def test_a_process_whose_specification_is_nonsense_is_shown_all_the_same() -> None:
    for spec in ({"user": 5}, {"rlimits": [1]}, {"args": [None]}, {"user": {"uid": -1}}, {"cwd": "\ud800"}):
        assert v0_state.process("e1", spec, 12) == pb.Process(pid="e1", systemPid=12)
