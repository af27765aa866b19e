"""The metrics of a training run against the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax._describe import describe
from nce_jax.plots._axes import add_legend, add_note, as_float64, as_panels, cross_out, next_color
from nce_jax.training import FitResult

_LABELS = {
    "loss": "loss (nats)",
    "log_partition": "F (nats)",
    "overlap": "overlap",
    "magnification": "magnification M",
    "held_out_loss": "held-out loss (nats)",
}
_USUAL = "loss", "log_partition", "overlap", "magnification"
_LOG_SPAN = 30.0
"""Overlap and M are drawn on a log scale where they change by more than this factor."""


def training_history(
    result: Any, *, metrics: Sequence[str] | None = None, ax: Any = None, **options: Any
) -> np.ndarray:
    """Draws metrics of a training run against the step, each in a panel of its own.

    Records in which F was not solved at some steps (`failed_solves`) have hollow markers, and so
    have those with a low overlap in most steps (`low_overlap`, in the panel of the overlap); the
    legend counts them. Values that are not finite are crosses at the lower edge.

    Args:
      result: what `training.fit` returned, or columns by name with a "step", such as its `history`
        or `pandas.read_json("run/metrics.jsonl", lines=True)`.
      metrics: names of metrics or evaluations; None takes those of loss, F, overlap and M that
        there are.
      ax: the Axes to draw into, one per metric; None makes new ones.
      options: go to `Axes.plot`, such as `color` or `label`.

    Returns:
      The Axes, an array (metrics,).

    Raises:
      TypeError: `result`, `metrics` or `ax` of another type.
      ValueError: there is no such metric, or no metric at all.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import plots
      >>> history = {"step": np.array([10, 20, 30]), "loss": np.array([1.3, 1.1, 1.0])}
      >>> (ax,) = plots.training_history(history)
      >>> print(ax.get_ylabel())
      loss (nats)
    """
    tables = _tables(result)
    names = _names(metrics, tables)
    panels = as_panels(ax, len(names))
    for panel, name in zip(panels, names, strict=True):
        table = next(table for table in tables if name in table)
        _draw(panel, name, table, options)
    return panels


def _tables(result: Any) -> list[Any]:
    """Columns of the records and of the evaluations."""
    if isinstance(result, FitResult):
        return [table for table in (result.history, result.evaluations) if "step" in table]
    is_table = isinstance(result, Mapping) or hasattr(result, "columns")
    if not is_table or "step" not in result:
        raise TypeError(
            'result: expected a FitResult, as training.fit(...) returns, or columns with a "step",'
            f" got {describe(result)}"
        )
    return [result]


def _names(metrics: Any, tables: list[Any]) -> list[str]:
    there = [str(name) for table in tables for name in table if name != "step"]
    if metrics is None:
        names = [name for name in _USUAL if name in there]
        if not names:
            raise ValueError(
                f"result: expected metrics among {', '.join(_USUAL)}, got {', '.join(there)}; pass"
                " metrics"
            )
        return names
    is_list = isinstance(metrics, list | tuple) and metrics
    if not is_list or not all(isinstance(name, str) for name in metrics):
        raise TypeError(f"metrics: expected a list of names, got {describe(metrics)}")
    for name in metrics:
        if name not in there:
            raise ValueError(f"metrics: expected names among {', '.join(there)}, got {name!r}")
    return list(metrics)


def _draw(ax: Axes, name: str, table: Any, options: dict[str, Any]) -> None:
    step, values = np.asarray(table["step"]), as_float64(table[name])
    is_finite = np.isfinite(values)
    style: dict[str, Any] = {"color": next_color(ax), "marker": "o", "markersize": 4, **options}
    ax.plot(step, np.where(is_finite, values, np.nan), **style)
    hollow = style | {"linestyle": "none", "markerfacecolor": "white", "markersize": 6}
    for text, marked in _doubts(name, table):
        kept = marked & is_finite
        if kept.any():
            ax.plot(step[kept], values[kept], **{**hollow, "label": text})
    cross_out(ax, step[~is_finite], label="not finite")
    ax.set(xlabel="step", ylabel=_LABELS.get(name, name.replace("_", " ")))
    _choose_scale(ax, name, values[is_finite])
    add_legend(ax)
    if not is_finite.any():
        add_note(ax, "no finite value")


def _doubts(name: str, table: Any) -> list[tuple[str, np.ndarray]]:
    """What is wrong with records, in words, and with which."""
    doubts = []
    if "failed_solves" in table:
        failed = as_float64(table["failed_solves"])
        doubts.append((f"F not solved in {np.nansum(failed):.0f} steps", failed > 0))
    if name == "overlap" and "low_overlap" in table:
        is_low = as_float64(table["low_overlap"]) > 0.5
        doubts.append((f"low overlap in {is_low.sum()} records", is_low))
    return doubts


def _choose_scale(ax: Axes, name: str, values: np.ndarray) -> None:
    is_positive = name in ("overlap", "magnification") and values.size and (values > 0).all()
    if is_positive and values.max() > _LOG_SPAN * values.min():
        ax.set_yscale("log")
