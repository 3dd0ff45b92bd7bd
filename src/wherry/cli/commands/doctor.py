"""`wherry doctor`."""

from __future__ import annotations

import argparse
from pathlib import Path

from wherry.cli import table
from wherry.cli.command import Command
from wherry.cli.doctor import report
from wherry.cli.doctor.finding import FAIL, Places
from wherry.cli.parser import Parser, add_json
from wherry.cli.session import Settings


def make_doctor_parser(prog: str) -> Parser:
    """Return the parser of `wherry doctor`."""
    parser = Parser(
        prog,
        usage="[--json]",
        description="Examine this host: Python, privileges, namespaces, limits, control groups, OCI runtimes (each by\n"
        "really running a container), overlay mounts, and what is left of daemons and containers that are gone.\n"
        "It works without a daemon, starts none, and changes nothing. The exit code is 1 when containers cannot\n"
        "run here.",
        example="wherry doctor\nwherry doctor --json | jq '.[] | select(.status != \"ok\")'",
    )
    add_json(parser)
    return parser


async def doctor(args: argparse.Namespace, settings: Settings) -> int:
    """Examine the host and print each finding."""
    findings = []
    for finding in report.examine(Places(run=Path(settings.path).parent)):
        findings.append(finding)
        if not args.json:
            print(report.format_finding(finding), flush=True)
    if args.json:
        table.print_json(findings)
    return 1 if any(finding.status == FAIL for finding in findings) else 0


COMMANDS = {"doctor": Command(make_doctor_parser, doctor)}
