"""Histograms of the log ratios of data and noise, with F and the overlap."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from nce_jax._checks import as_weights
from nce_jax._options import check_number
from nce_jax._types import LogRatio, Scalars, Weights
from nce_jax.diagnostics import overlap
from nce_jax.log_partition import Solution, Status, solve_log_partition
from nce_jax.plots._axes import (
    FAILED,
    FIRST,
    SECOND,
    add_legend,
    add_note,
    as_axes,
    as_float64,
    check_result,
    check_single,
)

_NUM_BINS = 40


def log_ratio_histogram(
    log_ratio_data: LogRatio,
    log_ratio_noise: LogRatio,
    *,
    solution: Solution | None = None,
    magnification: Scalars = 1.0,
    noise_ratio: Scalars = 1.0,
    weights_data: Weights | None = None,
    weights_noise: Weights | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws histograms of the log ratios of both sets, with F as a line and the overlap.

    The two histograms share their bins, and each has unit area. Log ratios that are not finite are
    left out and counted in the legend. F is dotted where it is no estimate of a log Z (NO_OVERLAP);
    where the solve failed there is no line, and a note instead.

    Args:
      log_ratio_data: s of the data samples, (n,), in nats.
      log_ratio_noise: s of the noise samples, (m,).
      solution: F with its status, as `solve_log_partition` returns it at the same kappa; None
        solves for it.
      magnification: M > 0.
      noise_ratio: nu > 0; kappa = noise_ratio * magnification.
      weights_data: weights >= 0 of the data samples.
      weights_noise: the same for the noise samples.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.hist`, such as `bins`.

    Returns:
      The Axes.

    Raises:
      TypeError: log ratios that are not floating, or a `solution` or `ax` of another type.
      ValueError: log ratios with batch axes, empty arrays, or numbers out of their range.

    Examples:
      >>> import jax
      >>> from nce_jax import plots
      >>> noise = jax.random.normal(jax.random.key(0), (200,))
      >>> ax = plots.log_ratio_histogram(noise + 1, noise)
      >>> print(ax.get_xlabel())
      log ratio s (nats)
    """
    kappa: dict[str, Any] = {"magnification": magnification, "noise_ratio": noise_ratio}
    for name, number in kappa.items():
        check_number(name, number, "a positive number")
    given: dict[str, Any] = {"weights_data": weights_data, "weights_noise": weights_noise}
    if solution is None:
        solution = solve_log_partition(log_ratio_data, log_ratio_noise, **kappa, **given)
    check_result("solution", solution, (Solution,), "solve_log_partition(...)")
    check_single("log_ratio_data", log_ratio_data, 1, "log ratios (n,)")
    check_single("solution", solution.log_partition, 0, "one solution")
    shared = overlap(
        log_ratio_data, log_ratio_noise, log_partition=_root(solution), **kappa, **given
    )
    ax = as_axes(ax)
    pair = log_ratio_data, log_ratio_noise
    sides = [_finite(name, s, w) for name, s, w in zip(_NAMES, pair, given.values(), strict=True)]
    _histograms(ax, sides, options)
    _mark_root(ax, solution, float(shared))
    ax.set(xlabel="log ratio s (nats)", ylabel="density")
    ax.margins(y=0.3)  # for the legend
    add_legend(ax)
    return ax


_NAMES = "data", "noise"


def _root(solution: Solution) -> Any:
    """The solution's F; where there is none, None: the overlap is then NaN as well."""
    return solution.log_partition if np.isfinite(solution.log_partition) else None


def _finite(name: str, values: Any, weights: Any) -> tuple[str, np.ndarray, np.ndarray]:
    """Label, finite values and their weights; what has a weight of zero is not counted."""
    values = np.asarray(values)
    relative = as_weights(f"weights_{name}", weights, jnp.asarray(values))
    weight = np.ones(values.shape) if relative is None else as_float64(relative)
    counts, is_finite = weight > 0, np.isfinite(values)
    lost = int(np.sum(counts & ~is_finite))
    label = f"{name} ({lost} not finite)" if lost else name
    kept = counts & is_finite
    return label, as_float64(values)[kept], weight[kept]


def _histograms(ax: Axes, sides: list[Any], options: dict[str, Any]) -> None:
    pooled = np.concatenate([values for _, values, _ in sides])
    bins: Any = np.histogram_bin_edges(pooled, options.pop("bins", _NUM_BINS))
    for (label, values, weight), color in zip(sides, (FIRST, SECOND), strict=True):
        style: dict[str, Any] = {
            "density": len(values) > 0,
            "color": color,
            "alpha": 0.55,
            "label": label,
        }
        ax.hist(values, bins, weights=weight, **{**style, **options})


def _mark_root(ax: Axes, solution: Solution, shared: float) -> None:
    root, status = float(solution.log_partition), Status(int(solution.status))
    if not np.isfinite(root):
        add_note(ax, f"{status.name}: F could not be solved for")
        return
    text = f"F = {root:.2f} nats, overlap {shared:.2g}"
    if not np.isfinite(shared):
        add_note(ax, "the solution's F is no root at this kappa: no overlap")
        text = f"F = {root:.2f} nats"
    is_estimate = status == Status.CONVERGED
    text += "" if is_estimate else f" ({status.name})"
    style: dict[str, Any] = {"color": "black", "linestyle": "--"} if is_estimate else _DOUBTFUL
    ax.axvline(root, label=text, **style)


_DOUBTFUL: dict[str, Any] = {"color": FAILED, "linestyle": ":"}
