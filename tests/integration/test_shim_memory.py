"""What a shim costs while its container sleeps. `python -m bench memory` has it beside its peers."""

from __future__ import annotations

import pytest

from bench import shim_memory

#: kB. Measured 1120 and 990 at 50 (docs/decisions/0005-rehearsal.md); the wish is 500. A module imported after the
#: fork, or a rehearsal that no longer reaches a path, costs hundreds.
MAX_PSS = 1400
MAX_PRIVATE = 1250


@pytest.mark.requires("root", "mountns", "overlay")
async def test_fifty_idle_shims_stay_small() -> None:
    pss, private = await shim_memory.measure(50)
    assert pss <= MAX_PSS
    assert private <= MAX_PRIVATE
