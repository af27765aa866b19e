"""Prints the stored results as tables: `python -m experiments.diffusion_critic.table`."""

from collections.abc import Mapping
from typing import Any

import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.diffusion_critic.statistics import (
    SHOWN,
    comparisons,
    final,
    is_of_magnification,
    mean_and_error,
    of_magnification,
    paired,
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
    if any(is_of_magnification(*pair) for pair in comparisons(arrays)):
        texts = [_with_interval(row) for row in of_magnification(arrays, length, measure)]
        lines.append(f"| M = 100, mean | M = 1, mean | {' | '.join(texts)} |")
    return "\n".join(lines)


def _with_interval(row: Any) -> str:
    mean, low, high = row
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


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
        for measure in ("sliced", "mode_kl", "good"):
            print(f"\n{length} steps\n\n{differences(stored.arrays, length, measure)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
