"""The fuzz targets work, without the fuzzer, and what they have found stays mended."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from fuzz import __main__ as fuzz

ROOT = Path(__file__).parents[2]
TARGETS = fuzz.load()
#: Random inputs for each target, and the longest, bytes.
INPUTS = 40
LONGEST = 300


@pytest.mark.parametrize("name", TARGETS)
def test_target_finds_nothing_in_its_corpus_nor_in_random_bytes(name: str) -> None:
    target = TARGETS[name]
    files = sorted(target.corpus.iterdir())
    assert files, "nothing to begin with"
    for file in files:
        try:
            target.run(file.read_bytes())
        except BaseException as error:
            error.add_note(f"input: {file}")
            raise
    chance = random.Random(name)
    for _ in range(INPUTS):
        data = chance.randbytes(chance.randrange(LONGEST))
        try:
            target.run(data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise


def test_corpora_are_small_and_of_targets_that_there_are() -> None:
    corpus = ROOT / "fuzz" / "corpus"
    assert {path.name for path in corpus.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.rglob("*") if path.is_file()) < 200 * 1024


def test_fuzzer_is_locked_with_hashes_and_without_a_place() -> None:
    text = (ROOT / "fuzz" / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert re.fullmatch(r"atheris==[\d.]+ \\", lines[0])
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in lines[1:])
    assert not re.search(r"https?:|file:|--index", text)


def test_crashing_input_is_named_and_can_be_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"tcp://host:1")
    assert fuzz.main(["address", str(file)]) == 0
    assert "nothing found" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        fuzz.main(["no-such-target"])
