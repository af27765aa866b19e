"""Prints the tables of the README: `python -m experiments.latent_digits.table [folder]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.common import results
from experiments.common.endings import one_line
from experiments.latent_digits import statistics


def of_samples(arrays) -> str:
    """Distances and shares by row and way to sample."""
    head = "row", "way", "Frechet, drawn", "Frechet, mean", "kernel, drawn", "share of ones"
    lines = _head(head)
    for name in statistics.BASELINES:
        found = [
            arrays[f"{name}: {key}"][0] for key in ("frechet_drawn", "frechet_mean", "kernel_drawn")
        ]
        cells = [f"{value:.{digits}f}" for value, digits in zip(found, (1, 1, 2), strict=True)]
        lines.append(_line([name, "", *cells, f"{arrays[f'{name}: classes'][1]:.2f}"]))
    for row, name in enumerate(arrays["methods"].tolist()):
        for way in statistics.WAYS:
            cells = [
                _spread(arrays[f"{way}: {key}"][row, :, 0], digits)
                for key, digits in (("frechet_drawn", 1), ("frechet_mean", 1), ("kernel_drawn", 2))
            ]
            ones = arrays[f"{way}: classes"][row, :, 1]
            lines.append(_line([name, way, *cells, _spread(ones, 2)]))
    return "\n".join(lines)


def of_training(arrays) -> str:
    """Overlaps and log ratios by row."""
    head = (
        "row",
        "overlaps of the stages (data first)",
        "mean log ratio: test images",
        "annealed",
        "chains",
        "F",
        "log Z, sequential Monte Carlo",
        "effective draws of the noise",
    )
    lines = _head(head)
    for row, name in enumerate(arrays["methods"].tolist()):
        overlaps = arrays["overlap"][row].mean(axis=0)
        cells = [" ".join(f"{value:.3f}" for value in overlaps if np.isfinite(value))]
        cells += [
            _spread(arrays[key][row].mean(axis=-1), 1)
            for key in ("test_log_ratio", "annealed: log_ratio", "chains: log_ratio")
        ]
        cells.append(_spread(np.nansum(arrays["log_partition"][row], axis=-1), 1))
        cells.append(_spread(arrays["smc"][row, :, 0], 1))
        draws = arrays["annealed: log_ratio"].shape[-1]
        cells.append(f"{_spread(arrays['ess'][row], 0)} (for {draws:,})")
        lines.append(_line([name, *cells]))
    return "\n".join(lines)


def of_bits(arrays) -> str:
    """Bits per dimension by what is taken for log Z, and gains in nats."""
    bits, gains = statistics.bits(arrays), statistics.gains(arrays)
    kinds = "annealed", "reverse", "F"
    lines = _head(
        ["row", *(f"bits, {kind}" for kind in kinds), *(f"gain, {kind}" for kind in kinds)]
    )
    mixture = arrays["mixture_gain"].mean()
    lines.append(_line(["Gaussian", f"{bits['Gaussian']:.3f}", "", "", "0", "", ""]))
    lines.append(_line(["mixture", f"{bits['mixture']:.3f}", "", "", f"{mixture:.1f}", "", ""]))
    for row, name in enumerate(arrays["methods"].tolist()):
        cells = [_spread(bits[kind][row], 3) for kind in kinds]
        cells += [_spread(gains[kind][row], 1) for kind in kinds]
        lines.append(_line([name, *cells]))
    return "\n".join(lines)


def _spread(values: np.ndarray, digits: int) -> str:
    """Mean, and the standard deviation over seeds if there are several."""
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] + ["--:"] * (len(cells) - 1))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    default = results.default_folder("latent_digits", "cpu")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    command = "python -m experiments.latent_digits.run --preset cpu"
    arrays = results.load(folder, command).arrays
    print("\n\n".join([of_samples(arrays), of_training(arrays), of_bits(arrays)]))


if __name__ == "__main__":
    with one_line():
        main()
