"""`python -m benchmarks.regression [--only NAME ...]`: fails where benchmarks are worse than
results.json.

Ratios are compared, not times: of ours and the peer's, and of ours and the floor, both measured
within one repetition. One is a regression where its median is worse than the committed one by more
than both interquartile ranges together, on the log scale, and by more than 5 %. With normal noise
two runs of equal code differ by as much in 6 % of comparisons at 3 repetitions, in 0.3 % at 7, 0.2
% at 9 and in none of 10,000 from 20 on (simulated): topics of 3 repetitions all take longer than a
minute, so that they run only when asked for. The 5 % is what a new process changes by itself
(memory layout, thread placement), which the spread within one process does not show. What fails is
run a second time and is a regression only if it fails again. Amounts: bytes of a program by the
same rule; seconds of a first call depend on the machine alone, so that only a target which was met,
and now is not, counts.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks import render, run
from benchmarks.peers import MissingPeerError
from benchmarks.rows import AccuracyError
from experiments.common import results

COMMAND = "python -m benchmarks.regression"
LEAST = math.log(1.05)
QUICK_ENOUGH = 60.0
"""Seconds that a topic may have taken to be run without being asked for."""

Entry = Mapping[str, Any]


class Finding(NamedTuple):
    """One comparison that failed: which row, which quantity, what it was and what it is."""

    topic: str
    row: str
    quantity: str
    committed: str
    now: str


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table of what is worse; the exit status is 1 where anything is."""
    committed = results.load_json(render.COMMITTED.json, run.COMMAND)
    topics = _parse(argv, committed).only or quick_topics(committed)
    _warn_of_another_machine(committed, topics)
    findings = [finding for topic in topics for finding in check_topic(topic, committed[topic])]
    print(table(findings) if findings else f"no regression in {', '.join(topics)}")
    return int(bool(findings))


def quick_topics(committed: Mapping[str, Entry]) -> list[str]:
    """Those with anything to compare that took at most a minute."""
    return [
        topic
        for topic, entry in committed.items()
        if entry["seconds"] <= QUICK_ENOUGH and (entry["rows"] or entry.get("amounts"))
    ]


def check_topic(topic: str, committed: Entry) -> list[Finding]:
    """Runs a topic, and a second time if anything is worse; what is worse both times."""
    findings = _run_and_compare(topic, committed)
    if not findings:
        return []
    print(f"  {len(findings)} worse than committed; once more", file=sys.stderr)
    again = {
        (finding.row, finding.quantity): finding for finding in _run_and_compare(topic, committed)
    }
    return [again[key] for finding in findings if (key := (finding.row, finding.quantity)) in again]


def _run_and_compare(topic: str, committed: Entry) -> list[Finding]:
    print(f"==> {topic}", file=sys.stderr, flush=True)
    try:
        return list(compare(topic, committed, run.run_topic(topic, quick=False)))
    except (
        MissingPeerError,
        AccuracyError,
    ) as error:  # a check that cannot be made, or a wrong answer, is no pass
        return [Finding(topic, "all", "run", "ran", str(error))]


def compare(topic: str, committed: Entry, now: Entry) -> Iterator[Finding]:
    """What is worse in `now`, row by row of the committed; a row that is gone is worse, a new one
    is not.
    """
    for kind, compare_row in (("rows", _compare_rows), ("amounts", _compare_amounts)):
        found = {row["name"]: row for row in now.get(kind, ())}
        for row in committed.get(kind, ()):
            if row["name"] not in found:
                yield Finding(topic, row["name"], "row", "there", "gone")
            else:
                for quantity, before, after in compare_row(row, found[row["name"]]):
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
    """The rule, see above.

    >>> was, now = (
    ...     {"median": 20, "lower": 19, "upper": 21},
    ...     {"median": 15, "lower": 14.5, "upper": 15.5},
    ... )
    >>> is_worse(was, now, larger_is_worse=False), is_worse(was, now, larger_is_worse=True)
    (True, False)
    """
    shift = _log(after["median"]) - _log(before["median"])
    spread = sum(_log(each["upper"]) - _log(each["lower"]) for each in (before, after))
    return (shift if larger_is_worse else -shift) > max(spread, LEAST)


def table(findings: Sequence[Finding]) -> str:
    """For the terminal."""
    lines = [("topic", "row", "what", "committed", "now"), *findings]
    widths = [max(len(line[column]) for line in lines) for column in range(len(Finding._fields))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _log(value: float) -> float:
    return math.log(max(value, 1e-300))


def _show(value: Entry) -> str:
    return "{median:.3g} [{lower:.3g}, {upper:.3g}]".format(**value)


def _warn_of_another_machine(committed: Mapping[str, Entry], topics: Sequence[str]) -> None:
    here = run.context()["machine"]
    others = [topic for topic in topics if committed[topic]["machine"] != here]
    if others:
        print(
            f"warning: committed on another machine: {', '.join(others)}; ratios may differ for"
            " that alone",
            file=sys.stderr,
        )


def _parse(argv: Sequence[str] | None, committed: Mapping[str, Entry]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Run benchmarks anew and compare with the committed results."
    )
    quick = f"those that took at most {QUICK_ENOUGH:g} s: {', '.join(quick_topics(committed))}"
    parser.add_argument(
        "--only", nargs="+", choices=list(committed), metavar="NAME", help=f"topics [{quick}]"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
