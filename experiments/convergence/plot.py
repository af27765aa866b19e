"""Draws steps, curves, times of gradient flow and curvatures.

Run it with `python -m experiments.convergence.plot`.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.convergence.plot_landscape import draw_curvatures, draw_flow
from experiments.convergence.statistics import best_steps

LOSSES = {
    "nwj": ("NWJ (infinite M)", plotting.VERMILION, "v"),
    "ence": ("eNCE", plotting.PURPLE, "D"),
}
PANELS = {
    "mean_joint": "mean, joint",
    "mean_solved": "mean, F solved",
    "precision_solved": "mean and precision, F solved",
}
KL = {"mean": lambda m: m**2 / 2, "precision": lambda m: (0.5 + m**2 - 1 - np.log(0.5)) / 2}


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "convergence_steps": _steps(arrays),
        "convergence_distance": _distance(arrays),
        "convergence_curves": _curves(arrays),
        "convergence_flow": draw_flow(arrays),
        "convergence_curvatures": draw_curvatures(arrays),
    }


def _lines(arrays, panel: str):
    """(label, style, study, row of M) for every method of a panel."""
    colors = plotting.graded_colors(arrays["magnifications"].size + 1)
    for kind, linestyle, marker in (("ngd", "-", "o"), ("gd", ":", "s")):
        for row, m in enumerate(arrays["magnifications"]):
            label = f"NCE, M = {m:g}, {'normalized' if kind == 'ngd' else 'plain'}"
            yield (
                label,
                {"color": colors[row], "linestyle": linestyle, "marker": marker},
                f"{panel}_nce_{kind}",
                row,
            )
    for loss, (label, color, marker) in LOSSES.items():
        yield (
            f"{label}, normalized",
            {"color": color, "linestyle": "--", "marker": marker},
            f"{panel}_{loss}_ngd",
            0,
        )


def _steps(arrays) -> Figure:
    """Steps to distance 1 against KL."""
    index = int(np.argmin(np.abs(arrays["distances"] - 1.0)))
    figure, panels = plt.subplots(1, 3, figsize=(11.0, 4.6), sharey=True)
    for axes, (panel, title) in zip(panels, PANELS.items(), strict=True):
        family = panel.split("_")[0]
        kl = KL[family](arrays[f"{family}_separations"])
        for label, style, study, row in _lines(arrays, panel):
            if f"{study}_hits" in arrays:
                steps = best_steps(arrays, study)[:, row, index]
                axes.plot(kl, np.where(np.isfinite(steps), steps, np.nan), label=label, **style)
        if not panel.endswith("joint"):
            _newton(axes, arrays, family, kl)
        axes.set(xscale="log", yscale="log", xlabel="KL(data : noise) [nats]", title=title)
        axes.set_xticks(kl, [f"{value:.2g}" if value < 10 else f"{value:.0f}" for value in kl])
        axes.minorticks_off()
    panels[0].set_ylabel("steps to distance 1, best rate\n(no marker: never reached)")
    handles = dict(
        pair
        for axes in panels
        for pair in zip(*axes.get_legend_handles_labels()[::-1], strict=True)
    )
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _newton(axes: Axes, arrays, family: str, kl: np.ndarray) -> None:
    reached = arrays[f"{family}_newton"][:, 0] <= 1.0
    steps = np.where(reached.any(-1), reached.argmax(-1), np.nan)
    axes.plot(kl, steps, color=plotting.SKY_BLUE, marker="^", linestyle="-.", label="Newton, M = 1")


def _distance(arrays) -> Figure:
    """Steps against the distance to reach, compared with the theorem's power."""
    figure, panels = plt.subplots(1, 2, figsize=(9.0, 4.4), sharey=True)
    distances = arrays["distances"]
    for axes, panel, row_of in zip(panels, ("mean_joint", "precision_solved"), (1, 1), strict=True):
        family = panel.split("_")[0]
        for label, style, study, row in _lines(arrays, panel):
            if f"{study}_hits" in arrays:
                steps = best_steps(arrays, study)[row_of, row]
                axes.loglog(
                    distances,
                    np.where(np.isfinite(steps), np.maximum(steps, 1), np.nan),
                    label=label,
                    **style,
                )
        for power in (-1, -2):
            axes.loglog(distances, 30 * distances**power, color="0.6", linewidth=0.8)
            axes.annotate(
                f"power {power}".replace("-", "−"),
                (0.05, 30 * 0.05**power),
                color="0.4",
                fontsize=8,
            )
        separation = arrays[f"{family}_separations"][row_of]
        axes.set(
            title=f"{PANELS[panel]}, means {separation:g} apart",
            xlabel="distance to reach",
            ylim=(1, 5e4),
        )
        axes.invert_xaxis()
    panels[0].set_ylabel("steps, best rate")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _curves(arrays) -> Figure:
    """Distance of (theta, F) by step at the largest separation, joint gradient.

    There is a panel per rate.
    """
    rates = arrays["mean_joint_nce_ngd_rates"]
    figure, panels = plt.subplots(
        1, min(3, len(rates)), figsize=(11.0, 4.4), sharey=True, squeeze=False
    )
    for position, axes in enumerate(panels[0]):
        for label, style, study, row in _lines(arrays, "mean_joint"):
            curve = arrays[f"{study}_curves"][-1, row, position]
            axes.plot(
                arrays[f"{study}_curve_steps"],
                curve,
                label=label,
                **{**style, "marker": None},
                linewidth=1.2,
            )
        start = arrays["mean_joint_nce_ngd_start"][-1]
        axes.set(title=f"rate {rates[position]:g}", xlabel="step", ylim=(0, 1.3 * start))
        axes.set_xscale("symlog", linthresh=1, linscale=0.3)
        axes.set_xlim(0, arrays["mean_joint_nce_ngd_curve_steps"][-1])
    panels[0, 0].set_ylabel(r"distance of $(\theta, F)$")
    figure.suptitle(f"means {arrays['mean_separations'][-1]:g} apart, joint gradient", fontsize=10)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    plotting.main("convergence", draw)
