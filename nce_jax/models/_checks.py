"""Static checks of what goes into a model and what comes out."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import compute_dtype


def check_inputs(x: Any, *, dim: int | None = None, name: str = "x") -> None:
    """Raises ValueError unless `x` has shape (samples, dim)."""
    shape = jnp.shape(x)
    if len(shape) != 2 or (dim is not None and shape[1] != dim):
        expected = "dim" if dim is None else dim
        raise ValueError(f"{name}: expected shape (samples, {expected}), got shape {shape}")


def one_per_sample(name: str, values: Any, x: Any) -> jax.Array:
    """Returns one number per sample, float32 or wider; raises unless `values` has that shape."""
    num_samples = jnp.shape(x)[0]
    if jnp.shape(values) not in ((num_samples,), (num_samples, 1)):
        raise ValueError(
            f"{name}: expected an output of shape (samples,) or (samples, 1), with {num_samples}"
            f" samples, got shape {jnp.shape(values)}"
        )
    values = jnp.reshape(values, (num_samples,))
    return values.astype(compute_dtype(values))
