"""The content of writable layers, copied from and into containers that nobody writes to at the moment."""

from __future__ import annotations

import shutil
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint
from wherry.runtime import removal, spawn
from wherry.supervisor.core import Core

#: What layers are called in a container's directory: `upper`, `here-upper` (oci/layers.py).
_NAMES = "*upper"
#: Where they are while others are put in their place.
_NEW, _OLD = "layers.new", "layers.old"


async def copy_out(directory: Path, target: Path) -> None:
    """Copy the layers in a container's `directory` to `target`. Raises ResourceExhausted or Internal."""
    target.mkdir(mode=0o700, exist_ok=True)
    await _copy(sorted(directory.glob(_NAMES)), target)


async def copy_in(core: Core, source: Path, directory: Path) -> None:
    """Put the layers in `source` in the place of those in a container's `directory`, which are kept aside.

    Raises DataLoss unless it has each of them, ResourceExhausted or Internal.
    """
    names = sorted(path.name for path in directory.glob(_NAMES))
    for name in names:
        if not (source / name).is_dir() or (source / name).is_symlink():
            raise errors.DataLoss(f"the checkpoint has no layer {name}: {source / name} is no directory")
    new = directory / _NEW
    failpoint.hit("layer.mkdir")
    new.mkdir(mode=0o700)
    await _copy([source / name for name in names], new)
    await core.thread(_swap, names, directory)


def _swap(names: list[str], directory: Path) -> None:
    old = directory / _OLD
    old.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        failpoint.hit("layer.aside")
        (directory / name).rename(old / name)
        failpoint.hit("layer.rename")
        (directory / _NEW / name).rename(directory / name)
    (directory / _NEW).rmdir()


def put_back(directory: Path) -> None:
    """Undo `copy_in`, if there was one: the layers that were kept aside are the container's again. Blocks."""
    removal.remove_tree(directory / _NEW)
    for path in (directory / _OLD).glob(_NAMES):
        removal.remove_tree(directory / path.name)
        failpoint.hit("layer.back")
        path.rename(directory / path.name)
    removal.remove_tree(directory / _OLD)


def let_go(directory: Path) -> None:
    """Remove the layers that `copy_in` has kept aside. Blocks."""
    removal.remove_tree(directory / _OLD)


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
