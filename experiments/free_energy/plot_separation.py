"""Draws BAR's estimates against the separation of the states, with their statuses."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.free_energy import statistics
from nce_jax import Status

BAR, TRUTH = plotting.method_style("BAR")["color"], plotting.OTHER_COLORS[1]


def draw_separation(arrays: dict[str, np.ndarray]) -> Figure:
    springs, separations = arrays["spring_constants"], arrays["separations"]
    figure, panels = plt.subplots(1, len(springs), figsize=(10.5, 3.7), sharey=True, squeeze=False)
    for index, axes in enumerate(panels[0]):
        is_without_overlap = arrays["oscillators_status"][index] == Status.NO_OVERLAP
        error = arrays["oscillators_unguarded"][index] - arrays["exact"][index]
        reported = arrays["oscillators_standard_error"][index]
        _shade(axes, separations, np.mean(is_without_overlap, axis=-1))
        axes.axhline(0, color="k", linewidth=0.8, label="exact")
        _spread(
            axes,
            separations + 0.12,
            np.where(is_without_overlap, error, np.nan),
            "0.55",
            "the root where the status is NO_OVERLAP",
            marker="x",
        )
        _spread(
            axes,
            separations - 0.12,
            np.where(is_without_overlap, np.nan, error),
            BAR,
            "BAR: median and 95 % of the seeds",
        )
        typical = statistics.QUANTILE * _quantiles(reported)[1]
        axes.plot(
            separations, typical, color=TRUTH, linewidth=1, label="reported 95 % interval, median"
        )
        axes.plot(separations, -typical, color=TRUTH, linewidth=1)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(-60, 700)
        axes.set(
            xlabel="separation mu (s.d. of the initial state)", title=f"k = {springs[index]:g}"
        )
        axes.set_xticks(separations, [f"{value:g}" for value in separations])
    panels[0, 0].set_ylabel("estimate - exact (kT)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _shade(axes: Axes, separations: np.ndarray, fraction: np.ndarray) -> None:
    """Gray background from the first separation where most seeds end with NO_OVERLAP."""
    if np.any(fraction > 0.5):
        axes.axvspan(
            separations[np.argmax(fraction > 0.5)] - 0.5,
            separations[-1] + 0.5,
            color="0.9",
            linewidth=0,
        )
        axes.text(0.98, 0.03, "mostly NO_OVERLAP", transform=axes.transAxes, ha="right", fontsize=9)
    axes.set_xlim(separations[0] - 0.5, separations[-1] + 0.5)


def _quantiles(values: np.ndarray) -> np.ndarray:
    """2.5 %, 50 % and 97.5 % over the seeds with a number; NaN for fewer than 10 seeds."""
    has_enough = np.sum(np.isfinite(values), axis=-1) >= 10
    quantiles = np.full((3, len(values)), np.nan)
    quantiles[:, has_enough] = np.nanpercentile(values[has_enough], [2.5, 50, 97.5], axis=-1)
    return quantiles


def _spread(
    axes: Axes, x: np.ndarray, values: np.ndarray, color: str, label: str, marker: str = "o"
) -> None:
    low, middle, high = _quantiles(values)
    spread = np.stack([middle - low, high - middle])
    axes.errorbar(
        x,
        middle,
        yerr=spread,
        color=color,
        marker=marker,
        linestyle="",
        elinewidth=1.2,
        label=label,
    )
