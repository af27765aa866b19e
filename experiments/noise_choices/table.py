"""Prints the README's tables: `python -m experiments.noise_choices.table [folder]`."""

import sys
from pathlib import Path

import numpy as np

from experiments.common import results
from experiments.common.endings import one_line
from experiments.noise_choices import statistics


def cell(values, digits: int = 2, withheld: str = "withheld") -> str:
    mean, error = statistics.mean_and_error(values)
    return f"{mean:.{digits}f} ± {error:.{digits}f}" if np.isfinite(mean) else withheld


def plane_table(arrays) -> str:
    kappas = [f"KL, kappa = {kappa:g}" for kappa in arrays["magnifications"]]
    columns = ["noise", *kappas, "overlap", "F - log Z", "set-up [s]", "step [ms]"]
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    offset = statistics.log_partition_error(arrays, "plane")
    for index, noise in enumerate(arrays["noises"]):
        cells = [cell(row[:, -1], 3) for row in arrays["plane_divergence"][index]]
        cells += [cell(arrays["plane_overlap"][index, 0, :, -1]), cell(offset[index, 0])]
        lines.append(_row(noise, cells, arrays, "plane", index))
    return "\n".join(lines)


def digits_table(arrays) -> str:
    columns = [
        "noise",
        "gain",
        "log Z",
        "least ESS",
        "log Z by Bennett",
        "noise's own gain",
        "overlap",
        "F - log Z",
    ]
    columns += ["unsolved", "set-up [s]", "step [ms]"]
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    trusted = statistics.is_trusted(arrays)
    gains = statistics.gain(arrays)
    base = arrays["digits_log_gaussian"].mean()
    offset = statistics.log_partition_error(arrays, "digits")
    for index, noise in enumerate(arrays["noises"]):
        mask = np.where(trusted[index, 0], 0, np.nan)
        inside = arrays["digits_inside"][index]
        noise_gain = f"{arrays['digits_log_noise'][index] - base:.1f}" + (
            "" if inside == 1 else f" ({inside:.0%} inside)"
        )
        cells = [
            cell(gains[index, 0]),
            cell(arrays["digits_log_partition"][index, 0] + mask),
            f"{arrays['digits_effective_samples'][index, 0].min():.0f}",
            cell(arrays["digits_bennett"][index, 0], withheld="none"),
            noise_gain,
            cell(arrays["digits_overlap"][index, 0, :, -1]),
            cell(offset[index, 0] + mask),
            f"{arrays['digits_unsolved'][index, 0].sum(axis=-1).mean():.0f}",
        ]
        lines.append(_row(noise, cells, arrays, "digits", index))
    return "\n".join(lines)


def _row(noise, cells: list[str], arrays, problem: str, index: int) -> str:
    setup, seconds = arrays[f"{problem}_setup_seconds"][index], arrays[f"{problem}_seconds"][index]
    return f"| {noise} | {' | '.join(cells)} | {setup:.1f} | {1e3 * seconds:.2f} |"


def main() -> None:
    folder = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else results.default_folder("noise_choices", "paper")
    )
    arrays = results.load(folder, "python -m experiments.noise_choices.run --preset paper").arrays
    print(f"{plane_table(arrays)}\n\n{digits_table(arrays)}")


if __name__ == "__main__":
    with one_line():
        main()
