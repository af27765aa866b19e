"""Draws the stored results: `python -m experiments.preferences.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.preferences.statistics import final, groups, trace

COLORS = {
    "DPO": plotting.NEUTRAL,
    "Bradley-Terry": plotting.PURPLE,
    "InfoNCA": plotting.BLACK,
    "NCA, F = 0": plotting.BLUE,
    "NCA, F learned": plotting.ORANGE,
    "NCA, F per prompt": plotting.VERMILION,
    "NCA, F per batch": plotting.GREEN,
}
MARKERS = {"0.3": "v", "1": "o", "10": "s", "100": "^"}


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Reward against KL for each problem and K, and the distance from the best policy."""
    return {
        "preferences": _frontiers(stored.arrays),
        "preferences_distance": _distances(stored.arrays),
    }


def _frontiers(arrays) -> Figure:
    rows = [[n for n in groups(arrays) if n.startswith(kind)] for kind in ("table", "text")]
    width = max(map(len, rows))
    figure, axes = plt.subplots(2, width, figsize=(1.5 + 3.4 * width, 7.6), squeeze=False)
    for line, names in zip(axes, rows, strict=True):
        for axis in line[len(names) :]:
            axis.set_visible(False)
        for axis, name in zip(line, names, strict=False):
            _frontier(axis, arrays, name)
            kind, count = name.split("_K")
            title = "a table of 64 answers" if kind == "table" else "language model"
            axis.set(title=f"{title}, K = {count}", xlabel="KL from the reference [nats]")
        line[0].set_ylabel("reward")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(
        "beta = 1, mean over seeds; ends: M = 0.3 (down), 1 (circle), 10 (square), 100 (up)",
        fontsize=10,
    )
    return figure


def _frontier(axis: Axes, arrays, name: str) -> None:
    """Paths of training at M = 1, ends for every M, and what is known."""
    kl, reward = (_mean(arrays, name, key) for key in ("kl", "reward"))
    kind, last = name.split("_K")[0], 1.1 * kl.max()
    kls = np.linspace(0, last, 100)
    curves = zip(arrays[f"{kind}_frontier_kls"], arrays[f"{kind}_frontier_rewards"], strict=True)
    best = np.mean([np.interp(kls, *curve) for curve in curves], axis=0)
    axis.plot(kls, best, color="0.8", lw=4, zorder=0, label="best reward")
    for row, method in enumerate(map(str, arrays["methods"])):
        family, _, size = method.partition(", M = ")
        color = COLORS[family]
        if size in ("", "1"):
            axis.plot(kl[row], reward[row], color=color, lw=0.8, label=family)
        axis.plot(
            kl[row, -1], reward[row, -1], MARKERS.get(size, "*"), color=color, alpha=0.8, ms=6
        )
    for target, marker in _known(arrays, name).items():
        axis.plot(*marker, "+", color="black", ms=12, zorder=5)
        axis.annotate(target, marker, fontsize=8, xytext=(7, -9), textcoords="offset points")


def _known(arrays, name: str) -> dict[str, tuple[float, float]]:
    """KL and reward of the best policy, and of the minimum of NCA with F = 0."""
    if name.startswith("text"):
        frontier = (arrays[f"text_frontier_{key}"].mean() for key in ("kl", "reward"))
        return {"optimum": (next(frontier), next(frontier))}
    count = name.split("_K")[1]
    names = {
        "optimum": "optimum",
        f"nca_minimum_{count}": "minimum, F = 0",
        f"best_of_{count}": "best of K",
    }
    return {
        label: (arrays[f"table_{key}_kl"].mean(), arrays[f"table_{key}_reward"].mean())
        for key, label in names.items()
    }


def _mean(arrays, name: str, measure: str) -> np.ndarray:
    """Mean over seeds at beta = 1, (method, checkpoint)."""
    values = trace(arrays, name, measure)
    return (values[:, 0] if name.startswith("table") else values).mean(axis=1)


def _distances(arrays) -> Figure:
    """A small dot for every seed, a large one for their mean."""
    names = groups(arrays)
    figure, axes = plt.subplots(1, len(names), figsize=(2.5 + 2.1 * len(names), 5.6), sharey=True)
    rows = np.arange(len(arrays["methods"]))[::-1]
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        values = np.maximum(final(arrays, name, "distance"), 1e-4)
        axis.plot(values, rows, ".", color=plotting.BLUE, alpha=0.35)
        axis.plot(values.mean(axis=1), rows, "o", color=plotting.BLUE)
        axis.set_xscale("log" if name.startswith("table") else "linear")
        axis.set(xlabel="KL from the best\npolicy [nats]", title=name.replace("_", ", "))
        axis.set_yticks(rows)
        axis.set_yticklabels(arrays["methods"], fontsize=7)
    return figure


if __name__ == "__main__":
    plotting.main("preferences", draw)
