"""A container and its processes, as the library shows them."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from wherry.client import archives
from wherry.client.service import Attachment, Service
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.model import migration as mg
from wherry.model import request as req
from wherry.model import signals as signal_names
from wherry.model import status as st
from wherry.model.stats import Stats


def format_env(env: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    """Return `env` as NAME=VALUE strings; a mapping or such strings are taken."""
    if isinstance(env, Mapping):
        return tuple(f"{name}={value}" for name, value in env.items())
    return tuple(env)


class Process:
    """One process of a container: `init` or an exec."""

    def __init__(self, service: Service, namespace: str, container_id: str, process_id: str) -> None:
        self._service = service
        self.namespace = namespace
        self.container_id = container_id
        self.process_id = process_id
        #: What the handle is called by: a process's own id, a container's id.
        self.id = process_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.namespace}/{self.container_id}/{self.process_id}>"

    @property
    def _process_ref(self) -> req.ProcessRef:
        return req.ProcessRef(id=self.container_id, namespace=self.namespace, process=self.process_id)

    async def wait(self) -> st.ExitRecord:
        """Return how the process ended, waiting for it if need be. Raises NotFound once it is deleted."""
        return await self._service.wait(
            req.ProcessRef(id=self.container_id, namespace=self.namespace, process=self.process_id)
        )

    async def kill(self, signal: int | str | signals.Signals = signals.SIGTERM) -> None:
        """Send a signal, by number or name. Raises FailedPrecondition when the process has ended."""
        number = signal_names.parse(str(signal)) if isinstance(signal, str) else int(signal)
        await self._service.kill(
            req.KillRequest(id=self.container_id, namespace=self.namespace, process=self.process_id, signal=number)
        )

    async def resize(self, width: int, height: int) -> None:
        """Set the size of the process's terminal, columns and rows. Raises FailedPrecondition without a terminal."""
        await self._service.resize(
            req.ResizeRequest(
                id=self.container_id, namespace=self.namespace, process=self.process_id, width=width, height=height
            )
        )

    def attach(self, *, offset: int = 0) -> AbstractAsyncContextManager[Attachment]:
        """Attach to the managed stdio from `offset` in the log: 0 is the beginning, -1 is now."""
        return self._service.attach(
            req.AttachRequest(id=self.container_id, namespace=self.namespace, process=self.process_id, offset=offset)
        )

    def logs(self, *, follow: bool = False, since_ns: int = 0, tail: int = -1) -> AsyncIterator[st.LogChunk]:
        """Yield the managed log line by line: from `since_ns` (Unix nanoseconds), the last `tail` lines (-1: all)."""
        return self._service.logs(
            req.LogsRequest(
                id=self.container_id,
                namespace=self.namespace,
                process=self.process_id,
                follow=follow,
                since_ns=since_ns,
                tail=tail,
            )
        )

    async def output(self) -> bytes:
        """Return everything the process has written so far to stdout and stderr, in order."""
        return b"".join([chunk.data async for chunk in self.logs()])

    async def close_stdin(self) -> None:
        """Close the process's stdin after what was written to it."""
        await self._service.close_stdin(
            req.ProcessRef(id=self.container_id, namespace=self.namespace, process=self.process_id)
        )


class Container(Process):
    """A container. As a process it is its `init`."""

    def __init__(self, service: Service, namespace: str, container_id: str) -> None:
        super().__init__(service, namespace, container_id, ids.INIT)
        self.id = container_id

    @property
    def _ref(self) -> req.ContainerRef:
        return req.ContainerRef(id=self.container_id, namespace=self.namespace)

    async def start(self) -> st.ContainerInfo:
        """Start a created container."""
        return await self._service.start(self._ref)

    async def info(self) -> st.ContainerInfo:
        """Return what is known of the container now."""
        return await self._service.get(self._ref)

    async def stop(self, timeout: float = 10.0) -> st.ExitRecord:
        """Send the stop signal, SIGKILL after `timeout` seconds, and return how the container ended."""
        return await self._service.stop(
            req.StopRequest(id=self.container_id, namespace=self.namespace, timeout=timeout)
        )

    async def restart(self, timeout: float = 10.0) -> st.ContainerInfo:
        """Stop the container as `stop` does and start it once more; a restart of the daemon does not end that."""
        return await self._service.restart(
            req.StopRequest(id=self.container_id, namespace=self.namespace, timeout=timeout)
        )

    async def pause(self) -> st.ContainerInfo:
        """Freeze every process of the container. Raises FailedPrecondition unless it runs."""
        return await self._service.pause(self._ref)

    async def resume(self) -> st.ContainerInfo:
        """Let a paused container go on."""
        return await self._service.resume(self._ref)

    async def update(self, limits: req.Limits) -> st.ContainerInfo:
        """Change limits of the running container; what `limits` leaves unset stays. Raises FailedPrecondition."""
        return await self._service.update(
            req.UpdateRequest(id=self.container_id, namespace=self.namespace, limits=limits)
        )

    async def processes(self) -> tuple[st.HostProcess, ...]:
        """Return every process in the container, those of execs included, by pid."""
        return (await self._service.processes(self._ref)).processes

    async def kill_all(self, signal: int | str | signals.Signals = signals.SIGKILL) -> None:
        """Send a signal to every process of the container."""
        number = signal_names.parse(signal) if isinstance(signal, str) else int(signal)
        await self._service.kill(
            req.KillRequest(id=self.container_id, namespace=self.namespace, signal=number, all=True)
        )

    async def stats(self) -> Stats:
        """Return what the container uses now. Raises FailedPrecondition when it has ended."""
        return await self._service.stats(req.StatsRequest(id=self.container_id, namespace=self.namespace))

    def watch_stats(self, interval: float = 1.0) -> AsyncIterator[Stats]:
        """Yield what the container uses every `interval` seconds, until it ends."""
        request = req.StatsRequest(id=self.container_id, namespace=self.namespace, interval=interval)
        return self._service.watch_stats(request)

    async def checkpoint(
        self,
        name: str,
        *,
        exit: bool = False,
        tcp: bool = False,
        unix_sockets: bool = False,
        shell: bool = False,
        empty_ns: Sequence[str] = (),
        pre_copy: int = 0,
    ) -> cp.CheckpointInfo:
        """Write the running container down as `name`; it goes on, or with `exit` ends.

        The options are those of `wherry.model.checkpoint.CheckpointRequest`. Raises FailedPrecondition, with the
        reason, when it does not run or cannot be written down; then nothing is left and it goes on.
        """
        return await self._service.checkpoint(
            cp.CheckpointRequest(
                id=self.container_id,
                namespace=self.namespace,
                name=name,
                exit=exit,
                tcp=tcp,
                unix_sockets=unix_sockets,
                shell=shell,
                empty_ns=tuple(empty_ns),
                pre_copy=pre_copy,
            )
        )

    async def checkpoints(self) -> tuple[cp.CheckpointInfo, ...]:
        """Return the checkpoints of this id, oldest first."""
        request = cp.ListCheckpointsRequest(id=self.container_id, namespace=self.namespace)
        return (await self._service.list_checkpoints(request)).checkpoints

    async def delete_checkpoint(self, name: str) -> None:
        """Delete a checkpoint. Raises NotFound."""
        await self._service.delete_checkpoint(self._checkpoint_ref(name))

    def _checkpoint_ref(self, name: str) -> cp.CheckpointRef:
        return cp.CheckpointRef(id=self.container_id, namespace=self.namespace, name=name)

    async def export_checkpoint(self, name: str, file: str | os.PathLike[str]) -> int:
        """Write the checkpoint `name` to `file` as one archive; return its size in bytes. Raises NotFound."""
        return await archives.save(self._service, self._checkpoint_ref(name), file)

    async def restore(self, name: str) -> st.ContainerInfo:
        """Let the container, which has ended or is deleted, go on where the checkpoint `name` was written.

        Raises NotFound, and FailedPrecondition while it runs or when criu cannot do it.
        """
        return await self._service.restore(self._checkpoint_ref(name))

    async def migrate(
        self, to: str, *, pre_copy: int = 0, tcp: bool = False, unix_sockets: bool = False, shell: bool = False
    ) -> mg.MigrationInfo:
        """Hand the running container over to the supervisor at `to` (tcp://HOST:PORT or unix://PATH).

        Here it ends, with reason `migrated`; there it goes on. Raises FailedPrecondition, with the reason, when that
        cannot be; then it goes on here.
        """
        request = mg.MigrateRequest(
            id=self.container_id,
            namespace=self.namespace,
            to=to,
            pre_copy=pre_copy,
            tcp=tcp,
            unix_sockets=unix_sockets,
            shell=shell,
        )
        return await self._service.migrate(request)

    async def give_up_migration(self) -> None:
        """Let the container go on here whose new supervisor does not answer; never if it might run there.

        Raises FailedPrecondition unless it waits for such an answer.
        """
        await self._service.migrate(mg.MigrateRequest(id=self.container_id, namespace=self.namespace, give_up=True))

    async def clone(self, *new_ids: str, checkpoint: str = "") -> list[Container]:
        """Return new containers that go on from a checkpoint, or from this container as it runs now: all, or none.

        Raises AlreadyExists for an id that is taken, and what `checkpoint` and `restore` raise.
        """
        request = cp.CloneRequest(
            id=self.container_id, namespace=self.namespace, name=checkpoint, new_ids=tuple(new_ids)
        )
        made = (await self._service.clone(request)).containers
        return [Container(self._service, info.namespace, info.id) for info in made]

    async def delete(self, *, force: bool = False) -> None:
        """Delete the ended container; `force` kills it first. Raises FailedPrecondition while it runs."""
        await self._service.delete(req.DeleteRequest(id=self.container_id, namespace=self.namespace, force=force))

    async def exec(
        self,
        *args: str,
        env: Mapping[str, str] | Sequence[str] = (),
        workdir: str = "",
        user: str = "",
        id: str = "",
        stdio: req.Stdio = req.Stdio(),
        timeout: float = 0.0,
    ) -> Process:
        """Start a further process in the running container and return it; it is killed after `timeout` seconds.

        Raises FailedPrecondition unless the container runs, CommandNotFound or CommandNotExecutable for the command.
        """
        info = await self._service.exec(
            req.ExecRequest(
                id=self.container_id,
                namespace=self.namespace,
                process=id or ids.make(),
                args=args,
                env=format_env(env),
                workdir=workdir,
                user=user,
                stdio=stdio,
                timeout=timeout,
            )
        )
        return Process(self._service, self.namespace, self.container_id, info.id)
