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
DIFFERENCES = {
    "Frechet": ("frechet", "{:+.1f}"),
    "kernel": ("kernel", "{:+.1f}"),
    "log ratio": ("log_ratio", "{:+.2f}"),
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
        f"**{name}**: N = {count:,} in every row, classifier {100 * accuracy:.1f} %, posterior"
        f" {nats:.1f} nats from N(0, I).",
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


def of_differences(arrays) -> str:
    """Differences between methods within each seed, all sets side by side."""
    columns = [(name, *entry) for name in statistics.names(arrays) for entry in DIFFERENCES.items()]
    lines = [
        _line(["first minus second", *(f"{name}, {title}" for name, title, _ in columns)]),
        _line(["---", *["--:"] * len(columns)]),
    ]
    for pair in statistics.COMPARED:
        found = [
            (statistics.differences(arrays, name, field, pair), text)
            for name, _, (field, text) in columns
        ]
        if any(values is not None for values, _ in found):
            cells = [
                MISSING if values is None else " ".join(map(text.format, values))
                for values, text in found
            ]
            lines.append(_line([" – ".join(pair), *cells]))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    default = results.default_folder("latent_energy", "cpu")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    arrays = results.load(folder, "python -m experiments.latent_energy.run --preset cpu").arrays
    for name in statistics.names(arrays):
        print(of_set(arrays, name), "\n")
    print(of_differences(arrays))


if __name__ == "__main__":
    with one_line():
        main()
