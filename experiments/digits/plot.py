"""Draws the stored results: `python -m experiments.digits.plot`."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.common import plotting, results
from experiments.digits import statistics
from experiments.digits.plot_lanes import (
    effective_fraction,
    error_bars,
    last_lanes,
    screened_error_bars,
    threshold,
    variation_style,
)

LOSS = r"held-out NCE loss at $\kappa=1$ (nats)"
GAIN = "held-out log-likelihood\nminus Gaussian's (nats)"
ESS_FRACTION = "ESS / noise samples"
RATIO_MARKERS = ("o", "s", "^", "D")


def draw(stored: results.Stored) -> dict[str, Figure]:
    """Four figures: the grid, training curves, the comparisons, and images."""
    arrays = stored.arrays
    return {
        "digits_grid": _grid(arrays),
        "digits_training": _training(arrays),
        "digits_comparisons": _comparisons(arrays),
        "digits_images": _images(arrays),
    }


def _grid(arrays: Mapping[str, Any]) -> Figure:
    """Loss, gain and effective sample size at the last checkpoint against M, by noise ratio."""
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    magnifications, ratios = arrays["magnifications"], arrays["noise_ratios"]
    for index, (ratio, color) in enumerate(
        zip(ratios, plotting.graded_colors(len(ratios)), strict=True)
    ):
        style = {"color": color, "marker": RATIO_MARKERS[index % 4], "label": rf"$\nu={ratio:g}$"}
        last = {
            name: arrays[f"grid_{name}"][:, index, :, -1]
            for name in ("test_loss", "gain", "gain_unscreened")
        }
        error_bars(axes[0], magnifications, last["test_loss"], **style)
        screened_error_bars(axes[1], magnifications, last["gain"], last["gain_unscreened"], **style)
        effective_fraction(
            axes[2],
            arrays,
            magnifications,
            arrays["grid_effective_samples"][:, index, :, -1],
            **style,
        )
    for axis, label in zip(axes, (LOSS, GAIN, ESS_FRACTION), strict=True):
        axis.set(xscale="log", xlabel="magnification M", ylabel=label)
    threshold(axes[2], arrays)
    axes[0].legend(title="noise ratio")
    num_seeds = arrays["grid_gain"].shape[2]
    figure.suptitle(
        f"step {arrays['steps'][-1]}, F solved: mean and standard error of {num_seeds} seeds",
        size=10,
    )
    return figure


def _training(arrays: Mapping[str, Any]) -> Figure:
    """Loss, gain, gain relative to the kappa nearest one, and effective sample size by step.

    There is a line per kappa, and the relative gain is a paired difference.
    """
    figure, grid = plt.subplots(2, 2, figsize=(8.4, 6.2))
    axes, steps = grid.ravel(), arrays["steps"]
    lanes = {
        name: statistics.by_kappa(arrays, name)
        for name in ("test_loss", "gain", "gain_unscreened", "effective_samples")
    }
    reference = min(lanes["gain"], key=lambda kappa: abs(np.log(kappa)))
    for kappa, color in zip(lanes["gain"], plotting.graded_colors(len(lanes["gain"])), strict=True):
        style = {"color": color, "label": f"{kappa:g}", "marker": "."}
        values = {name: by_kappa[kappa].T for name, by_kappa in lanes.items()}  # (checkpoint, seed)
        error_bars(axes[0], steps, values["test_loss"], **style)
        screened_error_bars(axes[1], steps, values["gain"], values["gain_unscreened"], **style)
        error_bars(axes[2], steps, values["gain"] - lanes["gain"][reference].T, **style)
        effective_fraction(axes[3], arrays, steps, values["effective_samples"], **style)
    labels = (LOSS, GAIN, rf"gain minus that of $\kappa={reference:g}$ (nats)", ESS_FRACTION)
    for axis, label in zip(axes, labels, strict=True):
        axis.set(xlabel="training step", ylabel=label)
    threshold(axes[3], arrays)
    axes[0].legend(title=r"$\kappa=\nu M$", ncols=2)
    return figure


def _comparisons(arrays: Mapping[str, Any]) -> Figure:
    """Loss and gain at the last checkpoint against kappa, for the grid and its variations."""
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.0))
    noise_per_image = arrays["study_noise_per_image"]
    solved = {**plotting.method_style("Newton", marker=True), "label": "Newton (the grid)"}
    joint = {
        **plotting.method_style("NCE", marker=True),
        "label": "NCE: F by gradient",
        "linestyle": "none",
    }
    curves = {
        "grid": (np.array(list(statistics.by_kappa(arrays, "gain"))), solved),
        "joint": (arrays["corners"].prod(axis=1), joint),
        "study": (
            arrays["study_kappas"],
            variation_style(0, "^", f"Newton, {noise_per_image} noise samples per image"),
        ),
        "unbounded": (
            arrays["magnifications"],
            variation_style(1, "v", "Newton, f not bounded (hollow: withheld)"),
        ),
    }
    for name, (kappas, style) in curves.items():
        last = {
            field: last_lanes(arrays, name, field)
            for field in ("test_loss", "gain", "gain_unscreened")
        }
        error_bars(axes[0], kappas, last["test_loss"], **style)
        screened_error_bars(axes[1], kappas, last["gain"], last["gain_unscreened"], **style)
    for axis, label in zip(axes, (LOSS, GAIN), strict=True):
        axis.set(xscale="log", xlabel=r"noise weight $\kappa=\nu M$", ylabel=label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _images(arrays: Mapping[str, Any]) -> Figure:
    """Noise samples, and the test images with the lowest and the highest log ratio."""
    log_ratio = np.mean(
        [
            lanes[:, -1].mean(axis=0)
            for lanes in statistics.by_kappa(arrays, "test_log_ratio").values()
        ],
        axis=0,
    )
    order = np.argsort(log_ratio)
    count = len(arrays["noise_images"])
    rows = {
        "noise": arrays["noise_images"],
        "test images,\nlowest s": arrays["test_images"][order[:count]],
        "test images,\nhighest s": arrays["test_images"][order[-count:]],
    }
    figure, axes = plt.subplots(len(rows), count, figsize=(7.2, 2.9))
    for (label, images), row in zip(rows.items(), axes, strict=True):
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=17)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    plotting.main("digits", draw)
