"""Calibration and ROC curve of the classifier behind an estimated log ratio."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax.plots._axes import NEUTRAL, add_legend, add_note, as_axes, check_result, next_color
from nce_jax.ratio_estimation import Calibration, LogRatioEstimate, RocCurve

_MAKER = "fit_log_ratio(...)"


def calibration_curve(
    estimate: LogRatioEstimate | Calibration, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draws the observed fraction of data against the predicted probability of being data.

    Error bars are one standard error of a calibrated classifier, sqrt(p (1 - p) / n) of a group of
    n samples at the predicted p. Where the estimate is not reliable the points are hollow, and a
    note says so.

    Args:
      estimate: what `fit_log_ratio` returned, or its `calibration`.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.errorbar`, such as `color` or `label`.

    Returns:
      The Axes.

    Raises:
      TypeError: `estimate` or `ax` of another type.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import plots
      >>> from nce_jax.ratio_estimation import Calibration
      >>> groups = np.array([0.2, 0.5, 0.8]), np.array([0.25, 0.48, 0.81]), np.full(3, 100)
      >>> ax = plots.calibration_curve(Calibration(*groups))
      >>> print(ax.get_ylabel())
      observed fraction of data
    """
    check_result("estimate", estimate, (LogRatioEstimate, Calibration), _MAKER)
    curve = estimate if isinstance(estimate, Calibration) else estimate.calibration
    ax = as_axes(ax)
    p = np.asarray(curve.predicted)
    error = np.sqrt(p * (1 - p) / curve.num_samples)
    style: dict[str, Any] = {
        "color": next_color(ax),
        "marker": "o",
        "capsize": 2,
    } | _note_reliability(ax, estimate)
    _draw_reference(ax)
    ax.errorbar(p, curve.observed, error, **{**style, **options})
    ax.set(xlabel="predicted probability of being data", ylabel="observed fraction of data")
    add_legend(ax)
    return ax


def roc_curve(
    estimate: LogRatioEstimate | RocCurve, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draws the receiver operating characteristic, with its area in the legend.

    Where the estimate is not reliable the curve is dotted, and a note says so.

    Args:
      estimate: what `fit_log_ratio` returned, or its `roc`.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.plot`, such as `color` or `label`.

    Returns:
      The Axes.

    Raises:
      TypeError: `estimate` or `ax` of another type.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import plots
      >>> from nce_jax.ratio_estimation import RocCurve
      >>> ax = plots.roc_curve(RocCurve(np.array([0, 0.2, 1]), np.array([0, 0.7, 1]), 0.75))
      >>> print(ax.get_legend().get_texts()[0].get_text())
      area 0.750
    """
    check_result("estimate", estimate, (LogRatioEstimate, RocCurve), _MAKER)
    curve = estimate if isinstance(estimate, RocCurve) else estimate.roc
    ax = as_axes(ax)
    is_doubtful = bool(_note_reliability(ax, estimate))
    style: dict[str, Any] = {"color": next_color(ax), "linestyle": ":" if is_doubtful else "-"}
    style["label"] = f"area {curve.area:.3f}"
    _draw_reference(ax)
    ax.plot(curve.false_positive_rate, curve.true_positive_rate, **{**style, **options})
    ax.set(xlabel="fraction of noise called data", ylabel="fraction of data called data")
    add_legend(ax)
    return ax


def _draw_reference(ax: Axes) -> None:
    ax.axline((0, 0), (1, 1), color=NEUTRAL, linewidth=0.8, linestyle="--", zorder=1)
    ax.set_aspect("equal")


def _note_reliability(ax: Axes, estimate: Any) -> dict[str, Any]:
    """The style of doubtful points, with a note, where the estimate is not reliable."""
    if not isinstance(estimate, LogRatioEstimate) or estimate.is_reliable:
        return {}
    add_note(ax, "NOT RELIABLE, see summary()")
    return {"markerfacecolor": "white", "linestyle": ":"}
