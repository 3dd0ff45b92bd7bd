"""A container as a directory: the ancestor's `Container`, with the state it lacked.

state.json keeps the ancestor's keys (v0-system 1.2) and adds ours: what was asked for, where the container is in its
life, and what the daemon was about to do with it (`goal`), so that it can be finished or undone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from wherry import errors
from wherry.linux import failpoint
from wherry.model import codec, ids
from wherry.model.lifecycle import State
from wherry.model.request import CreateRequest, Limits
from wherry.model.status import ExitRecord
from wherry.runtime import log, record, removal
from wherry.runtime.process import Process

#: Where torn and foreign files go, in the state directory.
QUARANTINE = "quarantine"
#: Prefix of directories that are being removed; a leading dot is never an id.
TRASH = ".removed-"


#: Hidden from containers even when this supervisor has other ones: a daemon beside it may have these.
DEFAULT_DIRS = (Path("/run/wherry"), Path("/var/lib/wherry"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """The durable state of one container.

    `generation` tells this container from an earlier one of the same id. `goal` is `created` or `running`: what is to
    be finished when the daemon dies half-way. `stop_deadline_ns`: when a stop under way becomes SIGKILL, Unix time,
    at most `stop_timeout` seconds from now (-1: nobody wrote that down).
    `private_pid`: its processes end with `init` (pid_namespaces(7)). `mounts` are those of the root filesystem, as the
    zygote gets them. `is_plain`: a runtime keeps nothing of it but a directory below its --root and cgroups. `limits`
    are what updates have changed since the creation.

    Of restarts: `restarts` of all time, `attempts` in a row, `restart_at_ns` when the next is due (Unix time),
    `by_hand`: somebody wanted it to end, `wants_restart`: it is to be started again whatever the policy, `end_reason`:
    why we end it, `last_exit`: how it ended the last time. `health` is the last status that was told, or
    `starting` just before. `updating` are limits that are being changed, since `updating_at_ns`.

    Of checkpoints: `checkpointing` is the name of the one that is being written; `checkpoint`, as ID/NAME, the one that
    the present run goes on from, or the next one is to; `made_from` that of its first run. `moving_to` is the address
    of the supervisor that it is being handed over to; once that `is_asked` to let it go on there, its answer counts.
    """

    generation: int
    request: CreateRequest
    state: str = State.CREATING.value
    goal: str = State.CREATED.value
    runtime: str = ""
    bundle: str = ""
    rootfs: str = ""
    cgroup: str = ""
    layer: str = ""
    private_pid: bool = True
    root_uid: int = 0
    root_gid: int = 0
    created_at_ns: int = 0
    started_at_ns: int = 0
    stop_deadline_ns: int = 0
    stop_timeout: float = -1.0
    mounts: tuple[str, ...] = ()
    is_plain: bool = False
    limits: Limits = Limits()
    restarts: int = 0
    attempts: int = 0
    restart_at_ns: int = 0
    by_hand: bool = False
    wants_restart: bool = False
    end_reason: str = ""
    last_exit: ExitRecord | None = None
    health: str = ""
    updating: Limits | None = None
    updating_at_ns: int = 0
    checkpointing: str = ""
    checkpoint: str = ""
    made_from: str = ""
    moving_to: str = ""
    is_asked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Directories:
    """The two trees on disk (docs/protocol.md): `state` is lost at reboot, `root` is kept."""

    state: Path
    root: Path

    def find_own(self) -> list[Path]:
        """Return every directory of Wherry's that is there, those of a daemon at the usual places included."""
        return [path for path in (self.state, self.root, *DEFAULT_DIRS) if path.exists()]

    @property
    def journal(self) -> Path:
        """The event journal."""
        return self.root / "journal"

    @property
    def quarantine(self) -> Path:
        """What could not be understood."""
        return self.state / QUARANTINE

    def container(self, namespace: str, container_id: str) -> Path:
        """The directory of a container's state and processes."""
        return self.state / namespace / container_id

    def storage(self, namespace: str, container_id: str) -> Path:
        """The directory of a container's bundle, writable layer and logs."""
        return self.root / "containers" / namespace / container_id

    def runtime_root(self, namespace: str, runtime: str) -> Path:
        """The OCI runtime's own state directory (its --root); a leading dot is never an id."""
        return self.state / namespace / f".{Path(runtime).name}"


class Container:
    """The directories of one container."""

    def __init__(self, directories: Directories, namespace: str, container_id: str) -> None:
        self.namespace = namespace
        self.id = container_id
        self.directory = directories.container(namespace, container_id)
        self.storage = directories.storage(namespace, container_id)
        #: The directory is there, and this container's.
        self.is_made = False

    def create(self) -> None:
        """Make both directories; without state.json they are nobody's. Raises AlreadyExists when the id's is there."""
        failpoint.hit("container.mkdir")
        self.directory.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError as error:
            raise errors.AlreadyExists(f"cannot create container {self.id}: {self.directory} exists") from error
        self.is_made = True
        failpoint.hit("storage.mkdir")
        if self.storage.exists():  # of a container that a reboot took
            discard(self.storage)
        self.storage.mkdir(mode=0o700, parents=True)

    def save(self, saved: Record) -> None:
        """Write state.json."""
        request = saved.request
        ancestors = {
            "bundle": saved.bundle,
            "labels": [f"{name}={value}" for name, value in request.labels.items()],
            "stdin": request.stdio.stdin,
            "stdout": request.stdio.stdout,
            "stderr": request.stdio.stderr,
            "runtime": saved.runtime,
            "runtimeArgs": list(request.runtime_args),
            "shim": "wherry-shim",
            "noPivotRoot": request.no_pivot,
        }
        record.write_json(self.directory / "state.json", ancestors | codec.to_plain(saved))

    def load(self) -> Record:
        """Return what state.json holds. Raises DataLoss for a missing, torn, empty or foreign one."""
        path = self.directory / "state.json"
        try:
            saved = codec.from_plain(Record, record.read_json(path))
            State(saved.state)
            self.is_made = True
        except FileNotFoundError as error:
            raise errors.DataLoss(f"cannot load container {self.id}: state.json is missing") from error
        except ValueError as error:
            raise errors.DataLoss(f"cannot read {path}: {error}") from error
        return saved

    def process_directory(self, process_id: str) -> Path:
        """Return the directory of one process."""
        return self.directory / process_id

    def log_path(self, process_id: str) -> Path:
        """Return the managed log of one process."""
        return self.storage / f"{process_id}.log"

    def process_ids(self) -> list[str]:
        """Return the ids of all processes that have a directory."""
        return [path.name for path in self.directory.iterdir() if path.is_dir() and ids.PATTERN.fullmatch(path.name)]

    def load_process(self, process_id: str) -> Process:
        """Return a process after a restart. Raises DataLoss."""
        return Process.load(self.process_directory(process_id))

    def remove_process(self, process_id: str, *, with_log: bool = True) -> None:
        """Remove the directory and the logs of one process."""
        discard(self.process_directory(process_id))
        if not with_log:
            return
        path = self.log_path(process_id)
        for file in (path, *(rotated for _, rotated in log.list_rotated(path))):
            file.unlink(missing_ok=True)


def move_aside(path: Path, quarantine: Path) -> Path:
    """Move `path` into the quarantine directory under a name that is free, and return where it is now."""
    quarantine.mkdir(mode=0o700, exist_ok=True)
    number = 0
    while (target := quarantine / f"{path.parent.name}-{path.name}.{number}").exists():
        number += 1
    failpoint.hit("quarantine.rename")
    shutil.move(path, target)
    return target


def discard(directory: Path) -> None:
    """Remove a directory tree so that its name is free at once, and a half-removed one is known as such."""
    trash = directory.with_name(f"{TRASH}{directory.name}")
    number = 0
    failpoint.hit("discard.rename")
    while True:
        try:
            directory.rename(trash)
            break
        except FileNotFoundError:
            break  # nothing was there, or an earlier try has failed behind this
        except OSError:  # an earlier one of the same name is still being removed
            number += 1
            trash = directory.with_name(f"{TRASH}{directory.name}.{number}")
            if number > 1000:
                raise
    failpoint.hit("discard.remove")
    removal.remove_tree(trash)
