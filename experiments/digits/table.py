"""Prints the README's tables: `python -m experiments.digits.table [folder]`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common import results
from experiments.common.endings import one_line
from experiments.digits import statistics

COLUMNS = {
    "test_loss": "NCE loss at kappa = 1",
    "gain": "log-likelihood gain",
    "log_partition": "log Z",
    "profiled_at_one": "F*(1)",
    "profiled_at_own": "F*(kappa)",
    "effective_samples": "ESS",
}


def table(arrays: Mapping[str, Any], checkpoint: int) -> str:
    """The grid at one checkpoint as markdown: mean ± standard error over seeds, or `withheld`."""
    lines = [
        f"| nu | M | kappa | {' | '.join(COLUMNS.values())} |",
        "|--:" * (len(COLUMNS) + 3) + "|",
    ]
    withheld = np.isnan(arrays["grid_gain"][..., checkpoint]).any(axis=-1)
    for row, ratio in enumerate(arrays["noise_ratios"]):
        for column, magnification in enumerate(arrays["magnifications"]):
            cells = [
                _cell(
                    name, arrays[f"grid_{name}"][column, row, :, checkpoint], withheld[column, row]
                )
                for name in COLUMNS
            ]
            lines.append(
                f"| {ratio:g} | {magnification:g} | {ratio * magnification:g} |"
                f" {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def _cell(name: str, lanes: np.ndarray, is_withheld: bool) -> str:
    if is_withheld and name in ("gain", "log_partition"):
        return "withheld"
    mean, error = statistics.mean_and_error(lanes)
    digits = 0 if name == "effective_samples" else 3 if name == "test_loss" else 2
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else results.default_folder("digits", "paper")
    arrays = results.load(folder, "python -m experiments.digits.run --preset paper").arrays
    for step in arrays["reported_steps"]:
        print(f"Step {step}:\n\n{table(arrays, int(np.searchsorted(arrays['steps'], step)))}\n")


if __name__ == "__main__":
    with one_line():
        main()
