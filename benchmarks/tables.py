"""Markdown tables of the page: rows, details of a topic, provenance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

SIGNS = {"at least": "≥", "at most": "≤"}
SOLVERS = ("Newton", "bisection", "fixed point")


def table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return (
        "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, rule, *lines)) + "\n"
    )


def rows(entries: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a topic, with the checks and notes below."""
    has_floor = any(row.get("over_floor") for row in entries)
    head = (
        "",
        "ours",
        "other",
        "",
        "ratio",
        "target",
        "verdict",
        "ratio of processor time",
        "error (tolerance)",
    )
    head += ("floor", "over the floor") * has_floor
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
            _error(row),
            *_floor(row) * has_floor,
        )
        for row in entries
    )
    units = ", ".join(dict.fromkeys(row["unit"] for row in entries))
    checks = "; ".join(dict.fromkeys(row["checked"] for row in entries))
    notes = "; ".join(dict.fromkeys(row["note"] for row in entries if row["note"]))
    floors = "; ".join(dict.fromkeys(row["floor_what"] for row in entries if row.get("over_floor")))
    below = f"Times per {units}. Error: {checks}." + (f" Note: {notes}." if notes else "")
    return f"{table(head, lines)}\n{below}{f' Floor: {floors}.' if floors else ''}\n"


def amounts(entries: Sequence[Mapping[str, Any]]) -> str:
    """Table of a topic's amounts, with a column for every value compared with."""
    columns = list(dict.fromkeys(name for entry in entries for name in entry["beside"]))
    show = {"s": seconds, "B": megabytes}

    def line(entry: Mapping[str, Any]) -> tuple[str, ...]:
        compared_with = (
            show[entry["unit"]](entry["beside"][name]) if name in entry["beside"] else ""
            for name in columns
        )
        return entry["name"], *amount(entry), entry["verdict"], *compared_with

    return table(("", "ours", "target", "verdict", *columns), map(line, entries))


def amount(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Value with its quartiles, and the target or nothing."""
    show = {"s": seconds, "B": megabytes}[entry["unit"]]
    median, lower, upper = (show(entry["value"][name]) for name in ("median", "lower", "upper"))
    return f"{median} [{lower}, {upper}]", (
        "" if entry["target"] is None else f"≤ {show(entry['target'])}"
    )


def megabytes(value: float) -> str:
    """Megabytes with three digits.

    >>> megabytes(88_001_608.0), megabytes(46_664.0)
    ('88.0 MB', '0.0467 MB')
    """
    return f"{_digits(value / 1e6)} MB"


def seconds(value: float) -> str:
    """Seconds with three digits and a unit.

    >>> seconds(0.0123456), seconds(4.2e-5), seconds(12.0)
    ('12.3 ms', '42.0 µs', '12.0 s')
    """
    unit, scale = next(
        ((unit, scale) for unit, scale in (("s", 1.0), ("ms", 1e-3)) if value >= scale),
        ("µs", 1e-6),
    )
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


def _error(row: Mapping[str, Any]) -> str:
    """An error with one digit if it is rounding, three where both sides estimate."""
    digits = 1 if row["error"] < 0.01 else 3
    return f"{row['error']:.{digits}g} ({row['tolerance']:.{digits}g})"


def _floor(row: Mapping[str, Any]) -> tuple[str, str]:
    return (
        (seconds(row["floor_seconds"]["median"]), _spread(row["over_floor"]))
        if row.get("over_floor")
        else ("", "")
    )


def _spread(value: Mapping[str, float]) -> str:
    return f"{_digits(value['median'])} [{_digits(value['lower'])}, {_digits(value['upper'])}]"


def target(row: Mapping[str, Any]) -> str:
    """The target with its direction, or nothing."""
    return "" if row["target"] is None else f"{SIGNS[row['direction']]} {row['target']:g}"


def provenance(stored: Mapping[str, Mapping[str, Any]]) -> str:
    """Machines, versions, and when each topic ran."""
    lines = (
        (
            topic,
            entry["finished"],
            f"{entry['seconds']:.0f} s",
            entry["load_before"],
            entry["load_after"],
            _machine(entry),
        )
        for topic, entry in stored.items()
    )
    head = ("topic", "finished", "took", "load before", "load after", "machine")
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
        for entry in stored.values()
    )
    return (
        f"## Where and when\n\n{table(head, lines)}\n"
        + "\n".join(f"Versions: {line}." for line in versions)
        + "\n"
    )


def _machine(entry: Mapping[str, Any]) -> str:
    return f"{entry['machine']['cpu']}, {entry['machine']['cores']} cores"


def _steps_per_lane(details: Mapping[str, Any]) -> str:
    steps = np.array(details["steps_per_lane"])
    paid = steps.max() * steps.size / steps.sum()
    return (
        f"Steps per lane: {steps.min()} to {steps.max()}, median {np.median(steps):g}; a batch that"
        f" waits for its worst lane makes {paid:.2f} times the evaluations that its lanes need.\n"
    )


def _lanes(details: Mapping[str, Any]) -> str:
    names = list(details["lanes"])
    columns = zip(*details["lanes"].values(), strict=True)
    lines = (
        (f"{row[0]['lanes']:,}", *(seconds(cell["seconds_per_lane"]["median"]) for cell in row))
        for row in columns
    )
    return (
        f"Time per lane of {details['steps']:,} steps, on square grids of M x"
        f" seeds:\n\n{table(('lanes', *names), lines)}\n![Time per lane against the number of"
        " lanes](images/lanes.png)\n"
    )


def _solver_steps(details: Mapping[str, Any]) -> str:
    setting = details["setting"]
    head = ("separation", "dtype", *SOLVERS)
    lines = (
        (f"{line['separation']:g}", line["dtype"], *(_steps(line[name]) for name in SOLVERS))
        for line in details["lines"]
    )
    return (
        "Evaluations until F is certain to the default tolerance: smallest / median / largest of"
        f" {setting['draws']} draws of 2 x {setting['size']} samples of unit Gaussians, log-ratios"
        f" offset by {setting['offset']:g}. A negative separation inverts the ratios (data below"
        f" noise). In brackets, draws that were not done after {setting['max_steps']:,}"
        f" steps.\n\n{table(head, lines)}"
    )


def _steps(cell: Mapping[str, Any]) -> str:
    unsolved = f" ({cell['unsolved']})" if cell["unsolved"] else ""
    return f"{cell['min']} / {cell['median']:g} / {cell['max']}{unsolved}"


def _ratio_errors(details: Mapping[str, Any]) -> str:
    head = ("", "method", "log ratio", "ratio", "time")
    lines = (
        (
            problem["problem"],
            fit["method"],
            f"{fit['log_error']:.3f}",
            f"{fit['square_error']:.3f}",
            seconds(fit["seconds"]),
        )
        for problem in details["problems"]
        for fit in problem["fits"]
    )
    measures = details["measures"]
    return (
        f"Errors of all methods, with {details['size']:,} training samples a side and"
        f" {details['held_out']:,} held out. Log ratio: {measures['log_error']}; ratio:"
        f" {measures['square_error']}, which is what uLSIF minimizes.\n\n{table(head, lines)}"
    )


def _information(details: Mapping[str, Any]) -> str:
    setting = details["setting"]
    names = [name for name in details["lines"][0] if name not in ("task", "truth")]
    lines = (
        (line["task"], f"{line['truth']:.3f}", *(_estimate(line[name]) for name in names))
        for line in details["lines"]
    )
    versions = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    return (
        f"Estimates in nats from {setting['size']:,} samples, and their times, of"
        f" {setting['repetitions']} run(s) each. The error of ours covers its averages for the"
        " fitted log ratio, not the quality of the fit. InfoNCE: at most"
        f" {setting['neural_steps']:,} steps, one run. bmi ran on"
        f" {versions}.\n\n{table(('task', 'truth', *names), lines)}"
    )


def _estimate(cell: Mapping[str, Any]) -> str:
    error = "" if cell["standard_error"] is None else f" ± {cell['standard_error']:.3f}"
    model = f" {cell['model']}" if cell["model"] else ""
    return f"{cell['value']:.3f}{error} ({seconds(cell['seconds'])}{model})"


DETAILS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "many_problems": _steps_per_lane,
    "sweep_lanes": _lanes,
    "solver_steps": _solver_steps,
    "ratio_estimation": _ratio_errors,
    "mutual_information": _information,
}
