"""The stages of a telescope: overlap, share of the variance, and misfit."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nce_jax.log_partition import Status
from nce_jax.plots._axes import (
    FAILED,
    FIRST,
    HATCH,
    NEUTRAL,
    add_legend,
    add_note,
    as_float64,
    as_panels,
    check_result,
    check_single,
    cross_out,
    number_ticks,
)
from nce_jax.telescoping import StageDiagnostics, Telescope


def telescope_stages(
    telescope: Telescope | StageDiagnostics, *, ax: Any = None, **options: Any
) -> np.ndarray:
    """Draws overlap, share of the variance of F, and misfit of every stage, as bars.

    Bars of stages whose status is not CONVERGED are hatched, with a cross where there is no
    estimate, and so are those of a misfit beyond the limit, which is a dashed line. Where the
    telescope has not converged, a note says so.

    Args:
      telescope: what `fit_telescope` returned, or the `StageDiagnostics` of any chain, which have
        no misfit.
      ax: the Axes to draw into, three, or two without misfit; None makes new ones.
      options: go to `Axes.bar`, such as `color`.

    Returns:
      The Axes, an array (3,) or (2,).

    Raises:
      TypeError: `telescope` or `ax` of another type.
      ValueError: stages with batch axes.

    Examples:
      >>> import jax
      >>> from nce_jax import plots, telescoping
      >>> noise = jax.random.normal(jax.random.key(0), (3, 200))
      >>> stages = telescoping.stage_diagnostics(noise + 1, noise)
      >>> panels = plots.telescope_stages(stages)
      >>> print([ax.get_ylabel() for ax in panels])
      ['overlap', 'share of the variance of F']
    """
    check_result("telescope", telescope, (Telescope, StageDiagnostics), "fit_telescope(...)")
    stages = telescope.stages if isinstance(telescope, Telescope) else telescope
    check_single("telescope", stages.overlap, 1, "stages (K,)")
    panels = as_panels(ax, 3 if isinstance(telescope, Telescope) else 2)
    status = np.asarray(stages.status)
    for panel, values, text in (
        (panels[0], stages.overlap, "overlap"),
        (panels[1], stages.variance_fraction, "share of the variance of F"),
    ):
        _bars(panel, as_float64(values), _names(status), options)
        panel.set(xlabel="stage (data to noise)", ylabel=text)
    if isinstance(telescope, Telescope):
        _misfit(panels[2], telescope, options)
        if not telescope.is_converged:
            add_note(panels[0], "NOT CONVERGED, see summary()")
    for panel in panels:
        add_legend(panel)
    return panels


def _names(status: np.ndarray) -> np.ndarray:
    """Names of those statuses that are not good."""
    is_good = status == Status.CONVERGED
    names = [Status(int(value)).name for value in status]
    return np.where(is_good, "", np.array(names, dtype=object))


def _misfit(ax: Axes, telescope: Telescope, options: dict[str, Any]) -> None:
    values, limit = as_float64(telescope.misfit), telescope.misfit_limit
    _bars(ax, values, np.where(values > limit, "misfit", ""), options)
    ax.axhline(limit, color=NEUTRAL, linestyle="--", linewidth=1)
    ax.set(xlabel="stage (data to noise)", ylabel="misfit (standard errors)")


_NO_ESTIMATE = tuple(
    status.name for status in (Status.NO_OVERLAP, Status.MAX_STEPS, Status.NONFINITE)
)


def _bars(ax: Axes, values: np.ndarray, doubts: np.ndarray, options: dict[str, Any]) -> None:
    """One bar per stage, hatched where there is a doubt; crosses where there is no number."""
    stage, is_finite = np.arange(len(values)), np.isfinite(values)
    for doubt in np.unique(doubts.astype(str)):
        group = is_finite & (doubts == doubt)
        style = {"color": FIRST, **options}
        if doubt:
            style |= {"facecolor": "white", "edgecolor": FAILED, "hatch": HATCH, "label": doubt}
        if group.any():
            ax.bar(stage[group], values[group], **style)
        if doubt in _NO_ESTIMATE:  # whose bar may have no height
            cross_out(ax, stage[group])
    cross_out(ax, stage[~is_finite], label="no number")
    ax.axhline(0, color="black", linewidth=0.6)
    number_ticks(ax, len(values))
