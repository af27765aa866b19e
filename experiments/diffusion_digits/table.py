"""Prints the stored results as tables: `python -m experiments.diffusion_digits.table`."""

from collections.abc import Mapping
from typing import Any

import tyro

from experiments.common import results
from experiments.common.endings import one_line
from experiments.common.over_seeds import mean_and_error
from experiments.diffusion_digits.statistics import (
    BASELINES,
    SHOWN,
    comparisons,
    final,
    kinds,
    names,
    paired,
    ratio_of_updates,
)

DIGITS = {"frechet": 1, "kernel": 3, "class_kl": 3, "sure": 3}


def table(arrays: Mapping[str, Any], kind: str) -> str:
    """Baselines and all methods in Markdown: mean ± standard error over seeds."""
    lines = [f"| | {' | '.join(SHOWN)} |", "|---|" + "--:|" * len(SHOWN)]
    for name, label in BASELINES.items():
        cells = [f"{float(arrays[f'{name}_{measure}']):.{DIGITS[measure]}f}" for measure in SHOWN]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    columns = {measure: mean_and_error(final(arrays, kind, measure)) for measure in SHOWN}
    for row, method in enumerate(names(arrays, kind)):
        cells = [
            f"{mean[row]:.{DIGITS[measure]}f} ± {error[row]:.{DIGITS[measure]}f}"
            for measure, (mean, error) in columns.items()
        ]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_update(arrays: Mapping[str, Any], kind: str) -> str:
    """The Frechet distance at every checkpoint in Markdown, mean ± standard error."""
    updates = list(map(str, arrays[f"{kind}_updates"]))
    lines = [f"| updates | {' | '.join(updates)} |", "|---|" + "--:|" * len(updates)]
    values = _seeds_last(arrays[f"{kind}_frechet"])
    for method, means, errors in zip(names(arrays, kind), *mean_and_error(values), strict=True):
        cells = [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means, errors, strict=True)]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seeds_last(values: Any) -> Any:
    """(method, seed, checkpoint) with the seeds last."""
    return values.swapaxes(1, 2)


def differences(arrays: Mapping[str, Any], kind: str) -> str:
    """Paired differences of two methods in Markdown, with intervals of 95 %."""
    lines = ["| | less | frechet | class_kl |", "|---|---|---|---|"]
    for first, second in comparisons(arrays, kind):
        cells = []
        for measure in ("frechet", "class_kl"):
            mean, low, high = paired(arrays, kind, measure, first, second)
            digits = DIGITS[measure]
            cells.append(f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})")
        lines.append(f"| {first} | {second} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios(arrays: Mapping[str, Any], kind: str) -> str:
    """Updates to where the second method ends, by those of the second, in Markdown."""
    lines = ["| | by | updates, 95 % | seeds that miss |", "|---|---|---|--:|"]
    for first, second in comparisons(arrays, kind):
        mean, low, high, missed = ratio_of_updates(arrays, kind, first, second)
        lines.append(f"| {first} | {second} | {mean:.2f} ({low:.2f} to {high:.2f}) | {missed} |")
    return "\n".join(lines)


def main(preset: str = "cpu") -> None:
    """Print the tables of samplers and students, of their differences and of ratios of updates.

    Args:
        preset: whose results.
    """
    folder = results.default_folder("diffusion_digits", preset)
    stored = results.load(folder, f"python -m experiments.diffusion_digits.run --preset {preset}")
    for kind in kinds(stored.arrays):
        for text in (table, by_update, differences, ratios):
            print(f"\n{kind}\n\n{text(stored.arrays, kind)}")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
