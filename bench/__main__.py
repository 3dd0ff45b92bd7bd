"""`python -m bench [NAME ...]`: measure, print a table, write JSON and charts."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import chart, levels, machine, measurements, peers, report, result, table
from bench.stage import Stage, UnusableError
from bench.subjects.world import World

_OUT = Path("build/bench")


def main() -> int:
    """Run what the command line asks for; return 0, 1 when something could not be measured, 130 after ctrl-c."""
    options = _parse()
    if options.report is not None:
        report.fill(result.parse_json(options.report.read_text()))
        return 0
    wanted = [item for item in measurements.ALL if not options.names or item.name in options.names]
    level = levels.QUICK if options.quick else levels.FULL if options.full else levels.DEFAULT
    try:
        found = _run(wanted, level, lambda so_far: _write(so_far, options.out, options.json))
    except KeyboardInterrupt:
        print("bench: interrupted; everything started is gone", file=sys.stderr)
        return 130
    except UnusableError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"remark: {text}" for text in found.remarks))
    return 0 if found.rows else 1


def _parse() -> argparse.Namespace:
    names = [item.name for item in measurements.ALL]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure Wherry beside its peers. NAME is one of: {', '.join(names)} (default: all).",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small numbers, less than three minutes")
    size.add_argument("--full", action="store_true", help="up to 1000 containers and more rounds; an hour or so")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there (default: OUT/result.json)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=_OUT, help=f"directory for charts (default: {_OUT})")
    parser.add_argument(
        "--report",
        type=Path,
        nargs="?",
        const=_OUT / "result.json",
        metavar="FILE",
        help="measure nothing: put tables and charts of a written result into docs/performance.md",
    )
    return parser.parse_args()


def _run(
    wanted: list[measurements.Measurement], level: levels.Level, keep: Callable[[result.Result], None]
) -> result.Result:
    """Measure; what there is after each measurement is kept, so that a run that is ended leaves what it had."""
    rows: list[result.Row] = []
    so_far = result.Result()
    with Stage(level) as stage:
        peers.install(stage)
        described = machine.describe()
        print("\n".join(machine.format_lines(described)), flush=True)
        world = World(stage)
        for item in wanted:
            stage.say(item.title)
            start = time.monotonic()
            found: list[result.Row] = []
            try:
                found.extend(item.load()(world))
            except UnusableError as error:
                stage.remark(f"{item.name} is left out: {error}")
            stage.say(f"{item.name} took {time.monotonic() - start:.0f} s")
            table.show(item.title, found)
            rows.extend(found)
            so_far = result.Result(machine=described, level=level.name, rows=tuple(rows), remarks=tuple(stage.remarks))
            keep(so_far)
    return so_far


def _write(found: result.Result, out: Path, json_path: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (json_path or out / "result.json").write_text(result.format_json(found))
    for item in measurements.ALL:
        for name, text in chart.draw_all(item.name, result.of_measurement(found.rows, item.name)).items():
            (out / name).write_text(text)
    print(f"written: result and charts in {out}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
