"""Checks of the values of numbers, wherever they are known: outside of a traced program."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_weight_values(name: str, weights: Any) -> None:
    """Raises ValueError if one of the weights is negative and the values are known."""
    values = known_values(weights)
    if values is not None and (values < 0).any():
        raise ValueError(f"{name}: expected weights >= 0, got a smallest weight of {values.min()}")


def known_values(value: Any) -> np.ndarray | None:
    """The values of an array or a number; None where they are traced, or not on this machine."""
    is_array = isinstance(value, jax.Array | np.ndarray | np.generic)
    if not (is_array or isinstance(value, int | float)) or isinstance(value, jax.core.Tracer):
        return None
    is_key = is_array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    if is_key or not getattr(value, "is_fully_addressable", True):
        return None
    values = np.asarray(value)
    # Half-precision types of JAX are no numbers to NumPy.
    is_real = values.dtype == bool or jnp.issubdtype(values.dtype, jnp.integer)
    return values if is_real or jnp.issubdtype(values.dtype, jnp.floating) else None


def check_not_negative(name: str, value: Any) -> None:
    """Raises unless a number is finite and >= 0; the values of traced arrays are not read."""
    check_range(name, value, "a finite number >= 0", lambda x: (x >= 0) & (x < math.inf))


def check_at_least_one(name: str, value: Any) -> None:
    """Raises unless a number is finite and >= 1; the values of traced arrays are not read."""
    check_range(name, value, "a finite number of at least 1", lambda x: (x >= 1) & (x < math.inf))


def check_magnitude(name: str, value: Any, dtype: Any) -> None:
    """Raises where `dtype` turns a known positive number into infinity or zero."""
    least, largest = (float(bound) for bound in (jnp.finfo(dtype).tiny, jnp.finfo(dtype).max))
    expected = f"a number that {jnp.dtype(dtype).name} holds, {least:.2g} to {largest:.2g}"
    check_range(name, value, expected, lambda x: (_wide(x) >= least) & (_wide(x) <= largest))


def check_largest(name: str, value: Any, dtype: Any) -> None:
    """Raises where `dtype` turns a known number >= 0 into infinity; what turns into zero may."""
    largest = float(jnp.finfo(dtype).max)
    expected = f"a number that {jnp.dtype(dtype).name} holds, at most {largest:.2g}"
    check_range(name, value, expected, lambda x: _wide(x) <= largest)


def _wide(values: np.ndarray) -> np.ndarray:
    """Numbers that are compared with a bound which their own dtype may not hold."""
    return values.astype(np.float64) if values.dtype.itemsize < 8 else values


def check_range(name: str, value: Any, expected: str, is_valid: Any) -> None:
    """Raises ValueError where a known value is not valid, and names the first one."""
    values = known_values(np.asarray(value) if isinstance(value, list | tuple) else value)
    if values is None or is_valid(values).all():
        return
    first = values[~is_valid(values)].flat[0]
    inside = f" in an array of shape {values.shape}" if values.ndim else ""
    raise ValueError(f"{name}: expected {expected}, got {first}{inside}")


def check_integers(name: str, value: Any) -> None:
    """Raises ValueError for integers of the host that JAX would wrap around to others."""
    if _is_wide_integer(value) and (saturated(value) != value).any():
        kind = jax.dtypes.canonicalize_dtype(value.dtype)
        raise ValueError(
            f"{name}: expected integers that {kind} holds, got {value.min()} to {value.max()};"
            " JAX would wrap them around to others, unless x64 is enabled"
        )


def saturated(value: Any) -> Any:
    """Integers of the host with those beyond JAX's at its ends; anything else as it is.

    An id beyond them is none of a table, and wrapped around it could become one.
    """
    if not _is_wide_integer(value):
        return value
    ends = jnp.iinfo(jax.dtypes.canonicalize_dtype(value.dtype))
    return np.clip(value, ends.min, ends.max)


def _is_wide_integer(value: Any) -> bool:
    is_integer = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iu"
    return is_integer and jax.dtypes.canonicalize_dtype(value.dtype).itemsize < value.dtype.itemsize
