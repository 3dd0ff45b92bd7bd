"""What a shim starts: the OOM killer may have it, though it must not have the daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wherry.shim import record


@pytest.mark.parametrize(("ours", "theirs"), [("-900\n", "0"), ("0\n", "0\n"), ("500\n", "500\n")])
def test_what_is_started_is_not_spared_as_the_daemon_is(
    ours: str, theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file in the place of the kernel's: to be spared takes a right (CAP_SYS_RESOURCE) that few test machines give.
    score = tmp_path / "oom_score_adj"
    score.write_text(ours)
    monkeypatch.setattr(record, "OOM_SCORE", str(score))
    monkeypatch.setattr(record, "_is_spared", False)
    record.learn_oom_score()
    pid = record.spawn(["/bin/true"], [0, 1, 2], [])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with score.open() as file:
        assert file.read(len(theirs)) == theirs
