"""The client for scripts and notebooks: the same calls and the same errors, without `await`.

A thread of its own runs the event loop, so this also works where one runs already, as in a notebook.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from wherry import errors
from wherry.client.client import Client
from wherry.client.connection import connect
from wherry.client.container import Container, Process
from wherry.client.service import Attachment
from wherry.client.tls import Tls
from wherry.model import ids
from wherry.model import request as req
from wherry.model import status as st

T = TypeVar("T")
P = ParamSpec("P")
_END = object()
#: Seconds for a call to take notice that its caller was interrupted.
_CANCEL_TIMEOUT = 5.0


class _Call:
    """One piece of work in the loop's thread, which the caller's thread may give up at any moment."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._task: asyncio.Task[object] | None = None
        self._is_cancelled = False

    async def follow(self, work: Awaitable[T]) -> T:
        """Do the work, and tell that it has ended."""
        self._task = asyncio.current_task()
        try:
            if self._is_cancelled:
                if asyncio.iscoroutine(work):
                    work.close()
                raise asyncio.CancelledError
            return await work
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """Cancel the work, which may not have begun, or never will; called in the loop's thread."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()
        else:
            self.ended.set()


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._stop = asyncio.Event()
        # A daemon thread: a script that forgets to close must still end.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="wherry-sync", daemon=True)
        self._thread.start()
        self._loop = self._started.result()

    async def _main(self) -> None:
        self._started.set_result(asyncio.get_running_loop())
        await self._stop.wait()

    def call(self, work: Awaitable[T]) -> T:
        """Return the result of `work`; an interrupt here (Ctrl-C) cancels it there."""
        call = _Call()
        try:
            return self._schedule(call, work).result()
        finally:
            # An interrupt may come at any line, also before we hold the future.
            if not call.ended.is_set():
                self._loop.call_soon_threadsafe(call.cancel)
                call.ended.wait(_CANCEL_TIMEOUT)

    def _schedule(self, call: _Call, work: Awaitable[T]) -> concurrent.futures.Future[T]:
        following = call.follow(work)
        try:
            return asyncio.run_coroutine_threadsafe(following, self._loop)
        except RuntimeError:
            call.ended.set()
            following.close()
            if asyncio.iscoroutine(work):
                work.close()
            raise errors.FailedPrecondition("cannot use the client: it is closed") from None

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Yield what `source` yields, and close it when the iteration is left."""
        try:
            while (item := self.call(anext(source, _END))) is not _END:
                yield cast("T", item)
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and not self._loop.is_closed():
                self.call(close())

    def close(self) -> None:
        """Cancel what is under way and let the thread end."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()


class _Face(Generic[T]):
    """The synchronous face of one object of the asynchronous client."""

    def __init__(self, loop: _Loop, inner: T) -> None:
        self._loop = loop
        self._inner = inner

    def __repr__(self) -> str:
        return f"<sync {self._inner!r}>"


def _method(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[_Face[Any], P], T]:
    """Return the method `function` without `await`; signature and documentation stay the same."""

    @functools.wraps(function)
    def call(self: _Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        # By name: `function` may be a Protocol's.
        bound: Callable[P, Coroutine[Any, Any, T]] = getattr(self._inner, function.__name__)
        return self._loop.call(bound(*args, **kwargs))

    return call


def _stream(
    function: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[_Face[Any], P], Iterator[T]]:
    """Return the method `function` as a plain iterator."""

    @functools.wraps(function)
    def iterate(self: _Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        bound: Callable[P, AsyncIterator[T]] = getattr(self._inner, function.__name__)
        return self._loop.iterate(bound(*args, **kwargs))

    return iterate


class SyncAttachment(_Face[Attachment]):
    """An open attach: iterate for the output, write to stdin."""

    write = _method(Attachment.write)
    close_stdin = _method(Attachment.close_stdin)

    def __iter__(self) -> Iterator[st.Output]:
        return self._loop.iterate(aiter(self._inner))


class SyncProcess(_Face[Process]):
    """One process of a container, as `wherry.Process`."""

    kill = _method(Process.kill)
    output = _method(Process.output)
    close_stdin = _method(Process.close_stdin)
    resize = _method(Process.resize)
    logs = _stream(Process.logs)

    @property
    def id(self) -> str:
        """The process's id; a container's own one."""
        return self._inner.container_id if isinstance(self._inner, Container) else self._inner.id

    @property
    def namespace(self) -> str:
        """The namespace of its container."""
        return self._inner.namespace

    @property
    def container_id(self) -> str:
        """The id of its container."""
        return self._inner.container_id

    def wait(self, timeout: float | None = None) -> st.ExitRecord:
        """Return how the process ended. Raises DeadlineExceeded when it has not within `timeout` seconds."""
        return self._loop.call(_wait(self._inner, timeout))

    @contextmanager
    def attach(self, *, offset: int = 0) -> Iterator[SyncAttachment]:
        """Attach to the managed stdio from `offset` in the log: 0 is the beginning, -1 is now."""
        manager = self._inner.attach(offset=offset)
        attachment = SyncAttachment(self._loop, self._loop.call(manager.__aenter__()))
        try:
            yield attachment
        finally:
            # Without the exception: an interrupt belongs to this thread, not to the loop's.
            self._loop.call(manager.__aexit__(None, None, None))


async def _wait(process: Process, timeout: float | None) -> st.ExitRecord:
    try:
        async with asyncio.timeout(timeout):
            return await process.wait()
    except TimeoutError:
        raise errors.DeadlineExceeded(
            f"cannot wait for process {process.id} of container {process.container_id}: not ended within {timeout:g} s"
        ) from None


class SyncContainer(SyncProcess):
    """A container, as `wherry.Container`."""

    _inner: Container

    start = _method(Container.start)
    info = _method(Container.info)
    stop = _method(Container.stop)
    restart = _method(Container.restart)
    delete = _method(Container.delete)
    pause = _method(Container.pause)
    resume = _method(Container.resume)
    kill_all = _method(Container.kill_all)
    update = _method(Container.update)
    processes = _method(Container.processes)
    stats = _method(Container.stats)
    watch_stats = _stream(Container.watch_stats)
    checkpoint = _method(Container.checkpoint)
    checkpoints = _method(Container.checkpoints)
    delete_checkpoint = _method(Container.delete_checkpoint)
    export_checkpoint = _method(Container.export_checkpoint)
    restore = _method(Container.restore)
    migrate = _method(Container.migrate)
    give_up_migration = _method(Container.give_up_migration)

    def clone(self, *new_ids: str, checkpoint: str = "") -> list[SyncContainer]:
        """Return new containers that go on from a checkpoint, or from this one; as `wherry.Container.clone`."""
        made = self._loop.call(self._inner.clone(*new_ids, checkpoint=checkpoint))
        return [SyncContainer(self._loop, clone) for clone in made]

    def exec(self, *args: str, **options: Any) -> SyncProcess:
        """Start a further process in the running container; options and errors as of `wherry.Container.exec`."""
        return SyncProcess(self._loop, self._loop.call(self._inner.exec(*args, **options)))


class Sync(_Face[Client]):
    """A client without `await`: `with wherry.Sync() as client`, arguments as of `wherry.connect`."""

    containers = _method(Client.containers)
    checkpoints = _method(Client.checkpoints)
    import_checkpoint = _method(Client.import_checkpoint)
    version = _method(Client.version)
    info = _method(Client.info)
    events = _stream(Client.events)

    def __init__(
        self, address: str | None = None, *, namespace: str = ids.DEFAULT_NAMESPACE, tls: Tls | None = None
    ) -> None:
        self._open(connect(address, namespace=namespace, tls=tls))

    @classmethod
    def supervise(cls, *, state_dir: str | os.PathLike[str], root_dir: str | os.PathLike[str], **options: Any) -> Self:
        """Supervise containers in a thread of this process, without a daemon; as `wherry.supervise` otherwise."""
        # By its public name: the client's side knows nothing of the supervisor.
        import wherry

        self = cls.__new__(cls)
        self._open(wherry.supervise(state_dir=state_dir, root_dir=root_dir, **options))
        return self

    def _open(self, manager: AbstractAsyncContextManager[Client]) -> None:
        loop = _Loop()
        try:
            client = loop.call(manager.__aenter__())
        except BaseException:
            loop.close()
            raise
        super().__init__(loop, client)
        self._manager: AbstractAsyncContextManager[Client] | None = manager

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, or the supervisor, whose containers go on; closing twice is fine."""
        manager, self._manager = self._manager, None
        if manager is None:
            return
        try:
            self._loop.call(manager.__aexit__(None, None, None))
        finally:
            self._loop.close()

    def run(self, source: str | req.Source = "host", *args: str, **options: Any) -> SyncContainer:
        """Create and start a container; options and errors as of `wherry.Client.run`."""
        return SyncContainer(self._loop, self._loop.call(self._inner.run(source, *args, **options)))

    def create(self, source: str | req.Source = "host", *args: str, **options: Any) -> SyncContainer:
        """Create a container without starting it; as `run` otherwise."""
        return SyncContainer(self._loop, self._loop.call(self._inner.create(source, *args, **options)))

    def container(self, id: str, namespace: str = "") -> SyncContainer:
        """Return a handle on a container by its id; whether it exists shows in its first call."""
        return SyncContainer(self._loop, self._inner.container(id, namespace))
