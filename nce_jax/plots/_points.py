"""Values with error bars, each drawn as what its status says that it is."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax.log_partition import Status
from nce_jax.plots._axes import as_float64, cross_out


def verdicts(values: np.ndarray, errors: np.ndarray, status: np.ndarray) -> np.ndarray:
    """What is wrong with each value, in words; empty where nothing is."""
    return np.array(
        [_verdict(*point) for point in zip(values, errors, status, strict=True)], dtype=object
    )


def _verdict(value: float, error: float, status: Any) -> str:
    name = Status(int(status)).name
    if not np.isfinite(value):
        return "no estimate" if status == Status.CONVERGED else f"{name}: no estimate"
    if status == Status.LOW_OVERLAP:
        return f"{name}: error too small"
    if status != Status.CONVERGED:
        return f"{name}: doubtful"
    return "" if np.isfinite(error) else "error not known"


def draw_points(ax: Axes, x: Any, values: Any, errors: Any, status: Any, **options: Any) -> None:
    """Error bars of one standard error: filled if right, hollow if doubtful, crosses if missing."""
    x, values, errors = (as_float64(column) for column in (x, values, errors))
    verdict = verdicts(values, errors, np.asarray(status))
    is_number = np.isfinite(values)
    label = options.pop("label", None)
    for text in np.unique(verdict[is_number]):
        group = is_number & (verdict == text)
        named = {"label": _joined(label, text)}
        hollow = {"markerfacecolor": "white"} if text else {}
        bars = np.where(np.isfinite(errors[group]), errors[group], 0)
        ax.errorbar(x[group], values[group], bars, **{**options, **hollow, **named})
    for text in np.unique(verdict[~is_number]):
        group = ~is_number & (verdict == text)
        cross_out(ax, x[group], color=options["color"], label=_joined(label, text))


def _joined(label: str | None, text: str) -> str | None:
    """The name of a series with what is wrong with some of its points."""
    return f"{label} ({text})" if label and text else label or text or None
