"""What makes a request impossible whatever the machine: every check that needs no disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wherry import errors
from wherry.model import ids, signals
from wherry.model.request import CreateRequest, ExecRequest, HealthCheck, RestartPolicy, Source, Stdio
from wherry.oci import capabilities, environment, host, limits, mounts, text, users

SOURCES = ("host", "rootfs", "bundle")
NETWORKS = ("none", "host")
_STDIO_MODES = ("managed", "fifo", "null")
_RESTARTS = ("no", "on-failure", "always", "unless-stopped")
_ON_UNHEALTHY = ("none", "kill", "restart")
#: HOST_NAME_MAX (limits.h) is what sethostname(2) takes.
MAX_HOSTNAME = 64
_HOSTNAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_HOSTNAME - 1}}}")
_MAX_LABELS = 256
_MAX_LABEL_KEY = 256
_MAX_LABEL_VALUE = 4096
# Every event carries them.
_MAX_LABELS_BYTES = 16384
_MIN_LOG_BYTES = 64 * 1024
_MAX_LOG_BYTES = 2**63 - 1
# struct winsize has 16 bits for each (ioctl_tty(2)).
_MAX_SIZE = 65535
_MIN_SECONDS, _MAX_SECONDS = 0.001, 1e9
_MAX_LOG_FILES = 1000
_MAX_RETRIES = 1_000_000
_MAX_FACTOR = 100.0
_MAX_FAILURES = 1000
_MAX_RUNTIME_ARGS = 64
_MAX_RUNTIME_TEXT = 16384
_MAX_OCI_PROCESS = 1024 * 1024
#: Global options of the runtime that the driver sets itself; crun takes any unique beginning of one.
_OWNED_OPTIONS = ("root", "log", "log-format")
#: What a bundle's own config.json says instead.
_GENERATED = "args env workdir user hostname mounts read_only limits cap_add cap_drop privileged ulimits network"


def validate(request: CreateRequest) -> None:
    """Raise InvalidArgument for a request that can succeed nowhere; touches no file."""
    if request.id:
        ids.check("container id", request.id)
    ids.check_namespace(request.namespace)
    _check_source(request.source)
    if request.source.kind == "bundle":
        _check_taken(request)
    elif not request.args:
        raise errors.InvalidArgument(f"cannot create a container from {request.source.kind}: no command given")
    _check_process(request.args, request.env, request.workdir, request.user)
    if request.hostname and _HOSTNAME.fullmatch(request.hostname) is None:
        raise errors.InvalidArgument(
            f"hostname {text.shorten(request.hostname)} is not valid: 1 to {MAX_HOSTNAME} of A-Z a-z 0-9 _ . - are "
            "allowed, the first not . or -"
        )
    _check_labels(request)
    mounts.check(request.mounts)
    limits.check(request.limits)
    limits.check_ulimits(request.ulimits)
    capabilities.check(request.cap_add, request.cap_drop)
    if request.network not in NETWORKS:
        raise errors.InvalidArgument(f"network {text.shorten(request.network)} is not valid: none and host are")
    text.check_line("runtime", request.runtime, limit=text.MAX_PATH)
    if request.stop_signal:
        signals.parse(request.stop_signal)
    _check_seconds("ttl", request.ttl)
    _check_stdio(request.stdio)
    _check_restart(request)
    _check_health(request.health)
    _check_runtime_args(request.runtime_args)


def validate_exec(request: ExecRequest) -> None:
    """Raise InvalidArgument for an exec that can succeed in no container; touches no file."""
    if request.oci_process:
        _check_oci_process(request)
    elif not request.args:
        raise errors.InvalidArgument(f"cannot exec in container {text.shorten(request.id)}: no command given")
    _check_process(request.args, request.env, request.workdir, request.user)
    _check_stdio(request.stdio)
    _check_seconds("timeout", request.timeout)


def _check_oci_process(request: ExecRequest) -> None:
    text.check("oci_process", request.oci_process, limit=_MAX_OCI_PROCESS)
    for name in ("args", "env", "workdir", "user"):
        if getattr(request, name):
            raise errors.InvalidArgument(f"{name} is not valid beside oci_process: that is a whole process already")


def _check_restart(request: CreateRequest) -> None:
    policy = request.restart
    if policy.name not in _RESTARTS:
        raise errors.InvalidArgument(
            f"restart policy {text.shorten(policy.name)} is not valid: the policies are {', '.join(_RESTARTS)}"
        )
    limits.check_range("max_retries of restart", policy.max_retries, 0, _MAX_RETRIES, "restarts in a row")
    if policy.max_retries and policy.name != "on-failure":
        raise errors.InvalidArgument(
            f"max_retries is not valid for restart policy {policy.name}: only on-failure has it"
        )
    limits.check_range("delay of restart", policy.delay, _MIN_SECONDS, _MAX_SECONDS, "seconds")
    limits.check_range("factor of restart", policy.factor, 1, _MAX_FACTOR, "times")
    limits.check_range("max_delay of restart", policy.max_delay, _MIN_SECONDS, _MAX_SECONDS, "seconds")
    limits.check_range("reset_after of restart", policy.reset_after, 0, _MAX_SECONDS, "seconds")
    if policy.max_delay < policy.delay:
        raise errors.InvalidArgument(
            f"restart is not valid: max_delay, {policy.max_delay:g} s, is below the delay, {policy.delay:g} s"
        )
    is_restarted = policy.name != "no" or request.health.on_unhealthy == "restart"
    if not is_restarted and policy != RestartPolicy():
        raise errors.InvalidArgument("restart is not valid: policy no has no delays, unless on_unhealthy is restart")
    if is_restarted and request.auto_remove:
        raise errors.InvalidArgument("auto_remove is not valid for a container that is started again when it has ended")


def _check_health(check: HealthCheck) -> None:
    if not check.args:
        if check != HealthCheck():
            raise errors.InvalidArgument("health is not valid: it has settings, but no command")
        return
    for argument in check.args:
        text.check("argument of the health check", argument)
    text.check_total("arguments of the health check", check.args)
    if not check.args[0]:
        raise errors.InvalidArgument("health check '' is not valid: the command is empty")
    limits.check_range("interval of health", check.interval, _MIN_SECONDS, _MAX_SECONDS, "seconds")
    limits.check_range("timeout of health", check.timeout, _MIN_SECONDS, _MAX_SECONDS, "seconds")
    limits.check_range("retries of health", check.retries, 1, _MAX_FAILURES, "failures in a row")
    limits.check_range("start_period of health", check.start_period, 0, _MAX_SECONDS, "seconds")
    if check.on_unhealthy not in _ON_UNHEALTHY:
        raise errors.InvalidArgument(
            f"on_unhealthy {text.shorten(check.on_unhealthy)} is not valid: {', '.join(_ON_UNHEALTHY)} are allowed"
        )


def _check_runtime_args(arguments: Sequence[str]) -> None:
    if sum(map(len, arguments)) > _MAX_RUNTIME_TEXT:  # they are in every request to the zygote
        raise errors.InvalidArgument(
            f"runtime arguments are not valid: the limit is {_MAX_RUNTIME_TEXT} characters in all"
        )
    for number, argument in enumerate(arguments):
        text.check_line("runtime argument", argument)
        name = argument.lstrip("-").partition("=")[0]
        if not argument.startswith("-") or not name:
            raise errors.InvalidArgument(
                f"runtime argument {text.shorten(argument)} is not valid: an option is expected, as in --NAME=VALUE"
            )
        if any(owned.startswith(name) for owned in _OWNED_OPTIONS):
            raise errors.InvalidArgument(
                f"runtime argument {text.shorten(argument)} is not valid: --root, --log and --log-format are ours"
            )
        if number >= _MAX_RUNTIME_ARGS:
            raise errors.InvalidArgument(f"runtime arguments are not valid: the limit is {_MAX_RUNTIME_ARGS}")


def _check_seconds(name: str, value: float) -> None:
    # The comparison fails for nan, too.
    if value != 0 and not _MIN_SECONDS <= value <= _MAX_SECONDS:
        raise errors.InvalidArgument(
            f"{name} of {value:g} s is not valid: 0 (none) or {_MIN_SECONDS} to {_MAX_SECONDS:g} are allowed"
        )


def _check_source(source: Source) -> None:
    if source.kind not in SOURCES:
        raise errors.InvalidArgument(
            f"source {text.shorten(source.kind)} is not valid: the sources are {', '.join(SOURCES)}"
        )
    if source.kind != "host":
        text.check_path(f"{source.kind} directory", source.path)
    elif source.path:
        raise errors.InvalidArgument(f"path {text.shorten(source.path)} is not valid here: source host has none")
    if source.here:
        here = text.check_path("here", source.here)
        if source.kind == "bundle":
            raise errors.InvalidArgument("here is not valid for a bundle: its config.json is taken as it is")
        host.check_here(here, ())
    if source.writable and source.kind != "rootfs":
        raise errors.InvalidArgument(f"writable is not valid for source {source.kind}: only rootfs has it")


def _check_taken(request: CreateRequest) -> None:
    default = CreateRequest()
    for name in _GENERATED.split():
        if getattr(request, name) != getattr(default, name):
            raise errors.InvalidArgument(f"{name} is not valid for a bundle: its config.json is taken as it is")


def _check_process(args: Iterable[str], env: Iterable[str], workdir: str, user: str) -> None:
    args, env = list(args), list(env)
    for argument in args:
        text.check("argument", argument)
    if args and not args[0]:
        raise errors.InvalidArgument("command '' is not valid: it is empty")
    environment.check(env)
    text.check_total("arguments and environment", (*args, *env))
    if workdir:
        check_workdir(workdir)
    users.check(user)


def check_workdir(workdir: str) -> str:
    """Return the clean path `workdir`; raise InvalidArgument for one through a descriptor (CVE-2024-21626)."""
    path = text.check_path("working directory", workdir)
    if text.is_below(path, "/proc") or text.is_below(path, "/dev/fd"):
        raise errors.InvalidArgument(
            f"working directory {text.shorten(path)} is not valid: below /proc and /dev/fd it could lead out of the "
            "container"
        )
    return path


def _check_labels(request: CreateRequest) -> None:
    if len(request.labels) > _MAX_LABELS:
        raise errors.InvalidArgument(f"labels are not valid: {len(request.labels)}, the limit is {_MAX_LABELS}")
    total = sum(len(key) + len(value) for key, value in request.labels.items())
    if total > _MAX_LABELS_BYTES:
        raise errors.InvalidArgument(f"labels are not valid: {total} bytes, the limit is {_MAX_LABELS_BYTES}")
    for key, value in request.labels.items():
        if not key or "=" in key:
            raise errors.InvalidArgument(f"label {text.shorten(key)} is not valid: it needs a name without '='")
        text.check_line("label", key, limit=_MAX_LABEL_KEY)
        text.check_line(f"value of label {key}:", value, limit=_MAX_LABEL_VALUE)


def _check_stdio(stdio: Stdio) -> None:
    if stdio.mode not in _STDIO_MODES:
        raise errors.InvalidArgument(
            f"stdio mode {text.shorten(stdio.mode)} is not valid: the modes are {', '.join(_STDIO_MODES)}"
        )
    for name in ("stdin", "stdout", "stderr"):
        path = getattr(stdio, name)
        if path and stdio.mode != "fifo":
            raise errors.InvalidArgument(f"{name} {text.shorten(path)} is not valid: only stdio mode fifo has paths")
        if path:
            text.check_path(name, path)
    if stdio.stdin_open and stdio.mode != "managed":
        raise errors.InvalidArgument(f"stdin_open is not valid for stdio mode {stdio.mode}: only managed has it")
    if stdio.terminal and stdio.mode == "null":
        raise errors.InvalidArgument("terminal is not valid for stdio mode null: managed and fifo have it")
    for name in ("width", "height"):
        if not 0 <= getattr(stdio, name) <= _MAX_SIZE:
            raise errors.InvalidArgument(f"{name} {getattr(stdio, name)} is not valid: 0 to {_MAX_SIZE} are allowed")
    if stdio.log_max_bytes != 0 and not _MIN_LOG_BYTES <= stdio.log_max_bytes <= _MAX_LOG_BYTES:
        raise errors.InvalidArgument(
            f"log_max_bytes is not valid: 0 (the default) or {_MIN_LOG_BYTES} to {_MAX_LOG_BYTES} are allowed"
        )
    if stdio.log_max_files != 0 and not 2 <= stdio.log_max_files <= _MAX_LOG_FILES:
        raise errors.InvalidArgument(
            f"log_max_files is not valid: 0 (the default) or 2 to {_MAX_LOG_FILES} are allowed"
        )
