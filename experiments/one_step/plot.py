"""Draws the stored results: `python -m experiments.one_step.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.common import plotting, results
from experiments.common.over_seeds import mean_and_error
from experiments.one_step.statistics import final, ratio

CURVES = {
    "none": {"color": plotting.BLACK},
    "M = 1, F joint": {"color": plotting.BLUE},
    "M = 1, F solved, regularized": {"color": plotting.BLUE, "linestyle": "--"},
    "M = 50, F joint": {"color": plotting.ORANGE},
    "M = 50, F solved": {"color": plotting.VERMILION},
    "M = 50, F solved, regularized": {"color": plotting.VERMILION, "linestyle": "--"},
    "M adaptive, F solved": {"color": plotting.GREEN},
}
"""Methods shown against updates; the other figure shows all."""

PANELS = {
    "sliced": "sliced Wasserstein distance",
    "mode_kl": "KL of the modes' masses [nats]",
    "good": "share of good samples",
    "spread": "spread of good samples / data's",
    "mmd": "squared MMD",
    "overlap": "overlap of data and samples\nin the critic's batches",
}
LOGARITHMIC = ("sliced", "mode_kl", "mmd")
TICKS = (0.15, 0.2, 0.3, 0.5, 1)
"""Labels of distances, on a logarithmic axis."""


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Measures against updates, and the ends and ratios of updates of all critics."""
    return {"one_step_updates": _against_updates(stored.arrays), "one_step": _ends(stored.arrays)}


def _against_updates(arrays) -> Figure:
    figure, axes = plt.subplots(3, 2, figsize=(8.6, 9), sharex=True)
    methods = list(map(str, arrays["methods"]))
    for axis, (name, label) in zip(axes.flat, PANELS.items(), strict=True):
        for method, style in CURVES.items():
            if method in methods and not (name == "overlap" and method == "none"):
                _band(axis, name, arrays, methods.index(method), style)
        if name != "overlap":
            axis.axhline(arrays[f"teacher_{name}"].mean(), color="0.4", lw=1, linestyle="-.")
            axis.axhline(arrays[f"data_{name}"].mean(), color="0.4", lw=1, linestyle=":")
        axis.set_ylabel(label)
        if name in LOGARITHMIC:
            axis.set_yscale("log", nonpositive="mask")
        if name == "sliced":
            axis.yaxis.set_ticks(TICKS, labels=map(str, TICKS))
            axis.yaxis.set_minor_formatter(NullFormatter())
        if name == "spread":
            axis.set_ylim(0.9, 1.5)
    for axis in axes[-1]:
        axis.set_xlabel("updates of the generator")
    num_seeds = arrays["sliced"].shape[1]
    figure.suptitle(
        f"one-step generators: mean and s.e. of {num_seeds} seeds"
        " (dotted: data; dash-dotted: samples of the teacher)", fontsize=10,
    )  # fmt: skip
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _band(axis: Axes, name: str, arrays, row: int, style) -> None:
    """Mean and standard error over seeds of three successive checkpoints' means."""
    window = np.ones(3) / 3
    curves = np.array([np.convolve(curve, window, "valid") for curve in arrays[name][row]])
    updates = np.convolve(arrays["updates"], window, "valid")
    mean, error = mean_and_error(curves.T)
    axis.plot(updates, mean, label=str(arrays["methods"][row]), **style)
    low = np.maximum(mean - error, curves.min(axis=0))  # stays positive on a log axis
    axis.fill_between(updates, low, mean + error, color=style["color"], alpha=0.12, lw=0)


def _ends(arrays) -> Figure:
    """Each critic's end by seed, and its updates to the end of the run without one."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 4.6), sharey=True)
    methods = list(map(str, arrays["methods"]))
    rows = np.arange(len(methods))[::-1]
    for axis, name in zip(axes, ("sliced", "good"), strict=False):
        values = final(arrays, name)
        axis.plot(values, rows, ".", color=plotting.BLUE, alpha=0.35)
        axis.plot(values.mean(axis=1), rows, "o", color=plotting.BLUE)
        axis.axvline(arrays[f"teacher_{name}"].mean(), color="0.4", lw=1, linestyle="-.")
        axis.axvline(arrays[f"data_{name}"].mean(), color="0.4", lw=1, linestyle=":")
        axis.set(xlabel=PANELS[name], yticks=rows)
        axis.set_yticklabels(methods, fontsize=7)
    for axis, name in zip(axes[2:], ("sliced", "good"), strict=True):
        for height, method in zip(rows, methods, strict=True):
            if method != "none":
                of = ratio(arrays, name, [(method, "none")])
                axis.plot([of.low, of.high], [height, height], color=plotting.VERMILION)
                axis.plot(of.mean, height, "o", color=plotting.VERMILION)
        axis.axvline(1, color="0.4", lw=1)
        axis.axvline(0.5, color="0.4", lw=1, linestyle=":")
        measure = "distance" if name == "sliced" else "good share"
        axis.set_xlabel(f"updates / those without\na critic, to its {measure}")
    return figure


if __name__ == "__main__":
    plotting.main("one_step", draw)
