"""Prints the stored results as tables: `python -m experiments.diffusion_critic.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.common.over_seeds import mean_and_error
from experiments.diffusion_critic.statistics import (
    SHOWN,
    changes,
    comparisons,
    final,
    num_with_lost_modes,
    of_change,
    paired,
    ratio_of_steps,
    steps_to_goal,
)

DIGITS = {"sliced": 3, "mmd": 4, "good": 3, "modes": 1, "mode_kl": 4, "spread": 2}


def table(arrays: Mapping[str, Any], length: int, start: int) -> str:
    """All methods from one start in Markdown: mean ± standard error over seeds."""
    lines = [f"| critic | {' | '.join(SHOWN)} |", "|---|" + "---|" * len(SHOWN)]
    lines += [_row("data", {name: arrays[f"data_{name}"] for name in SHOWN})]
    teacher = {name: mean_and_error(arrays[f"T{length}_teacher_{name}"]) for name in SHOWN}
    lines += [_row("none: the teacher", teacher)]
    columns = {name: mean_and_error(final(arrays, length, name)) for name in SHOWN}
    for row, method in enumerate(arrays["methods"]):
        cells = {
            name: (mean[row, start], error[row, start]) for name, (mean, error) in columns.items()
        }
        lines.append(_row(str(method), cells))
    return "\n".join(lines)


def _row(label: str, cells: Mapping[str, Any]) -> str:
    def text(name: str, cell: Any) -> str:
        parts = cell if isinstance(cell, tuple) else (cell,)
        return " ± ".join(f"{float(part):.{DIGITS[name]}f}" for part in parts)

    return f"| {label} | {' | '.join(text(name, cells[name]) for name in SHOWN)} |"


def differences(arrays: Mapping[str, Any], length: int, measure: str) -> str:
    """Paired differences of two critics from both starts in Markdown, with intervals of 95 %."""
    lines = [f"| {measure} of | less that of | {' | '.join(map(str, arrays['starts']))} |"]
    lines += ["|---|---|---|---|"]
    for first, second in comparisons(arrays):
        rows = paired(arrays, length, measure, first, second)
        texts = list(map(_with_interval, rows))
        lines.append(f"| {first} | {second} | {' | '.join(texts)} |")
    return "\n".join(lines)


def mean_changes(arrays: Mapping[str, Any], length: int, start: int) -> str:
    """What M, a solved F and the regularizer change in Markdown, means over all else."""
    lines = [f"| from {arrays['starts'][start]} | {' | '.join(SHOWN)} |", "|---|" + "---|" * 6]
    for change in changes(arrays):
        rows = {name: of_change(arrays, length, name, change)[start] for name in SHOWN}
        cells = [_with_interval(row, DIGITS[name]) for name, row in rows.items()]
        lines.append(f"| {change} | {' | '.join(cells)} |")
    return "\n".join(lines)


def from_random_weights(arrays: Mapping[str, Any], length: int) -> str:
    """Median steps to the goal, and runs that end without a mode, in Markdown."""
    lines = ["| critic | median step | runs with lost modes |", "|---|--:|--:|"]
    lost = num_with_lost_modes(arrays, length)[:, 0]
    for method, number in zip(map(str, arrays["methods"]), lost, strict=True):
        median = np.median(steps_to_goal(arrays, length, method))
        lines.append(f"| {method} | {median:.0f} | {number} |")
    for change in changes(arrays):
        mean, low, high, missed = ratio_of_steps(arrays, length, change)
        text = f"ratio {mean:.2f} ({low:.2f} to {high:.2f}), {missed} runs miss"
        lines.append(f"| {change} | {text} | |")
    return "\n".join(lines)


def _with_interval(row: Any, digits: int = 3) -> str:
    mean, low, high = (f"{value:+.{digits}f}" for value in row)
    return f"{mean} ({low} to {high})"


def main(preset: str = "paper") -> None:
    """Print the tables of all methods, and of their differences.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("diffusion_critic", preset)
    stored = results.load(folder, f"python -m experiments.diffusion_critic.run --preset {preset}")
    for length in map(int, stored.arrays["lengths"]):
        for start, name in enumerate(stored.arrays["starts"]):
            print(f"\n{length} steps, from {name}\n\n{table(stored.arrays, length, start)}")
            print(f"\n{length} steps\n\n{mean_changes(stored.arrays, length, start)}")
        print(f"\n{length} steps\n\n{from_random_weights(stored.arrays, length)}")
        for measure in ("sliced", "mode_kl", "good"):
            print(f"\n{length} steps\n\n{differences(stored.arrays, length, measure)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
