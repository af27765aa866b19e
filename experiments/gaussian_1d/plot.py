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
DISTANCE_LABEL = r"parameter distance $\|(\theta, F) - (\theta_*, F_*)\|$"


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
    return np.hypot(arrays["run_theta"][:, index] - theta, arrays["run_log_partition"][:, index] - log_partition)


def _figure_2(arrays) -> Figure:
    figure, axes = plt.subplots()
    _bands(axes, arrays["methods"], _run_distance(arrays, -1), floor=0.0)
    axes.set(xlabel="training step", ylabel=DISTANCE_LABEL, ylim=(0, None))
    axes.set_title(f"means 16 apart: mean and s.d. over {arrays['run_loss'].shape[2]} runs")
    _legend_below(figure, axes)
    return figure


def _panels(arrays, index: int) -> Figure:
    """Loss, parameter distance and the path of the first run, as in the paper."""
    figure, axes = plt.subplots(1, 3, figsize=(10.0, 3.7))
    _bands(axes[0], arrays["methods"], arrays["run_loss"][:, index], floor=1e-12)
    axes[0].set(xlabel="training step", ylabel="NCE loss [nats]", yscale="log")
    _bands(axes[1], arrays["methods"], _run_distance(arrays, index), floor=1e-3)
    axes[1].set(xlabel="training step", ylabel=DISTANCE_LABEL, yscale="log")
    _paths(axes[2], arrays, index)
    figure.suptitle(f"means {arrays['distances'][index]:g} apart", fontsize=10)
    _legend_below(figure, axes[0])
    return figure


def _bands(axes: Axes, methods, values: np.ndarray, floor: float) -> None:
    """Mean and s.d. over runs against the step; `floor` is where a logarithm has to stop."""
    steps = np.arange(values.shape[-1])
    for method, runs in zip(methods, values, strict=True):
        mean, spread = runs.mean(0), runs.std(0, ddof=1)
        style = plotting.method_style(str(method))
        axes.plot(steps, np.maximum(mean, floor), **style)
        axes.fill_between(steps, np.maximum(mean - spread, floor), mean + spread, color=style["color"], alpha=0.15, lw=0)
    axes.set_xscale("symlog", linthresh=1, linscale=0.3)
    axes.set_xlim(0, steps[-1])


def _paths(axes: Axes, arrays, index: int) -> None:
    theta, log_partition = arrays["run_theta"][:, index, 0], arrays["run_log_partition"][:, index, 0]
    for method, x, y in zip(arrays["methods"], theta, log_partition, strict=True):
        style = plotting.method_style(str(method))
        axes.plot(x, y, **style | {"linewidth": 1.0})
        axes.plot(x[-1], y[-1], marker=plotting.METHODS[str(method)]["marker"], color=style["color"], markersize=5)
    axes.plot(*_target(arrays, index), "*", color=plotting.OTHER_COLORS[0], markersize=14, markeredgecolor="k", zorder=5)
    axes.annotate("optimum", _target(arrays, index), xytext=(-10, -2), textcoords="offset points", ha="right", va="top")
    axes.set(xlabel=r"$\theta$", ylabel=r"$F$ [nats]")


def _legend_below(figure: Figure, axes: Axes) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)


if __name__ == "__main__":
    plotting.main("gaussian_1d", draw)
