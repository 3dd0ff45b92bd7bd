"""What others have named reaches the terminal of root as text, and never as a command to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support import rootfs
from tests.support.daemon import Daemon

#: Sets the title of a terminal, and clears it.
EVIL = "\x1b]0;owned\x07\x1b[2J"
SHOWN = r"\x1b]0;owned\x07\x1b[2J"


def test_the_command_of_a_bundle_is_shown_and_not_obeyed(
    make_daemon: Callable[..., Daemon], runtime: str, busybox_rootfs: Path, tmp_path: Path
) -> None:
    daemon = make_daemon(runtime=runtime)
    bundle = rootfs.make_bundle(tmp_path / "bundle", busybox_rootfs, EVIL)
    done = daemon.cli("run", "--name", "b", f"bundle:{bundle}")
    assert done.returncode == 127, done.stderr
    assert SHOWN in done.stderr
    assert "\x1b" not in done.stdout + done.stderr + daemon.log_text


def test_names_of_files_are_shown_and_not_obeyed(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / EVIL).mkdir()
    for words in (("checkpoint", "import", str(tmp_path / EVIL)), ("ps", EVIL), ("rm", EVIL)):
        done = daemon.cli(*words, cwd=tmp_path)
        assert done.returncode != 0
        assert SHOWN in done.stderr, words
        assert "\x1b" not in done.stdout + done.stderr
