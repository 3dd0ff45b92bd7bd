"""The options of `run`, `create` and `exec`, and the requests they make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from wherry import errors
from wherry.cli import limits, policies, terminal, values
from wherry.cli.parser import Parser, typed
from wherry.model import ids, signals
from wherry.model import request as req


def parse_id(text: str) -> str:
    """Return a container's id."""
    return ids.check("container id", text)


def parse_process(text: str) -> str:
    """Return the id of a process: `init` or an exec's."""
    return ids.check("process id", text)


def add_ids(parser: Parser) -> None:
    """Add one or more container ids."""
    parser.option("ids", metavar="ID", nargs="+", type=typed(parse_id), help="a container")


def add_id(parser: Parser) -> None:
    """Add one container id."""
    parser.option("id", metavar="ID", type=typed(parse_id), help="the container")


def add_process_id(parser: Parser) -> None:
    """Add --process."""
    parser.option(
        "--process",
        metavar="EXEC",
        type=typed(parse_process),
        default=ids.INIT,
        help="an exec of the container instead of its own process",
    )


def add_process_options(parser: Parser) -> None:
    """Add what a container's process and an exec have in common."""
    option = parser.option
    option("-i", "--interactive", action="store_true", help="carry this command's stdin to the process")
    option(
        "-t",
        "--tty",
        action="store_true",
        help="give the process a terminal (TERM is xterm unless set with -e), and this one to it while attached",
    )
    add_detach_keys(parser)
    option(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="set a variable; without VALUE it is taken from here",
    )
    option("-w", "--workdir", metavar="DIR", type=typed(values.check_text), default="", help="start in DIR")
    option(
        "-u",
        "--user",
        metavar="USER[:GROUP]",
        type=typed(values.check_text),
        default="",
        help="run as this user: a number, or a name of the container",
    )
    option("--log-max-size", metavar="SIZE", type=typed(values.parse_size), default=0, help="rotate the log at SIZE")
    option("--log-max-files", metavar="N", type=typed(_parse_files), default=0, help="keep N files of the log")


def _parse_files(text: str) -> int:
    return values.parse_count(text, 1000)


def add_container_options(parser: Parser) -> None:
    """Add what `run` and `create` have in common, SOURCE and COMMAND included."""
    parser.option("--name", metavar="ID", type=typed(parse_id), help="id of the container (default: random)")
    _add_filesystem_options(parser)
    add_process_options(parser)
    limits.add_options(parser)
    _add_bounds(parser)
    policies.add_options(parser)
    _add_privilege_options(parser)
    option = parser.option
    option("--hostname", metavar="NAME", type=typed(values.check_text), default="", help="host name in the container")
    option(
        "-l", "--label", metavar="NAME=VALUE", type=typed(values.parse_pair), action="append", default=[], help="label"
    )
    option("--network", choices=("none", "host"), default="none", help="network (default: none, only a loopback)")
    option("--runtime", metavar="NAME", type=typed(values.check_text), default="", help="OCI runtime: a name or a path")
    option("--stop-signal", metavar="SIGNAL", type=typed(_parse_signal), help="what `stop` sends first")
    option("source", metavar="SOURCE", help="host, rootfs:DIR or bundle:DIR")


def _parse_signal(text: str) -> str:
    signals.parse(text)
    return text


def _add_filesystem_options(parser: Parser) -> None:
    option = parser.option
    option("--here", action="store_true", help="show this directory copy-on-write, and start in it")
    option("--rootfs-rw", action="store_true", help="use rootfs:DIR as it is instead of copy-on-write")
    option("--read-only", action="store_true", help="make the root filesystem read-only")
    option(
        "--mount",
        metavar="SPEC",
        action="append",
        default=[],
        help="type=bind,src=PATH,dst=PATH[,ro] or type=tmpfs,dst=PATH[,size=64m]",
    )
    option("-v", "--volume", metavar="SRC:DST[:ro]", action="append", default=[], help="bind mount, in short")


def _add_bounds(parser: Parser) -> None:
    option = parser.option
    option(
        "--ttl",
        metavar="TIME",
        type=typed(values.parse_duration),
        default=0.0,
        help="kill the container when it has run so long, as in 10m (default: 0, never)",
    )
    option(
        "--ulimit",
        metavar="NAME=SOFT[:HARD]",
        type=typed(values.parse_ulimit),
        action="append",
        default=[],
        help="resource limit, as in nofile=1024",
    )


def _add_privilege_options(parser: Parser) -> None:
    option = parser.option
    text = typed(values.check_text)
    option("--cap-add", metavar="CAP", type=text, action="append", default=[], help="add a capability, or ALL")
    option("--cap-drop", metavar="CAP", type=text, action="append", default=[], help="drop a capability, or ALL")
    option("--privileged", action="store_true", help="hold nothing back: no confinement at all")


def add_detach_keys(parser: Parser) -> None:
    """Add --detach-keys."""
    parser.option(
        "--detach-keys",
        metavar="KEYS",
        type=typed(terminal.parse_keys),
        default=terminal.parse_keys(terminal.DETACH_KEYS),
        help=f"keys that leave a process with a terminal (default: {terminal.DETACH_KEYS}; '' for none)",
    )


def current_directory() -> str:
    """Return the current directory. Raises InvalidArgument when it is gone."""
    try:
        return os.getcwd()
    except OSError as error:
        raise errors.InvalidArgument(f"cannot read the current directory: {error.strerror}") from error


def check_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return the command to run, each word checked. Raises InvalidArgument."""
    return tuple(values.check_text(word) for word in words)


def make_stdio(args: argparse.Namespace) -> req.Stdio:
    """Return the managed stdio that the options ask for."""
    width, height = terminal.read_size() if args.tty else (0, 0)
    return req.Stdio(
        stdin_open=args.interactive,
        log_max_bytes=args.log_max_size,
        log_max_files=args.log_max_files,
        terminal=args.tty,
        width=width,
        height=height,
    )


def make_env(args: argparse.Namespace, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of --env as NAME=VALUE."""
    return tuple(values.parse_env(text, environment) for text in args.env)


def make_create_request(
    args: argparse.Namespace, namespace: str, environment: Mapping[str, str], directory: str
) -> req.CreateRequest:
    """Return what `run` and `create` ask for; relative paths are taken from `directory`. Raises InvalidArgument."""
    source = values.parse_source(args.source, directory, here=args.here, writable=args.rootfs_rw)
    command = check_command(args.trailing)
    if not command and source.kind != "bundle":
        raise errors.InvalidArgument(f"cannot run a container from {args.source}: no command is given")
    mounts = [values.parse_mount(text, directory) for text in args.mount]
    mounts += [values.parse_volume(text, directory) for text in args.volume]
    return req.CreateRequest(
        id=args.name or ids.make(),
        namespace=namespace,
        source=source,
        args=command,
        env=make_env(args, environment),
        workdir=args.workdir,
        user=args.user,
        hostname=args.hostname,
        labels=dict(args.label),
        mounts=tuple(mounts),
        read_only=args.read_only,
        limits=limits.make(args),
        network=args.network,
        cap_add=tuple(args.cap_add),
        cap_drop=tuple(args.cap_drop),
        privileged=args.privileged,
        ulimits=tuple(args.ulimit),
        runtime=args.runtime,
        stop_signal=args.stop_signal or "",
        stdio=make_stdio(args),
        ttl=args.ttl,
        auto_remove=getattr(args, "rm", False),
        restart=policies.make_restart(args),
        health=policies.make_health(args),
    )


def make_exec_request(args: argparse.Namespace, namespace: str, environment: Mapping[str, str]) -> req.ExecRequest:
    """Return what `exec` asks for. Raises InvalidArgument."""
    command = check_command(args.trailing)
    if not command:
        raise errors.InvalidArgument(f"cannot run a process in container {args.id}: no command is given")
    return req.ExecRequest(
        id=args.id,
        namespace=namespace,
        process=ids.make(),
        args=command,
        env=make_env(args, environment),
        workdir=args.workdir,
        user=args.user,
        stdio=make_stdio(args),
        timeout=args.timeout,
    )
