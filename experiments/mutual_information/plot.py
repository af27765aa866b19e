"""Draws the estimates over the truth, by dimension, and the error against time."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.mutual_information.statistics import COVERING, REPORTED, is_flagged

COLORS = {
    "NCE": plotting.BLACK,
    "NWJ": plotting.PURPLE,
    "DV": plotting.SKY_BLUE,
    "TRE": plotting.BLUE,
    "N2CE + TRE": plotting.GREEN,
    "plug-in": plotting.NEUTRAL,
}
GOALS = {160: 0.01, 320: 0.02}
"""Largest admitted relative error by dimension."""
GOAL_SECONDS = 300.0
"""Right end of the band that marks the goal, in seconds."""


def draw(stored: Stored) -> dict[str, Figure]:
    return {
        "mutual_information": _estimates(stored.arrays),
        "mutual_information_time": _frontier(stored.arrays),
    }


def _colors(arrays) -> dict[str, Any]:
    """Colors by method; those of the single N2CE ratios are graded by M."""
    names = list(map(str, arrays["methods"]))
    graded = [name for name in names if name not in COLORS]
    return COLORS | dict(zip(graded, plotting.graded_colors(len(graded) + 1)[1:], strict=True))


def _estimates(arrays) -> Figure:
    """A point per run with its stated interval, hollow if the run is flagged."""
    dims, names = arrays["dims"], list(map(str, arrays["methods"]))
    figure, panels = plt.subplots(
        1, len(dims), figsize=(2.4 * len(dims) + 1.6, 4.2), sharey=True, squeeze=False
    )
    flagged, colors = is_flagged(arrays), _colors(arrays)
    for column, axes in enumerate(panels[0]):
        truth = arrays["truth"][column]
        for row, name in enumerate(names):
            parts = (
                arrays[part][row, column, :REPORTED] / truth
                for part in ("estimate", "standard_error")
            )
            _runs(axes, len(names) - row, *parts, flagged[row, column], colors[name])
        axes.axvline(1, color="0.4", lw=0.8)
        axes.set(
            xlim=(-0.1, 1.4),
            title=f"d = {dims[column]}, truth {truth:.0f} nats",
            xlabel="estimate / truth",
        )
    panels[0, 0].set_yticks(range(len(names), 0, -1), names)
    return figure


def _runs(
    axes: Axes, height: int, ratios: np.ndarray, errors: np.ndarray, flagged: np.ndarray, color: Any
) -> None:
    """Points beyond the panel are drawn as arrows at its edge."""
    for seed in np.flatnonzero(np.isfinite(ratios)):
        ratio, y = ratios[seed], height + 0.12 * (seed - 2)
        face = "none" if flagged[seed] else color
        is_inside = -0.1 <= ratio <= 1.4
        marker, x = (
            ("o", ratio)
            if is_inside
            else (">" if ratio > 1.4 else "<", 1.38 if ratio > 1.4 else -0.08)
        )
        width = COVERING * min(errors[seed], 10.0) if is_inside and np.isfinite(errors[seed]) else 0
        axes.errorbar(x, y, xerr=width, fmt=marker, ms=3.5, color=color, mfc=face, lw=0.8)


def _frontier(arrays) -> Figure:
    """|held-out estimate / truth - 1| against time: the median over seeds."""
    columns = [column for column, dim in enumerate(arrays["dims"]) if dim in GOALS] or [
        len(arrays["dims"]) - 1
    ]
    figure, panels = plt.subplots(
        1, len(columns), figsize=(4.4 * len(columns) + 0.6, 4.2), sharey=True, squeeze=False
    )
    colors = _colors(arrays)
    for axes, column in zip(panels[0], columns, strict=True):
        dim, truth = int(arrays["dims"][column]), arrays["truth"][column]
        for row, name in enumerate(map(str, arrays["methods"])):
            if name == "plug-in":
                continue
            error = np.abs(arrays["trace"][row, column, :REPORTED] / truth - 1)
            seconds = arrays["trace_seconds"][row, column, :REPORTED]
            steps = np.isfinite(error).any(axis=0)
            line = "--" if name.startswith("N2CE, ") else "-"
            axes.plot(
                np.nanmedian(seconds[:, steps], axis=0),
                np.nanmedian(error[:, steps], axis=0),
                line,
                marker=".",
                color=colors[name],
                label=name,
            )
        if dim in GOALS:
            axes.fill_between([1, GOAL_SECONDS], 0, GOALS[dim], color="0.9", lw=0, label="goal")
        axes.set(
            xscale="log",
            yscale="log",
            ylim=(3e-4, 2),
            xlabel="seconds",
            title=f"d = {dim}, truth {truth:.0f} nats",
        )
    panels[0, 0].set_ylabel("|held-out estimate / truth - 1|, median")
    figure.legend(*panels[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


if __name__ == "__main__":
    plotting.main("mutual_information", draw)
