"""Fails where benchmarks are worse than results.json: `python -m benchmarks.regression`.

Ratios are compared, not times: ours over the peer's, and ours over the floor, both measured within
one repetition. A ratio is a regression if its median is worse than the committed one by more than
both interquartile ranges together, on the log scale, and by more than 5 %.

Two runs of the same code with normal noise differ by this much in 6 % of comparisons at 3
repetitions, in 0.3 % at 7, 0.2 % at 9, and in none of 10,000 from 20 on (simulated). All topics of
3 repetitions take longer than a minute and run only on request. The 5 % allow for the variation
between processes (memory layout, thread placement), which the spread within one process does not
include. A failing topic is run a second time, and is a regression only if it fails again.

Bytes of a program follow the same rule. Seconds of a first call depend on the machine alone, so
that only a target which was met before, and is missed now, counts.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tyro

from benchmarks import render, run
from benchmarks.peers import MissingPeerError
from benchmarks.rows import AccuracyError
from experiments.common import results
from experiments.common.endings import one_line

COMMAND = "python -m benchmarks.regression"
MIN_LOG_CHANGE = math.log(1.05)
QUICK_ENOUGH = 60.0
"""Longest duration, in seconds, of a topic that runs without being requested."""

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Arguments:
    """Which benchmarks are compared."""

    only: tuple[str, ...] = ()
    """Topics; where none is named, those that took at most a minute."""


class Finding(NamedTuple):
    """One failed comparison: its row and quantity, the committed value and the new one."""

    topic: str
    row: str
    quantity: str
    committed: str
    now: str


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table of regressions; the exit status is 1 if there are any."""
    committed = results.load_json(render.COMMITTED.json, run.COMMAND)
    arguments = tyro.cli(
        Arguments,
        args=argv,
        prog=COMMAND,
        description="Run benchmarks anew and compare with the committed results.",
    )
    run.check_topics(arguments.only, list(committed))
    topics = arguments.only or quick_topics(committed)
    _warn_of_another_machine(committed, topics)
    findings = [finding for topic in topics for finding in check_topic(topic, committed[topic])]
    print(table(findings) if findings else f"no regression in {', '.join(topics)}")
    return int(bool(findings))


def quick_topics(committed: Mapping[str, Entry]) -> list[str]:
    """Topics that can be compared and took at most a minute."""
    return [
        topic
        for topic, entry in committed.items()
        if entry["seconds"] <= QUICK_ENOUGH and (entry["rows"] or entry.get("amounts"))
    ]


def check_topic(topic: str, committed: Entry) -> list[Finding]:
    """Runs a topic, twice if it has regressions; returns those of both runs."""
    findings = _run_and_compare(topic, committed)
    if not findings:
        return []
    print(f"  {len(findings)} worse than committed; once more", file=sys.stderr)
    second_findings = {
        (finding.row, finding.quantity): finding for finding in _run_and_compare(topic, committed)
    }
    return [
        second_findings[key]
        for finding in findings
        if (key := (finding.row, finding.quantity)) in second_findings
    ]


def _run_and_compare(topic: str, committed: Entry) -> list[Finding]:
    print(f"==> {topic}", file=sys.stderr, flush=True)
    try:
        return list(compare(topic, committed, run.run_topic(topic, quick=False)))
    # A check that cannot run, or an inaccurate result, counts as a failure.
    except (MissingPeerError, AccuracyError) as error:
        return [Finding(topic, "all", "run", "ran", str(error))]


def compare(topic: str, committed: Entry, now: Entry) -> Iterator[Finding]:
    """Yields the regressions in `now`, for every committed row or amount.

    A missing row is a regression, and a new one is not.
    """
    for kind, compare_row in (("rows", _compare_rows), ("amounts", _compare_amounts)):
        rows_by_name = {row["name"]: row for row in now.get(kind, ())}
        for row in committed.get(kind, ()):
            if row["name"] not in rows_by_name:
                yield Finding(topic, row["name"], "row", "there", "gone")
            else:
                for quantity, before, after in compare_row(row, rows_by_name[row["name"]]):
                    yield Finding(topic, row["name"], quantity, before, after)


def _compare_rows(before: Entry, after: Entry) -> Iterator[tuple[str, str, str]]:
    if is_worse(before["ratio"], after["ratio"], larger_is_worse=before["direction"] == "at most"):
        yield "ratio", _show(before["ratio"]), _show(after["ratio"])
    floors = before.get("over_floor"), after.get("over_floor")
    if floors[0] and not floors[1]:
        yield "over the floor", _show(floors[0]), "gone"
    elif floors[0] and is_worse(*floors, larger_is_worse=True):
        yield "over the floor", *map(_show, floors)
    if after["verdict"] == "less accurate" != before["verdict"]:
        yield (
            "accuracy",
            f"{before['error']:.3g}",
            f"{after['error']:.3g}, admitted {after['tolerance']:.3g}",
        )


def _compare_amounts(before: Entry, after: Entry) -> Iterator[tuple[str, str, str]]:
    if (before["verdict"], after["verdict"]) == ("met", "missed"):
        yield "target", "met", f"missed: {after['value']['median']:.3g} {after['unit']}"
    elif before["unit"] == "B" and is_worse(before["value"], after["value"], larger_is_worse=True):
        yield "bytes", _show(before["value"]), _show(after["value"])


def is_worse(before: Entry, after: Entry, *, larger_is_worse: bool) -> bool:
    """Whether a value is worse by the rule in the module's description.

    >>> was, now = (
    ...     {"median": 20, "lower": 19, "upper": 21},
    ...     {"median": 15, "lower": 14.5, "upper": 15.5},
    ... )
    >>> is_worse(was, now, larger_is_worse=False), is_worse(was, now, larger_is_worse=True)
    (True, False)
    """
    shift = _log(after["median"]) - _log(before["median"])
    spread = sum(_log(value["upper"]) - _log(value["lower"]) for value in (before, after))
    return (shift if larger_is_worse else -shift) > max(spread, MIN_LOG_CHANGE)


def table(findings: Sequence[Finding]) -> str:
    """Formats findings for the terminal."""
    lines = [("topic", "row", "what", "committed", "now"), *findings]
    widths = [max(len(line[column]) for line in lines) for column in range(len(Finding._fields))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _log(value: float) -> float:
    return math.log(max(value, 1e-300))


def _show(value: Entry) -> str:
    return "{median:.3g} [{lower:.3g}, {upper:.3g}]".format(**value)


def _warn_of_another_machine(committed: Mapping[str, Entry], topics: Sequence[str]) -> None:
    this_machine = run.context()["machine"]
    foreign_topics = [topic for topic in topics if committed[topic]["machine"] != this_machine]
    if foreign_topics:
        print(
            f"warning: committed on another machine: {', '.join(foreign_topics)}; ratios may differ"
            " for that alone",
            file=sys.stderr,
        )


if __name__ == "__main__":
    with one_line():
        sys.exit(main())
