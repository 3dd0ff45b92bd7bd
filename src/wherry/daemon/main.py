"""The daemon's life: directories, zygote, API, recovery, signals. SIGTERM leaves containers running."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherry import errors
from wherry.api.remote import Remote
from wherry.client import peers
from wherry.daemon import config, notify, reaper, tcp
from wherry.daemon import logging as daemon_logging
from wherry.linux import libc
from wherry.supervisor.core import Settings
from wherry.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from wherry.api.server import Server

_logger = logging.getLogger(__name__)

#: Seconds between looks at whether the daemon is idle.
_IDLE_POLL = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run wherryd; return its exit code: 0 after SIGTERM or SIGINT, 1 when it cannot run."""
    try:
        settings = config.load(arguments)
        daemon_logging.set_up(settings["log-level"], settings["log-format"])
        if os.geteuid() != 0:
            raise errors.PermissionDenied(
                f"must be run by root, not by uid {os.geteuid()}: it makes namespaces, mounts and cgroups"
            )
        libc.set_name(b"wherryd")
        _keep_descriptors()
        asyncio.run(_run(settings))
    except errors.WherryError as error:
        sys.stderr.write(f"wherryd: {errors.printable(error.message)}\n")
        return 1
    return 0


def _keep_descriptors() -> None:
    """Let no program that we start inherit what whoever started us left open; our own are close-on-exec (PEP 446)."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:  # the one that listed the directory
            continue


async def _run(settings: config.Config) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    reaper.start()
    supervisor = Supervisor(
        Settings(
            state_dir=settings.state_dir,
            root_dir=settings.root_dir,
            runtime=settings["runtime"],
            concurrency=settings["concurrency"],
            start_timeout=settings["start-timeout"],
            event_retention=settings["event-retention"],
            criu=settings["criu"],
        )
    )
    socket, remote = settings.socket, tcp.load(settings)
    supervisor.core.connect = functools.partial(peers.connect, tls=tcp.as_client(settings))
    await supervisor.open()
    # Two descriptors a container. After the zygote's start: containers get the limit that we were given.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _logger.debug("descriptors: %d, were %d", hard, soft)
    try:
        loop.add_signal_handler(signal.SIGUSR1, _dump, supervisor)
        await _serve(supervisor, settings, (socket, remote), ended)
    finally:
        await supervisor.close()
        loop.remove_signal_handler(signal.SIGCHLD)


async def _serve(
    supervisor: Supervisor, settings: config.Config, where: tuple[Path, Remote | None], ended: asyncio.Event
) -> None:
    socket, remote = where
    if remote is not None:
        # gRPC's own lines about each stranger's handshake have no form and no limit; see docs/operations.md.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Only now: the zygote is started, and must not carry gRPC's threads and memory.
    from wherry.api.server import Server

    server = Server(supervisor, socket, remote)
    await server.start()
    try:
        if settings["metrics-address"]:
            from wherry.daemon import metrics

            metrics.start(supervisor, settings["metrics-address"])
        # Listening is what a client needs; whoever must know that recovery is done asks for the health.
        notify.notify(f"READY=1\nSTATUS=recovering\nMAINPID={os.getpid()}")
        await _wait_first(supervisor.core.recovered, ended)
        server.health.set_serving(True)
        notify.notify("STATUS=serving")
        _logger.info("serving at %s", ", ".join(server.addresses))
        await _wait_end(supervisor, server, settings["idle-exit"], ended)
        notify.notify("STOPPING=1")
    finally:
        await server.stop()


async def _wait_first(*events: asyncio.Event) -> None:
    """Wait for any of these."""
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def _wait_end(supervisor: Supervisor, server: Server, idle_exit: float, ended: asyncio.Event) -> None:
    """Return on a signal, or when there was neither a container nor a call for `idle_exit` seconds (0: never)."""
    loop = asyncio.get_running_loop()
    last_container = loop.time()
    while not ended.is_set():
        if not idle_exit:
            await ended.wait()
            return
        if supervisor.core.containers:
            last_container = loop.time()
        idle = min(server.calls.idle_seconds, loop.time() - last_container)
        if idle >= idle_exit:
            _logger.info("idle for %g s: ending", idle_exit)
            return
        try:
            async with asyncio.timeout(min(_IDLE_POLL, idle_exit - idle)):
                await ended.wait()
        except TimeoutError:
            continue


def _dump(supervisor: Supervisor) -> None:
    """Write every task's stack and every container's state to standard error (SIGUSR1)."""
    out = io.StringIO()
    for task in asyncio.all_tasks():
        try:
            task.print_stack(file=out)
        except TypeError:  # a frame that is just being left has no line number, and print_stack trips over it
            print(task, file=out)
    for live in supervisor.core.containers.values():
        states = " ".join(f"{process.id}={process.state.value}({process.pid})" for process in live.processes.values())
        held = " locked" if live.lock.locked() else ""
        print(f"container {live.disk.namespace}/{live.id}: {live.state.value}{held} {states}", file=out)
    print(f"zygote {supervisor.core.zygote.pid}, last event {supervisor.core.journal.last_seq}", file=out)
    sys.stderr.write(out.getvalue())
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
