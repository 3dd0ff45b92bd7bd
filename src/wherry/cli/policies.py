"""The options of `run` and `create` that say what becomes of a container which has ended or is unwell."""

from __future__ import annotations

import argparse
from typing import Any

from wherry import errors
from wherry.cli import values
from wherry.cli.parser import Parser, typed
from wherry.model import request as req

#: Options of a restart, but for the policy itself, and the fields of RestartPolicy that they set.
_RESTART = {
    "restart_delay": "delay",
    "restart_factor": "factor",
    "restart_max_delay": "max_delay",
    "restart_reset": "reset_after",
}
#: Options of a health check, but for the command, and the fields of HealthCheck that they set.
_HEALTH = {
    "health_interval": "interval",
    "health_timeout": "timeout",
    "health_retries": "retries",
    "health_start_period": "start_period",
    "on_unhealthy": "on_unhealthy",
}


def add_options(parser: Parser) -> None:
    """Add the options for restarts and for the health check."""
    option, time, span = parser.option, typed(values.parse_time), typed(values.parse_duration)
    policy, check = req.RestartPolicy(), req.HealthCheck()
    option(
        "--restart",
        metavar="POLICY",
        type=typed(values.parse_restart),
        help="start it again when it has ended: no (default), on-failure[:N] (at most N times), always, unless-stopped",
    )
    option("--restart-delay", metavar="TIME", type=time, help=f"wait so long at first (default: {policy.delay:g}s)")
    factor = typed(values.parse_factor)
    option("--restart-factor", metavar="N", type=factor, help=f"and N times longer each time ({policy.factor:g})")
    option("--restart-max-delay", metavar="TIME", type=time, help=f"but never longer than this ({policy.max_delay:g}s)")
    option(
        "--restart-reset",
        metavar="TIME",
        type=span,
        help=f"when it has run so long, begin with the first wait again ({policy.reset_after:g}s)",
    )
    option("--health-cmd", metavar="CMD", type=typed(values.parse_command), help="check its health: /bin/sh -c CMD")
    option("--health-interval", metavar="TIME", type=time, help=f"time between two checks ({check.interval:g}s)")
    option("--health-timeout", metavar="TIME", type=time, help=f"a check fails after this ({check.timeout:g}s)")
    retries = typed(values.parse_retries)
    option("--health-retries", metavar="N", type=retries, help=f"unhealthy after N failures in a row ({check.retries})")
    option("--health-start-period", metavar="TIME", type=span, help="failures do not count so long after the start (0)")
    option("--on-unhealthy", choices=("none", "kill", "restart"), help="what to do then (default: none)")


def make_health(args: argparse.Namespace) -> req.HealthCheck:
    """Return the health check that the options ask for. Raises InvalidArgument for settings without a command."""
    given = _find_given(args, _HEALTH)
    if args.health_cmd is None:
        if given:
            raise errors.InvalidArgument(f"cannot use {_name(next(iter(given)))}: it needs --health-cmd")
        return req.HealthCheck()
    command = ("/bin/sh", "-c", args.health_cmd)
    return req.HealthCheck(args=command, **{_HEALTH[name]: value for name, value in given.items()})


def make_restart(args: argparse.Namespace) -> req.RestartPolicy:
    """Return the restart policy that the options ask for. Raises InvalidArgument for options that contradict it."""
    given = _find_given(args, _RESTART)
    name, max_retries = args.restart or ("no", 0)
    is_restarted = name != "no" or args.on_unhealthy == "restart"
    if given and not is_restarted:
        raise errors.InvalidArgument(
            f"cannot use {_name(next(iter(given)))}: it needs --restart (not no), or --on-unhealthy restart"
        )
    if is_restarted and getattr(args, "rm", False):
        cause = f"--restart {name}" if name != "no" else "--on-unhealthy restart"
        raise errors.InvalidArgument(f"cannot use --rm with {cause}: a container is started again or deleted, not both")
    fields = {_RESTART[option]: value for option, value in given.items()}
    if "max_delay" not in fields:
        fields["max_delay"] = max(req.RestartPolicy().max_delay, fields.get("delay", 0.0))
    return req.RestartPolicy(name=name, max_retries=max_retries, **fields)


def _find_given(args: argparse.Namespace, options: dict[str, str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in options if getattr(args, name) is not None}


def _name(option: str) -> str:
    return f"--{option.replace('_', '-')}"
