"""The client: the same over gRPC and in-process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from wherry import errors
from wherry.client import archives
from wherry.client.container import Container, format_env
from wherry.client.service import Service
from wherry.model import checkpoint as cp
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st


class Client:
    """Runs and finds containers. Made by `wherry.connect()` or `wherry.supervise()`."""

    def __init__(self, service: Service, *, namespace: str = ids.DEFAULT_NAMESPACE) -> None:
        self.service = service
        self.namespace = namespace

    def request(
        self,
        source: str | req.Source = "host",
        *args: str,
        id: str = "",
        env: Mapping[str, str] | Sequence[str] = (),
        **options: Any,
    ) -> req.CreateRequest:
        """Return a CreateRequest; `source` as on the command line (`host`, `rootfs:DIR`, `bundle:DIR`) or a Source."""
        if isinstance(source, str):
            source = parse_source(source)
        for arg in args:
            if not isinstance(arg, str):
                raise errors.InvalidArgument(
                    f"argument {arg!r} is not valid: a str is expected, not {type(arg).__name__}"
                )
        return req.CreateRequest(
            id=id or ids.make(),
            namespace=options.pop("namespace", self.namespace),
            source=source,
            args=args,
            env=format_env(env),
            **options,
        )

    async def run(self, source: str | req.Source = "host", *args: str, **options: Any) -> Container:
        """Create and start a container and return it.

        `options` are the fields of `wherry.model.request.CreateRequest`. Raises InvalidArgument, AlreadyExists,
        CommandNotFound, CommandNotExecutable or RuntimeFailed; then nothing is left behind.
        """
        info = await self.service.run(self.request(source, *args, **options))
        return Container(self.service, info.namespace, info.id)

    async def create(self, source: str | req.Source = "host", *args: str, **options: Any) -> Container:
        """Create a container without starting it; as `run` otherwise."""
        info = await self.service.create(self.request(source, *args, **options))
        return Container(self.service, info.namespace, info.id)

    def container(self, id: str, namespace: str = "") -> Container:
        """Return a handle on a container by its id; whether it exists shows in its first call."""
        return Container(self.service, namespace or self.namespace, id)

    async def containers(
        self, *, all_namespaces: bool = False, labels: Mapping[str, str] | None = None
    ) -> tuple[st.ContainerInfo, ...]:
        """Return what is known of every container, oldest first."""
        namespace = "" if all_namespaces else self.namespace
        return (await self.service.list(req.ListRequest(namespace=namespace, labels=labels or {}))).containers

    async def checkpoints(self, *, all_namespaces: bool = False) -> tuple[cp.CheckpointInfo, ...]:
        """Return the checkpoints of all containers, those that are deleted included, oldest first."""
        request = cp.ListCheckpointsRequest(namespace="" if all_namespaces else self.namespace)
        return (await self.service.list_checkpoints(request)).checkpoints

    async def import_checkpoint(
        self, file: str | os.PathLike[str], *, id: str = "", name: str = "", grants: Sequence[str] = ()
    ) -> cp.CheckpointInfo:
        """Take the checkpoint in the archive `file`, as `name` of the container `id` ("": what the archive says).

        `grants` are what it may have of this host (`wherry.model.checkpoint.ImportRequest`). Raises PermissionDenied
        naming those that are missing, InvalidArgument for what is no archive, DataLoss for a damaged one, and
        AlreadyExists.
        """
        request = cp.ImportRequest(id=id, namespace=self.namespace, name=name, grants=tuple(grants))
        return await archives.load(self.service, request, file)

    def events(self, *, after: int = -1, follow: bool = True, filters: Sequence[str] = ()) -> AsyncIterator[st.Event]:
        """Yield events above sequence number `after` (-1: new ones only), then follow.

        Raises OutOfRange when `after` is no longer kept, ResourceExhausted ("resume after N") when too slow.
        """
        return self.service.subscribe(req.SubscribeRequest(after=after, follow=follow, filters=tuple(filters)))

    async def version(self) -> st.Version:
        """Return the version of what answers."""
        return await self.service.version(req.Empty())

    async def info(self) -> st.Info:
        """Return the supervisor and its host."""
        return await self.service.info(req.Empty())


def parse_source(text: str) -> req.Source:
    """Return the Source that `host`, `rootfs:DIR` or `bundle:DIR` names; DIR must be absolute."""
    kind, _, path = text.partition(":")
    return req.Source(kind=kind, path=path)
