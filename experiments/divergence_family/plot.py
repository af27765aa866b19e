"""Draws D_kappa from Jensen-Shannon to KL, and its estimates from samples."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.divergence_family.statistics import (
    ENOUGH,
    by_effective_samples,
    farthest,
    of_farthest,
    of_pairs,
)

COLORS = (plotting.BLACK, plotting.BLUE, plotting.GREEN, plotting.VERMILION, plotting.PURPLE)
"""Colors of the pairs."""
STYLES = {"held": "-", "solved": "--"}


def draw(stored: Stored) -> dict[str, Figure]:
    return {
        "divergence_family": _family(stored.arrays),
        "divergence_family_samples": _samples(stored.arrays),
    }


def _family(arrays) -> Figure:
    """D_kappa by pair, its fraction of KL with estimates, and the bound at wrong ratios."""
    figure, axes = plt.subplots(1, 3, figsize=(11.0, 4.2))
    _divergences(axes[0], arrays)
    _fractions_of_kl(axes[1], arrays)
    _wrong_ratios(axes[2], arrays)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _divergences(axes: Axes, arrays) -> None:
    kappas = arrays["kappas"]
    for index, name in enumerate(arrays["pairs"]):
        axes.plot(
            kappas,
            arrays["exact"][index],
            color=COLORS[index],
            label=f"{name}, KL {arrays['kl'][index]:.2g}",
        )
        axes.plot(
            kappas,
            arrays["scaled"][index, 0],
            "o",
            ms=2.5,
            color=COLORS[index],
            mfc="none",
            mew=0.7,
        )
        axes.plot(
            kappas[:7], kappas[:7] * arrays["reverse_kl"][index], ":", lw=1, color=COLORS[index]
        )
    axes.plot(
        [], [], "o", ms=2.5, color="gray", mfc="none", mew=0.7, label="the loss, by quadrature"
    )
    axes.plot([], [], ":", lw=1, color="gray", label=r"$\kappa\,\mathrm{KL}(q\,\|\,p)$")
    ceiling = np.log1p(kappas) + kappas * np.log1p(1 / kappas)
    axes.plot(kappas, ceiling, color="0.6", lw=3, alpha=0.5, label="no overlap: the ceiling")
    axes.set(
        xscale="log", yscale="log", ylim=(2e-4, 30), xlabel=r"$\kappa$", ylabel=r"$D_\kappa$ [nats]"
    )
    axes.axvline(1, color="0.8", lw=0.8)
    axes.text(1.3, 3e-4, "2 JS", fontsize=8, color="0.4")


def _fractions_of_kl(axes: Axes, arrays) -> None:
    """Exact lines, and means over replicates with F solved; bars are their spread."""
    summary = of_pairs(arrays)
    for index, kl in enumerate(arrays["kl"]):
        truth = arrays["exact"][index]
        axes.plot(arrays["kappas"], truth / kl, color=COLORS[index])
        mean = (truth + summary["bias"][:, 1, index]) / kl
        spread = summary["spread"][:, 1, index] / kl
        shifted = arrays["kappas"] * 10 ** (0.07 * (index - 2))
        axes.errorbar(shifted, mean, spread, fmt=".", ms=4, lw=0.7, color=COLORS[index], alpha=0.8)
    axes.axhline(1, color="0.6", lw=0.8)
    axes.set(
        xscale="log",
        ylim=(0, 1.4),
        xlabel=r"$\kappa$",
        ylabel=r"$D_\kappa\,/\,\mathrm{KL}(p\,\|\,q)$",
    )
    axes.set_title(f"lines: exact; bars: {arrays['num_samples']} samples, F solved", fontsize=9)


def _wrong_ratios(axes: Axes, arrays) -> None:
    """Loss of the bound at wrong ratios, by pair; its maximum is at scale one."""
    order = np.argsort(arrays["scales"])
    scales = arrays["scales"][order]
    is_positive = scales > 0
    chosen = [int(np.argmin(np.abs(arrays["kappas"] / k - 1))) for k in (1, 1e3)]
    for index in range(len(arrays["pairs"])):
        for index_of_kappa, style in zip(chosen, ("-", "--"), strict=True):
            fraction = (
                arrays["scaled"][index, 1:, index_of_kappa][order][is_positive]
                / arrays["exact"][index, index_of_kappa]
            )
            x, y = np.append(scales[is_positive], 1.0), np.append(fraction, 1.0)
            by_scale = np.argsort(x)
            axes.plot(x[by_scale], y[by_scale], style, marker=".", lw=1.1, color=COLORS[index])
    axes.set(
        xlabel="log ratio used / true one",
        ylabel=r"bound / $D_\kappa$ (F solved)",
        ylim=(None, 1.02),
    )
    axes.plot([], [], "-", color="gray", label=r"$\kappa = 1$")
    axes.plot([], [], "--", color="gray", label=r"$\kappa = 10^3$")
    axes.legend(loc="lower right")


def _samples(arrays) -> Figure:
    """Coverage, distance and estimates of the farthest pair by size, and coverage by ESS."""
    figure, axes = plt.subplots(2, 2, figsize=(9.0, 7.2))
    colors, kappas = plotting.graded_colors(len(arrays["sizes"])), arrays["kappas"]
    kl, truth = arrays["kl"][farthest(arrays)], arrays["exact"][farthest(arrays)]
    for color, size in zip(colors, arrays["sizes"], strict=True):
        summary = of_farthest(arrays, size)
        limits = arrays[f"far_{size}_limit_value"]
        for index, (treatment, style) in enumerate(STYLES.items()):
            label = f"n = {size:,}, F {treatment}"
            axes[0, 0].plot(kappas, summary["coverage"][:, index], style, color=color, label=label)
            axes[1, 0].plot(kappas, summary["from_kl"][:, index], style, color=color)
            marker, end = ("<", ">")[index], 10 ** (6.4 + 0.3 * index)
            distance = np.sqrt(np.mean((limits[index] - kl) ** 2))
            axes[1, 0].plot(end, distance, marker, color=color, ms=6, mfc="none" if index else None)
        low, middle, high = np.quantile(arrays[f"far_{size}_value"][:, 1], [0.1, 0.5, 0.9], axis=-1)
        axes[1, 1].plot(kappas, middle, color=color)
        axes[1, 1].fill_between(kappas, low, high, color=color, alpha=0.2, lw=0)
    name = arrays["pairs"][farthest(arrays)]
    figure.suptitle(
        f"Gaussians {name}, KL = {kl:g} nats; {arrays['sampled_value'].shape[-1]} replicates",
        fontsize=10,
    )
    axes[0, 0].set(
        xscale="log", ylim=(0, 1), ylabel="coverage of 95 % intervals", xlabel=r"$\kappa$"
    )
    axes[1, 0].set(
        xscale="log", yscale="log", ylabel="r.m.s. distance from KL [nats]", xlabel=r"$\kappa$"
    )
    axes[1, 0].set_yticks([0.5, 1, 2, 4, 8], labels=["0.5", "1", "2", "4", "8"])
    axes[1, 0].minorticks_off()
    axes[1, 0].set_title("at the right end: NWJ (filled), Donsker-Varadhan (open)", fontsize=9)
    axes[1, 1].plot(kappas, truth, "k:", lw=1.6, label=r"$D_\kappa$")
    axes[1, 1].axhline(kl, color="0.5", lw=0.8)
    axes[1, 1].set(xscale="log", ylabel="estimate, F solved [nats]", xlabel=r"$\kappa$")
    axes[1, 1].set_title("median and middle 80 % of the replicates", fontsize=9)
    axes[1, 1].legend(loc="upper left")
    axes[0, 0].axhline(0.95, color="0.5", lw=0.8)
    _by_effective(axes[0, 1], arrays)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _by_effective(axes: Axes, arrays) -> None:
    covered, effective = by_effective_samples(arrays)
    axes.plot(effective, covered, ".", color=plotting.BLUE, ms=5, alpha=0.6)
    axes.axhline(0.95, color="0.5", lw=0.8)
    axes.axvline(ENOUGH, color="0.5", lw=0.8, ls=":")
    axes.set(
        xscale="log",
        ylim=(0, 1),
        xlabel="effective samples on the poorer side",
        ylabel="coverage, F solved",
    )
    axes.set_title("every pair, size and kappa", fontsize=9)


if __name__ == "__main__":
    plotting.main("divergence_family", draw)
