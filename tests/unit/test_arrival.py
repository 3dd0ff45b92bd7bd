"""The entries of migrations on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry import errors
from wherry.supervisor.arrival import Entry, Ledger

TOKEN = "0123456789abcdef"


def test_an_entry_is_read_back_and_forgotten(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.load(TOKEN) is None
    ledger.save(Entry(token=TOKEN, id="a", namespace="default", state="failed", problem="no room"))
    found = ledger.load(TOKEN)
    assert found is not None
    assert (found.id, found.state, found.problem) == ("a", "failed", "no room")
    assert found.at_ns > 0
    assert ledger.list() == [found]
    ledger.remove(TOKEN)
    assert ledger.load(TOKEN) is None
    assert list(tmp_path.iterdir()) == []
    ledger.remove(TOKEN)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 5}', '{"token": "x"}'])
def test_what_cannot_be_understood_is_no_answer(tmp_path: Path, content: str) -> None:
    """Else the other side would be told that a container does not run here that may."""
    ledger = Ledger(tmp_path)
    ledger.save(Entry(token=TOKEN, id="a", namespace="default"))
    (tmp_path / ".migrations" / TOKEN).write_text(content)
    with pytest.raises(errors.DataLoss):
        ledger.load(TOKEN)
    assert ledger.list() == []


def test_foreign_files_are_passed_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.save(Entry(token=TOKEN, id="a", namespace="default"))
    (tmp_path / ".migrations/README").write_text("x")
    (tmp_path / ".migrations" / f".{TOKEN}.new").write_text("x")
    assert [entry.token for entry in ledger.list()] == [TOKEN]
