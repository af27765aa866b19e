"""Prints the stored results as tables: `python -m experiments.offline_design.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.offline_design.statistics import MEASURES, mean_and_deviation


def table(arrays: Mapping[str, Any], task: str) -> str:
    """A task's table in Markdown: mean ± standard deviation over seeds."""
    lines = ["| method | median | share above 0.9 | best | distinct |", "|---|---|---|---|---|"]
    columns = [mean_and_deviation(arrays, task, measure) for measure in MEASURES]
    for method, *cells in zip(arrays["methods"], *columns, strict=True):
        texts = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in cells[:-1]]
        lines.append(f"| {method} | {' | '.join(texts)} | {cells[-1][0]:.0f} |")
    return "\n".join(lines)


def main(preset: str = "paper") -> None:
    """Print the tables of both tasks.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("offline_design", preset)
    arrays = results.load(folder, f"python -m experiments.offline_design.run --preset {preset}")
    for task in arrays.arrays["task_names"]:
        print(f"\n{task}\n\n{table(arrays.arrays, task)}")
    for name, values in arrays.arrays.items():
        if "_cho" in name:
            print(f"\n{name}: {np.round(values, 4).tolist()}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
