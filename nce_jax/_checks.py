"""Static checks of arguments: shapes, dtypes, and the values of plain Python numbers.

Every message names the argument, what was expected and what came. Values of log ratios are never
read here, and traced values cannot be: a bad *value* shows up as data (a status, a NaN), and a bad
*shape* as an error at the call. The few numbers beside the log ratios, such as weights and
magnifications, are read where they are known: outside `jit` one that is out of its range is an
error at the call.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._describe import describe, with_article
from nce_jax._dtypes import compute_dtype, float_cure, is_narrow
from nce_jax._offset import check_rounding
from nce_jax._ranges import (
    check_at_least_one,
    check_largest,
    check_magnitude,
    check_not_negative,
    check_range,
    check_weight_values,
)


def check_instance(name: str, value: Any, kind: type, example: str) -> None:
    """Raises TypeError unless `value` is a `kind`; the message gives `example`, how to make one."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name}: expected {with_article(kind.__name__)} such as {example}, got"
            f" {describe(value, kind)}"
        )


_COLUMN = "pass one column of numbers"
"""The cure for a table where an array has its samples on the last axis."""


def as_floating(name: str, values: Any, *, table_cure: str | None = None) -> jax.Array:
    """Returns `values` as a floating array; raises TypeError where they are not floating."""
    return _as_jax(_as_floating_array(name, values, table_cure))


def _as_jax(array: Any) -> jax.Array:
    """An array of JAX, which has no type wider than float64."""
    is_wide = isinstance(array, np.ndarray) and array.dtype.itemsize > 8
    return jnp.asarray(array.astype(np.float64) if is_wide else array)


def _as_floating_array(name: str, values: Any, table_cure: str | None) -> Any:
    table_cure = table_cure or f"{name}.to_numpy() is the array in it"
    array = as_array(name, values, "a floating array", table_cure=table_cure)
    if not jnp.issubdtype(array.dtype, jnp.floating) or is_narrow(array.dtype):
        raise TypeError(
            f"{name}: expected a floating array, got dtype {array.dtype}{float_cure(array.dtype)}"
        )
    return array


def as_samples(name: str, values: Any) -> jax.Array:
    """Returns `values` as a floating array with at least one sample on its last axis.

    Raises ValueError where the dtype that JAX gives an array of the host would merge its samples.
    """
    array = as_sample_array(name, values)
    samples = _as_jax(array)
    check_rounding(name, array, samples.dtype)
    return samples


def as_sample_array(name: str, values: Any) -> Any:
    """The same, but what is on the host remains there, in the precision in which it was given."""
    values = _as_floating_array(name, values, _COLUMN)
    if values.ndim == 0:
        raise ValueError(f"{name}: expected at least one axis, samples last, got a scalar")
    if values.shape[-1] == 0:
        raise ValueError(
            f"{name}: expected at least 1 sample(s) on the last axis, got shape {values.shape}"
        )
    return values


def as_array(name: str, values: Any, expected: str, *, table_cure: str = _COLUMN) -> Any:
    """Returns `values` as an array of JAX or NumPy; raises TypeError unless it holds numbers."""
    if isinstance(values, jax.Array) or hasattr(values, "__jax_array__"):
        return values
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: expected {expected}, got a masked array of shape {values.shape}; .filled(0)"
            " fills the masked entries, and weights of zero leave samples out"
        )
    if isinstance(values, np.ndarray) and _is_numeric(values.dtype):
        return np.asarray(values, values.dtype.newbyteorder("="))  # the byte order that JAX needs
    check_not_record(name, values, expected)
    # A table would pass for a batch of its rows, whose samples are the columns.
    is_table = hasattr(values, "columns")
    try:
        array = np.asarray(None if is_table else values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected {expected}, got {describe(values)}") from error
    if not _is_numeric(array.dtype):
        is_list = isinstance(values, list | tuple)
        entries = f" and entries of dtype {array.dtype}" if is_list else ""
        cure = f"; {table_cure}" if is_table else ""
        raise TypeError(f"{name}: expected {expected}, got {describe(values)}{entries}{cure}")
    return array


def _is_numeric(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)


def check_not_record(name: str, values: Any, expected: str) -> None:
    """Raises TypeError if `values` is a NamedTuple, such as the result of another function.

    It would convert to an array whose first axis holds its fields.
    """
    fields = getattr(values, "_fields", None)
    if isinstance(values, tuple) and fields is not None:
        cure = f"its field {name}" if name in fields else f"one of its fields {', '.join(fields)}"
        raise TypeError(f"{name}: expected {expected}, got {describe(values)}; pass {cure}")


def check_same_batch(names: tuple[str, str], first: Any, second: Any) -> None:
    """Raises ValueError unless both arrays agree in every axis but the last."""
    if first.shape[:-1] != second.shape[:-1]:
        raise ValueError(
            f"{names[1]}: expected the batch axes of {names[0]}, {first.shape[:-1]}, got shape"
            f" {second.shape}"
        )


def as_weights(name: str, weights: Any, samples: jax.Array) -> jax.Array | None:
    """Returns sample weights in the dtype and the shape of the samples, or None for None.

    Floating weights are divided by the largest of each batch entry. Only their ratios matter, and
    sums of weights of a small or large scale would underflow or overflow.
    """
    if weights is None:
        return None
    weights = as_weight_array(name, weights, samples.shape)
    if isinstance(weights, np.ndarray):
        weights = relative_weights(weights, np)
    weights = jnp.broadcast_to(jnp.asarray(weights), samples.shape)
    if weights.dtype != bool:
        weights = relative_weights(weights.astype(compute_dtype(weights, samples)), jnp)
    weights = weights.astype(compute_dtype(samples))
    # Of a traced array nothing is known here; a negative weight must not pass for a number.
    is_traced = isinstance(weights, jax.core.Tracer)
    return jnp.where(weights < 0, jnp.nan, weights) if is_traced else weights


def as_weight_array(name: str, weights: Any, shape: tuple[int, ...]) -> Any:
    """Returns weights of samples of this shape as an array, which remains where it is."""
    weights = as_array(name, weights, "weights as an array")
    check_weight_values(name, weights)
    is_floating = jnp.issubdtype(weights.dtype, jnp.floating) and not is_narrow(weights.dtype)
    if not (is_floating or weights.dtype == bool):
        raise TypeError(
            f"{name}: expected floating or boolean weights, got dtype"
            f" {weights.dtype}{float_cure(weights.dtype)}"
        )
    if weights.ndim == 0 or weights.ndim > len(shape) or weights.shape[-1] != shape[-1]:
        raise ValueError(
            f"{name}: expected one weight per sample, {shape}, got shape {weights.shape}"
        )
    if not broadcasts(weights.shape, shape):
        raise ValueError(f"{name}: expected shape {shape}, got shape {weights.shape}")
    return weights


def relative_weights(weights: Any, numpy: Any) -> Any:
    """Weights over the largest on the last axis, which is taken for a constant.

    `numpy` is NumPy or jax.numpy. Where the largest is not positive and finite, the weights stay as
    they are, and so does a mask. In NumPy, float64 weights of a scale that JAX's dtype does not
    hold keep their ratios.
    """
    if weights.dtype == bool:
        return weights
    largest = jax.lax.stop_gradient(weights) if numpy is jnp else weights
    largest = numpy.max(largest, axis=-1, keepdims=True)
    is_scale = (largest > 0) & numpy.isfinite(largest)
    return weights / numpy.where(is_scale, largest, numpy.ones_like(largest))


def broadcasts(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of the one shape broadcasts to the other."""
    aligned = zip(given[::-1], shape[::-1], strict=False)
    return len(given) <= len(shape) and all(size in (1, wanted) for size, wanted in aligned)


def check_positive(name: str, value: Any) -> None:
    """Raises unless a number is finite and positive; the values of traced arrays are not read.

    An array without a number is refused as well.
    """
    check_positive_values(name, value)
    if 0 in np.shape(value):
        raise ValueError(
            f"{name}: expected a finite positive number, got an empty array of shape"
            f" {np.shape(value)}"
        )


def check_positive_values(name: str, value: Any) -> None:
    """The same for what belongs to the entries of a batch, which may be empty."""
    as_real(name, value, "a positive number")
    check_range(name, value, "a finite positive number", lambda x: (x > 0) & (x < math.inf))


_POSITIVE = ("magnification", "noise_ratio", "tolerance", "gamma", "num_candidates")
_CHECKS = {
    "statistical_inefficiency": check_at_least_one,
    "strength": check_not_negative,
    "log_partition_standard_error": check_not_negative,
}


def check_number(name: str, value: Any, dtype: Any) -> None:
    """Raises where the number of an argument of this name, if known, is out of its range."""
    if name in _POSITIVE:
        check_positive_values(name, value)
        check_magnitude(name, value, dtype)
    elif name in _CHECKS:
        _CHECKS[name](name, value)
        check_largest(name, value, dtype)


def check_positive_int(name: str, value: Any) -> None:
    """Raises unless `value` is a Python (or NumPy) integer of at least one: a static count."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        is_plain = value is None or isinstance(value, bool | float | str)
        got = repr(value) if is_plain else describe(value)
        raise TypeError(f"{name}: expected an integer, got {got}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")


def as_pair(
    log_ratio_data: Any, log_ratio_noise: Any, weights_data: Any = None, weights_noise: Any = None
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    """Checks two log-ratio arrays and their weights; returns all four in the compute dtype."""
    data = as_samples("log_ratio_data", log_ratio_data)
    noise = as_samples("log_ratio_noise", log_ratio_noise)
    check_same_batch(("log_ratio_data", "log_ratio_noise"), data, noise)
    dtype = compute_dtype(data, noise)
    data, noise = data.astype(dtype), noise.astype(dtype)
    return (
        data,
        noise,
        as_weights("weights_data", weights_data, data),
        as_weights("weights_noise", weights_noise, noise),
    )


def as_real(name: str, value: Any, expected: str = "a number or an array of numbers") -> Any:
    """Returns a plain number as it is, and anything else as an array of real numbers."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    check_not_record(name, value, expected)
    is_array = hasattr(value, "dtype") or isinstance(value, list | tuple)
    if isinstance(value, type) or not is_array:
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    array = as_array(name, value, expected)
    if is_key(array) or jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected {expected}, got {describe(value)}")
    return array


def as_scalar(name: str, value: Any, samples: jax.Array) -> jax.Array:
    """Returns `value` broadcast to the batch axes of `samples`, in their dtype."""
    given = as_scalar_array(name, value, samples.shape[:-1])
    return jnp.broadcast_to(jnp.asarray(given, samples.dtype), samples.shape[:-1])


def as_scalar_array(name: str, value: Any, batch: tuple[int, ...]) -> Any:
    """Returns a number or array that broadcasts to the batch axes, as it was given."""
    given = as_real(name, value)
    if not broadcasts(np.shape(given), batch):
        raise ValueError(
            f"{name}: expected a scalar or a shape that broadcasts to the batch {batch}, got shape"
            f" {np.shape(value)}"
        )
    return given


def as_positive(name: str, value: Any, samples: jax.Array) -> jax.Array:
    """`as_scalar` of a number that has to be finite and positive; NaN where a traced one is not."""
    check_positive_values(name, value)
    check_magnitude(name, value, samples.dtype)
    number = as_scalar(name, value, samples)
    return jnp.where((number > 0) & (number < jnp.inf), number, jnp.nan)


def as_not_negative(name: str, value: Any, samples: jax.Array) -> jax.Array:
    """`as_scalar` of a number that has to be finite and >= 0; NaN where a traced one is not."""
    number = as_scalar(name, value, samples)
    check_not_negative(name, value)
    check_largest(name, value, number.dtype)
    return jnp.where((number >= 0) & (number < jnp.inf), number, jnp.nan)


def is_key(leaf: Any) -> bool:
    """Whether a leaf, or its description, is a typed key or an array of them."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def check_key(key: Any, name: str = "key", *, cure_of_samples: str | None = None) -> None:
    """Raises unless `key` is one typed key; `cure_of_samples` is the cure for a floating array."""
    if not is_key(key):
        cure = "; jax.random.key(seed) makes one"
        dtype = getattr(key, "dtype", None)
        if cure_of_samples and dtype is not None and jnp.issubdtype(dtype, jnp.floating):
            cure = f"; {cure_of_samples}"
        if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32:
            cure += ", jax.random.wrap_key_data converts one of jax.random.PRNGKey"
        got = f"dtype {key.dtype}" if hasattr(key, "dtype") else f"{type(key).__name__} {key!r}"
        raise TypeError(f"{name}: expected a typed key, got {got}{cure}")
    if key.shape != ():
        raise ValueError(
            f"{name}: expected a single key, got shape {key.shape}; use jax.vmap for several"
        )
