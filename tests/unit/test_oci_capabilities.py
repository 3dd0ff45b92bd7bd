"""Which capabilities a container gets."""

from __future__ import annotations

import pytest

from wherry import errors
from wherry.oci import capabilities

ALL = frozenset(capabilities.NAMES)


def choose(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), *, privileged: bool = False) -> set[str]:
    return set(capabilities.choose(add, drop, privileged=privileged, held=ALL))


def test_the_table_has_the_kernels_numbers() -> None:
    # linux/capability.h
    for name, number in (("CHOWN", 0), ("NET_RAW", 13), ("SYS_ADMIN", 21), ("MKNOD", 27), ("SYSLOG", 34)):
        assert capabilities.NAMES[number] == f"CAP_{name}"
    assert capabilities.NAMES[40] == "CAP_CHECKPOINT_RESTORE"
    assert len(capabilities.NAMES) == 41
    assert capabilities.DEFAULT <= ALL


@pytest.mark.parametrize("name", ["chown", "CHOWN", "cap_chown", "CAP_CHOWN", "Cap_Chown"])
def test_a_name_is_known_in_any_form(name: str) -> None:
    assert capabilities.parse(name) == "CAP_CHOWN"


@pytest.mark.parametrize(
    "name", ["", "CAP_", "CAP_ALL", "CAP_CAP_CHOWN", "ROOT", "chown ", "chown\n", "\u017fys_admin"]
)
def test_an_unknown_name_is_named(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="no capability has that name"):
        capabilities.parse(name)


def test_adding_and_dropping() -> None:
    assert choose() == capabilities.DEFAULT
    assert choose(("net_raw",), ("chown",)) == capabilities.DEFAULT - {"CAP_CHOWN"} | {"CAP_NET_RAW"}
    assert choose(("kill",), ("all",)) == {"CAP_KILL"}
    assert choose(("ALL",), ("sys_admin",)) == ALL - {"CAP_SYS_ADMIN"}
    assert choose(privileged=True) == ALL
    assert choose(drop=("ALL",)) == set()


@pytest.mark.parametrize("name", ["kill", "ALL"])
def test_what_is_both_added_and_dropped_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="both added and dropped"):
        capabilities.check((name,), (name,))


def test_what_the_daemon_lacks_is_left_out_unless_asked_for_by_name() -> None:
    held = ALL - {"CAP_CHOWN", "CAP_SYS_RESOURCE"}
    assert "CAP_CHOWN" not in capabilities.choose((), (), privileged=False, held=held)
    assert set(capabilities.choose((), (), privileged=True, held=held)) == held
    assert set(capabilities.choose(("ALL",), (), privileged=False, held=held)) == held
    with pytest.raises(errors.PermissionDenied, match="cannot add capability CAP_SYS_RESOURCE"):
        capabilities.choose(("sys_resource",), (), privileged=False, held=held)


def test_nothing_is_ever_inheritable_or_ambient_and_only_root_holds() -> None:
    for uid in (0, 1000):
        sets = capabilities.sets(("CAP_KILL",), uid)
        assert sets["inheritable"] == sets["ambient"] == []
        assert sets["bounding"] == ["CAP_KILL"]
        assert sets["effective"] == sets["permitted"] == (["CAP_KILL"] if uid == 0 else [])


def test_the_status_of_a_process_is_read() -> None:
    status = "Name:\tx\nCapPrm:\t0000000000000003\nCapEff:\t0000000000000003\nCapBnd:\t0000000000000001\n"
    assert capabilities.parse_status(status) == {"CAP_CHOWN"}
    assert capabilities.parse_status("") == frozenset()
    assert capabilities.held() <= ALL
