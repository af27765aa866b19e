"""Draws lanes into panels: error bars over seeds, withheld cells and effective sample sizes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.common import plotting
from experiments.digits import statistics


def last_lanes(arrays: Mapping[str, Any], sweep: str, field: str) -> np.ndarray:
    """Lanes of one sweep at the last checkpoint, (kappa, seed)."""
    if sweep == "grid":
        return np.stack([lanes[:, -1] for lanes in statistics.by_kappa(arrays, field).values()])
    return arrays[f"{sweep}_{field}"][..., -1]


def variation_style(index: int, marker: str, label: str) -> dict[str, Any]:
    """Style of a variation of the grid."""
    return {
        "color": plotting.OTHER_COLORS[index],
        "linestyle": "--",
        "marker": marker,
        "label": label,
    }


def error_bars(axis: Axes, x: np.ndarray, lanes: np.ndarray, **style: Any) -> None:
    """Mean and standard error over the last axis, in the order of x."""
    order = np.argsort(x)
    mean, error = statistics.mean_and_error(lanes)
    axis.errorbar(x[order], mean[order], error[order], capsize=2, elinewidth=1, **style)


def screened_error_bars(
    axis: Axes, x: np.ndarray, lanes: np.ndarray, unscreened: np.ndarray, **style: Any
) -> None:
    """Means of trusted cells, with hollow markers for cells withheld for few effective samples."""
    error_bars(axis, x, lanes, **style)
    withheld = np.isnan(lanes).any(axis=-1)
    hollow = {
        "color": style["color"],
        "marker": style["marker"],
        "linestyle": "none",
        "markerfacecolor": "none",
    }
    axis.plot(x[withheld], unscreened[withheld].mean(axis=-1), **{**hollow, "markersize": 7})


def effective_fraction(
    axis: Axes, arrays: Mapping[str, Any], x: np.ndarray, effective: np.ndarray, **style: Any
) -> None:
    error_bars(axis, x, effective / arrays["num_evaluation_noise"], **style)


def threshold(axis: Axes, arrays: Mapping[str, Any]) -> None:
    fraction = arrays["least_effective_samples"] / arrays["num_evaluation_noise"]
    axis.axhline(fraction, color="0.4", linestyle=":")
    axis.text(
        0.02,
        1.04 * fraction,
        "log Z withheld below",
        transform=axis.get_yaxis_transform(),
        color="0.4",
        fontsize=8,
    )
    axis.set_yscale("log")
