"""Static checks of keys, positions and densities."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def as_positions(name: str, positions: Any) -> jax.Array:
    """Returns floating positions, at least one of them, chains on the first axis."""
    positions = jnp.asarray(positions)
    if not jnp.issubdtype(positions.dtype, jnp.floating):
        raise TypeError(f"{name}: expected a floating array, got dtype {positions.dtype}")
    if positions.ndim == 0 or positions.shape[0] == 0:
        raise ValueError(
            f"{name}: expected shape (chains, ...) with at least one chain, got shape"
            f" {positions.shape}"
        )
    return positions


def check_log_density_fn(
    log_density_fn: Callable[[jax.Array], jax.Array], positions: jax.Array
) -> None:
    """Raises unless `log_density_fn` gives one floating number per position."""
    values = jax.eval_shape(log_density_fn, positions)
    shape = getattr(values, "shape", None)
    if shape != positions.shape[:1] or not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(
            f"log_density_fn: expected floating values of shape {positions.shape[:1]}, got {values}"
        )
