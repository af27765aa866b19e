"""Draws the time of gradient flow, and the curvatures from start to truth."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.convergence.statistics import condition_numbers, magnification_needed


def draw_flow(arrays) -> Figure:
    """Time of gradient flow against KL, and the M that limits it to twice the likelihood's."""
    figure, panels = plt.subplots(1, 3, figsize=(11.0, 4.2))
    kl, log_m = arrays["flow_separations"] ** 2 / 2, arrays["flow_log_magnifications"]
    rows = [int(np.argmin(np.abs(log_m - np.log(m)))) for m in (1.0, 1e2, 1e4, 1e8)]
    for axes, (name, title) in zip(
        panels, {"fixed": r"$F = \log Z(\theta)$", "solved": "F solved"}.items(), strict=False
    ):
        for color, row in zip(plotting.graded_colors(len(rows)), rows, strict=True):
            axes.semilogy(
                kl,
                arrays[f"flow_{name}"][:, row],
                color=color,
                marker="o",
                label=f"M = {np.exp(log_m[row]):.0e}",
            )
        axes.semilogy(
            kl, arrays["flow_likelihood"], color="black", linestyle="--", label="likelihood"
        )
        axes.semilogy(kl, np.exp(kl / 4), color="0.6", linewidth=0.8, label="exp(KL / 4)")
        axes.set(title=f"time of gradient flow, {title}", xlabel="KL(data : noise) [nats]")
        panels[2].plot(kl, magnification_needed(arrays, name), marker="o", label=title)
    panels[0].legend()
    panels[0].set_ylabel("time")
    panels[2].plot(kl, kl, color="0.6", linewidth=0.8, label="log M = KL")
    panels[2].set(
        xlabel="KL(data : noise) [nats]", ylabel="log M", title="M for twice the likelihood's time"
    )
    panels[2].legend()
    return figure


def draw_curvatures(arrays) -> Figure:
    """Condition number and largest curvature from start to truth, at the largest separation."""
    cases = {
        "mean_joint": "mean, joint",
        "precision_solved": "mean and precision, F solved",
        "precision_joint": "mean and precision, joint",
    }
    figure, panels = plt.subplots(2, 3, figsize=(10.5, 5.8), sharex=True, sharey="row")
    for column, (case, title) in enumerate(cases.items()):
        condition = condition_numbers(arrays, *case.split("_"))[:, -1]
        largest = arrays[f"{case}_curvatures"][:, -1].max(axis=-1)
        positions = np.linspace(0, 1, condition.shape[-1])
        for row, m in enumerate(arrays["curvature_magnifications"]):
            color = plotting.graded_colors(arrays["curvature_magnifications"].size)[row]
            label = f"M = {m:g}" if np.isfinite(m) else "infinite M"
            panels[0, column].semilogy(positions, condition[row], color=color, label=label)
            panels[1, column].semilogy(positions, largest[row], color=color)
        panels[0, column].set_title(title)
        panels[1, column].set_xlabel("way from start (0) to truth (1)")
    panels[0, 0].set_ylabel("condition number")
    panels[1, 0].set_ylabel("largest curvature")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
