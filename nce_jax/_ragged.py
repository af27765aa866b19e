"""Windows of different lengths as one array with padding, which has weight zero."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_sample_array
from nce_jax._types import AnyArray, Float, Weights

Windows = Float[AnyArray, "*batch windows n"] | Sequence[Float[AnyArray, " n"]]
"""One set of numbers per window (or stage): an array (*batch, K, n), or K arrays (n_k,)."""


def as_windows(
    name: str,
    values: Any,
    weights: Weights | None,
    *,
    unit: str = "stage",
    shape: str = "(num_stages, num_pairs)",
    max_ndim: int | None = 2,
) -> tuple[Any, Any]:
    """An array (*batch, K, n) with weights or None, from such an array or from K arrays (n_k,).

    Args:
      name: of the argument, for messages.
      values: an array, or a list or tuple of K arrays, on the host or not.
      weights: weights of an array; None for a list.
      unit: what the K sets are called, for messages.
      shape: of the array, for messages.
      max_ndim: the largest number of axes of the array; None for any.
    """
    if not isinstance(values, list | tuple) or hasattr(values, "_fields"):
        given = as_sample_array(name, values).shape
        if len(given) < 2 or (max_ndim is not None and len(given) > max_ndim):
            raise ValueError(
                f"{name}: expected shape {shape}, or a list of one array per {unit}, got shape"
                f" {given}"
            )
        return values, weights
    if weights is not None:
        raise ValueError(f"{name}: expected an array where weights are given, got a list")
    if not values:
        raise ValueError(f"{name}: expected at least one {unit}, got an empty list")
    rows = [as_sample_array(f"{name}[{index}]", row) for index, row in enumerate(values)]
    for index, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(f"{name}[{index}]: expected shape (n,), got shape {row.shape}")
    return _padded(rows)


def _padded(rows: list[Any]) -> tuple[Any, Any]:
    """The rows, filled up to one length, and weights; None where all rows have the same length.

    Rows on the host stay there, in their own precision. The first sample of a row fills it up: its
    own value is in the range of the others, so that the typical value of the row is kept.
    """
    numpy: Any = jnp if any(isinstance(row, jax.Array) for row in rows) else np
    longest = max(row.size for row in rows)
    values = numpy.stack(
        [numpy.append(row, numpy.full(longest - row.size, row[0], row.dtype)) for row in rows]
    )
    if all(row.size == longest for row in rows):
        return values, None
    sizes = np.array([row.size for row in rows])
    return values, np.arange(longest)[None] < sizes[:, None]
