#!/usr/bin/env python3
"""What a seccomp filter costs the start of a container: none, Wherry's own, and the same the other way round.

Prints, for each OCI runtime on PATH, the median time of `run` of `true` in milliseconds and its ratio to no filter.
Needs root and libseccomp, which both runtimes use. The figures of docs/decisions/0002-seccomp-deny-list.md are its.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from wherry.model.request import CreateRequest, Mount
from wherry.oci import capabilities, mounts, seccomp, spec, users

#: Above every system call number that libseccomp has a name for.
_MAX_SYSCALL = 600


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="runs of each (%(default)s)")
    rounds = parser.parse_args().rounds
    profiles = {"none": None, "deny": seccomp.profile(capabilities.DEFAULT), "allow": invert()}
    for runtime in filter(shutil.which, ("crun", "runc")):
        times: dict[str, list[float]] = {name: [] for name in profiles}
        # In turns and in a random order: what else the machine does, and what the kernel still clears up of the last
        # run, falls on all alike.
        for number in range(rounds):
            for name in random.sample(list(profiles), len(profiles)):
                times[name].append(run(runtime, f"seccomp-cost-{name}-{number}", profiles[name]))
        medians = {name: statistics.median(found) for name, found in times.items()}
        for name, median in medians.items():
            print(f"{runtime} {name:5} {median * 1000:6.1f} ms  {median / medians['none']:.2f}", flush=True)


def invert() -> dict[str, Any]:
    """Return a filter that refuses by default and allows by name what Wherry's allows, as the field has it."""
    own = seccomp.profile(capabilities.DEFAULT)
    denied = {name for rule in own["syscalls"] if "args" not in rule for name in rule["names"]}
    rule = {"names": sorted(set(syscalls()) - denied), "action": "SCMP_ACT_ALLOW"}
    return {**own, "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}


def syscalls() -> list[str]:
    """Return the names that libseccomp knows for this machine's system calls."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    native = library.seccomp_arch_native()
    found = (library.seccomp_syscall_resolve_num_arch(native, number) for number in range(_MAX_SYSCALL))
    return [name.decode() for name in found if name]


def run(runtime: str, name: str, profile: dict[str, Any] | None) -> float:
    """Return how long `runtime` took to run `true` on this machine's programs, in seconds."""
    with tempfile.TemporaryDirectory() as bundle:
        Path(bundle, "config.json").write_text(json.dumps(compose(name, Path(bundle, "rootfs"), profile)))
        began = time.perf_counter()
        subprocess.run([runtime, "run", "--bundle", bundle, name], check=True, stdin=subprocess.DEVNULL)
        return time.perf_counter() - began


def compose(name: str, root: Path, profile: dict[str, Any] | None) -> dict[str, Any]:
    """Make the root directory `root` and return the configuration that runs `true` there under `profile`."""
    root.mkdir()
    shown = []
    for top in (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64")):
        if top.is_symlink():
            root.joinpath(top.name).symlink_to(top.readlink())
        elif top.is_dir():
            shown.append(Mount(target=str(top), source=str(top), read_only=True))
    findings = spec.Findings(
        root=str(root),
        workdir="/",
        account=users.resolve("/", ""),
        held=capabilities.held(),
        mounts=tuple(mounts.compose(shown)),
        masked=(),
        cgroups_path=f"/{name}",
        cgroup_namespace=True,
    )
    config = spec.compose(CreateRequest(id=name, args=("/bin/true",), read_only=True), findings)
    config["linux"].pop("seccomp")
    if profile is not None:
        config["linux"]["seccomp"] = profile
    return config


if __name__ == "__main__":
    main()
