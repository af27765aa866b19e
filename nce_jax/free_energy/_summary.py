"""One number with its error from solved windows: of two states, or of a whole chain."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._numerics import rounding_variance
from nce_jax._types import Scalars
from nce_jax.free_energy._bar import effective_count, variance_of
from nce_jax.free_energy._chain import chain_of
from nce_jax.free_energy._window import Window, as_inefficiency
from nce_jax.log_partition import Status, interval_status

_BY_SEVERITY = (
    Status.CONVERGED,
    Status.LOW_OVERLAP,
    Status.NO_OVERLAP,
    Status.MAX_STEPS,
    Status.NONFINITE,
)


class Summary(NamedTuple):
    """A free energy difference with its error, (*batch).

    Attributes:
      root: the difference, where the solver has found one, whatever the overlap.
      standard_error: from the influences; NaN without an estimate.
      status: of the solve, or the worst of all windows.
      effective_samples: behind the error, or the smallest of all windows.
    """

    root: jax.Array
    standard_error: jax.Array
    status: jax.Array
    effective_samples: jax.Array

    def given(self, values: jax.Array) -> jax.Array:
        """The values where there is an estimate, and NaN elsewhere."""
        is_estimate = (self.status == Status.CONVERGED) | (self.status == Status.LOW_OVERLAP)
        return jnp.where(is_estimate, values, jnp.nan)


def of_window(window: Window, inefficiency: Scalars = 1.0, block_size: int = 1) -> Summary:
    """The difference of two states, for every entry of the batch."""
    inefficiency = as_inefficiency("statistical_inefficiency", inefficiency, window)
    variance = inefficiency * variance_of(window, block_size) + rounding_variance(window.delta_f)
    count = effective_count(window, block_size) / inefficiency
    status = interval_status(window.status, count)
    return Summary(window.delta_f, window.given(jnp.sqrt(variance)), status, count)


def of_chain(
    windows: Window,
    inefficiency: tuple[Scalars, Scalars] = (1.0, 1.0),
    block_size: int = 1,
    *,
    shared_samples: bool,
) -> Summary:
    """The difference of the two ends of a chain, whose windows are on the last axis."""
    chain = chain_of(windows, *inefficiency, shared_samples, block_size)
    return Summary(
        root=jnp.sum(windows.delta_f, axis=-1),
        standard_error=chain.total_standard_error,
        status=_worst(chain.status),
        effective_samples=jnp.min(chain.effective_samples, axis=-1),
    )


def _worst(status: jax.Array) -> jax.Array:
    severity = np.argsort(_BY_SEVERITY)
    worst = jnp.argmax(jnp.asarray(severity)[status], axis=-1, keepdims=True)
    return jnp.take_along_axis(status, worst, axis=-1)[..., 0]
