"""Draws figures 2, 8, 9 and 10 of the paper, the open settings, and what magnification adds."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.gaussian_1d.lanes import REPORTED
from experiments.gaussian_1d.plot_magnification import draw_budgets, draw_magnified
from experiments.gaussian_1d.plot_settings import draw_settings

PAPER_FIGURE = {1.0: 8, 4.0: 9, 16.0: 10}

SMALLEST = 1e-6
"""Lower end of a logarithmic axis: smaller losses only mean that a batch is separable."""


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    figures = {"gaussian_1d_figure_2": _figure_2(arrays)}
    for index, distance in enumerate(arrays["distances"]):
        figures[f"gaussian_1d_figure_{PAPER_FIGURE[float(distance)]}"] = _panels(arrays, index)
    figures["gaussian_1d_open_settings"] = draw_settings(arrays)
    figures["gaussian_1d_magnification"] = draw_magnified(arrays)
    figures["gaussian_1d_magnification_budgets"] = draw_budgets(arrays, REPORTED)
    return figures


def _target(arrays, index: int) -> tuple[float, float]:
    distance = float(arrays["distances"][index])
    return distance, distance**2 / 2


def _run_distance(arrays, index: int) -> np.ndarray:
    theta, log_partition = _target(arrays, index)
    return np.hypot(
        arrays["run_theta"][:, index] - theta, arrays["run_log_partition"][:, index] - log_partition
    )


def _figure_2(arrays) -> Figure:
    figure, axes = plt.subplots(figsize=(6.0, 4.0))
    _bands(axes, arrays["methods"], _run_distance(arrays, -1))
    axes.set(ylabel=r"parameter distance $\|(\theta, F) - (\theta_*, F_*)\|$", ylim=(0, None))
    axes.set_title(_title(arrays, -1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _panels(arrays, index: int) -> Figure:
    """Loss, parameter distance and the path of the first run, as in the paper."""
    figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.8))
    # Only at this distance does the loss span decades, and the parameter distance none.
    is_far = float(arrays["distances"][index]) > 10
    for panel, label, values in zip(
        axes, ("loss [nats]", "parameter distance"), _loss_and_distance(arrays, index), strict=False
    ):
        _bands(panel, arrays["methods"], values, is_log=(label == "parameter distance") != is_far)
        panel.set_ylabel(label)
    _paths(axes[2], arrays, index)
    figure.suptitle(_title(arrays, index), fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    star = axes[2].lines[-1]
    figure.legend(
        [*handles, star], [*labels, star.get_label()], loc="outside lower center", ncols=6
    )
    return figure


def _loss_and_distance(arrays, index: int) -> tuple[np.ndarray, np.ndarray]:
    return arrays["run_loss"][:, index], _run_distance(arrays, index)


def _title(arrays, index: int) -> str:
    return (
        f"means {arrays['distances'][index]:g} apart: mean and s.d. over"
        f" {arrays['run_loss'].shape[2]} runs"
    )


def _bands(axes: Axes, methods, values: np.ndarray, *, is_log: bool = False) -> None:
    """Mean and s.d. over runs by step, averaged over windows of a twentieth of a decade."""
    lowest = np.inf
    for method, runs in zip(methods, values, strict=True):
        steps, mean, spread = _in_windows(runs.mean(0), runs.std(0, ddof=1))
        style = plotting.method_style(str(method))
        axes.plot(steps, mean, **style)
        axes.fill_between(
            steps, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0
        )
        lowest = min(lowest, mean[mean > 0].min())
    axes.set_xscale("symlog", linthresh=1, linscale=0.3)
    axes.set(xlim=(0, values.shape[-1] - 1), xlabel="training step")
    if is_log:
        axes.set_yscale("log", nonpositive="clip")
        # The axis would otherwise extend to a band that reaches zero.
        axes.set_ylim(bottom=max(lowest / 3, SMALLEST))


def _in_windows(*curves: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps and curves (step,), averaged over windows of equal width on a log scale.

    The first steps have windows of their own.
    """
    count = curves[0].size
    edges = np.unique(
        np.concatenate([[0], np.geomspace(1, count, int(20 * np.log10(count))).round().astype(int)])
    )
    width = np.diff(edges)
    return tuple(
        np.add.reduceat(curve, edges[:-1]) / width for curve in (np.arange(count), *curves)
    )


def _paths(axes: Axes, arrays, index: int) -> None:
    """The first run in the plane of (theta, F), with a marker at its end."""
    theta = arrays["run_theta"][:, index, 0]
    log_partition = arrays["run_log_partition"][:, index, 0]
    for method, x, y in zip(arrays["methods"], theta, log_partition, strict=True):
        style = plotting.method_style(str(method))
        axes.plot(x, y, **style | {"linewidth": 1.0, "alpha": 0.35 if "raised" in method else 0.9})
        axes.plot(
            x[-1],
            y[-1],
            marker=plotting.METHODS[str(method)]["marker"],
            color=style["color"],
            markersize=5,
        )
    color = plotting.OTHER_COLORS[0]
    axes.plot(
        *_target(arrays, index),
        "*",
        color=color,
        markersize=13,
        markeredgecolor="k",
        zorder=5,
        label="optimum",
    )
    axes.set(xlabel=r"$\theta$", ylabel=r"$F$ [nats]", title="first run")


if __name__ == "__main__":
    plotting.main("gaussian_1d", draw)
