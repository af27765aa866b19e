"""Draws the probe's accuracy against batch size and temperature, and pictures of the features."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting
from experiments.common.results import Stored

MARKERS = ("o", "^", "s", "D")


def draw(stored: Stored) -> dict[str, Figure]:
    arrays = stored.arrays
    names = list(map(str, arrays["images"]))
    pictures = {
        f"representation_{name.replace('-', '_')}": _picture(arrays, name) for name in names
    }
    return {"representation_accuracy": _accuracy(arrays, names), **pictures}


def _accuracy(arrays, names: list[str]) -> Figure:
    """One row per data set, one panel per batch size; dots are seeds."""
    sizes, temperatures = arrays["batch_sizes"], arrays["temperatures"]
    figure, panels = plt.subplots(
        len(names),
        len(sizes),
        figsize=(1.5 + 2.8 * len(sizes), 1.0 + 2.6 * len(names)),
        sharey="row",
        squeeze=False,
    )
    for row, name in zip(panels, names, strict=True):
        for column, (axes, size) in enumerate(zip(row, sizes, strict=True)):
            for index, loss in enumerate(map(str, arrays["losses"])):
                values = 100 * arrays[f"{name}_accuracy"][index, column]
                axes.plot(
                    temperatures,
                    values.mean(-1),
                    color=plotting.CATEGORICAL[index],
                    marker=MARKERS[index],
                    label=loss,
                )
                axes.plot(temperatures, values, ".", ms=3, color=plotting.CATEGORICAL[index])
            axes.axhline(
                100 * arrays[f"{name}_untrained"].mean(),
                color="0.5",
                lw=0.9,
                ls="--",
                label="no training",
            )
            axes.axhline(
                100 * arrays[f"{name}_pixels"], color="0.5", lw=0.9, ls=":", label="pixels"
            )
            axes.set(xscale="log", xlabel="temperature", title=f"{name}, batch {size}")
        row[0].set_ylabel("linear probe, % of test")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _picture(arrays, name: str) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(9.0, 4.6))
    classes = arrays[f"{name}_classes"]
    for axes, field, title in zip(
        panels, ("picture_pixels", "picture"), ("pixels", "features, InfoNCE"), strict=True
    ):
        for label in np.unique(classes):
            points = arrays[f"{name}_{field}"][classes == label]
            axes.plot(
                *points.T, ".", ms=2.5, color=plt.get_cmap("tab10")(int(label)), label=str(label)
            )
        axes.set(title=f"{name}, t-SNE of the {title}", xticks=[], yticks=[])
        axes.grid(visible=False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=10, markerscale=3
    )
    return figure


if __name__ == "__main__":
    plotting.main("representation", draw)
