"""Draws the best classifier's accuracy by budget, coverage by level, and normalizers."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.simulator_inference.statistics import LEVELS, coverage

LINES = ("-", "--", "-.", ":", "-")


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "simulator_inference_accuracy": _accuracy(arrays),
        "simulator_inference_coverage": _coverage(arrays),
    }


def _style(arrays, index: int) -> dict:
    return {
        "color": plotting.CATEGORICAL[index],
        "linestyle": LINES[index],
        "label": str(arrays["methods"][index]),
    }


def _accuracy(arrays) -> Figure:
    """Mean over observations with the range over seeds; crosses are trained classifiers.

    The classifiers are of the first seed.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.6))
    for index in range(len(arrays["methods"])):
        for panel, values in zip(
            axes, (arrays["accuracy"], np.abs(arrays["log_normalizer"])), strict=True
        ):
            seed_means = values[index].mean(-1)
            panel.plot(arrays["budgets"], seed_means.mean(-1), marker="o", **_style(arrays, index))
            low, high = seed_means.min(-1), seed_means.max(-1)
            panel.fill_between(
                arrays["budgets"], low, high, color=plotting.CATEGORICAL[index], alpha=0.12, lw=0
            )
        axes[0].plot(
            arrays["budgets"],
            arrays["classified"][index].mean(-1),
            "x",
            color=plotting.CATEGORICAL[index],
            ms=6,
        )
    axes[0].set(
        xscale="log",
        xlabel="simulations",
        ylabel="accuracy, true against estimated",
        ylim=(0.48, None),
    )
    axes[0].axhline(0.5, color="0.6", lw=0.8)
    axes[1].set(
        xscale="log",
        yscale="log",
        xlabel="simulations",
        ylabel=r"$|\log \int p(\theta)\, r(\theta, x)\, d\theta|$",
    )
    for panel in axes:
        panel.set_xticks(arrays["budgets"], [f"{budget:,}" for budget in arrays["budgets"]])
        panel.xaxis.minorticks_off()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _coverage(arrays) -> Figure:
    budgets = arrays["budgets"]
    figure, panels = plt.subplots(
        1, len(budgets), figsize=(1.2 + 3.0 * len(budgets), 3.5), sharey=True, squeeze=False
    )
    for column, (axes, budget) in enumerate(zip(panels[0], budgets, strict=True)):
        for index in range(len(arrays["methods"])):
            curves = coverage(arrays["mass"][index, column])
            axes.plot(LEVELS, curves.mean(0), **_style(arrays, index))
        axes.plot(
            LEVELS, coverage(arrays["exact_mass"]), color="0.6", lw=0.9, label="true posterior"
        )
        axes.set(xlabel="level", title=f"{budget:,} simulations")
    panels[0, 0].set_ylabel("true parameters within")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


if __name__ == "__main__":
    plotting.main("simulator_inference", draw)
