"""Draws the stored results: `python -m experiments.diffusion_digits.plot --preset cpu`."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.diffusion_digits.statistics import BASELINES, kinds, names

ROWS = {
    "frechet": "squared Frechet distance\nin a classifier's features",
    "class_kl": "KL of the classes' masses [nats]",
}
STYLES = {
    "contrastive, regularized": {"color": plotting.BLACK},
    "value guidance": {"color": plotting.NEUTRAL},
    "M = 1, F joint": {"color": plotting.BLUE, "linestyle": ":"},
    "M = 1, F solved": {"color": plotting.BLUE},
    "M = 1, F solved, regularized": {"color": plotting.BLUE, "linestyle": "--"},
    "M = 10, F solved": {"color": plotting.ORANGE},
    "M = 100, F joint": {"color": plotting.VERMILION, "linestyle": ":"},
    "M = 100, F solved": {"color": plotting.VERMILION},
    "M = 100, F solved, regularized": {"color": plotting.VERMILION, "linestyle": "--"},
    "M adaptive, F solved, regularized": {"color": plotting.GREEN, "linestyle": "--"},
    "SiD": {"color": plotting.BLACK},
    "SiD + M = 1": {"color": plotting.BLUE},
    "SiD + M = 50": {"color": plotting.VERMILION},
}
"""Methods that are drawn against updates."""
TITLES = {"sampler": "sampler of few steps", "student": "one-step student"}
COLUMNS = 12
"""Number of images of a method that are shown."""


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Distances against updates, and samples of all methods."""
    return {
        "diffusion_digits": _against_updates(stored.arrays),
        "diffusion_digits_samples": _samples(stored.arrays),
    }


def _against_updates(arrays) -> Figure:
    shown = kinds(arrays)
    figure, axes = plt.subplots(
        len(ROWS),
        len(shown),
        figsize=(4.5 * len(shown), 7.5),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    for column, kind in enumerate(shown):
        axes[0, column].set_title(TITLES[kind])
        for row, (measure, label) in enumerate(ROWS.items()):
            axis = axes[row, column]
            _curves(axis, arrays, kind, measure)
            axis.axhline(arrays[f"data_{measure}"], color="0.4", lw=1, linestyle=":")
            axis.axhline(arrays[f"teacher_many_{measure}"], color="0.4", lw=1, linestyle="-.")
            axis.set_yscale("log")
            if column == 0:
                axis.set_ylabel(label)
        axes[-1, column].set_xlabel("updates")
        # In the gap between the two lines.
        place = {"loc": "center left", "bbox_to_anchor": (0.03, 0.3)}
        axes[0, column].legend(fontsize=7, handlelength=4, **place)
    figure.suptitle(
        "mean and standard error over seeds (dotted: training images; dash-dotted: teacher with"
        " many steps)", fontsize=9,
    )  # fmt: skip
    return figure


def _curves(axis: Axes, arrays, kind: str, measure: str) -> None:
    values = arrays[f"{kind}_{measure}"]
    for method, runs in zip(names(arrays, kind), values, strict=True):
        if method in STYLES:
            mean = runs.mean(axis=0)
            error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
            updates = arrays[f"{kind}_updates"]
            if kind == "sampler":  # it begins as the teacher
                updates = np.append(0, updates)
                mean = np.append(arrays[f"teacher_{measure}"], mean)
                error = np.append(0, error)
            axis.errorbar(updates, mean, error, label=method, marker="o", **STYLES[method])


def _samples(arrays) -> Figure:
    """A row of samples for every baseline and, of the first seed, every method."""
    rows = {label: arrays[f"{name}_pictures"] for name, label in BASELINES.items()}
    for kind in kinds(arrays):
        rows |= dict(zip(names(arrays, kind), arrays[f"{kind}_pictures"][:, 0], strict=True))
    # The constrained layout does not see labels beside images.
    layout = {"hspace": 0.05, "left": 0.3, "right": 0.99, "top": 0.99, "bottom": 0.01}
    size = (7, 0.45 * len(rows))
    figure, axes = plt.subplots(len(rows), 1, figsize=size, gridspec_kw=layout, layout="none")
    for axis, (label, pictures) in zip(axes, rows.items(), strict=True):
        strip = np.concatenate(list(pictures[:COLUMNS, ..., 0]), axis=1)
        axis.imshow(strip, cmap="gray", vmin=-1, vmax=1)
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=7)
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure


if __name__ == "__main__":
    plotting.main("diffusion_digits", draw)
