"""Static checks of the inputs and outputs of models."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import compute_dtype
from nce_jax._contracts import as_values


def check_inputs(x: Any, *, dim: int | None = None, name: str = "x") -> None:
    """Raises ValueError unless `x` has shape (samples, dim)."""
    shape = jnp.shape(x)
    if len(shape) != 2 or (dim is not None and shape[1] != dim):
        expected = "dim" if dim is None else dim
        raise ValueError(f"{name}: expected shape (samples, {expected}), got shape {shape}")


def as_module_values(name: str, values: Any, x: Any) -> jax.Array:
    """Returns values (samples,) or (samples, 1) as (samples,), float32 or wider, or raises."""
    values = as_values(name, values, x, allow_column=True)
    return values.astype(compute_dtype(values))
