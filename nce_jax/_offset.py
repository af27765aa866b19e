"""Samples on the host that are more precise than the program: differenced before they are rounded.

Energies often have a large common constant, and float32 resolves a value of 1e7 to one unit only.
What a function computes from log ratios depends on their differences, among each other or to F, and
the differences are small. They are taken here in the precision of the caller. Where the result is F
itself it may be too large for its dtype all the same: it is then refused, since it would be wrong
by more than the error that it is reported with.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SMALLEST = 64.0
"""A smaller constant stays where it is: up to here float32 resolves 4e-6 nats, less than the
default tolerance."""

_TOLERATED = 1e-3
"""Rounding errors of F up to a thousandth of a nat are tolerated whatever its standard error."""

_FRACTION_OF_ERROR = 0.1
"""Rounding errors of F up to this fraction of its standard error are tolerated."""

_TOLERATED_ALONE = 1e-2
"""The same in nats, for results without a standard error."""

_NUM_TYPICAL = 1001
"""Number of samples from which the typical value of a set is computed."""


class Effect(NamedTuple):
    """What a constant that is added to all values of a call does to its result.

    Attributes:
      field: the field of the result that it is added to, "" for the result itself, and None where
        it drops out.
      error: the field with the standard error of that field; None where there is none.
      with_log_partition: whether this holds where the argument `log_partition` is given, too. Else
        the result depends on the differences of the values to it.
      is_sum: whether the field is a sum over the last axis of the batch, and so moves by the sum of
        the constants there.
    """

    field: str | None = None
    error: str | None = "standard_error"
    with_log_partition: bool = False
    is_sum: bool = False


Effects = Effect | tuple[Effect, ...]
"""What a constant does to a result, or to each of several fields of it."""


class Split(NamedTuple):
    """What is subtracted from the values of a call, one number per batch entry.

    Attributes:
      given: the `log_partition` of the call, or zero.
      constant: a typical difference to it, or zero.
    """

    given: np.ndarray
    constant: np.ndarray


def find_split(
    values: Sequence[np.ndarray], signs: Sequence[int], log_partition: Any, effect: Effects | None
) -> Split:
    """Finds what can be subtracted from the values without a change of the result."""
    effects = () if effect is None else _as_effects(effect)
    dtype = np.result_type(np.float64, *values)
    batch = values[0].shape[:-1]
    given = _clean(0.0 if log_partition is None else log_partition, dtype, batch)
    constant = np.zeros(batch, dtype)
    if effects and (log_partition is None or effects[0].with_log_partition):
        typical = [sign * _typical(side) for side, sign in zip(values, signs, strict=True)]
        constant = _clean(sum(typical) / len(typical) - given, dtype, batch)
    return Split(given, constant)


def _clean(value: Any, dtype: Any, batch: tuple[int, ...]) -> np.ndarray:
    """The value per batch entry; zero where it is small or not finite."""
    value = np.broadcast_to(np.asarray(value, dtype), batch)
    return np.where(np.isfinite(value) & (np.abs(value) > _SMALLEST), value, 0)


def _typical(values: np.ndarray) -> np.ndarray:
    """About the median of the finite values of every batch entry, zero where there are none.

    A mean would follow a single outlier, which energies have.
    """
    some = values[..., :: -(-values.shape[-1] // _NUM_TYPICAL)]
    is_finite = np.isfinite(some)
    ordered = np.sort(np.where(is_finite, some, np.inf), axis=-1)
    middle = np.maximum(is_finite.sum(axis=-1, keepdims=True) - 1, 0) // 2
    median = np.take_along_axis(ordered, middle, axis=-1)[..., 0]
    return np.where(np.isfinite(median), median, 0)


def without_typical(values: Any) -> Any:
    """An array of the host less its typical value per batch entry; another array as it is.

    For a result that does not depend on a constant of these values alone.
    """
    if not isinstance(values, np.ndarray) or values.dtype.itemsize <= np.dtype(np.float32).itemsize:
        return values
    return values - _typical(values)[..., None]


def _as_effects(effect: Effects) -> tuple[Effect, ...]:
    return (effect,) if isinstance(effect, Effect) else effect


def add_constant(result: Any, constant: np.ndarray, effect: Effects, name: str) -> Any:
    """Adds the constant to a result; raises ValueError where its dtype cannot hold the sum.

    Args:
      result: of the values without the constant.
      constant: one per batch entry.
      effect: what the constant is added to.
      name: the argument that the message is about.

    Returns:
      The result of the values with the constant.
    """
    for part in _as_effects(effect):
        result = _add(result, np.sum(constant, axis=-1) if part.is_sum else constant, part, name)
    return result


def _add(result: Any, constant: np.ndarray, effect: Effect, name: str) -> Any:
    if effect.field is None or not constant.any():
        return result
    value = getattr(result, effect.field) if effect.field else result
    moved = (np.asarray(value, constant.dtype) + constant).astype(value.dtype)
    error = None if effect.error is None else np.asarray(getattr(result, effect.error))
    _check_rounding(name, moved, error)
    moved = jax.device_put(moved)
    return result._replace(**{effect.field: moved}) if effect.field else moved


def _check_rounding(name: str, value: np.ndarray, error: np.ndarray | None) -> None:
    """Raises where rounding to the dtype of the value changes it by more than is tolerated."""
    rounding = np.spacing(np.abs(value)).astype(np.float64) / 2
    tolerated = _TOLERATED_ALONE if error is None else _FRACTION_OF_ERROR * np.asarray(error)
    is_coarse = rounding > np.maximum(tolerated, _TOLERATED)
    if not is_coarse.any():
        return
    lane = np.unravel_index(np.argmax(is_coarse), value.shape)
    beside = ""
    if error is not None:
        beside = f", for a standard error of {np.broadcast_to(error, value.shape)[lane]:.2g}"
    raise ValueError(
        f"{name}: expected values that lead to a result which {value.dtype} can represent, got"
        f" {value[lane]:.9g}, rounded to within {rounding[lane]:.2g}{beside}; subtract a constant"
        f" such as {value[lane]:.6g} from the values and add it to the result, or enable x64 with"
        ' jax.config.update("jax_enable_x64", True)'
    )


def check_rounding(name: str, values: Any, dtype: Any) -> None:
    """Raises if a dtype rounds typical values by much, in nats and compared with their spread.

    Only arrays of the host that are wider than the dtype are read.
    """
    if not isinstance(values, np.ndarray) or values.dtype.itemsize <= np.dtype(dtype).itemsize:
        return
    if values.size == 0:
        return
    some = values.ravel()[:: -(-values.size // _NUM_TYPICAL)]
    some = some[np.isfinite(some)]
    if some.size == 0:
        return
    typical = np.median(some)
    rounding = float(jnp.finfo(dtype).eps) / 2 * abs(typical)
    if rounding > _TOLERATED * max(1.0, np.median(np.abs(some - typical))):
        raise ValueError(
            f"{name}: expected values that {dtype} can represent, got values of about"
            f" {typical:.6g}, rounded by {rounding:.2g}; subtract a constant from all of them"
            f" before jit or grad, or enable x64"
        )
