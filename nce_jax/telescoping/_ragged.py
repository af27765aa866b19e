"""Windows of different lengths as one array with padding, which has weight zero."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_sample_array
from nce_jax._types import Array, Float, Weights

Windows = Float[Array, "stages n"] | Sequence[Float[Array, " n"]]
"""Log ratios of K stages: an array (K, n), or K arrays (n_k,)."""


def as_windows(name: str, values: Any, weights: Weights | None) -> tuple[Any, Any]:
    """An array (K, n) with weights or None, from such an array or from K arrays (n_k,).

    Args:
      name: of the argument, for messages.
      values: an array (K, n), or a list or tuple of K arrays, on the host or not.
      weights: weights of an array (K, n); None for a list.
    """
    if not isinstance(values, list | tuple):
        if jnp.ndim(values) != 2:
            raise ValueError(
                f"{name}: expected shape (num_stages, num_pairs), or a list of one array per"
                f" stage, got shape {jnp.shape(values)}"
            )
        return values, weights
    if weights is not None:
        raise ValueError(f"{name}: expected an array where weights are given, got a list")
    if not values:
        raise ValueError(f"{name}: expected at least one stage, got an empty list")
    rows = [as_sample_array(f"{name}[{stage}]", row) for stage, row in enumerate(values)]
    for stage, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(f"{name}[{stage}]: expected shape (n,), got shape {row.shape}")
    return _padded(rows)


def _padded(rows: list[Any]) -> tuple[Any, Any]:
    """The rows, filled up with zeros, and weights; None where all rows have the same length.

    Rows on the host stay there, in their own precision.
    """
    numpy: Any = jnp if any(isinstance(row, jax.Array) for row in rows) else np
    longest = max(row.size for row in rows)
    values = numpy.stack([numpy.pad(row, (0, longest - row.size)) for row in rows])
    if all(row.size == longest for row in rows):
        return values, None
    sizes = np.array([row.size for row in rows])
    return values, np.arange(longest)[None] < sizes[:, None]
