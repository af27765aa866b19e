"""Draws errors and coverage of many states, system by system."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.free_energy import many_statistics
from experiments.free_energy.many_statistics import CHAIN, INDEPENDENT, MBAR, SANDWICH

LEVELS = np.linspace(0.5, 0.99, 50)
LINES = {
    "MBAR": (MBAR, plotting.GREEN, "-"),
    "MBAR, sandwich error": (SANDWICH, plotting.ORANGE, "--"),
    "BAR chain, joint error": (CHAIN, plotting.BLUE, "-."),
    "BAR chain, as if independent": (INDEPENDENT, plotting.VERMILION, ":"),
}


def draw_many_states(arrays: dict[str, np.ndarray], num_states: list[int]) -> Figure:
    """Scores of MBAR above, and below what is missing of every level's coverage."""
    names = many_statistics.SYSTEMS
    figure, panels = plt.subplots(
        1 + len(num_states),
        len(names),
        figsize=(10.5, 2.4 * (1 + len(num_states))),
        sharex="row",
        sharey="row",
        squeeze=False,
    )
    z = many_statistics.scores(arrays, MBAR)
    for column, name in enumerate(names):
        panels[0, column].set_title(name.replace("_", ", ") + " overlap")
        _histogram(panels[0, column], z[:, column], num_states)
        for row, axes in enumerate(panels[1:, column]):
            _coverage(axes, arrays, row, column)
    for row, count in enumerate(num_states):
        panels[1 + row, 0].set_ylabel(f"K = {count}: coverage - level (%)")
    for axes in panels[-1]:
        axes.set_xlabel("level (%)")
    panels[0, 0].set_ylabel("density")
    panels[0, 0].legend(loc="upper left", fontsize=8)
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LINES))
    return figure


def _histogram(axes: Axes, z: np.ndarray, num_states: list[int]) -> None:
    bins, grid = np.linspace(-4, 4, 33), np.linspace(-4, 4, 200)
    for count, row, color in zip(
        num_states, z, plotting.graded_colors(len(num_states) + 1), strict=False
    ):
        given = row[np.isfinite(row)]
        axes.hist(
            given, bins=bins, density=True, histtype="step", color=color, label=f"K = {count}"
        )
    axes.plot(
        grid,
        np.exp(-np.square(grid) / 2) / np.sqrt(2 * np.pi),
        color="k",
        linewidth=0.8,
        label="N(0, 1)",
    )
    axes.set(xlim=(-4, 4), ylim=(0, 0.5), xlabel="error / standard error")


def _coverage(axes: Axes, arrays: dict[str, np.ndarray], row: int, column: int) -> None:
    """Coverage minus level, with a band of two binomial standard errors."""
    for label, (method, color, style) in LINES.items():
        z = np.abs(many_statistics.scores(arrays, method)[row, column])
        z = z[np.isfinite(z)]
        missing = [np.mean(z < many_statistics.quantile(level)) - level for level in LEVELS]
        axes.plot(
            100 * LEVELS,
            100 * np.asarray(missing),
            color=color,
            linestyle=style,
            linewidth=1.4,
            label=label,
        )
    number = arrays["states_status"].shape[-1]
    band = 200 * np.sqrt(LEVELS * (1 - LEVELS) / number)
    axes.fill_between(100 * LEVELS, -band, band, color="0.85", linewidth=0)
    axes.axhline(0, color="k", linewidth=0.8)
