"""The machine that is measured, and the version of everything that takes part."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import wherry
from wherry.linux import cgroup

_PROGRAMS = ("crun", "runc", "containerd", "conmon", "busybox")
_PACKAGES = ("grpcio", "protobuf")


def describe() -> dict[str, str]:
    """Return processor, memory, kernel, cgroups and versions, each as a few words."""
    processor = _first("/proc/cpuinfo", r"model name\s*:\s*(.*)")
    memory_kb = _first("/proc/meminfo", r"MemTotal:\s*(\d+)")
    return {
        "processor": f"{processor or platform.machine()}, {_count_cpus()}",
        "memory": f"{int(memory_kb or 0) / 1048576:.1f} GiB",
        "kernel": platform.release(),
        "cgroups": cgroup.read_mode(),
        "load before": _first("/proc/loadavg", r"(\S+ \S+ \S+)"),
        "python": platform.python_version(),
        "wherry": wherry.__version__,
        **{name: metadata.version(name) for name in _PACKAGES},
        **{name: read_version(name) for name in _PROGRAMS if shutil.which(name)},
    }


def format_lines(machine: Mapping[str, str]) -> list[str]:
    """Return the description as one line a thing."""
    return [f"{name}: {value}" for name, value in machine.items() if value]


def read_version(program: str) -> str:
    """Return the version that a program says it has, "" when it says none."""
    option = "--help" if program == "busybox" else "--version"
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    return parse_version(done.stdout or done.stderr)


def parse_version(text: str) -> str:
    """Return what looks like a version in the first line of `text`."""
    found = re.search(r"\bv?(\d+\.\d+[\w.+~-]*)", text.partition("\n")[0])
    return found.group(1) if found else ""


def _count_cpus() -> str:
    count = len(os.sched_getaffinity(0))
    return "1 cpu" if count == 1 else f"{count} cpus"


def _first(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text())
    except OSError:
        return ""
    return found.group(1).strip() if found else ""
