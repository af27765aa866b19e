"""Prints the stored results as tables: `python -m experiments.one_step.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.common.over_seeds import mean_and_error
from experiments.one_step.statistics import (
    REACHED,
    SHOWN,
    comparisons,
    final,
    paired,
    ratio,
    reached,
)

DIGITS = {"sliced": 3, "mmd": 4, "good": 3, "modes": 1, "mode_kl": 4, "spread": 2}


def ends(arrays: Mapping[str, Any]) -> str:
    """The ends of all runs in Markdown: mean ± standard error over seeds."""
    lines = [f"| critic | {' | '.join(SHOWN)} | overlap |", "|---|" + "---|" * (len(SHOWN) + 1)]
    for prefix in ("data", "teacher", "start"):
        cells = [_cell(name, arrays[f"{prefix}_{name}"]) for name in SHOWN]
        lines.append(f"| {prefix} | {' | '.join(cells)} | |")
    columns = {name: final(arrays, name) for name in SHOWN}
    for row, method in enumerate(arrays["methods"]):
        cells = [_cell(name, columns[name][row]) for name in SHOWN]
        overlap = final(arrays, "overlap")[row].mean()
        cells.append("" if np.isnan(overlap) else f"{overlap:.3f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(name: str, values: np.ndarray) -> str:
    mean, error = mean_and_error(values)
    return f"{float(mean):.{DIGITS[name]}f} ± {float(error):.{DIGITS[name]}f}"


def updates(arrays: Mapping[str, Any], measure: str) -> str:
    """Updates until the end of the run without a critic is reached, and their ratios."""
    lines = [
        f"| to the end of none by {measure} | median updates (never) | by those of none"
        " | by those of M = 1 | the same, to the end of M = 1 |",
        "|---|---|---|---|---|",
    ]
    methods = list(map(str, arrays["methods"]))
    for method in methods:
        found = reached(arrays, measure, method, "none")
        text = f"{np.median(found):.0f} ({np.isinf(found).sum()} of {len(found)})"
        cells = [text, _ratio(arrays, measure, method, "none", "none"), "", ""]
        _, _, end = method.partition(",")
        base = f"M = 1,{end}".removesuffix(", doubled")
        if method != base and base in methods:
            cells[2] = _ratio(arrays, measure, method, base, "none")
            cells[3] = _ratio(arrays, measure, method, base, base)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(arrays: Mapping[str, Any], measure: str, first: str, second: str, goal_of: str) -> str:
    found = ratio(arrays, measure, [(first, second)], goal_of)
    missed = f", {found.num_missed} never" if found.num_missed else ""
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f}{missed})"


def differences(arrays: Mapping[str, Any], measure: str) -> str:
    """Paired differences of the ends of two runs in Markdown, with intervals of 95 %."""
    lines = [f"| {measure} of | less that of | difference |", "|---|---|---|"]
    methods = list(map(str, arrays["methods"]))
    pairs = [(method, "none") for method in methods if method != "none"]
    for first, second in pairs + comparisons(arrays):
        mean, low, high = paired(arrays, measure, first, second)
        lines.append(f"| {first} | {second} | {mean:+.4f} ({low:+.4f} to {high:+.4f}) |")
    return "\n".join(lines)


def main(preset: str = "paper") -> None:
    """Print the tables of the ends of all runs, of updates, and of differences.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("one_step", preset)
    stored = results.load(folder, f"python -m experiments.one_step.run --preset {preset}")
    print(ends(stored.arrays))
    for measure in REACHED:
        print(f"\n{updates(stored.arrays, measure)}\n\n{differences(stored.arrays, measure)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
