"""Static checks of positions, densities and kernels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_array, as_floating, check_positive, compute_dtype, describe, is_key
from nce_jax._contracts import check_log_density_fn, check_values
from nce_jax._options import other_parameters

_ARGUMENTS = {
    1: (
        "positions alone",
        "; lambda x: log_density_fn(params, x) fixes the parameters, context= passes one datum per"
        " chain",
    ),
    2: (
        "positions and context",
        "; lambda x, context: log_density_fn(params, x, context) fixes the parameters",
    ),
}
"""What a density takes, by the number of arguments, and the cure for one that takes one more."""

_CLOSES_OVER_DATA = (
    "does it close over one datum per chain? context=data passes each chain its own datum, as"
    " log_density_fn(x, context)"
)


def check_step_size(step_size: Any) -> None:
    """Raises unless this is one number, finite and positive where it is known."""
    check_positive("step_size", step_size)
    if np.shape(step_size) != ():
        raise ValueError(f"step_size: expected one number, got shape {np.shape(step_size)}")


def as_positions(name: str, positions: Any) -> jax.Array:
    """Returns positions in float32 or wider, at least one of them, chains on the first axis."""
    positions = as_floating(name, positions)
    positions = positions.astype(compute_dtype(positions))
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


def as_context(context: Any, num_entries: int, expected: str = "one entry per chain") -> Any:
    """Returns a context as arrays with `num_entries` on the first axis; raises otherwise."""
    for path, leaf in jax.tree.leaves_with_path(context):
        position = f" at context{jax.tree_util.keystr(path)}" if path else ""
        expected_arrays = (
            f"context: expected arrays with {expected}, {num_entries} on the first axis"
        )
        is_array = isinstance(leaf, jax.Array | np.ndarray) and not is_key(leaf)
        if not is_array or leaf.dtype.kind in "OSU":
            is_table = hasattr(leaf, "to_numpy")
            cure = f" of a {type(leaf).__name__}; .to_numpy() is the array in it"
            got = f"{describe(leaf)}{position}{cure if is_table else ''}"
            raise TypeError(f"{expected_arrays}, got {got}")
        if leaf.shape[:1] != (num_entries,):
            raise ValueError(f"{expected_arrays}, got shape {leaf.shape}{position}")
    return jax.tree.map(jnp.asarray, context)


def as_data(context: Any) -> tuple[Any, int | None]:
    """Returns the data of a context as arrays, with their number; None and None for no context."""
    if context is None:
        return None, None
    sizes = [leaf.shape[0] for leaf in jax.tree.leaves(context) if getattr(leaf, "shape", ())]
    if not sizes or sizes[0] == 0:
        got = f"{sizes[0]} of them" if sizes else describe(context)
        raise TypeError(f"context: expected arrays with data on the first axis, got {got}")
    return as_context(context, sizes[0], "one entry per datum"), sizes[0]


def check_target(
    log_density_fn: Callable[..., jax.Array],
    positions: jax.Array,
    name: str = "x_initial",
    context: Any = None,
) -> None:
    """Raises unless `log_density_fn` gives one floating number per position, and for one alone."""
    check_log_density_fn(log_density_fn, arguments="positions", num_arguments=None)
    arguments = (positions,) if context is None else (positions, context)
    _check_takes(log_density_fn, num_arguments=len(arguments))
    values = jax.eval_shape(log_density_fn, *arguments)
    if context is None and positions.ndim == 1 and getattr(values, "shape", None) == ():
        _check_not_one_position(log_density_fn, positions, name)
    check_values("log_density_fn", values, positions, of=name)
    check_one_chain("log_density_fn", log_density_fn, arguments)


def check_one_chain(
    name: str,
    log_density_fn: Callable[..., jax.Array],
    arguments: tuple[Any, ...],
    *,
    of: str = "chain",
    cure: str = _CLOSES_OVER_DATA,
) -> None:
    """Raises ValueError unless the density of one chain alone is one value.

    A density that closes over one datum per chain has a value per datum, or cannot be evaluated,
    since every chain would be combined with all data, of which the first would count.
    """
    first = jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[:1], arguments))
    expected = f"{name}: expected one value for one {of} alone, shape (1,)"
    try:
        values = jax.eval_shape(log_density_fn, *first)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}, got {_summary(error)}; {cure}") from error
    if getattr(values, "shape", None) != (1,):
        raise ValueError(f"{expected}, got shape {getattr(values, 'shape', None)}; {cure}")


def _summary(error: Exception) -> str:
    """The first line of an error, with its type."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _check_takes(log_density_fn: Callable[..., Any], num_arguments: int) -> None:
    """Raises TypeError unless the function can be called with positions (and context) alone."""
    names = other_parameters(log_density_fn, num_arguments)
    if names is not None:
        expected, cure = _ARGUMENTS[num_arguments]
        cure = cure if len(names) == num_arguments + 1 else ""
        raise TypeError(
            f"log_density_fn: expected a function of {expected}, got"
            f" {describe(log_density_fn)} with parameters ({', '.join(names)}){cure}"
        )


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
