"""Runtimes whose version has a public hole: said by `wherry info` and `wherry doctor`, and they work all the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, run_cli


@pytest.mark.requires("runc")
@pytest.mark.parametrize(("version", "is_old"), [("1.0.0", True), ("1.5.1", False)])
def test_info_and_doctor_warn_of_old_runtimes(
    make_daemon: Callable[..., Daemon], tmp_path: Path, version: str, is_old: bool
) -> None:
    runtime = tmp_path / "runc"
    runtime.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "runc version {version}" && exit\nexec {shutil.which("runc")} "$@"\n'
    )
    runtime.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    daemon = make_daemon(env=path, runtime="runc")
    (found,) = daemon.read("info")["runtimes"]
    assert (found["version"], found["problem"]) == (f"runc version {version}", "")
    assert ("CVE-2026-41579" in found["warning"]) is is_old
    assert ("warning: runc 1.0.0 is older than" in daemon.wherry("info")) is is_old
    assert ("version of runc: runc 1.0.0 is older than" in run_cli("doctor", env=path).stdout) is is_old
    assert daemon.wherry("run", "--rm", "host", "--", "echo", "works") == "works\n"
