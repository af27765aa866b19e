"""Static checks of data sets and of box bounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_floating, check_positive, compute_dtype
from nce_jax._ranges import check_range, known_values
from nce_jax._samples import check_wide_samples


def as_points(name: str, points: Any, *, min_samples: int = 1) -> jax.Array:
    """Returns data as a floating array (samples, dim), float32 or wider; raises otherwise."""
    check_wide_samples(name, points)
    points = as_floating(name, points)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(
            f"{name}: expected shape (samples, dim) with dim >= 1, got shape {points.shape}"
        )
    if points.shape[0] < min_samples:
        raise ValueError(
            f"{name}: expected at least {min_samples} sample(s), got shape {points.shape}"
        )
    return points.astype(compute_dtype(points))


def check_finite(name: str, points: Any) -> None:
    """Raises unless data are finite; the values of traced arrays are not read."""
    check_range(name, points, "finite samples", np.isfinite)


def check_one_positive(name: str, value: Any) -> None:
    """Raises unless this is one number, finite and positive where it is known."""
    check_positive(name, value)
    if np.shape(value) != ():
        raise ValueError(f"{name}: expected one number, got shape {np.shape(value)}")


def check_squares(name: str, points: jax.Array, weights: jax.Array | None) -> None:
    """Raises where the dtype cannot hold the variances of known samples, or weights leave none."""
    values, known = known_values(points), known_values(weights)
    if known is not None and not (np.isfinite(known).all() and (known > 0).any()):
        raise ValueError(
            "weights_data: expected finite weights, one of them positive, got a sum of"
            f" {known.sum()}"
        )
    if values is None:
        return
    counted = values if known is None else values[known != 0]
    spread = np.ptp(counted.astype(np.float64), axis=0)
    limits = jnp.finfo(points.dtype)
    low, high = 1e3 * float(limits.tiny) ** 0.5, 1e-3 * float(limits.max) ** 0.5
    is_bad = (spread > 0) & ((spread < low) | (spread > high))
    if is_bad.any():
        raise ValueError(
            f"{name}: expected samples whose variances {points.dtype} can hold, got a range of"
            f" {spread[is_bad][0]:.3g} in dimension {np.argmax(is_bad)}; change its unit"
        )


def as_bounds(low: Any, high: Any) -> tuple[jax.Array, jax.Array]:
    """Returns the bounds of a box as floating arrays of one shape (dim,); raises otherwise.

    Bounds must be finite and ordered; the values of traced arrays are not read.
    """
    _check_bound_dtype("low", low)
    _check_bound_dtype("high", high)
    shape = _box_shape(np.shape(low), np.shape(high))
    arrays = [jnp.asarray(bound) for bound in (low, high) if hasattr(bound, "dtype")]
    dtype = compute_dtype(*arrays) if arrays else jnp.result_type(float)
    with np.errstate(over="ignore"):  # refused below
        bounds = tuple(jnp.broadcast_to(jnp.asarray(bound, dtype), shape) for bound in (low, high))
    if not any(isinstance(bound, jax.core.Tracer) for bound in (low, high)):
        given = np.asarray(low, float), np.asarray(high, float)
        _check_bound_values(*given)
        _check_bound_rounding(given[1] - given[0], bounds[1] - bounds[0])
    return bounds[0], bounds[1]


def _check_bound_dtype(name: str, bound: Any) -> None:
    if hasattr(bound, "dtype"):
        is_valid = jnp.issubdtype(bound.dtype, jnp.floating)
    else:
        is_valid = np.asarray(bound).dtype.kind in "iuf"
    if not is_valid:
        raise TypeError(f"{name}: expected numbers or a floating array, got {bound!r}")


def _box_shape(low: tuple[int, ...], high: tuple[int, ...]) -> tuple[int, ...]:
    shapes = {shape for shape in (low, high) if shape}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1 or shape[0] < 1:
        raise ValueError(
            "low, high: expected bounds of one shape (dim,), of which one may be a number, got"
            f" shapes {low} and {high}"
        )
    return shape


def _check_bound_values(low: np.ndarray, high: np.ndarray) -> None:
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"low, high: expected finite bounds, got low = {low} and high = {high}")
    if (low >= high).any():
        raise ValueError(
            f"low: expected low < high in every dimension, got low = {low} and high = {high}"
        )


def _check_bound_rounding(given: np.ndarray, width: jax.Array) -> None:
    """Raises where the dtype of the box changes its width."""
    rounded = np.asarray(width, float)
    if not (np.abs(rounded - given) <= 1e-3 * given).all():
        raise ValueError(
            f"low, high: expected bounds whose difference {width.dtype} holds, got widths of"
            f" {given} that become {rounded}; subtract an origin from the samples, or enable x64"
        )
