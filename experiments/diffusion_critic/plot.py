"""Draws the stored results: `python -m experiments.diffusion_critic.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.common import plotting, results
from experiments.diffusion_critic.statistics import final

CURVES = {
    "contrastive, regularized": {"color": plotting.BLACK},
    "value guidance": {"color": plotting.NEUTRAL},
    "M = 1, F joint": {"color": plotting.BLUE},
    "M = 1, F solved, regularized": {"color": plotting.BLUE, "linestyle": "--"},
    "M = 100, F joint": {"color": plotting.ORANGE},
    "M = 100, F solved": {"color": plotting.VERMILION},
    "M = 100, F solved, regularized": {"color": plotting.VERMILION, "linestyle": "--"},
    "M adaptive, F solved, regularized": {"color": plotting.GREEN, "linestyle": "--"},
}
"""Methods shown against steps; the other figure shows all."""

ROWS = {
    "sliced": "sliced Wasserstein distance",
    "mode_kl": "KL of the modes' masses [nats]",
    "good": "share of good samples",
    "overlap": "overlap of data and samples\nin the critic's batches",
}
FURTHER = {
    "mmd": "squared mean discrepancy",
    "modes": "modes with a fourth\nof their share",
    "spread": "spread of good samples,\nrelative to the data's",
}
"""In a figure of their own."""

LOGARITHMIC = ("sliced", "mode_kl")
TICKS = (0.2, 0.3, 0.5, 1, 2, 3)
"""Labels of distances, on a logarithmic axis."""


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Measures against steps for each number of steps of the sampler, and all final values."""
    arrays = stored.arrays
    figures = {
        f"diffusion_critic_{length}_steps{end}": _against_steps(arrays, length, rows)
        for length in map(int, arrays["lengths"])
        for end, rows in (("", ROWS), ("_further", FURTHER))
    }
    return figures | {"diffusion_critic": _final_values(arrays)}


def _against_steps(arrays, length: int, rows: dict[str, str]) -> Figure:
    size = 8.6, 1 + 2.5 * len(rows)
    figure, axes = plt.subplots(len(rows), 2, figsize=size, sharex=True, sharey="row")
    methods = list(map(str, arrays["methods"]))
    for row, (name, label) in zip(axes, rows.items(), strict=True):
        for start, axis in enumerate(row):
            for method, style in CURVES.items():
                if method in methods:
                    values = arrays[f"T{length}_{name}"][methods.index(method), start]
                    _band(axis, arrays["steps"], values, label=method, **style)
            _references(axis, arrays, length, name)
        row[0].set_ylabel(label)
        if name in LOGARITHMIC:
            row[0].set_yscale("log")
        if name == "sliced":
            _plain_ticks(row[0].yaxis)
    for axis, start in zip(axes[0], arrays["starts"], strict=True):
        axis.set_title(f"from {start}")
    for axis in axes[-1]:
        axis.set_xlabel("step of the two players")
    num_seeds = arrays[f"T{length}_sliced"].shape[2]
    figure.suptitle(
        f"sampler of {length} steps: mean and s.d. of {num_seeds} seeds"
        " (dotted: data; dash-dotted: the teacher)", fontsize=10,
    )  # fmt: skip
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _references(axis: Axes, arrays, length: int, name: str) -> None:
    """The teacher's value, and that of fresh data against data."""
    if name == "overlap":
        return
    teacher = arrays[f"T{length}_teacher_{name}"].mean()
    axis.axhline(teacher, color="0.4", lw=1, linestyle="-.")
    axis.axhline(arrays[f"data_{name}"], color="0.4", lw=1, linestyle=":")


def _band(axis: Axes, steps: np.ndarray, runs: np.ndarray, **style) -> None:
    """Mean and standard deviation over seeds of (seed, checkpoint)."""
    mean, spread = runs.mean(axis=0), runs.std(axis=0, ddof=1)
    axis.plot(steps, mean, **style)
    # Within the runs, so that it stays positive on a log axis, and shares below one.
    low, high = np.clip([mean - spread, mean + spread], runs.min(axis=0), runs.max(axis=0))
    axis.fill_between(steps, low, high, color=style["color"], alpha=0.12, lw=0)


def _final_values(arrays) -> Figure:
    """Every method's last value: a small dot for every seed, a large one for their mean."""
    lengths, names = list(map(int, arrays["lengths"])), ("sliced", "mode_kl", "good")
    figure, axes = plt.subplots(
        len(lengths), 3, figsize=(10, 0.8 + 3.6 * len(lengths)), sharey=True, squeeze=False
    )
    rows = np.arange(len(arrays["methods"]))[::-1]
    for line, length in zip(axes, lengths, strict=True):
        for axis, name in zip(line, names, strict=True):
            values = final(arrays, length, name)
            for start, color in enumerate((plotting.BLUE, plotting.VERMILION)):
                height = rows + 0.17 - 0.34 * start
                axis.plot(values[:, start], height, ".", color=color, alpha=0.35)
                label = f"from {arrays['starts'][start]}"
                axis.plot(values[:, start].mean(axis=1), height, "o", color=color, label=label)
            _vertical(axis, arrays, length, name)
            if name in LOGARITHMIC:
                axis.set_xscale("log")
            if name == "sliced":
                _plain_ticks(axis.xaxis)
            axis.set(xlabel=f"{ROWS[name]}, T = {length}", yticks=rows)
            axis.set_yticklabels(arrays["methods"], fontsize=7)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _plain_ticks(axis: Axis) -> None:
    axis.set_ticks(TICKS, labels=map(str, TICKS))
    axis.set_minor_formatter(NullFormatter())


def _vertical(axis: Axes, arrays, length: int, name: str) -> None:
    axis.axvline(arrays[f"T{length}_teacher_{name}"].mean(), color="0.4", lw=1, linestyle="-.")
    axis.axvline(arrays[f"data_{name}"], color="0.4", lw=1, linestyle=":")


if __name__ == "__main__":
    plotting.main("diffusion_critic", draw)
