"""Draws figure 3 of the paper, steps to a distance, raised rates, other starts, and the overlap."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.gaussian_16d.plot_overlap import draw_overlap
from experiments.gaussian_16d.statistics import THRESHOLDS, steps_to_reach


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    num_runs = arrays["rate_distance"].shape[1]
    return {
        "gaussian_16d_figure_3": _figure_3(arrays, num_runs),
        "gaussian_16d_parts": _parts(arrays, num_runs),
        "gaussian_16d_steps": _steps(arrays, num_runs),
        "gaussian_16d_starts": _starts(arrays),
        "gaussian_16d_overlap": draw_overlap(arrays),
    }


def _distance(arrays) -> np.ndarray:
    return np.hypot(arrays["theta_distance"], arrays["log_partition_error"])


def _figure_3(arrays, num_runs: int) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 4.0))
    _bands(axes[0], arrays["methods"], _distance(arrays)[:, :num_runs])
    axes[0].set(ylabel=r"parameter distance $\|(\theta, F) - (\theta_*, F_*)\|$", ylim=(0, None))
    _bands(axes[1], arrays["methods"], arrays["loss"][:, :num_runs])
    axes[1].set(ylabel="loss [nats]", yscale="log")
    figure.suptitle(f"16 dimensions: mean and s.d. over {num_runs} runs", fontsize=10)
    return _with_legend(figure, axes[0], 5)


def _parts(arrays, num_runs: int) -> Figure:
    """Both parts of the parameter distance, of which F's error is the larger."""
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 4.0))
    _bands(axes[0], arrays["methods"], arrays["theta_distance"][:, :num_runs])
    axes[0].set(ylabel=r"$\|\theta - \theta_*\|$", ylim=(0, None))
    _bands(axes[1], arrays["methods"], np.abs(arrays["log_partition_error"][:, :num_runs]))
    axes[1].set(ylabel=r"$|F - F_*|$ [nats]", ylim=(0, None))
    figure.suptitle(
        f"16 dimensions, the parts of the distance: mean and s.d. over {num_runs} runs", fontsize=10
    )
    return _with_legend(figure, axes[0], 5)


def _steps(arrays, num_runs: int) -> Figure:
    """Steps until the mean distance stays below a value, by method and by raised rate of F."""
    figure, axes = plt.subplots(figsize=(6.0, 4.4))
    for method, curve in zip(arrays["methods"], _distance(arrays).mean(1), strict=True):
        reached = [steps_to_reach(curve, threshold) for threshold in THRESHOLDS]
        axes.plot(THRESHOLDS, reached, **plotting.method_style(str(method), marker=True))
    colors = plotting.graded_colors(len(arrays["rates"]))
    for color, rate, curve in zip(
        colors, arrays["rates"], arrays["rate_distance"].mean(1), strict=True
    ):
        if np.allclose(curve, _distance(arrays)[1, :num_runs].mean(0)):
            continue  # the raised rate of figure 3, drawn already
        reached = [steps_to_reach(curve, threshold) for threshold in THRESHOLDS]
        axes.plot(
            THRESHOLDS,
            reached,
            ".",
            linestyle=(0, (1, 1)),
            lw=1,
            color=color,
            label=f"NCE, rate of F {rate:g}",
        )
    start = _distance(arrays)[0, :, 0].mean()
    axes.invert_xaxis()
    axes.set(
        xlabel=f"parameter distance to reach for good (start: {start:.0f})",
        ylabel="training steps needed",
        yscale="log",
    )
    return _with_legend(figure, axes, 3)


def _starts(arrays) -> Figure:
    """Parameter distance from every start; starts in columns."""
    distance = np.hypot(arrays["start_theta_distance"], arrays["start_log_partition_error"])
    shape = (2, len(arrays["starts"]))
    figure, axes = plt.subplots(*shape, figsize=(10.0, 5.2), sharex=True, sharey="row")
    for column, name in enumerate(arrays["starts"]):
        _bands(axes[0, column], arrays["start_methods"], distance[:, column])
        _bands(axes[1, column], arrays["start_methods"], arrays["start_theta_distance"][:, column])
        axes[0, column].set(
            xlabel="", title=str(name).replace("theta0", r"$\theta_0$").replace("F0", "$F_0$")
        )
    axes[0, 0].set(ylabel="parameter distance", ylim=(0, None))
    axes[1, 0].set(ylabel=r"$\|\theta - \theta_*\|$", ylim=(0, None))
    return _with_legend(figure, axes[0, 0], 4)


def _bands(axes: Axes, methods, values: np.ndarray) -> None:
    """Mean and s.d. over runs by step, averaged over windows of a twentieth of a decade."""
    for method, runs in zip(methods, values, strict=True):
        steps, mean, spread = _in_windows(runs.mean(0), runs.std(0, ddof=1))
        style = plotting.method_style(str(method))
        axes.plot(steps, mean, **style)
        axes.fill_between(
            steps, mean - spread, mean + spread, color=style["color"], alpha=0.15, lw=0
        )
    axes.set_xscale("symlog", linthresh=1, linscale=0.3)
    axes.set(xlim=(0, values.shape[-1] - 1), xlabel="training step")


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


def _with_legend(figure: Figure, axes: Axes, columns: int) -> Figure:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


if __name__ == "__main__":
    plotting.main("gaussian_16d", draw)
