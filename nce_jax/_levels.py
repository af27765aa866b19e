"""Noise levels of bridges, and the coefficients of data and noise that they stand for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_real
from nce_jax._dtypes import compute_dtype
from nce_jax._types import ArrayLike, Float

NumbersPerStage = Sequence[float] | Float[ArrayLike, " _"]
"""Noise levels, or one number per stage: a list, or an array of any kind."""


class Coefficients(NamedTuple):
    """Known noise levels for a program in which they are traced.

    A level of 1 - 1e-9 would be 1 in float32, and the data gone: the square root is taken on the
    host, in float64.

    Attributes:
      signal: sqrt(1 - a^2), (K + 1,).
      noise: a, (K + 1,).
    """

    signal: Any
    noise: Any


def as_coefficients(noise_levels: Any, dtype: Any) -> Coefficients:
    """The coefficients of noise levels that are known, in this dtype."""
    a = np.asarray(noise_levels, np.float64)
    signal = np.sqrt((1 - a) * (1 + a))
    return Coefficients(jnp.asarray(signal, dtype), jnp.asarray(a, dtype))


def inner_coefficients(noise_levels: Any, dtype: Any) -> Coefficients:
    """Those of the bridges between the ends, in the dtype of the samples.

    Traced levels are checked here, and are NaN if they do not rise from 0 to 1.
    """
    if isinstance(noise_levels, jax.core.Tracer):
        a = noise_levels.astype(compute_dtype(noise_levels))
        a = jnp.where((a[0] == 0) & (a[-1] == 1) & (jnp.diff(a) >= 0).all(), a, jnp.nan)
        both = Coefficients(jnp.sqrt((1 - a) * (1 + a)), a)
    elif isinstance(noise_levels, Coefficients):
        both = noise_levels
    else:
        both = as_coefficients(noise_levels, dtype)
    return Coefficients(*(part[1:-1].astype(dtype) for part in both))


def count_stages(noise_levels: Any) -> int:
    """K, one less than there are levels."""
    a = noise_levels.noise if isinstance(noise_levels, Coefficients) else noise_levels
    return np.shape(a)[0] - 1


def check_noise_levels(noise_levels: Any) -> None:
    """Raises unless the noise levels are a vector that rises from 0 to 1.

    The values of traced arrays are not read.
    """
    if isinstance(noise_levels, Coefficients):
        return  # of levels that have been checked
    shape = np.shape(as_real("noise_levels", noise_levels, "a vector of numbers"))
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(
            f"noise_levels: expected a vector of at least 2 numbers, got shape {shape}"
        )
    if isinstance(noise_levels, jax.core.Tracer):
        return
    values = np.asarray(noise_levels, np.float64)
    if not (values[0] == 0 and values[-1] == 1 and (np.diff(values) > 0).all()):
        raise ValueError(
            "noise_levels: expected numbers that rise from 0 (data) to 1 (noise), got"
            f" {values.tolist()}"
        )
