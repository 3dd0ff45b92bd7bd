"""What a shim costs while its container sleeps. `python -m bench memory` has it beside its peers."""

from __future__ import annotations

import pytest

from bench import shim_memory

#: kB. Measured 530 and 396 at 50 (docs/decisions/0010-a-child-makes-the-process.md). A call more before the
#: first event, or a rehearsal that no longer reaches one, costs up to hundreds.
MAX_PSS = 650
MAX_PRIVATE = 500


@pytest.mark.requires("root", "mountns", "overlay")
async def test_fifty_idle_shims_stay_small() -> None:
    pss, private = await shim_memory.measure(50)
    assert pss <= MAX_PSS
    assert private <= MAX_PRIVATE
