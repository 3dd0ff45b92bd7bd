"""The calls about checkpoints, in terms of model values: a part of the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Iterator
from pathlib import Path

from wherry import errors
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st
from wherry.runtime.checkpoint import TEMPORARY
from wherry.supervisor import checkpoint, deletion, restoration
from wherry.supervisor.core import Core
from wherry.supervisor.live import LiveContainer
from wherry.supervisor.transfer import TransferCalls


class CheckpointCalls(TransferCalls):
    """Checkpoints of the containers of `core`; `create` makes and starts a container of a request and record fields."""

    core: Core

    async def _find(self, namespace: str, container_id: str) -> LiveContainer:
        raise NotImplementedError

    async def _go_on(self, request: req.CreateRequest, **fields: object) -> LiveContainer:
        raise NotImplementedError

    async def checkpoint(self, request: cp.CheckpointRequest) -> cp.CheckpointInfo:
        """Write a running container down."""
        live = await self._find(request.namespace, request.id)
        ids.check("checkpoint name", request.name)
        await live.made.wait()
        return await self.core.tasks.run(checkpoint.create(self.core, live, request), f"checkpoint {live.id}")

    async def list_checkpoints(self, request: cp.ListCheckpointsRequest) -> cp.CheckpointList:
        """Return the checkpoints of a container or of all, oldest first."""
        if request.id:
            ids.check("container id", request.id)
        if request.namespace:
            ids.check_namespace(request.namespace)
        found = await self.core.read(self.core.checkpoints.list, request.namespace, request.id)
        return cp.CheckpointList(checkpoints=tuple(found))

    async def get_checkpoint(self, request: cp.CheckpointRef) -> cp.CheckpointInfo:
        """Return what is known of a checkpoint."""
        return self.core.checkpoints.load(*_check(request))

    async def delete_checkpoint(self, request: cp.CheckpointRef) -> req.Empty:
        """Remove a checkpoint."""
        named = _check(request)
        if self.core.checkpoints_in_use[named]:
            raise errors.FailedPrecondition(
                f"cannot delete checkpoint {request.name} of container {request.id}: a container is being made from it"
            )
        await self.core.thread(self.core.checkpoints.remove, *named)
        return req.Empty()

    async def restore(self, request: cp.CheckpointRef) -> st.ContainerInfo:
        """Let a container that has ended, or is deleted, go on where a checkpoint was written."""
        await self.core.recovered.wait()
        info = self.core.checkpoints.load(*_check(request))
        return (await self.core.tasks.run(self._restore(info), f"restore {info.id}")).info()

    async def _restore(self, info: cp.CheckpointInfo) -> LiveContainer:
        with self._using(info):
            live = self.core.containers.get((info.namespace, info.id))
            if live is None:
                return await self._make(info, info.request)
            await live.made.wait()
            await restoration.go_back(self.core, live, info)
            return live

    @contextlib.contextmanager
    def _using(self, info: cp.CheckpointInfo) -> Iterator[None]:
        """Keep a checkpoint from being deleted."""
        named = (info.namespace, info.id, info.name)
        self.core.checkpoints_in_use[named] += 1
        try:
            yield
        finally:
            self.core.checkpoints_in_use[named] -= 1

    async def run_from(self, request: req.CreateRequest, path: Path) -> st.ContainerInfo:
        """Make a container that goes on from the checkpoint in the directory `path`, of whatever container."""
        return (await self._go_on(request, checkpoint=str(path))).info()

    async def clone(self, request: cp.CloneRequest) -> st.ContainerList:
        """Make containers that go on from a checkpoint, or from a running container as it is now: all, or none."""
        core = self.core
        await core.recovered.wait()
        ids.check("container id", request.id)
        namespace = ids.check_namespace(request.namespace)
        restoration.check_new_ids(core, namespace, request.new_ids)
        if request.name:
            info = core.checkpoints.load(
                *_check(cp.CheckpointRef(id=request.id, namespace=namespace, name=request.name))
            )
            return await core.tasks.run(self._clone(info, request.new_ids), f"clone {request.id}")
        return await core.tasks.run(self._clone_now(request), f"clone {request.id}")

    async def _clone_now(self, request: cp.CloneRequest) -> st.ContainerList:
        live = await self._find(request.namespace, request.id)
        await live.made.wait()
        name = f"{TEMPORARY}{ids.make()}"
        wanted = cp.CheckpointRequest(id=live.id, namespace=live.disk.namespace, name=name)
        restoration.check_clonable(checkpoint.describe(live, wanted))
        info = await checkpoint.create(self.core, live, wanted)
        try:
            return await self._clone(info, request.new_ids)
        finally:
            await self.core.thread(self.core.checkpoints.remove, info.namespace, info.id, info.name)

    async def _clone(self, info: cp.CheckpointInfo, new_ids: tuple[str, ...]) -> st.ContainerList:
        restoration.check_clonable(info)
        with self._using(info):
            made = await asyncio.gather(
                *(self._make(info, dataclasses.replace(info.request, id=new)) for new in new_ids),
                return_exceptions=True,
            )
        failure = next((item for item in made if isinstance(item, BaseException)), None)
        clones = [item for item in made if not isinstance(item, BaseException)]
        if failure is not None:
            await asyncio.gather(*(_take_back(self.core, live) for live in clones))
            raise failure
        return st.ContainerList(containers=tuple(live.info() for live in clones))

    def _make(self, info: cp.CheckpointInfo, request: req.CreateRequest) -> Awaitable[LiveContainer]:
        fields: dict[str, object] = {
            "checkpoint": restoration.refer(info),
            "made_from": restoration.refer(info),
            "runtime": restoration.find_runtime(info),
            "limits": info.limits,
        }
        return self._go_on(request, **fields)


def _check(request: cp.CheckpointRef) -> tuple[str, str, str]:
    """Return namespace, container id and name, fit for a path."""
    ids.check("container id", request.id)
    ids.check("checkpoint name", request.name)
    return ids.check_namespace(request.namespace), request.id, request.name


async def _take_back(core: Core, live: LiveContainer) -> None:
    try:
        await deletion.delete(core, live, force=True)
    except errors.NotFound:
        pass
