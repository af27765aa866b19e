"""Draws the effect of magnification: parameter distance by step, and by M at three budgets."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting

NAMES = ("NCE", "BAR", "Newton")
TITLES = ("NCE", "BAR", "F solved (Newton)")


def draw_magnified(arrays) -> Figure:
    """Distances by treatment (rows) and separation (columns): medians with the middle 80 %."""
    values, steps, distances = (
        arrays["magnified_distance"],
        arrays["kept_steps"],
        arrays["distances"],
    )
    figure, axes = plt.subplots(
        len(NAMES), len(distances), figsize=(8.0, 7.0), sharex=True, sharey="col"
    )
    colors = plotting.graded_colors(len(arrays["magnifications"]))
    for row, title in enumerate(TITLES):
        for column, distance in enumerate(distances):
            panel = axes[row, column]
            for index, magnification in enumerate(arrays["magnifications"]):
                low, middle, high = np.quantile(values[row, column, index], [0.1, 0.5, 0.9], axis=0)
                panel.plot(steps, middle, color=colors[index], label=f"M = {magnification:,.0f}")
                panel.fill_between(steps, low, high, color=colors[index], alpha=0.15, lw=0)
            panel.set_yscale("log")
            panel.set_xscale("symlog", linthresh=1, linscale=0.3)
            if row == 0:
                panel.set_title(f"means {distance:g} apart")
        axes[row, 0].set_ylabel(f"{title}\nparameter distance")
    for panel in axes[-1]:
        panel.set_xlabel("training step")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_budgets(arrays, budgets: Sequence[int]) -> Figure:
    """Distances against M by separation (rows) and budget (columns).

    Medians over seeds are shown with the middle 80 %.
    """
    steps = arrays["kept_steps"]
    budgets = [budget for budget in budgets if budget <= steps[-1]]
    shape = (len(arrays["distances"]), len(budgets))
    figure, axes = plt.subplots(
        *shape, figsize=(2.7 * len(budgets) + 0.5, 6.5), sharex=True, sharey="row", squeeze=False
    )
    for row, distance in enumerate(arrays["distances"]):
        for column, budget in enumerate(budgets):
            _against_magnification(
                axes[row, column], arrays, row, int(np.searchsorted(steps, budget))
            )
        axes[row, 0].set_ylabel(f"means {distance:g} apart\nparameter distance")
    for panel, budget in zip(axes[0], budgets, strict=True):
        panel.set_title(f"after {budget:,} steps")
    for panel in axes[-1]:
        panel.set_xlabel("magnification M")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _against_magnification(panel, arrays, row: int, step: int) -> None:
    for shift, (name, values) in enumerate(
        zip(NAMES, arrays["magnified_distance"][:, row, ..., step], strict=True)
    ):
        low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=-1)
        # Shifted, so that no bar hides another.
        x = arrays["magnifications"] * 1.12 ** (shift - 1)
        style = plotting.method_style(name, marker=True)
        panel.errorbar(x, middle, yerr=[middle - low, high - middle], capsize=2, **style)
    panel.set(xscale="log", yscale="log")
