"""Checks a device: `python -m benchmarks.device_check [--size small] [--output FILE]`.

It needs no network and no peer package, prints a table as it goes, and writes a JSON file after
every part, so that a check that was stopped leaves what it has.
"""

import datetime
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.device_check import table
from benchmarks.device_check.parts import DEVICES, PARTS, Part, Size
from benchmarks.device_check.runner import run_parts
from experiments.common import results
from experiments.common.endings import CommandError, one_line

COMMAND = "python -m benchmarks.device_check"
SCHEMA = 1


@dataclass(frozen=True)
class Arguments:
    """What is checked, and for how long."""

    size: Size | None = None
    """Size of every part; by default full where JAX's default device is no CPU, else small."""
    output: Path = Path("build/device-check.json")
    """JSON file of the results; the parts' own output goes into a file of the same name in .log."""
    limit: float = 480.0
    """Seconds in total. A part that would not fit is left out, and named."""
    only: tuple[str, ...] = ()
    """Parts that run; all where none is named."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the parts; the exit status is 1 if one of them failed."""
    arguments = tyro.cli(
        Arguments, args=argv, prog=COMMAND, description="Check what the default device does."
    )
    return check(arguments, chosen(arguments.only))


def chosen(names: Sequence[str]) -> list[Part]:
    """The parts of these names; devices come first always."""
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            raise CommandError(f"--only: expected parts of {', '.join(known)}, got {name}")
    return [part for part in PARTS if not names or part.name in names or part == DEVICES]


def check(arguments: Arguments, parts: Sequence[Part]) -> int:
    """Runs the parts, prints their lines and writes the file; 1 if one failed, else 0."""
    start, entries = time.monotonic(), {}
    log = arguments.output.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")

    def size() -> Size:
        return arguments.size or _size_for(entries.get(DEVICES.name, {}))

    def report(part: Part, entry: dict[str, Any]) -> None:
        entries[part.name] = entry
        print("\n".join(table.lines(part.name, entry)), flush=True)
        results.write_json(arguments.output, summary(entries, size(), arguments.limit, start))

    run_parts(parts, size, deadline=start + arguments.limit, log=log, report=report)
    print(_last_lines(entries, arguments.output))
    return int(bool(_named(entries, "failed")))


def _size_for(devices: dict[str, Any]) -> Size:
    """Full on an accelerator; small on a CPU, and where it is not known yet."""
    platform = devices.get("details", {}).get("platform", "cpu")
    return "small" if platform == "cpu" else "full"


def summary(entries: dict[str, Any], size: Size, limit: float, start: float) -> dict[str, Any]:
    """The JSON file: where and when, what failed or was left out, and every part's entry."""
    return {
        "schema": SCHEMA,
        "size": size,
        "limit_seconds": limit,
        "seconds": round(time.monotonic() - start, 1),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "failed": _named(entries, "failed"),
        "skipped": _named(entries, "skipped"),
        "parts": entries,
    }


def _named(entries: dict[str, Any], status: str) -> list[str]:
    return [name for name, entry in entries.items() if entry["status"] == status]


def _last_lines(entries: dict[str, Any], output: Path) -> str:
    named = {status: ", ".join(_named(entries, status)) for status in ("failed", "skipped")}
    return "\n".join(f"{status}: {names or 'none'}" for status, names in named.items()) + (
        f"\nwritten to {output}"
    )


if __name__ == "__main__":
    with one_line():
        sys.exit(main())
