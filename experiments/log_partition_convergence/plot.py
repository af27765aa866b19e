"""Draws figures 1 and 7: `python -m experiments.log_partition_convergence.plot`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.common import plotting
from experiments.common.results import Stored
from nce_jax import Status

NAMES = {
    "nce": "NCE",
    "nce_raised": "NCE, raised rate",
    "bar": "BAR",
    "bisection": "binary search",
    "newton": "Newton",
}
STATUS_STYLES = (
    ("CONVERGED", Status.CONVERGED, {"alpha": 1.0}),
    ("NO_OVERLAP", Status.NO_OVERLAP, {"alpha": 0.35}),
    ("MAX_STEPS", Status.MAX_STEPS, {"fill": False}),
)
FLOOR = 1e-16
"""Errors of exactly zero are drawn here."""


def draw(stored: Stored) -> dict[str, Figure]:
    arrays, config = stored.arrays, stored.manifest["config"]
    return {
        "log_partition_convergence_figure_1": _figure_1(arrays, config),
        "log_partition_convergence_figure_7": _figure_7(arrays, config),
        "log_partition_convergence_figure_7_paths": _paths(arrays),
    }


def _figure_1(arrays: dict[str, np.ndarray], config: dict) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.7))
    for name in NAMES:
        _lines(left, name, arrays[f"ring_{name}"])
        _error_band(right, name, np.abs(arrays[f"ring_{name}"] - arrays["ring_root"][:, None]))
    left.set(
        xlim=(0, 30),
        xlabel="update",
        ylabel="F (nats)",
        title=f"(a) F in {config['num_runs']} runs",
    )
    right.axhline(config["tolerance"], color="0.4", linewidth=0.8)
    right.set(xscale="log", yscale="log", xlim=(1, config["num_gradient_steps"]), ylim=(1e-13, 100))
    right.set(xlabel="update", ylabel="|F - F*| (nats)", title="(b) error: median, 5 to 95 %")
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(NAMES))
    return figure


def _lines(axes: Axes, name: str, estimates: np.ndarray) -> None:
    style = plotting.method_style(NAMES[name])
    axes.plot(
        estimates.T, **{**style, "label": None, "linewidth": 0.4, "alpha": 0.25, "linestyle": "-"}
    )
    axes.plot(np.median(estimates, axis=0), **style)


def _error_band(axes: Axes, name: str, error: np.ndarray) -> None:
    style = plotting.method_style(NAMES[name])
    low, middle, high = np.maximum(np.percentile(error, [5, 50, 95], axis=0), FLOOR)[:, 1:]
    updates = np.arange(1, error.shape[1])
    axes.fill_between(updates, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(updates, middle, **style)


def _figure_7(arrays: dict[str, np.ndarray], config: dict) -> Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.7))
    limit, tolerance = config["max_steps"], config["tolerance"]
    separations = arrays["separations"]
    for index, name in enumerate(NAMES):
        # Shifted, so that methods that agree do not hide each other.
        x = separations * 1.02 ** (index - 2)
        _ranges(left, name, x, np.minimum(arrays[f"pairs_{name}_steps"], 2 * limit))
        _ranges(middle, name, x, np.maximum(arrays[f"pairs_{name}_error"], FLOOR))
    left.axhspan(1.3 * limit, 3 * limit, color="0.9", linewidth=0)
    left.text(separations[0], 2 * limit, f"not in {limit:,}", va="center", fontsize=9)
    left.set(
        ylim=(0.7, 3 * limit), ylabel=f"updates to {tolerance:g} nats", title="(a) updates needed"
    )
    middle.axhline(tolerance, color="0.4", linewidth=0.8)
    middle.set(ylim=(FLOOR, 1e2), ylabel="|F - F*| (nats)", title="(b) error then, or at the end")
    for axes in (left, middle):
        axes.set(xscale="log", yscale="log", xlabel="separation of the means (s.d.)")
        axes.set_xticks(separations, [f"{value:g}" for value in separations])
        axes.minorticks_off()
    _statuses(right, arrays)
    handles, _ = left.get_legend_handles_labels()
    handles += [
        Patch(facecolor="0.3", edgecolor="0.3", label=label, **style)
        for label, _, style in STATUS_STYLES
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2
    )
    return figure


def _ranges(axes: Axes, name: str, x: np.ndarray, values: np.ndarray) -> None:
    """Median over batches, and a bar from the smallest to the largest."""
    style = plotting.method_style(NAMES[name], marker=True)
    middle = np.median(values, axis=1)
    spread = np.stack([middle - values.min(axis=1), values.max(axis=1) - middle])
    axes.errorbar(x, middle, yerr=spread, elinewidth=0.8, **style)


def _statuses(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Fractions of the batches by status of `solve_log_partition`, per solver and separation."""
    separations = arrays["separations"]
    for offset, name in zip((-0.27, 0.0, 0.27), ("bar", "bisection", "newton"), strict=True):
        color, bottom = plotting.method_style(NAMES[name])["color"], np.zeros(len(separations))
        for _, value, style in STATUS_STYLES:
            fraction = np.mean(arrays[f"solve_{name}_status"] == value, axis=1)
            x = np.arange(len(separations)) + offset
            axes.bar(
                x,
                fraction,
                width=0.22,
                bottom=bottom,
                color=color,
                edgecolor=color,
                linewidth=0.8,
                **style,
            )
            bottom += fraction
    axes.set_xticks(np.arange(len(separations)), [f"{value:g}" for value in separations])
    axes.set(ylim=(0, 1.01), xlabel="separation of the means (s.d.)", ylabel="share of batches")
    axes.set_title("(c) status of solve_log_partition")
    axes.grid(visible=False)


def _paths(arrays: dict[str, np.ndarray]) -> Figure:
    wanted = [value for value in (4.0, 8.0, 16.0) if value in arrays["separations"]]
    figure, panels = plt.subplots(1, len(wanted), figsize=(9.5, 3.4), squeeze=False)
    for axes, separation in zip(panels[0], wanted, strict=True):
        row = int(np.flatnonzero(arrays["separations"] == separation)[0])
        for batch, color in enumerate(plotting.graded_colors(3)):
            axes.plot(
                arrays["pairs_bar"][row, batch, :21],
                color=color,
                marker="o",
                markersize=3,
                linewidth=1,
            )
            axes.axhline(arrays["pairs_root"][row, batch], color=color, linestyle="--", linewidth=1)
        axes.set(title=f"means {separation:g} s.d. apart", xlabel="BAR update", ylabel="F (nats)")
    handles = [
        Line2D(
            [], [], color="0.3", marker="o", markersize=3, linewidth=1, label="F (three batches)"
        ),
        Line2D([], [], color="0.3", linestyle="--", linewidth=1, label="F* of the same batch"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


if __name__ == "__main__":
    plotting.main("log_partition_convergence", draw)
