"""Prints the stored results as a table: `python -m experiments.diffusion_images.table`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.diffusion_images.statistics import BASELINES, KINDS, names


def table(arrays: Mapping[str, Any]) -> str:
    """Baselines and methods in Markdown: the distance, its error over samples, and its bias."""
    lines = ["| | squared Frechet distance | bias | overlap |", "|---|--:|--:|--:|"]
    for name, label in BASELINES.items():
        value, error, bias = (
            float(arrays[f"{name}_frechet{end}"]) for end in ("", "_error", "_bias")
        )
        lines.append(f"| {label} | {value:.2f} ± {error:.2f} | {bias:.2f} | |")
    for kind in KINDS:
        last = {
            field: np.mean(arrays[f"{kind}_{field}"][..., -1], axis=-1)
            for field in ("frechet", "frechet_error", "frechet_bias", "overlap")
        }
        for row, method in enumerate(names(arrays, kind)):
            value, error, bias, overlap = (values[row] for values in last.values())
            lines.append(f"| {method} | {value:.2f} ± {error:.2f} | {bias:.2f} | {overlap:.3f} |")
    return "\n".join(lines)


def main(preset: str = "gpu") -> None:
    """Print the table of samplers and students.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("diffusion_images", preset)
    stored = results.load(folder, f"python -m experiments.diffusion_images.run --preset {preset}")
    print(table(stored.arrays))


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
