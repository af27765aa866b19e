"""Windows of different lengths as one array with padding, which has weight zero."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples
from nce_jax._types import Array, Float, Weights

Windows = Float[Array, "stages n"] | Sequence[Float[Array, " n"]]
"""Log ratios of K stages: an array (K, n), or K arrays (n_k,)."""


def as_windows(
    name: str, values: Windows, weights: Weights | None
) -> tuple[jax.Array, jax.Array | None]:
    """An array (K, n) with weights or None, from such an array or from K arrays (n_k,).

    Args:
      name: of the argument, for messages.
      values: an array (K, n), or a list or tuple of K arrays.
      weights: weights of an array (K, n); None for a list.
    """
    if not isinstance(values, list | tuple):
        array = jnp.asarray(values)
        if array.ndim != 2:
            raise ValueError(
                f"{name}: expected shape (num_stages, num_pairs), or a list of one array per"
                f" stage, got shape {array.shape}"
            )
        return array, weights
    if weights is not None:
        raise ValueError(f"{name}: expected an array where weights are given, got a list")
    rows = [as_samples(f"{name}[{stage}]", row) for stage, row in enumerate(values)]
    for stage, row in enumerate(rows):
        if row.ndim != 1:
            raise ValueError(f"{name}[{stage}]: expected shape (n,), got shape {row.shape}")
    if not rows:
        raise ValueError(f"{name}: expected at least one stage, got an empty list")
    return _padded(rows)


def _padded(rows: list[jax.Array]) -> tuple[jax.Array, jax.Array | None]:
    """The rows, filled up with zeros, and weights; None where all rows have the same length."""
    longest = max(row.size for row in rows)
    values = jnp.stack([jnp.pad(row, (0, longest - row.size)) for row in rows])
    if all(row.size == longest for row in rows):
        return values, None
    sizes = jnp.array([row.size for row in rows])
    return values, (jnp.arange(longest)[None] < sizes[:, None]).astype(values.dtype)
