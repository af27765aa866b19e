"""Size classes of sample counts, and arrays on the host that are padded to them."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._dtypes import compute_dtype
from nce_jax._offset import check_rounding

_SMALLEST, LARGEST_SHARED, _LARGEST_BY_ROOT = 1 << 8, 1 << 16, 1 << 20
"""Size classes are powers of four from the first number to the second, where a call takes about as
long at any size; powers of sqrt(2) up to the third; and of the fourth root of two above it. Up to
the second, all sets of a call share one size."""

_ALIGNMENT = 64
"""Bytes: XLA's for buffers on the CPU."""


def padded_size(count: int) -> int:
    """The size class of a number of samples: the smallest size that holds them all."""
    if count <= _SMALLEST:
        return _SMALLEST
    per_octave = 0.5 if count <= LARGEST_SHARED else 2 if count <= _LARGEST_BY_ROOT else 4
    exponent = math.ceil(math.log2(count) * per_octave - 1e-9) / per_octave
    return max(count, round(2**exponent))


def is_number_or_array(value: Any) -> bool:
    """Whether a value can enter a program as it is: a number, an array of numbers, or None."""
    if value is None or isinstance(value, int | float):
        return True
    is_array = isinstance(value, jax.Array | np.ndarray | np.generic)
    return is_array and (jnp.issubdtype(value.dtype, jnp.number) or value.dtype == bool)


def pad_rows(
    name: str, values: np.ndarray, rows: dict[str, Any], dtype: np.dtype
) -> dict[str, Any]:
    """Pads arrays with a row for each of these values along with them; others stay as they are."""
    if not rows:
        return {}
    check_rounding(name, values, dtype)
    axis, padded = values.ndim - 1, {}
    for row_name, given in rows.items():
        array = np.asarray(given) if isinstance(given, jax.Array) else given
        if isinstance(array, np.ndarray):
            if jnp.issubdtype(array.dtype, jnp.floating):
                check_rounding(row_name, array, dtype)
            if array.ndim == axis + 2 and array.shape[: axis + 1] == values.shape:
                columns = np.moveaxis(array, axis, -1)
                size = padded_size(values.shape[-1])
                columns = padded_to(columns, size, columns[..., :1], _canonical(array))
                array = np.moveaxis(columns, -1, axis)
            array = array.astype(_canonical(array), copy=False)
        padded[row_name] = array
    return padded


def padded_to(array: np.ndarray, size: int, fill: Any, dtype: np.dtype) -> np.ndarray:
    """An array of the host in another dtype, filled up to a size on its last axis."""
    padded = _aligned_empty((*array.shape[:-1], size), dtype)
    # Values beyond the range of the dtype become infinite, as they do in JAX.
    with np.errstate(over="ignore"):
        padded[..., : array.shape[-1]] = array
        padded[..., array.shape[-1] :] = fill
    return padded


def _aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that a program on the CPU reads where it is; one aligned otherwise is copied."""
    num_bytes = math.prod(shape) * dtype.itemsize
    buffer = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % _ALIGNMENT
    return buffer[begin : begin + num_bytes].view(dtype).reshape(shape)


def cut(result: Any, counts: list[int]) -> Any:
    """The results of the samples without their padding, cut on the host, for any count."""
    if not counts:
        return result
    leaves, structure = jax.tree.flatten(result)
    cut = [np.asarray(leaf)[..., :count] for leaf, count in zip(leaves, counts, strict=False)]
    return jax.tree.unflatten(structure, [jax.device_put(leaf) for leaf in cut])


def program_dtype(arrays: Iterable[Any]) -> np.dtype:
    """The dtype of the program: float64 only where x64 is on, and at least float32."""
    return np.dtype(compute_dtype(*map(_canonical, arrays)))


def _canonical(array: Any) -> np.dtype:
    """The dtype that JAX would give an array, whose own may be wider than float64."""
    is_known = array.dtype.itemsize <= 8
    return jax.dtypes.canonicalize_dtype(array.dtype if is_known else np.float64)
