"""Prints the tables of the README: `python -m experiments.latent_energy.table [folder]`."""

import sys
from pathlib import Path

import numpy as np

from experiments.common import results
from experiments.common.endings import one_line
from experiments.latent_energy import statistics

COLUMNS = {
    "Frechet": ("frechet", "{:.2f}"),
    "kernel": ("kernel", "{:.3f}"),
    "log ratio": ("log_ratio", "{:.3f}"),
    "ESS": ("effective_sample_size", "{:,.0f}"),
    "distinct": ("distinct", "{:,.0f}"),
    "overlap": ("overlap", "{:.3f}"),
    "overlap in training": ("stage_overlap", "{:.2f}"),
    "seconds": ("seconds", "{:.1f}"),
}
SPREAD = ("frechet", "log_ratio", "kernel")
"""Fields that are printed with their standard deviation over seeds."""
MISSING = "–"


def of_set(arrays, name: str) -> str:
    """Mean and standard deviation over seeds, by method."""
    start = statistics.slug(name)
    count, accuracy = int(arrays[f"{start}_num_samples"]), float(arrays[f"{start}_accuracy"])
    nats = np.nanmean(arrays[f"{start}_information"])
    lines = [
        f"{name}: N = {count:,} in every row, classifier {100 * accuracy:.1f} %, posterior"
        f" {nats:.1f} nats from N(0, I)",
        "",
        _line(["prior", *COLUMNS]),
        _line(["---", *["--:"] * len(COLUMNS)]),
    ]
    for index, method in enumerate(arrays[f"{start}_methods"]):
        cells = [
            _cell(arrays[f"{start}_{field}"][index], text, field in SPREAD)
            for field, text in COLUMNS.values()
        ]
        lines.append(_line([str(method), *cells]))
    return "\n".join(lines)


def _cell(values: np.ndarray, text: str, has_spread: bool) -> str:
    if not np.isfinite(values).any():
        return MISSING
    cell = text.format(values.mean())
    if has_spread and len(values) > 1 and values.std() > 0:
        cell += f" ± {text.format(values.std(ddof=1))}"
    return cell


def of_differences(arrays, name: str, base: str) -> str:
    """Differences of the Frechet distance and of the log ratio from one method, paired by seed."""
    start = statistics.slug(name)
    methods = [str(method) for method in arrays[f"{start}_methods"]]
    lines = [_line([f"{name}, minus {base}", "Frechet", "log ratio"]), _line(["---", "--:", "--:"])]
    for index, method in enumerate(methods):
        cells = []
        for field in ("frechet", "log_ratio"):
            values = arrays[f"{start}_{field}"]
            cells.append(" ".join(f"{v:+.3f}" for v in values[index] - values[methods.index(base)]))
        lines.append(_line([method, *cells]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    default = results.default_folder("latent_energy", "cpu")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    arrays = results.load(folder, "python -m experiments.latent_energy.run --preset cpu").arrays
    for name in statistics.names(arrays):
        print(of_set(arrays, name), "\n")
        if "NCE" in arrays[f"{statistics.slug(name)}_methods"]:
            print(of_differences(arrays, name, "NCE"), "\n")


if __name__ == "__main__":
    with one_line():
        main()
