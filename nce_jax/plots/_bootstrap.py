"""The replicates of a bootstrap."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from nce_jax._options import check_fraction
from nce_jax.free_energy import FreeEnergyBootstrap, percentile_interval
from nce_jax.log_partition import Status
from nce_jax.plots._axes import (
    FAILED,
    FIRST,
    HATCH,
    NEUTRAL,
    add_legend,
    add_note,
    as_axes,
    as_float64,
    check_result,
    check_single,
)


def bootstrap_histogram(
    bootstrap: FreeEnergyBootstrap, *, level: float = 0.95, ax: Axes | None = None, **options: Any
) -> Axes:
    """Draws a histogram of bootstrap replicates, with the estimate and its percentile interval.

    Bars are hatched where the status of the original samples is not CONVERGED. Replicates whose
    solve failed are counted in a note. There is no interval then, and none without an estimate.

    Args:
      bootstrap: what `bootstrap_bar` or `bootstrap_bar_chain` returned, of one difference.
      level: the probability of the interval.
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.hist`, such as `bins`.

    Returns:
      The Axes.

    Raises:
      TypeError: `bootstrap` or `ax` of another type.
      ValueError: a batch of differences, or `level` that is not between 0 and 1.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy, plots
      >>> keys = jax.random.split(jax.random.key(0))
      >>> work = jax.random.normal(keys[0], (50,))
      >>> bootstrap = free_energy.bootstrap_bar(keys[1], work + 1, work, num_replicates=40)
      >>> ax = plots.bootstrap_histogram(bootstrap)
      >>> print(ax.get_xlabel())
      free energy difference (kT)
    """
    check_result("bootstrap", bootstrap, (FreeEnergyBootstrap,), "bootstrap_bar(...)")
    check_fraction("level", level)
    check_single(
        "bootstrap",
        bootstrap.replicates,
        1,
        "replicates of one difference",
        "jax.tree.map(lambda leaf: leaf[..., k], bootstrap) is the bootstrap of state or lane k",
    )
    ax = as_axes(ax)
    replicates = as_float64(bootstrap.replicates)
    is_finite = np.isfinite(replicates)
    status = Status(int(bootstrap.status))
    ax.hist(replicates[is_finite], **{**_style(status), **options})
    if np.isfinite(bootstrap.delta_f):
        value, error = float(bootstrap.delta_f), float(bootstrap.standard_error)
        text = f" $\\pm$ {error:.2g}" if np.isfinite(error) else ""
        ax.axvline(value, color="black", linestyle="--", label=f"{value:.3g}{text} kT")
    ends = percentile_interval(jax.tree.map(jnp.asarray, bootstrap), level=level)
    if np.isfinite([bootstrap.delta_f, *ends]).all():
        style: dict[str, Any] = {"color": NEUTRAL, "alpha": 0.2, "linewidth": 0, "zorder": 0}
        ax.axvspan(*map(float, ends), label=f"{level:.0%} interval", **style)
    if status != Status.CONVERGED:
        add_note(ax, _NOTES[status])
    if not is_finite.all():
        add_note(ax, f"{(~is_finite).sum()} of {replicates.size} replicates failed: no interval")
    ax.set(xlabel="free energy difference (kT)", ylabel="replicates")
    add_legend(ax)
    return ax


def _style(status: Status) -> dict[str, Any]:
    if status == Status.CONVERGED:
        return {"bins": "auto", "color": FIRST, "alpha": 0.7}
    return {"bins": "auto", "facecolor": "white", "edgecolor": FAILED, "hatch": HATCH}


_NOTES = {
    Status.LOW_OVERLAP: "LOW_OVERLAP: the error is too small, as a rule",
    Status.NO_OVERLAP: "NO_OVERLAP: no estimate",
    Status.MAX_STEPS: "MAX_STEPS: no estimate",
    Status.NONFINITE: "NONFINITE: no estimate",
}
