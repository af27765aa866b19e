"""Where a standard error supports an interval: the rule of `Status.LOW_OVERLAP`."""

import jax.numpy as jnp

from nce_jax._checks import as_real, broadcasts
from nce_jax._types import Array, Real
from nce_jax.log_partition.problem import Status

MIN_EFFECTIVE_SAMPLES = 10.0
"""The effective number of samples from which an interval of +- 1.96 standard errors is reported as
reliable.

The number is one over the largest share of a sample (or block) in the variance, so that no sample
contributes more than a tenth of it. The threshold comes from 1,000 settings of 2,000 repetitions
each: Gaussian and exponential work, oscillators, Student and Cauchy tails, 10 to 2,000 samples a
side, kappa from 1e-4 to 1e4, importance sampling and divergences. Wherever a fifth or more of the
repetitions pass, at least 90 % of their intervals contain the truth, usually 93 to 96 %; before
selection it was 10 to 80 % in a third of the settings. At a threshold of 8 four times as many
settings, most of them with few repetitions that pass, fall below 90 % (docs/concepts.md)."""


def interval_status(
    status: Real[Array, "*batch"], effective_samples: Real[Array, "*batch"]
) -> Real[Array, "*batch"]:
    """The status of a result with a standard error: LOW_OVERLAP where few samples are behind it.

    It serves results that report an interval. A solve itself is CONVERGED at any number of
    samples, and so is a training step.

    Args:
      status: the `Status` of the solve, int32.
      effective_samples: the effective number of samples behind the standard error.

    Returns:
      LOW_OVERLAP where the status is CONVERGED and the number is below `MIN_EFFECTIVE_SAMPLES`, and
      the status as it was elsewhere; int32.

    Raises:
      TypeError: `status` does not hold integers, or `effective_samples` no numbers.
      ValueError: the numbers do not have the shape of `status`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> status = jnp.array([log_partition.Status.CONVERGED] * 2)
      >>> print(log_partition.interval_status(status, jnp.array([25.0, 3.0])))
      [0 4]

    References:
      Martino, Elvira and Louzada, Effective sample size for importance sampling based on
        discrepancy measures, 2017 (one over the largest weight); the threshold is this library's.
    """
    status = jnp.asarray(as_real("status", status))
    if not jnp.issubdtype(status.dtype, jnp.integer):
        raise TypeError(f"status: expected integers, got dtype {status.dtype}")
    effective_samples = as_real("effective_samples", effective_samples)
    if not broadcasts(jnp.shape(effective_samples), status.shape):
        raise ValueError(
            f"effective_samples: expected a number or the shape of status, {status.shape}, got"
            f" shape {jnp.shape(effective_samples)}"
        )
    is_low = (status == Status.CONVERGED) & ~(effective_samples >= MIN_EFFECTIVE_SAMPLES)
    return jnp.where(is_low, Status.LOW_OVERLAP, status).astype(jnp.int32)
