"""What is measured beside Wherry: installed when missing and allowed, else left out with a word."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from bench.stage import Stage

#: Debian's package of each program; crun, runc and busybox are the business of tools/host.sh.
_PACKAGES = {"containerd": "containerd", "conmon": "conmon"}


def install(stage: Stage) -> None:
    """Install the peers that are missing, saying so."""
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        stage.remark(f"no apt-get here: install {', '.join(missing)} yourself to have them measured")
        return
    stage.say(f"installing {', '.join(missing)} with apt-get; Debian starts containerd's service where systemd runs")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=environment, stdout=subprocess.DEVNULL)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
        stage.remark(f"{', '.join(missing)} could not be installed")


@functools.cache
def find(program: str) -> str:
    """Return the path of a program, "" when it is not here."""
    # PATH of an ordinary user lacks the directories where Debian puts runc.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin") or ""
