"""Free energy differences per window, and their convergence."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax._options import check_number
from nce_jax.free_energy import ChainFreeEnergy, Convergence, FreeEnergy, StateFreeEnergies
from nce_jax.log_partition import Status
from nce_jax.plots._axes import (
    FIRST,
    HATCH,
    NEUTRAL,
    SECOND,
    add_legend,
    as_axes,
    check_result,
    check_single,
    next_color,
    number_ticks,
)
from nce_jax.plots._points import draw_points


def free_energy_windows(
    result: ChainFreeEnergy | StateFreeEnergies | FreeEnergy,
    *,
    offset: float = 0.0,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws the free energy difference of every window, with bars of one standard error.

    Points are hollow where the error is too small (LOW_OVERLAP) or not known; windows without an
    estimate are crosses at the lower edge; the legend names the status.

    Args:
      result: what `bar_chain` or `mbar` returned, or `bar` for a batch of windows. Of many states
        the differences of neighbors are drawn.
      offset: shift of the points to the right, in windows, to compare several results in the same
        Axes.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.errorbar`, such as `color` or `label`.

    Returns:
      The Axes.

    Raises:
      TypeError: `result`, `offset` or `ax` of another type.
      ValueError: a result with batch axes besides that of the windows.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy, plots
      >>> work = jax.random.normal(jax.random.key(0), (3, 100))
      >>> ax = plots.free_energy_windows(free_energy.bar(work + 1, work))
      >>> print(ax.get_ylabel())
      free energy difference (kT)
    """
    kinds = (ChainFreeEnergy, StateFreeEnergies, FreeEnergy)
    check_result("result", result, kinds, "bar_chain(...)")
    check_number("offset", offset, "a number")
    delta_f, errors, status = _windows(result)
    check_single("result", delta_f, 1, "windows")
    ax = as_axes(ax)
    style: dict[str, Any] = {
        "color": next_color(ax),
        "marker": "o",
        "linestyle": "none",
        "capsize": 2,
        **options,
    }
    draw_points(ax, np.arange(len(delta_f)) + offset, delta_f, errors, status, **style)
    ax.set(xlabel="window, from state k to k + 1", ylabel="free energy difference (kT)")
    number_ticks(ax, len(delta_f))
    add_legend(ax)
    return ax


def _windows(result: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences, errors and statuses of the windows."""
    if not isinstance(result, StateFreeEnergies):
        columns = result.delta_f, result.standard_error, result.status
        delta_f, errors, status = (np.atleast_1d(np.asarray(column)) for column in columns)
        return delta_f, errors, status
    check_single("result", result.f, 1, "the states of one network")
    delta_f, errors = (
        np.diagonal(np.asarray(matrix), 1) for matrix in (result.delta_f, result.standard_error)
    )
    rank = np.array([_FROM_WORST.index(Status(int(status))) for status in result.status])
    status = np.array(_FROM_WORST)[np.minimum(rank[1:], rank[:-1])]
    # States that no way connects with state 0 may be neighbors that overlap.
    is_far = (status == Status.NO_OVERLAP) & np.isfinite(delta_f)
    return delta_f, errors, np.where(is_far, Status.CONVERGED, status)


_FROM_WORST = (
    Status.NONFINITE,
    Status.MAX_STEPS,
    Status.NO_OVERLAP,
    Status.LOW_OVERLAP,
    Status.CONVERGED,
)


def free_energy_convergence(
    convergence: Convergence, *, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draws the free energy difference from growing parts of the samples, from either end.

    Bars are one standard error; the band is the estimate from all samples, hatched where its status
    is not CONVERGED. Points are drawn by their status, as in `free_energy_windows`.

    Args:
      convergence: what `bar_convergence` or `bar_chain_convergence` returned.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.errorbar`.

    Returns:
      The Axes.

    Raises:
      TypeError: `convergence` or `ax` of another type.
      ValueError: a batch of them.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy, plots
      >>> work = jax.random.normal(jax.random.key(0), (100,))
      >>> parts = free_energy.bar_convergence(work + 1, work, num_fractions=4)
      >>> ax = plots.free_energy_convergence(parts)
      >>> print(ax.get_xlabel())
      fraction of the samples

    References:
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (forward and reverse convergence).
    """
    check_result("convergence", convergence, (Convergence,), "bar_convergence(...)")
    check_single(
        "convergence",
        convergence.forward,
        1,
        "one difference",
        "every field but `fraction` has the parts first and then the batch, of which [:, k] is one",
    )
    ax = as_axes(ax)
    last, error = (float(column[-1]) for column in (convergence.forward, convergence.forward_error))
    if np.isfinite(last) and np.isfinite(error):
        is_good = int(convergence.forward_status[-1]) == Status.CONVERGED
        filling: dict[str, Any] = (
            {"facecolor": NEUTRAL} if is_good else {"facecolor": "none", "hatch": HATCH}
        )
        style: dict[str, Any] = {"edgecolor": NEUTRAL, "alpha": 0.25, "linewidth": 0, "zorder": 0}
        ax.axhspan(last - error, last + error, **style, **filling)
    for end, text, color, marker in (
        ("forward", "first samples", FIRST, "o"),
        ("backward", "last samples", SECOND, "s"),
    ):
        columns = (getattr(convergence, end + suffix) for suffix in ("", "_error", "_status"))
        ax.plot(convergence.fraction, getattr(convergence, end), color=color, linewidth=1)
        points = {"color": color, "marker": marker, "linestyle": "none", "capsize": 2}
        draw_points(ax, convergence.fraction, *columns, **{**points, "label": text, **options})
    ax.set(xlabel="fraction of the samples", ylabel="free energy difference (kT)")
    add_legend(ax)
    return ax
