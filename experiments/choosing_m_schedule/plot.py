"""Draws errors against M with all methods, ratios to the best M, and M by step."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.choosing_m_schedule.statistics import BUDGETS, NEAR, labels, means, ratios
from experiments.common import plotting
from experiments.common.results import Stored

COLORS = (plotting.ORANGE, plotting.BLUE, plotting.GREEN)
Arrays = Mapping[str, Any]


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "choosing_m_schedule_errors": _errors(arrays),
        "choosing_m_schedule_ratios": _ratios(arrays),
        "choosing_m_schedule_paths": _paths(arrays),
    }


def _panels(arrays: Arrays, height: float) -> tuple[Figure, Any]:
    count = len(arrays["problems"])
    rows = -(-count // 4)
    figure, panels = plt.subplots(rows, min(count, 4), figsize=(11.0, height * rows), squeeze=False)
    for axes in panels.ravel()[count:]:
        axes.set_visible(False)
    return figure, panels.ravel()[:count]


def _title(arrays: Arrays, row: int) -> str:
    return str(arrays["problems"][row]) + (" *" if arrays["is_further"][row] else "")


def _index(arrays: Arrays, method: str) -> int | None:
    """Where a method is among the choices."""
    methods = list(map(str, arrays["methods"]))
    found = [at for at, name in enumerate(methods) if name.startswith(method)]
    return len(arrays["magnifications"]) + found[0] if found else None


def _errors(arrays: Arrays) -> Figure:
    figure, panels = _panels(arrays, 2.6)
    number, mean = len(arrays["magnifications"]), means(arrays["averaged"])
    lines = {"adaptive": "--", "sufficient": "-", "averaged": ":"}
    for row, axes in enumerate(panels):
        for column, (budget, color) in enumerate(zip(BUDGETS, COLORS, strict=True)):
            label = f"{budget} budget" if row == 0 else None
            errors = np.where(np.isfinite(mean[row, :, column]), mean[row, :, column], np.nan)
            axes.plot(arrays["magnifications"], errors[:number], ".-", color=color, label=label)
            for method, style in lines.items():
                if (at := _index(arrays, method)) is not None:
                    axes.axhline(errors[at], color=color, ls=style, lw=1)
        axes.set(xscale="log", yscale="log", title=_title(arrays, row))
    figure.supxlabel(
        "M, fixed (lines: adaptive dashed, sufficient solid, averaged dotted; * further problems)"
    )
    figure.supylabel("error (KL, or excess held-out loss), mean over seeds")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _ratios(arrays: Arrays) -> Figure:
    names, to_best = labels(arrays), ratios(arrays)
    size = (1.5 * len(names) + 2.5, 0.27 * len(arrays["problems"]) + 1.5)
    figure, panels = plt.subplots(1, len(names), figsize=size, sharey=True, squeeze=False)
    heights = np.arange(len(arrays["problems"]))
    for at, (axes, name) in enumerate(zip(panels[0], names, strict=True)):
        for column, (budget, color) in enumerate(zip(BUDGETS, COLORS, strict=True)):
            values = np.clip(to_best[:, at, column], 0.05, 100)
            axes.plot(
                values, heights + 0.2 * (column - 1), "o", color=color, label=budget, markersize=3
            )
        axes.axvspan(0.05, NEAR, color="0.92", zorder=0)
        axes.set(xscale="log", xlim=(0.05, 120), title=name)
        axes.title.set_fontsize(8)
    panels[0, 0].set_yticks(heights, [_title(arrays, row) for row in heights])
    panels[0, 0].invert_yaxis()
    panels[0, 0].legend(fontsize=6)
    figure.supxlabel("mean error over that of the best fixed M (0.05 to 100; * further problems)")
    return figure


def _paths(arrays: Arrays) -> Figure:
    figure, panels = _panels(arrays, 2.2)
    shares = (1 + np.arange(arrays["paths"].shape[-1])) / arrays["paths"].shape[-1]
    shown = {"adaptive": plotting.BLUE, "sufficient": plotting.ORANGE, "annealed": plotting.GREEN}
    for row, axes in enumerate(panels):
        for method, color in shown.items():
            if (at := _index(arrays, method)) is not None:
                path = arrays["paths"][row, at, -1]
                kept = np.isfinite(path)
                label = method if row == 0 else None
                axes.plot(shares[kept], path[kept], color=color, lw=1, label=label)
        axes.set(yscale="log", ylim=(0.07, 5e4), title=_title(arrays, row))
    figure.supxlabel("fraction of the long budget (* further problems)")
    figure.supylabel("M, median over seeds")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    plotting.main("choosing_m_schedule", draw)
