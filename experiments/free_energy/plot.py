"""Draws error bars against overlap, estimates against separation, and benzene.

Run it with `python -m experiments.free_energy.plot`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.free_energy import statistics
from nce_jax import Status

BAR = plotting.method_style("BAR")["color"]
UNEQUAL_KAPPA, TRUTH, _ = plotting.OTHER_COLORS


def draw(stored: Stored) -> dict[str, Figure]:
    arrays, config = stored.arrays, stored.manifest["config"]
    figures = {
        "free_energy_error_bars": _error_bars(arrays, config),
        "free_energy_separation": _separation(arrays),
    }
    if "benzene_delta_f" in arrays:
        figures["free_energy_benzene"] = _benzene(arrays)
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
        ("_at_one", UNEQUAL_KAPPA, "kappa = 1"),
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


def _separation(arrays: dict[str, np.ndarray]) -> Figure:
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


def _benzene(arrays: dict[str, np.ndarray]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.5))
    values, errors, reference = (
        arrays[f"benzene_{name}"] for name in ("delta_f", "standard_error", "reference")
    )
    x = np.arange(len(values))
    left.bar(
        x - 0.2,
        values,
        0.38,
        yerr=statistics.QUANTILE * errors,
        color=BAR,
        alpha=0.8,
        label="nce_jax.bar",
    )
    left.bar(
        x + 0.2,
        reference[:, 0],
        0.38,
        yerr=statistics.QUANTILE * reference[:, 1],
        color="0.65",
        label="pymbar, stored",
    )
    left.set_xticks(x, [f"{pair} to {pair + 1}" for pair in x])
    left.set(xlabel="pair of states", ylabel="free energy difference (kT)")
    left.set_title(f"(a) sum {np.sum(values):.4f} $\\pm$ {np.linalg.norm(errors):.4f} kT")
    left.legend(loc="upper right")
    sizes, blocks = arrays["benzene_block_sizes"], arrays["benzene_block_standard_error"]
    for pair, color in enumerate(plotting.graded_colors(len(values))):
        right.plot(
            sizes,
            blocks[:, pair] / errors[pair],
            color=color,
            marker="o",
            label=f"{pair} to {pair + 1}",
        )
    right.axhline(1, color="0.4", linewidth=0.8)
    right.set(
        xscale="log",
        ylim=(0.7, 1.5),
        xlabel="work values per block",
        ylabel="error from blocks / independent",
    )
    right.set_title("(b) correlation between work values")
    right.legend(title="pair", ncols=2, loc="upper left")
    return figure


if __name__ == "__main__":
    plotting.main("free_energy", draw)
