"""Prints the stored results as a table: `python -m experiments.diffusion_images.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.diffusion_images.statistics import BASELINES, kinds, names, updates_to_the_end


def table(arrays: Mapping[str, Any]) -> str:
    """Baselines and methods in Markdown: the distance, its error over samples, and its bias."""
    lines = ["| | squared Frechet distance | bias | overlap |", "|---|--:|--:|--:|"]
    for name, label in BASELINES.items():
        value, error, bias = (
            float(arrays[f"{name}_frechet{end}"]) for end in ("", "_error", "_bias")
        )
        lines.append(f"| {label} | {value:.2f} ± {error:.2f} | {bias:.2f} | |")
    for kind in kinds(arrays):
        last = {
            field: np.mean(arrays[f"{kind}_{field}"][..., -1], axis=-1)
            for field in ("frechet", "frechet_error", "frechet_bias", "overlap")
        }
        for row, method in enumerate(names(arrays, kind)):
            value, error, bias, overlap = (values[row] for values in last.values())
            lines.append(f"| {method} | {value:.2f} ± {error:.2f} | {bias:.2f} | {overlap:.3f} |")
    return "\n".join(lines)


def by_update(arrays: Mapping[str, Any], kind: str) -> str:
    """The distance at every measurement in Markdown, and when it is where the first method ends."""
    columns = [
        *map(str, arrays[f"{kind}_updates"]),
        f"updates to the end of {names(arrays, kind)[0]}",
    ]
    lines = [f"| updates | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for method, runs in zip(names(arrays, kind), arrays[f"{kind}_frechet"], strict=True):
        needed = np.mean(updates_to_the_end(arrays, kind, method))
        cells = [*(f"{value:.2f}" for value in np.mean(runs, axis=0)), f"{needed:.0f}"]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(preset: str = "gpu") -> None:
    """Print the tables of samplers and students.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("diffusion_images", preset)
    stored = results.load(folder, f"python -m experiments.diffusion_images.run --preset {preset}")
    print(table(stored.arrays))
    for kind in kinds(stored.arrays):
        print(f"\n{kind}\n\n{by_update(stored.arrays, kind)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
