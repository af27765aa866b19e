"""Prints the stored results as tables: `python -m experiments.choosing_m_schedule.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.choosing_m_schedule.statistics import (
    counts,
    labels,
    means,
    ratios,
    sizes,
    standard_errors,
)
from experiments.common import results
from experiments.common.endings import one_line


def summary(arrays: Mapping[str, Any]) -> str:
    """How many pairs are near the best M, and how many worse than M = 1, in Markdown."""
    columns = [counts(arrays, rows) for rows in (~arrays["is_further"], arrays["is_further"])]
    columns += [
        counts(_of_factor(arrays, index), ~arrays["is_further"], "rates")
        for index in range(len(arrays["rate_factors"]))
    ]
    heads = ["the 17 problems", "further problems"]
    heads += [f"17, medium, {factor:.2g} of the rate" for factor in arrays["rate_factors"]]
    titles = [f"{head}, of {column[2]}" for head, column in zip(heads, columns, strict=True)]
    return _by_label(
        arrays,
        titles,
        [[f"{n}; {w} worse" for n, w in zip(*two, strict=True)] for *two, _ in columns],
    )


def ratio_sizes(arrays: Mapping[str, Any]) -> str:
    """Geometric mean and largest of the ratios to the best M, in Markdown."""
    columns = [sizes(arrays, rows) for rows in (~arrays["is_further"], arrays["is_further"])]
    cells = [
        [f"{mean:.2f}; {most:.1f}" for mean, most in zip(*two, strict=True)] for two in columns
    ]
    return _by_label(arrays, ["the 17 problems", "further problems"], cells)


def _by_label(arrays: Mapping[str, Any], titles: list[str], columns: list[list[str]]) -> str:
    lines = [f"| M by | {' | '.join(titles)} |", "|---|" + "---|" * len(columns)]
    for index, label in enumerate(labels(arrays)):
        lines.append(f"| {label} | {' | '.join(column[index] for column in columns)} |")
    return "\n".join(lines)


def _of_factor(arrays: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {**arrays, "rates": arrays["rates"][..., index : index + 1]}


def by_problem(arrays: Mapping[str, Any]) -> str:
    """The best M, its error, and the ratios to it at all budgets, in Markdown."""
    grid = means(arrays["averaged"])[:, : len(arrays["magnifications"])]
    best, to_best, error = grid.argmin(axis=1), ratios(arrays), standard_errors(arrays)
    names = labels(arrays)
    lines = [f"| problem | steps | best M | its error | {' | '.join(names)} |"]
    lines += ["|---|" + "---|" * (3 + len(names))]
    for row, problem in enumerate(arrays["problems"]):
        cells = [
            " / ".join(map(str, arrays["budgets"][row])),
            " / ".join(f"{arrays['magnifications'][index]:g}" for index in best[row]),
            " / ".join(f"{value:.2g}" for value in grid[row].min(axis=0)),
        ]
        for column in range(len(names)):
            pairs = zip(to_best[row, column], error[row, column], strict=True)
            cells.append(" / ".join(_ratio(value, spread) for value, spread in pairs))
        lines.append(f"| {problem} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(value: float, spread: float) -> str:
    """Two digits, and the standard error where it may decide."""
    decides = np.isfinite(spread) and abs(value - 1.1) < 3 * spread and spread >= 0.005
    return f"{value:.2f}" + (f" ± {spread:.2f}" if decides else "")


def main(preset: str = "paper") -> None:
    """Print the counts, and the ratios of every problem.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("choosing_m_schedule", preset)
    command = f"python -m experiments.choosing_m_schedule.run --preset {preset}"
    arrays = results.load(folder, command).arrays
    print("\n\n".join(part(arrays) for part in (summary, ratio_sizes, by_problem)))


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
