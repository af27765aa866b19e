"""Draws the bias of the gradient against M, for bounded and unbounded ratios."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common import plotting
from experiments.gradient_alignment.statistics import FAR, NEAR, slope

FAMILIES = {"mean": "mean only", "covariance": "mean and covariance"}
TREATMENTS = {
    "fixed": (r"$F = \log Z(\theta)$", plotting.BLUE),
    "solved": ("F solved", plotting.VERMILION),
    "joint": ("joint gradient", plotting.GREEN),
}


def draw_bias(arrays, offset: float) -> Figure:
    """Squared bias by M at points of the likelihood's path, with lines fitted in both ranges."""
    names = {
        **{name: label for name, (label, _) in TREATMENTS.items()},
        "joint_off": f"F held {offset:g} off",
    }
    names["joint"] = r"F held at $\log Z(\theta)$"
    figure, panels = plt.subplots(2, 4, figsize=(11.0, 6.2), sharex=True, sharey="row")
    for row, (family, title) in zip(panels, FAMILIES.items(), strict=True):
        for axes, (name, label) in zip(row, names.items(), strict=True):
            _with_fits(axes, arrays, family, name)
            axes.set_title(f"{title}\n{label}")
        row[0].set_ylabel("squared bias")
    for axes in panels[1]:
        axes.set_xlabel("M")
    colors = plotting.graded_colors(arrays["mean_bias_steps"].size)
    handles = [
        Line2D([], [], color=c, label=f"step {s}")
        for c, s in zip(colors, arrays["mean_bias_steps"], strict=True)
    ]
    handles.append(
        Line2D(
            [],
            [],
            color="0.3",
            linestyle=":",
            label="fitted, M 1e2 to 1e4 and 1e6 to 1e8: slopes below",
        )
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _with_fits(axes: Axes, arrays, family: str, name: str) -> None:
    values = arrays[f"{family}_bias_magnifications"]
    colors, notes = plotting.graded_colors(arrays[f"{family}_bias_steps"].size), []
    for color, bias in zip(colors, arrays[f"{family}_{name}_bias"], strict=True):
        axes.loglog(values, bias, color=color, linewidth=1.2)
        slopes = [slope(values, bias, *limits)[0] for limits in (NEAR, FAR)]
        for power, limits in zip(slopes, (NEAR, FAR), strict=True):
            inside = (values >= limits[0] * 0.999) & (values <= limits[1] * 1.001)
            middle = np.exp(np.mean(np.log(bias[inside])))
            line = middle * (values[inside] / np.sqrt(limits[0] * limits[1])) ** power
            axes.loglog(values[inside], line, color="0.3", linestyle=":", linewidth=1)
        notes.append(
            (", ".join(f"{round(power, 2) + 0.0:.2f}".replace("-", "−") for power in slopes), color)
        )
    for index, (note, color) in enumerate(notes):
        axes.text(
            0.03, 0.04 + 0.085 * index, note, color=color, fontsize=8, transform=axes.transAxes
        )


def draw_tails(arrays) -> Figure:
    """Squared bias for bounded and unbounded ratios, and its local slope with its limit."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.4))
    values, colors = arrays["tail_magnifications"], plotting.graded_colors(len(arrays["tails"]))
    middles = np.sqrt(values[1:] * values[:-1])
    for index, ((model, data), color) in enumerate(zip(arrays["tails"], colors, strict=True)):
        measured, predicted = arrays["tail_bias"][0, index], arrays["tail_predicted"][index]
        limit = -2 * arrays["tail_exponents"][index]
        left.loglog(
            values,
            measured,
            color=color,
            label=f"model {model:g}, data {data:g}: limit {limit:.2f}".replace("-", "−"),
        )
        left.loglog(values[::2], predicted[::2], ".", color=color)
        right.semilogx(middles, np.diff(np.log(measured)) / np.diff(np.log(values)), color=color)
        right.axhline(limit, color=color, linestyle=":", linewidth=1)
    left.set(
        xlabel="M",
        ylabel=r"squared bias, $F = \log Z(\theta)$",
        ylim=(1e-20, 1e3),
        title="lines: measured; dots: closed form",
    )
    right.set(
        xlabel="M",
        ylabel="local slope",
        ylim=(-2.2, 0.1),
        title="local slope; dotted: predicted limit",
    )
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        title="variances, noise 1",
    )
    return figure
