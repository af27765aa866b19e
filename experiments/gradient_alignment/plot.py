"""Draws paths, their distances, the bias of the gradient, and its tails.

Run it with `python -m experiments.gradient_alignment.plot`.
"""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common import plotting
from experiments.common.results import Stored
from experiments.gradient_alignment.plot_bias import FAMILIES, TREATMENTS, draw_bias, draw_tails


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    return {
        "gradient_alignment_paths": _paths(arrays),
        "gradient_alignment_distance": _distance(arrays),
        "gradient_alignment_bias": draw_bias(
            arrays, stored.manifest.get("config", {}).get("offset", 0.5)
        ),
        "gradient_alignment_tails": draw_tails(arrays),
    }


def _paths(arrays) -> Figure:
    """The model's mean along every path; treatments in columns."""
    figure, panels = plt.subplots(2, 3, figsize=(9.5, 6.0), sharex=True, sharey=True)
    colors = plotting.graded_colors(arrays["magnifications"].size)
    for row, (family, title) in zip(panels, FAMILIES.items(), strict=True):
        for axes, (name, (label, _)) in zip(row, TREATMENTS.items(), strict=True):
            for color, path in zip(colors, arrays[f"{family}_{name}_mean"], strict=False):
                axes.plot(*path.T, color=color, marker=".", markersize=2.5, linewidth=1)
            if name == "joint":
                axes.plot(
                    *arrays[f"{family}_joint_mean"][-1].T,
                    color=plotting.OTHER_COLORS[0],
                    linestyle=":",
                )
            exact = arrays[f"{family}_exact_mean"]
            axes.plot(*exact.T, color="black", linestyle="--", linewidth=1.2)
            axes.plot(*exact[0], "o", color="black")
            axes.plot(*arrays["data_mean"], "*", color="black", markersize=9)
            axes.set_title(f"{title}, {label}")
        row[0].set_ylabel("second mean of the model")
    for axes in panels[1]:
        axes.set_xlabel("first mean of the model")
    handles = [
        Line2D([], [], color=c, label=f"M = {m:g}")
        for c, m in zip(colors, arrays["magnifications"], strict=True)
    ]
    handles += [
        Line2D([], [], color="black", linestyle="--", label="maximum likelihood"),
        Line2D([], [], color="black", linestyle="", marker="*", markersize=9, label="data"),
        Line2D([], [], color=plotting.OTHER_COLORS[0], linestyle=":", label="joint, infinite M"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _distance(arrays) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(8.5, 4.0), sharey=True)
    values = arrays["magnifications"]
    for axes, (family, title) in zip(panels, FAMILIES.items(), strict=True):
        for name, (label, color) in TREATMENTS.items():
            stray, lag = (arrays[f"{family}_{name}_{kind}"] for kind in ("stray", "lag"))
            axes.loglog(
                values,
                stray[: values.size],
                color=color,
                marker="o",
                label=f"{label}: off the curve",
            )
            axes.loglog(
                values,
                lag[: values.size],
                color=color,
                marker="s",
                linestyle="--",
                label=f"{label}: at equal steps",
            )
        axes.axhline(
            arrays[f"{family}_joint_stray"][-1],
            color=TREATMENTS["joint"][1],
            linestyle=":",
            linewidth=1,
        )
        axes.set(title=title, xlabel="M")
    panels[0].set_ylabel("largest distance from the\nmaximum-likelihood path")
    handles, labels = panels[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=TREATMENTS["joint"][1], linestyle=":", linewidth=1))
    figure.legend(
        handles,
        [*labels, "joint gradient, infinite M: off the curve"],
        loc="outside lower center",
        ncols=2,
    )
    return figure


if __name__ == "__main__":
    plotting.main("gradient_alignment", draw)
