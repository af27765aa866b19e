"""Draws the stored results: `python -m experiments.anomaly.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.anomaly import statistics
from experiments.common import plotting, results

LEARNED = ("ratio", "K = ")
"""Beginnings of the names of methods that learn a density ratio."""


def draw(stored: results.Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    figures = {"anomaly_digits": _digits(arrays)}
    if len(arrays["tables"]):
        figures["anomaly_tables"] = _tables(arrays)
    return figures


def _tables(arrays) -> Figure:
    """Area by table, and the mean rank of every method."""
    methods, areas = list(map(str, arrays["table_methods"])), arrays["table_areas"].mean(axis=1)
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.6), width_ratios=(3, 2), sharey=True)
    places, order = np.arange(len(methods)), np.argsort(areas.mean(axis=0))
    for row, name in enumerate(np.array(methods)[order]):
        color = plotting.BLUE if name.startswith(LEARNED) else plotting.ORANGE
        axes[0].plot(areas[:, order[row]], np.full(len(areas), row), "o", color=color, alpha=0.5)
        axes[0].plot(areas[:, order[row]].mean(), row, "|", color=plotting.BLACK, ms=18, mew=2)
        axes[1].plot(
            statistics.ranks(arrays["table_areas"])[:, order[row]].mean(), row, "D", color=color
        )
    axes[0].set_yticks(places, np.array(methods)[order])
    axes[0].set(xlabel="area under the precision-recall curve, by table; bar: mean")
    axes[1].set(xlabel="mean rank (1 is best)")
    figure.suptitle(
        f"{len(areas)} tables, {arrays['table_areas'].shape[1]} seeds; blue: a density ratio is"
        " learned",
        size=10,
    )
    return figure


def _digits(arrays) -> Figure:
    """Area by digit: simple scores, and the latent model's terms."""
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.2), sharey=True)
    positions = np.arange(len(arrays["digits"]))
    simple = arrays["simple_areas"][arrays["digits"]].mean(axis=1)
    colors = (*plotting.CATEGORICAL, plotting.PURPLE, plotting.SKY_BLUE)
    for name, values, color in zip(arrays["simple_scores"], simple.T, colors, strict=False):
        axes[0].plot(positions, values, "o-", color=color, label=str(name))
    axes[1].plot(positions, arrays["reconstruction"].mean(axis=1), "k--", label="reconstruction")
    for name, values, color in zip(
        arrays["priors"], arrays["energy"].mean(axis=1).T, colors, strict=True
    ):
        axes[1].plot(positions, values, "o-", color=color, label=f"energy: {name}")
    for axis, title in zip(axes, ("simple scores", "latent model: its two terms"), strict=True):
        axis.set_xticks(positions, arrays["digits"])
        axis.set(title=title, xlabel="digit held out", ylim=(0, 1))
        axis.legend(fontsize=7)
    axes[0].set(ylabel="area under the precision-recall curve")
    return figure


if __name__ == "__main__":
    plotting.main("anomaly", draw)
