"""The language of failpoints: what it says happens, and what it does not say does not."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wherry.linux import failpoint


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoint.arm("")


def test_nothing_happens_unless_asked_for() -> None:
    failpoint.arm("")
    failpoint.hit("x.y")
    failpoint.arm("x.z=error")
    failpoint.hit("x.y")


def test_terms_hold_for_their_counts_one_after_the_other() -> None:
    failpoint.arm("a.b=2*off->1*error(ENOSPC)->1*panic(so)->off")
    failpoint.hit("a.b")
    failpoint.hit("a.b")
    with pytest.raises(OSError, match="No space left on device: 'failpoint a.b'") as caught:
        failpoint.hit("a.b")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(failpoint.Panic, match="so at a.b"):
        failpoint.hit("a.b")
    for _ in range(5):
        failpoint.hit("a.b")


def test_a_sequence_that_is_used_up_does_nothing_and_one_without_count_never_is() -> None:
    failpoint.arm("a.b=1*error; a.c=error")
    with pytest.raises(OSError, match="Input/output error"):
        failpoint.hit("a.b")
    failpoint.hit("a.b")
    for _ in range(5):
        with pytest.raises(OSError, match="Input/output error"):
            failpoint.hit("a.c")


def test_a_delay_stands_still() -> None:
    failpoint.arm("a.b=1*delay(0.2)")
    begin = time.monotonic()
    failpoint.hit("a.b")
    assert time.monotonic() - begin >= 0.2
    failpoint.hit("a.b")


@pytest.mark.parametrize(
    ("terms", "status"), [("", -9), ("=kill", -9), ("=exit", 1), ("=exit(42)", 42), ("=1*off->exit(3)", 0)]
)
def test_a_process_ends_as_it_is_told(terms: str, status: int) -> None:
    script = f"from wherry.linux import failpoint as f; f.arm('a.b{terms}'); f.hit('a.b')"
    assert subprocess.run([sys.executable, "-c", script]).returncode == status


def test_print_says_where_it_is() -> None:
    script = "from wherry.linux import failpoint as f; f.arm('a.b=1*print'); f.hit('a.b'); f.hit('a.b')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "failpoint a.b\n")


def test_those_of_shims_are_armed_in_shims_only() -> None:
    text = "shim.x=error; y.z=error"
    failpoint.arm(text)
    failpoint.hit("shim.x")
    with pytest.raises(OSError, match="y.z"):
        failpoint.hit("y.z")
    failpoint.arm(text, in_shim=True)
    failpoint.hit("y.z")
    with pytest.raises(OSError, match="shim.x"):
        failpoint.hit("shim.x")


_WRONG = (
    "die 2* *kill x*kill kill(9) error(ENOTHING) error( exit(256) exit(x) delay(-1) delay(nan) delay(inf) 1*off->"
    " error(EIO)x -1*kill ²*kill off->->kill print(x)"
)


@pytest.mark.parametrize("terms", _WRONG.split())
def test_what_is_not_understood_is_refused_by_name(terms: str) -> None:
    for name in ("a.b", "shim.b"):
        with pytest.raises(ValueError, match=r"^WHERRY_FAILPOINTS: '"):
            failpoint.arm(f"{name}={terms}")
    with pytest.raises(ValueError, match="has no name"):
        failpoint.arm("=kill")


@given(some.text(alphabet="ab.=*->();1 0EIOkiloferrxt"))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        failpoint.arm(text)
