"""Markdown tables of the page: rows, details of a topic, provenance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SIGNS = {"at least": "≥", "at most": "≤"}
SOLVERS = ("Newton", "bisection", "fixed point")


def table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines)) + "\n"


def rows(entries: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a topic, with the checks and notes below."""
    head = ("", "ours", "other", "", "ratio", "target", "verdict", "ratio of processor time", "error (admitted)")
    lines = (
        (
            row["name"],
            seconds(row["our_seconds"]["median"]),
            row["peer"],
            seconds(row["peer_seconds"]["median"]),
            ratio(row),
            target(row),
            row["verdict"],
            _digits(row["processor_ratio"]),
            f"{row['error']:.1g} ({row['tolerance']:.1g})",
        )
        for row in entries
    )
    units = ", ".join(dict.fromkeys(row["unit"] for row in entries))
    checks = "; ".join(dict.fromkeys(row["checked"] for row in entries))
    notes = "; ".join(dict.fromkeys(row["note"] for row in entries if row["note"]))
    return f"{table(head, lines)}\nTimes per {units}. Error: {checks}.{f' Note: {notes}.' if notes else ''}\n"


def seconds(value: float) -> str:
    """Three digits with a unit.

    >>> seconds(0.0123456), seconds(4.2e-5), seconds(12.0)
    ('12.3 ms', '42.0 µs', '12.0 s')
    """
    unit, scale = next(((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e-3)) if value >= scale), ("µs", 1e-6))
    return f"{_digits(value / scale)} {unit}"


def _digits(value: float) -> str:
    return format(value, "#.3g").rstrip(".")


def ratio(row: Mapping[str, Any]) -> str:
    """Median and quartiles.

    >>> ratio({"ratio": {"median": 25.04, "lower": 24.0, "upper": 26.51}, "direction": "at least"})
    '25.0 [24.0, 26.5]'
    """
    show = "{:.3f}".format if row["direction"] == "at most" else _digits
    median, lower, upper = (show(row["ratio"][name]) for name in ("median", "lower", "upper"))
    return f"{median} [{lower}, {upper}]"


def target(row: Mapping[str, Any]) -> str:
    """The target with its direction, or nothing."""
    return "" if row["target"] is None else f"{SIGNS[row['direction']]} {row['target']:g}"


def provenance(stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Machines, versions, and when each topic ran."""
    lines = (
        (topic, entry["finished"], f"{entry['seconds']:.0f} s", entry["load_before"], entry["load_after"], _machine(entry))
        for topic, entry in stored.items()
    )
    head = ("topic", "finished", "took", "load before", "load after", "machine")
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in entry["versions"].items()) for entry in stored.values()
    )
    return f"## Where and when\n\n{table(head, lines)}\n" + "\n".join(f"Versions: {line}." for line in versions) + "\n"


def _machine(entry: Mapping[str, Any]) -> str:
    return f"{entry['machine']['cpu']}, {entry['machine']['cores']} cores"


def _steps_per_lane(details: Mapping[str, Any]) -> str:
    steps = np.array(details["steps_per_lane"])
    paid = steps.max() * steps.size / steps.sum()
    return (
        f"Steps per lane: {steps.min()} to {steps.max()}, median {np.median(steps):g}; a batch that waits for its worst lane"
        f" makes {paid:.2f} times the evaluations that its lanes need.\n"
    )


def _lanes(details: Mapping[str, Any]) -> str:
    names = list(details["lanes"])
    columns = zip(*details["lanes"].values(), strict=True)
    lines = ((f"{row[0]['lanes']:,}", *(seconds(cell["seconds_per_lane"]["median"]) for cell in row)) for row in columns)
    return (
        f"Time per lane of {details['steps']:,} steps, on square grids of M x seeds:\n\n{table(('lanes', *names), lines)}\n"
        "![Time per lane against the number of lanes](images/lanes.png)\n"
    )


def _solver_steps(details: Mapping[str, Any]) -> str:
    setting = details["setting"]
    head = ("separation", "dtype", *SOLVERS)
    lines = (
        (f"{line['separation']:g}", line["dtype"], *(_steps(line[name]) for name in SOLVERS)) for line in details["lines"]
    )
    return (
        f"Evaluations until F is certain to the default tolerance: smallest / median / largest of {setting['draws']} draws"
        f" of 2 x {setting['size']} samples of unit Gaussians, log-ratios offset by {setting['offset']:g}. A negative"
        " separation inverts the ratios (data below noise). In brackets, draws that were not done after"
        f" {setting['max_steps']:,} steps.\n\n{table(head, lines)}"
    )


def _steps(cell: Mapping[str, Any]) -> str:
    unsolved = f" ({cell['unsolved']})" if cell["unsolved"] else ""
    return f"{cell['min']} / {cell['median']:g} / {cell['max']}{unsolved}"


DETAILS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "many_problems": _steps_per_lane,
    "sweep_lanes": _lanes,
    "solver_steps": _solver_steps,
}
