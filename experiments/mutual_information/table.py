"""Prints the README's table: `python -m experiments.mutual_information.table`."""

from collections.abc import Mapping

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.mutual_information.statistics import (
    drift,
    fraction,
    is_covered,
    is_flagged,
    is_run,
    relative_errors,
)

HEAD = (
    "| d | method | estimate | stated error | worst error | drift | samples | flagged | covers |"
    " seconds (processor) |"
)
"""Heading of the table. Samples are effective ones, and drift and error the largest over seeds."""


def rows(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Lines of the table, means over the seeds, one per dimension and method."""
    lines = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    for column, dim in enumerate(arrays["dims"]):
        lines += [
            _row(arrays, row, column, f"| {dim} | {name} |")
            for row, name in enumerate(arrays["methods"])
        ]
    return lines


def _row(arrays: Mapping[str, np.ndarray], row: int, column: int, start: str) -> str:
    run, index = is_run(arrays)[row, column], (row, column)
    covered = is_covered(arrays["estimate"], arrays["standard_error"], arrays["truth"][:, None])[
        index
    ]
    worst, largest_drift = (
        np.nanmax(np.abs(values))
        for values in (relative_errors(arrays)[index], drift(arrays["trace"][index]))
    )
    means = {
        name: np.nanmean(arrays[name][index])
        for name in ("estimate", "standard_error", "effective_samples")
    }
    times = [np.nanmean(arrays[name][index]) for name in ("seconds", "processor_seconds")]
    cells = [
        f"{means['estimate']:.2f}",
        f"{means['standard_error']:.2g}",
        f"{worst:.1%}",
        f"{largest_drift:.2%}",
        f"{means['effective_samples']:.0f}",
        *(
            f"{fraction(condition, run) * run.sum():.0f} of {run.sum()}"
            for condition in (is_flagged(arrays)[index], covered)
        ),
        f"{times[0]:.0f} ({times[1]:.0f})",
    ]
    return start + " | ".join(["", *cells])[2:] + " |"


def main(preset: str = "paper") -> None:
    """Print the README's table.

    Args:
        preset: whose results are printed.
    """
    folder = results.default_folder("mutual_information", preset)
    stored = results.load(folder, f"python -m experiments.mutual_information.run --preset {preset}")
    print("\n".join(rows(stored.arrays)))


if __name__ == "__main__":
    with one_line():
        tyro.cli(main, prog="python -m experiments.mutual_information.table")
