"""What the state directory holds when a supervisor starts: every container, and what is none is moved aside."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint
from wherry.model import ids
from wherry.model.lifecycle import State
from wherry.model.request import CreateRequest
from wherry.runtime import container as containers
from wherry.runtime import removal
from wherry.runtime.container import Container, Record
from wherry.supervisor.core import SHORTAGE_RETRY, Core
from wherry.supervisor.live import LiveContainer

_logger = logging.getLogger(__name__)

#: Seconds for the record of a container to be read while descriptors or memory are short.
PATIENCE = 10.0


async def find(core: Core) -> list[LiveContainer]:
    """Return every container that has a directory. Raises ResourceExhausted and the like, to be tried again."""
    try:
        return await core.thread(_survey, core)
    except OSError as error:
        raise errors.from_os("survey the state directory", error) from error


def _survey(core: Core) -> list[LiveContainer]:
    """Return every container that has a directory; move aside what is no container."""
    found: list[LiveContainer] = []
    state = core.directories.state
    for namespace in sorted(state.iterdir()):
        if namespace.name.startswith((".probe-", containers.TRASH)):
            remove(namespace)
        if not namespace.is_dir() or namespace.is_symlink() or not _is_id(namespace.name, ids.RESERVED_NAMESPACES):
            continue
        for path in sorted(namespace.iterdir()):
            if path.name.startswith(containers.TRASH):
                remove(path)
            elif path.is_dir() and not path.is_symlink() and _is_id(path.name):
                if _is_only_begun(path):
                    remove(path)
                    continue
                found.append(_load(core, namespace.name, path.name))
            elif not path.name.startswith("."):
                _move_aside(core, path, "container")
    failpoint.hit("recover.surveyed")
    return found


def _move_aside(core: Core, path: Path, what: str) -> None:
    try:
        containers.move_aside(path, core.directories.quarantine)
        _logger.warning("%s is no %s; moved to quarantine", path, what)
    except OSError as error:  # it must not keep the containers from recovery
        _logger.error("%s is no %s, and cannot be moved to quarantine: %s", path, what, error)


def _is_only_begun(directory: Path) -> bool:
    """Tell whether a container's directory was made and nothing else: the daemon died before state.json was there."""
    return all(path.name == ".state.json.new" for path in directory.iterdir())


def remove(path: Path) -> None:
    """Remove a tree, as far as it can be."""
    try:
        removal.remove_tree(path)
    except OSError as error:
        _logger.error("cannot remove %s: %s", path, error)


def _is_id(name: str, reserved: frozenset[str] = frozenset()) -> bool:
    return ids.PATTERN.fullmatch(name) is not None and name not in reserved


def _load(core: Core, namespace: str, container_id: str) -> LiveContainer:
    disk = Container(core.directories, namespace, container_id)
    try:
        saved = _load_patiently(disk)
        if saved.checkpointing:  # a name that is none would keep whoever looks for its directory from all the others
            core.checkpoints.path(namespace, container_id, saved.checkpointing)
        live = LiveContainer(disk, saved)
    except errors.WherryError as error:
        generation = core.journal.generations.get((namespace, container_id), 0)
        live = LiveContainer(disk, Record(generation=generation, request=CreateRequest(id=container_id)))
        make_unknown(core, live, error.message)
        # What could not even be opened may be sound: the next supervisor tries again.
        if isinstance(error, errors.DataLoss) and (disk.directory / "state.json").exists():
            _move_aside(core, disk.directory / "state.json", "record of a container")
    live.made.set()
    return live


def _load_patiently(disk: Container) -> Record:
    """Load a container, again and again for a while if descriptors or memory are short. Blocks, bounded."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return disk.load()
        except errors.ResourceExhausted:
            if time.monotonic() > give_up:
                raise
            time.sleep(SHORTAGE_RETRY)


def make_unknown(core: Core, live: LiveContainer, problem: str) -> None:
    """Show a container as `unknown`; its state.json is left as it is, for whoever looks into it."""
    _logger.error("container %s: %s", live.id, problem)
    told = core.journal.find_told(live.saved.generation, ids.INIT, 0)
    told = told or core.journal.find_told(live.saved.generation, "", 0)  # what was never started has a process, too
    live.owes_exit = told in ("create", "update", "start", "oom", "pause", "resume")
    live.problem = problem
    live.saved = Record(
        generation=live.saved.generation,
        request=live.saved.request,
        state=State.UNKNOWN.value,
        runtime=live.saved.runtime,
        cgroup=live.saved.cgroup,
    )
    live.pulse()
