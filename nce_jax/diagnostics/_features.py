"""Two sets of samples or of features, as tables of float64 on the host."""

from typing import Any

import jax
import numpy as np

from nce_jax._checks import as_array, describe, is_key

_EXPECTED = "real numbers, (n, dim)"

_LARGEST = 1e24
"""The twelfth power of a feature is in the variance of the polynomial kernel."""


def as_feature_pair(x: Any, y: Any, *, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in float64; raises by name on anything but two tables of finite numbers."""
    x, y = _as_features("x", x, min_samples), _as_features("y", y, min_samples)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"y: expected shape (m, {x.shape[1]}) with as many columns as x has, got shape"
            f" {y.shape}"
        )
    return x, y


def _as_features(name: str, values: Any, min_samples: int) -> np.ndarray:
    values = as_array(name, values, _EXPECTED, table_cure=f"{name}.to_numpy() is the array in it")
    if isinstance(values, jax.core.Tracer):
        raise TypeError(
            f"{name}: expected values that are known, got {describe(values)}; this is computed on"
            " the host, outside of jit"
        )
    if is_key(values) or np.issubdtype(np.asarray(values).dtype, np.complexfloating):
        raise TypeError(f"{name}: expected {_EXPECTED}, got {describe(values)}")
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[0] < min_samples or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected shape (n, dim) with at least {min_samples} samples, got shape"
            f" {array.shape}"
        )
    array = array.astype(np.float64)
    is_finite = np.isfinite(array)
    if not is_finite.all():
        row, column = np.argwhere(~is_finite)[0]
        raise ValueError(
            f"{name}: expected finite numbers, got {array[row, column]} in row {row}, column"
            f" {column}"
        )
    largest = np.max(np.abs(array))
    if largest > _LARGEST:
        raise ValueError(
            f"{name}: expected numbers up to {_LARGEST:g} in size, whose powers float64 can hold,"
            f" got {largest:g}; divide both sets by one number"
        )
    return array
