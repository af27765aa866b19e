"""Static checks of positions, densities and kernels."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_array, as_floating, describe
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


def as_inverse_temperatures(schedule: Any) -> jax.Array:
    """Returns a schedule as an array of at least two values on one axis; raises otherwise."""
    expected = "inverse temperatures such as linear_schedule(50)"
    if callable(schedule):
        raise TypeError(f"schedule: expected {expected}, got {describe(schedule)}: call it")
    schedule = jnp.asarray(as_array("schedule", schedule, expected))
    if schedule.ndim != 1 or schedule.size < 2:
        raise ValueError(
            f"schedule: expected at least two values on one axis, got shape {schedule.shape}"
        )
    return schedule


def check_target(
    log_density_fn: Callable[[jax.Array], jax.Array], positions: jax.Array, name: str = "x_initial"
) -> None:
    """Raises unless `log_density_fn` gives one floating number per position."""
    check_log_density_fn(log_density_fn, arguments="positions")
    _check_takes_positions(log_density_fn)
    values = jax.eval_shape(log_density_fn, positions)
    if positions.ndim == 1 and getattr(values, "shape", None) == ():
        _check_not_one_position(log_density_fn, positions, name)
    check_values("log_density_fn", values, positions)


def _check_takes_positions(log_density_fn: Callable[..., Any]) -> None:
    """Raises TypeError unless the function can be called with positions alone."""
    try:
        signature = inspect.signature(log_density_fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        names = list(signature.parameters)
        is_model = len(names) == 2
        cure = "; lambda x: log_density_fn(params, x) fixes the parameters" if is_model else ""
        raise TypeError(
            f"log_density_fn: expected a function of positions alone, got"
            f" {describe(log_density_fn)} with parameters ({', '.join(names)}){cure}"
        ) from None


def _check_not_one_position(
    log_density_fn: Callable[[jax.Array], jax.Array], positions: jax.Array, name: str
) -> None:
    """Raises ValueError if the function takes `positions` for one position of several numbers."""
    try:
        values = jax.eval_shape(log_density_fn, positions[None])
    except (TypeError, ValueError):
        return
    if getattr(values, "shape", None) == (1,):
        raise ValueError(
            f"{name}: expected positions of shape (chains, ...), got shape {positions.shape}, which"
            f" log_density_fn takes for one position; {name}[None] is one chain"
        )
