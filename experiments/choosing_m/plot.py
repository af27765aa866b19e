"""Draws errors against M with both rules, ratios to the best M, and the rule's M by step."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.choosing_m.statistics import BUDGETS, RULES, ratios, standard_errors
from experiments.common import plotting
from experiments.common.results import Stored

COLORS = {"short": plotting.ORANGE, "medium": plotting.BLUE, "long": plotting.GREEN}
MARKERS = {"adaptive": "o", "constant": "s"}


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "choosing_m_errors": _errors(arrays),
        "choosing_m_ratios": _ratios(arrays),
        "choosing_m_paths": _paths(arrays),
    }


def _panels(arrays, height: float):
    count = len(arrays["problems"])
    rows = -(-count // 4)
    figure, panels = plt.subplots(rows, min(count, 4), figsize=(11.0, height * rows), squeeze=False)
    for axes in panels.ravel()[count:]:
        axes.set_visible(False)
    return figure, panels.ravel()[:count]


def _title(arrays, index: int) -> str:
    return str(arrays["problems"][index]) + (" (fresh)" if arrays["is_fresh"][index] else "")


def _errors(arrays) -> Figure:
    figure, panels = _panels(arrays, 2.6)
    for index, axes in enumerate(panels):
        for column, budget in enumerate(BUDGETS):
            color, steps = COLORS[budget], arrays["budgets"][index][column]
            axes.plot(
                arrays["magnifications"],
                arrays["grid"][index, :, :, column].mean(axis=1),
                ".-",
                color=color,
                label=f"{budget}" if index == 0 else None,
            )
            axes.axhline(arrays["adaptive"][index, :, column].mean(), color=color, ls="--", lw=1)
            axes.annotate(
                f"{steps} steps",
                (arrays["magnifications"][0], arrays["grid"][index, 0, :, column].mean()),
                fontsize=6,
                color=color,
                xytext=(2, 3),
                textcoords="offset points",
            )
        axes.set(xscale="log", yscale="log", title=_title(arrays, index))
    figure.supxlabel("M, fixed (lines: a grid; dashed: the adaptive rule)")
    figure.supylabel("error (KL, or excess held-out loss), mean over seeds")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _ratios(arrays) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(10.0, 5.5), sharey=True)
    heights = np.arange(len(arrays["problems"]))
    for axes, rule in zip(panels, RULES, strict=True):
        to_best, error = ratios(arrays, rule, "best"), standard_errors(arrays, rule)
        for column, budget in enumerate(BUDGETS):
            axes.errorbar(
                to_best[:, column],
                heights + 0.2 * (column - 1),
                xerr=error[:, column],
                fmt=MARKERS[rule],
                color=COLORS[budget],
                label=budget,
                ms=4,
                lw=1,
            )
        axes.axvspan(0.9, 1.1, color="0.9", zorder=0)
        axes.set(xscale="log", title=f"{rule} M", xlabel="mean error over that of the best fixed M")
    panels[0].set_yticks(heights, [_title(arrays, index) for index in heights])
    panels[0].invert_yaxis()
    panels[0].legend()
    return figure


def _paths(arrays) -> Figure:
    figure, panels = _panels(arrays, 2.2)
    for index, axes in enumerate(panels):
        low, middle, high = arrays[f"path: {arrays['problems'][index]}"]
        steps = 1 + np.arange(len(middle))
        axes.fill_between(steps, low, high, color=plotting.BLUE, alpha=0.25, lw=0)
        axes.plot(steps, middle, color=plotting.BLUE, lw=1)
        axes.set(xscale="log", yscale="log", title=_title(arrays, index))
    figure.supxlabel("step")
    figure.supylabel(
        "M of the adaptive rule: median, and from the first to the last tenth of the seeds"
    )
    return figure


if __name__ == "__main__":
    plotting.main("choosing_m", draw)
