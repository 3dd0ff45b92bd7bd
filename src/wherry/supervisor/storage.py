"""The content of writable layers, copied from and into containers that nobody writes to at the moment."""

from __future__ import annotations

import shutil
from pathlib import Path

from wherry import errors
from wherry.runtime import removal, spawn
from wherry.supervisor.core import Core

#: What layers are called in a container's directory: `upper`, `here-upper` (oci/layers.py).
_NAMES = "*upper"


async def copy_out(directory: Path, target: Path) -> None:
    """Copy the layers in a container's `directory` to `target`. Raises ResourceExhausted or Internal."""
    target.mkdir(mode=0o700, exist_ok=True)
    await _copy(sorted(directory.glob(_NAMES)), target)


async def copy_in(core: Core, source: Path, directory: Path) -> None:
    """Replace the layers in a container's `directory` by those in `source`."""
    layers = sorted(source.glob(_NAMES)) if source.is_dir() else []
    for layer in layers:
        await core.thread(removal.remove_tree, directory / layer.name)
    await _copy(layers, directory)


async def _copy(layers: list[Path], target: Path) -> None:
    """Copy whole trees as cp(1) does it: whiteouts, attributes, links and holes stay what they are."""
    if not layers:
        return
    cp = shutil.which("cp")
    if cp is None:
        raise errors.FailedPrecondition("cannot copy a writable layer: cp is not on PATH")
    argv = [cp, "--archive", "--reflink=auto", "--", *map(str, layers), str(target)]
    result = await spawn.run(argv, timeout=None)
    if result.status != 0:
        lines = result.output.strip().splitlines()
        said = lines[-1] if lines else f"cp ended with status {result.status}"
        kind = errors.ResourceExhausted if "No space left" in said or "quota" in said else errors.Internal
        raise kind(f"cannot copy a writable layer: {said}")
