"""The error in nats at which a solver stops."""

import jax
import jax.numpy as jnp

from nce_jax._types import Scalars


def admissible_error(tolerance: Scalars | None, estimate: jax.Array) -> jax.Array:
    """The requested tolerance, or eps^(3/4), but at least the rounding error of F itself.

    In float32 and in float64, eps^(3/4) is above the rounding error of sums over millions of
    samples. A non-finite F is admissible at no tolerance.
    """
    eps = jnp.finfo(estimate.dtype).eps
    requested = jnp.asarray(eps**0.75 if tolerance is None else tolerance, estimate.dtype)
    admissible = jnp.maximum(requested, 2 * eps * jnp.abs(estimate))
    return jnp.where(jnp.isfinite(estimate), admissible, -1.0)
