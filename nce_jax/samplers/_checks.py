"""Static checks of positions, densities and kernels."""

from collections.abc import Callable
from typing import Any

import jax

from nce_jax._checks import as_floating
from nce_jax._contracts import check_log_density_fn, check_values


def as_positions(name: str, positions: Any) -> jax.Array:
    """Returns floating positions, at least one of them, chains on the first axis."""
    positions = as_floating(name, positions)
    if positions.ndim == 0 or positions.shape[0] == 0:
        raise ValueError(
            f"{name}: expected shape (chains, ...) with at least one chain, got shape"
            f" {positions.shape}"
        )
    return positions


def check_target(log_density_fn: Callable[[jax.Array], jax.Array], positions: jax.Array) -> None:
    """Raises unless `log_density_fn` gives one floating number per position."""
    check_log_density_fn(log_density_fn, arguments="positions")
    check_values("log_density_fn", jax.eval_shape(log_density_fn, positions), positions)
