"""Draws error bars against overlap, estimates against separation, many states, and benzene.

Run it with `python -m experiments.free_energy.plot`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.free_energy import statistics
from experiments.free_energy.plot_benzene import draw_benzene
from experiments.free_energy.plot_benzene_states import draw_benzene_states
from experiments.free_energy.plot_many_states import draw_many_states
from experiments.free_energy.plot_separation import BAR, draw_separation

UNIT_KAPPA = plotting.OTHER_COLORS[0]


def draw(stored: Stored) -> dict[str, Figure]:
    arrays, config = stored.arrays, stored.manifest["config"]
    figures = {
        "free_energy_error_bars": _error_bars(arrays, config),
        "free_energy_separation": draw_separation(arrays),
        "free_energy_many_states": draw_many_states(arrays, config["num_states"]),
    }
    if "benzene_delta_f" in arrays:
        figures["free_energy_benzene"] = draw_benzene(arrays)
        figures["free_energy_benzene_states"] = draw_benzene_states(arrays)
    return figures


def _error_bars(arrays: dict[str, np.ndarray], config: dict) -> Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.5))
    _histogram(left, arrays, config["good_overlap"])
    _coverage(middle, arrays, config["num_work"])
    _unequal(right, arrays)
    right.set_title(f"(c) {config['num_forward']:,} forward, {config['num_reverse']} reverse")
    return figure


def _histogram(axes: Axes, arrays: dict[str, np.ndarray], good_overlap: float) -> None:
    good = statistics.z_scores(arrays)[
        np.mean(arrays["oscillators_overlap"], axis=-1) >= good_overlap
    ]
    grid = np.linspace(-4, 4, 200)
    axes.hist(
        good.ravel(), bins=np.linspace(-4, 4, 41), density=True, color=BAR, alpha=0.45, label="BAR"
    )
    axes.plot(
        grid,
        np.exp(-np.square(grid) / 2) / np.sqrt(2 * np.pi),
        color="k",
        linewidth=1,
        label="N(0, 1)",
    )
    axes.set(xlim=(-4, 4), ylim=(0, 0.5), xlabel="error / standard error", ylabel="density")
    axes.set_title(f"(a) overlap of at least {good_overlap:g}")
    axes.legend(loc="upper right")


def _coverage(axes: Axes, arrays: dict[str, np.ndarray], num_work: int) -> None:
    """One point of each kind per pair of states, against the mean of overlap * (n + m)."""
    quality = statistics.quality(arrays)
    order = np.argsort(quality.overlap, axis=None)
    effective_size, right, wrong, fraction_without = (part.ravel()[order] for part in quality)
    effective_size = 2 * num_work * effective_size
    fraction_right = np.where(right + wrong > 0, right / np.maximum(right + wrong, 1e-9), np.nan)
    axes.axhline(0.95, color="0.6", linewidth=0.8)
    axes.axhline(0.05, color="0.6", linewidth=0.8)
    axes.plot([1, 1], [-0.03, 1.08], color="0.6", linewidth=0.8)
    axes.plot(
        effective_size,
        fraction_right,
        color=BAR,
        marker="o",
        linestyle="",
        label="right, of the intervals given",
    )
    axes.plot(
        effective_size,
        wrong,
        color=plotting.VERMILION,
        marker="v",
        linestyle="",
        label="wrong, of all seeds",
    )
    axes.plot(
        effective_size,
        fraction_without,
        color="0.5",
        marker="_",
        markersize=8,
        linestyle="",
        label="NO_OVERLAP, of all seeds",
    )
    axes.set(
        xscale="log", xlim=(1e-2, 3 * num_work), ylim=(-0.03, 1.45), yticks=np.arange(0, 1.1, 0.2)
    )
    axes.set(xlabel="overlap x (n + m)", ylabel="share", title="(b) 95 % intervals")
    axes.legend(loc="upper left", fontsize=8)


def _unequal(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    bins = np.linspace(-0.8, 0.8, 41)
    for suffix, color, label in (
        ("_at_one", UNIT_KAPPA, "kappa = 1"),
        ("", BAR, "kappa = m / n (BAR)"),
    ):
        values = arrays[f"unequal_delta_f{suffix}"]
        label = f"{label}: s.d. {np.std(values):.3f}"
        axes.hist(values, bins=bins, density=True, color=color, alpha=0.5, label=label)
    axes.plot([0, 0], [0, 4.6], color="k", linewidth=0.8)
    axes.set(
        xlim=(-0.8, 0.8),
        xticks=(-0.5, 0, 0.5),
        ylim=(0, 6.4),
        xlabel="estimate of 0 (kT)",
        ylabel="density",
    )
    axes.legend(loc="upper left")


if __name__ == "__main__":
    plotting.main("free_energy", draw)
