"""Draws the stored results: `python -m experiments.offline_design.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting, results

GROUPS = {
    "given": plotting.NEUTRAL,
    "random": plotting.NEUTRAL,
    "regression": plotting.BLACK,
    "ratio": plotting.BLUE,
    "3 stages": plotting.ORANGE,
    "latent": plotting.VERMILION,
}


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Median and best of the candidates by method: every seed, and the mean."""
    arrays = stored.arrays
    methods = [str(method) for method in arrays["methods"]]
    figure, grid = plt.subplots(1, 2, figsize=(9.6, 5.2), sharey=True)
    rows = np.arange(len(methods))[::-1]
    for axis, task in zip(grid, arrays["task_names"], strict=True):
        for row, method in zip(rows, methods, strict=True):
            color = next(GROUPS[group] for group in GROUPS if method.startswith(group))
            index = methods.index(method)
            median, best = (arrays[f"{task}_{name}"][index] for name in ("median", "best"))
            axis.plot(median, np.full(len(median), row), ".", color=color, alpha=0.35)
            axis.plot(median.mean(), row, "o", color=color)
            axis.plot(best.mean(), row, "D", color=color, markerfacecolor="none")
        axis.set(title=str(task), xlabel="true score", yticks=rows, yticklabels=methods)
        axis.axvline(1, color=plotting.NEUTRAL, linewidth=0.8)
    figure.suptitle(
        "median of the candidates (filled: mean over seeds, dots: seeds) and best (hollow)", size=10
    )
    return {"offline_design": figure}


if __name__ == "__main__":
    plotting.main("offline_design", draw)
