"""What the seccomp filter refuses, and what gives it back."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from wherry.oci import capabilities, seccomp


def denied(profile: dict[str, Any]) -> set[str]:
    """Return the names refused whatever their arguments."""
    return {name for rule in profile["syscalls"] if "args" not in rule for name in rule["names"]}


def flags(profile: dict[str, Any], name: str) -> list[int]:
    return [rule["args"][0]["value"] for rule in profile["syscalls"] if rule["names"] == [name] and "args" in rule]


def test_both_apis_of_mounting_and_every_new_namespace_are_refused() -> None:
    profile = seccomp.profile(capabilities.DEFAULT, "x86_64")
    assert profile["defaultAction"] == "SCMP_ACT_ALLOW"
    assert {"mount", "umount2", "fsopen", "move_mount", "open_tree", "setns", "bpf", "kexec_load"} <= denied(profile)
    assert {"keyctl", "io_uring_setup", "userfaultfd", "init_module", "open_by_handle_at"} <= denied(profile)
    assert sum(flags(profile, "clone")) == 0x7E020000
    assert sum(flags(profile, "unshare")) == 0x7E020080
    assert not {"clone", "unshare", "ptrace", "seccomp", "landlock_create_ruleset", "socket"} & denied(profile)


def test_clone3_is_told_it_does_not_exist() -> None:
    rules = seccomp.profile((), "x86_64")["syscalls"]
    assert [rule["errnoRet"] for rule in rules if rule["names"] == ["clone3"]] == [errno.ENOSYS]


@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_ADMIN", "bpf"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_PTRACE", "pidfd_getfd"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_a_capability_gives_back_its_calls_and_no_others(capability: str, name: str) -> None:
    base = denied(seccomp.profile(capabilities.DEFAULT, "x86_64"))
    unlocked = base - denied(seccomp.profile({*capabilities.DEFAULT, capability}, "x86_64"))
    assert name in unlocked
    assert not unlocked & {"keyctl", "io_uring_setup"}
    if capability != "CAP_SYS_ADMIN":
        assert "mount" not in unlocked


def test_the_admin_may_make_namespaces() -> None:
    profile = seccomp.profile({"CAP_SYS_ADMIN"}, "x86_64")
    assert flags(profile, "clone") == flags(profile, "unshare") == []


def test_no_name_stands_twice_and_every_capability_exists() -> None:
    names = [name for _, row in seccomp.DENIED for name in row.split()]
    assert len(names) == len(set(names))
    assert {name for unlocked, _ in seccomp.DENIED for name in unlocked} <= set(capabilities.NAMES)


def test_architectures_and_the_place_of_clones_flags() -> None:
    assert seccomp.profile((), "x86_64")["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert seccomp.profile((), "aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "architectures" not in seccomp.profile((), "vax")
    rules = seccomp.profile((), "s390x")["syscalls"]
    assert {rule["args"][0]["index"] for rule in rules if rule["names"] == ["clone"]} == {1}


def test_two_profiles_share_nothing() -> None:
    one = seccomp.profile((), "x86_64")
    one["syscalls"][0]["names"].clear()
    one["architectures"].clear()
    assert "mount" in denied(seccomp.profile((), "x86_64"))
    assert seccomp.profile((), "x86_64")["architectures"]
