"""Compares headline numbers with the committed ones: `python -m experiments.common.check`.

The committed numbers lie in experiments/<topic>/headline.json: {"name": {"value": 1.5, "tolerance":
0.1, "note": "..."}}. The measured ones lie in build/results/<topic>/paper/headline.json: {"name":
1.52}. Another preset has a file of its own, headline-<preset>.json, and is compared with
`--preset`. A committed entry that some machines cannot compute adds "needs": "what it takes"; where
it was not computed, it is skipped and does not fail.

A number fails on either side of the tolerance. Where the tolerance of a positive number reaches
zero, an error of zero would pass, which is what a comparison of nothing with nothing gives: such an
entry adds "least", below which the number fails too, or "zero": "why zero is possible".
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from experiments.common import results
from experiments.common.endings import CommandError, one_line


@dataclass(frozen=True)
class Arguments:
    """What is compared."""

    topics: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders under experiments/; all where none is named."""
    root: Path = Path()
    """The checkout."""
    preset: str = "paper"
    """Whose results are compared."""


class Row(NamedTuple):
    """One headline number: committed value, measured value (None if absent) and verdict."""

    name: str
    committed: float | None
    measured: float | None
    tolerance: float | None
    verdict: str
    failed: bool


def compare(committed: Mapping[str, Mapping[str, Any]], measured: Mapping[str, float]) -> list[Row]:
    """Returns a row for every committed and every measured number.

    A number that is not committed fails: without a reference, nothing would detect a change.
    """
    rows = []
    for name, entry in committed.items():
        value, tolerance = _finite(entry, "value"), _finite(entry, "tolerance")
        least = _finite(entry, "least") if "least" in entry else -math.inf
        if name in measured:
            number = measured[name]
            holds = abs(number - value) <= tolerance and number >= least  # False for NaN
            rows.append(
                Row(name, value, number, tolerance, "ok" if holds else "DIFFERS", not holds)
            )
        elif "needs" in entry:
            rows.append(
                Row(name, value, None, tolerance, f"left out: needs {entry['needs']}", False)
            )
        else:
            rows.append(Row(name, value, None, tolerance, "MISSING", True))
    new = [name for name in measured if name not in committed]
    return rows + [Row(name, None, measured[name], None, "NOT COMMITTED", True) for name in new]


def _finite(entry: Mapping[str, Any], name: str) -> float:
    """A committed number; an infinite tolerance would accept everything."""
    if not math.isfinite(number := _number(entry, name)):
        raise TypeError(f"{name}: expected a finite number, got {number}")
    return number


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return float(value)


def table(rows: Sequence[Row]) -> str:
    """Formats rows as aligned text."""

    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.6g}"

    width = max((len(row.name) for row in rows), default=4)
    lines = [f"  {'name':{width}} {'committed':>12} {'seen':>12} {'tolerance':>12}  verdict"]
    for row in rows:
        numbers = " ".join(
            f"{cell(number):>12}" for number in (row.committed, row.measured, row.tolerance)
        )
        lines.append(f"  {row.name:{width}} {numbers}  {row.verdict}")
    return "\n".join(lines)


def check_topic(topic: str, root: Path, preset: str = "paper") -> list[Row]:
    """Returns the rows of one topic; a missing, damaged or empty file raises ResultError."""
    command = f"python -m experiments.{topic}.run --preset {preset}"
    stored_in = root / results.default_folder(topic, preset) / results.HEADLINE
    stored = results.load_json(stored_in, command)
    try:
        measured = {name: _number(stored, name) for name in stored}
    except (TypeError, OverflowError) as error:
        raise results.ResultError(f"{stored_in}: {error}. Make it again with: {command}") from error
    name = results.HEADLINE if preset == "paper" else f"headline-{preset}.json"
    path = root / "experiments" / topic / name
    entries = results.load_json(path, "an editor: copy the numbers from the results")
    if not entries:
        raise results.ResultError(f"{path}: expected at least one number, got none")
    try:
        return compare(entries, measured)
    except (KeyError, TypeError, OverflowError) as error:
        raise results.ResultError(
            f"{path}: every entry needs a value and a tolerance ({error!r})"
        ) from error


def _has_only_other_presets(run_file: Path) -> bool:
    """Whether numbers are committed, but none of them for the preset "paper"."""
    return not (run_file.parent / results.HEADLINE).exists() and any(
        run_file.parent.glob("headline-*.json")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 1 if a number fails."""
    arguments = tyro.cli(
        Arguments,
        args=argv,
        prog="python -m experiments.common.check",
        description="Compare headline numbers with the committed ones.",
    )
    topics = sorted(
        path.parent.name
        for path in arguments.root.glob("experiments/*/run.py")
        if not _has_only_other_presets(path)
    )
    failures = 0
    if not (arguments.topics or topics):
        raise CommandError(f"--root: expected a checkout with experiments, got {arguments.root}")
    for topic in arguments.topics or topics:
        print(topic)
        try:
            rows = check_topic(topic, arguments.root, arguments.preset)
        except results.ResultError as error:
            print(f"  error: {error}")
            failures += 1
            continue
        print(table(rows))
        failures += sum(row.failed for row in rows)
    print(
        f"{failures} of the headline numbers do not hold"
        if failures
        else "all headline numbers hold"
    )
    return min(failures, 1)


if __name__ == "__main__":
    with one_line():
        sys.exit(main())
