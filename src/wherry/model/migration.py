"""Migration: a running container handed over from one supervisor to another.

Field names are those of `wire/wherry_v1.proto`. A migration has a token, made where the container runs; both sides know
it by that until both have forgotten it.
"""

from __future__ import annotations

from wherry.model import ids
from wherry.model.checkpoint import CheckpointInfo
from wherry.model.value import dataclass

#: What `Arrival.state` may say.
RUNNING = "running"
FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrateRequest:
    """Hand a running container over to the supervisor at the address `to` (tcp://HOST:PORT or unix://PATH).

    `pre_copy`, `tcp`, `unix_sockets` and `shell` are as for a checkpoint. `give_up`: let one go on here that is being
    handed over to a supervisor that does not answer; only who knows that it does not run there may say so.
    """

    id: str
    namespace: str = ids.DEFAULT_NAMESPACE
    to: str = ""
    pre_copy: int = 0
    tcp: bool = False
    unix_sockets: bool = False
    shell: bool = False
    give_up: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationInfo:
    """How a migration went: for `downtime_us` microseconds nobody ran it, `sent_bytes` is the size of its archive."""

    id: str
    namespace: str
    to: str = ""
    downtime_us: int = 0
    sent_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationOffer:
    """What is to come: the migration `token`, and what is known of the container beforehand."""

    token: str
    info: CheckpointInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationToken:
    """Names a migration."""

    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What became of a migration that was to be completed: `running`, now and for good, or `failed`, for good, and why.

    An answer holds: it is the same to the same question until the migration is forgotten.
    """

    state: str
    problem: str = ""
