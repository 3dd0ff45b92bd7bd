"""Versions of OCI runtimes below which a container can get out by a hole that is public."""

from __future__ import annotations

import re

#: First releases without a hole, for each line of releases that got one, by runtime; what is newer than all has it too.
#: From the changelogs: runc's of June 2026 (a link in place of a root filesystem's /dev leads mounts onto the host),
#: crun's NEWS of 1.28 (the same).
_FLOORS = {
    "runc": ("CVE-2026-41579", ((1, 3, 6), (1, 4, 3), (1, 5, 0))),
    "crun": ("CVE-2026-47766", ((1, 28, 0),)),
}
_VERSION = re.compile(r"^(\w+) version v?(\d+)\.(\d+)(?:\.(\d+))?(-rc)?", re.ASCII)


def find_warning(version: str) -> str:
    """Return what is to be said of a runtime whose `--version` begins with this line, "" when nothing is."""
    found = _VERSION.match(version)
    if found is None or found[1] not in _FLOORS:
        return ""
    number = (int(found[2]), int(found[3]), int(found[4] or 0))
    hole, floors = _FLOORS[found[1]]
    is_mended = number > floors[-1] or any(number[:2] == floor[:2] and number >= floor for floor in floors)
    if is_mended and not (found[5] and number in floors):
        return ""
    releases = ", ".join(".".join(map(str, floor)) for floor in floors)
    return (
        f"{found[1]} {'.'.join(map(str, number))} is older than the releases that mend {hole} ({releases}); unless your"
        " distribution has mended it under the old number, give it no root filesystem from people you do not trust"
    )
