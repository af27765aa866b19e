"""The checked batch of embeddings that every contrastive loss works on, and its means and sums."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_array,
    as_floating,
    as_positive,
    as_scalar,
    as_weights,
    check_positive_int,
    compute_dtype,
)
from nce_jax._dtypes import result_dtype
from nce_jax._numerics import loss_mean, mask_terms
from nce_jax.losses._pairs.sharded import (
    Sharded,
    check_devices,
    check_divisible,
    reduce_pairs_over_devices,
)
from nce_jax.losses._pairs.sums import IGNORED_ID, Pairs, Plan, Reduction, Sums


class Embeddings(NamedTuple):
    """A checked batch: vectors of weight zero are zero, and their ids are `IGNORED_ID`.

    Attributes:
      x: the anchors, (n, dim).
      y: their partners, (n, dim), in the same dtype.
      scale: the inverse temperature, in the dtype of the computation.
      ids: integers, (n,); vectors of equal ids are no negatives of each other.
      weights: (n,) or None.
      chunk_size: columns per block, or None.
      devices: the mesh over which the samples are split, or None.
    """

    x: jax.Array
    y: jax.Array
    scale: jax.Array
    ids: jax.Array
    weights: jax.Array | None
    chunk_size: int | None
    devices: Sharded | None

    @property
    def partner_logits(self) -> jax.Array:
        """The logits of all anchors with their partners, (n,)."""
        dtype = self.scale.dtype
        return self.scale * jnp.sum(self.x.astype(dtype) * self.y.astype(dtype), axis=-1)

    def mask(self, terms: jax.Array) -> jax.Array:
        """The terms, one per anchor, set to zero where the weight is zero."""
        return mask_terms(terms, self.weights)

    def mean(self, terms: jax.Array, is_counted: jax.Array | None = None) -> jax.Array:
        """The weighted mean of the terms over the anchors that count, all by default.

        It is zero, with a gradient of zero, where no anchor counts.
        """
        weights = self.weights
        if is_counted is not None:
            weights = jnp.where(is_counted, 1 if weights is None else weights, 0)
            weights = weights.astype(terms.dtype)
        return loss_mean(self.mask(terms), weights)

    def distinct_ids(self, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        """Ids of the rows and of columns of that shape that exclude rows of weight zero alone."""
        ids_x = jnp.where(self.ids == IGNORED_ID, IGNORED_ID, 1)
        return ids_x, jnp.zeros(shape, ids_x.dtype)

    def sum_others(
        self, reduction: Reduction, offset: jax.Array | None = None, column_sums: bool = False
    ) -> Sums:
        """Sums over the other pairs of the batch, for every anchor and, if asked, every partner."""
        offset = jnp.zeros(self.x.shape[0], self.scale.dtype) if offset is None else offset
        pairs = Pairs(self.x, self.y, self.scale, offset, self.ids, self.ids)
        plan = Plan(reduction, column_sums, self.chunk_size)
        return reduce_pairs_over_devices(plan, self.devices, pairs)


def as_embeddings(
    x: Any,
    y: Any,
    temperature: Any,
    ids: Any,
    weights: Any,
    chunk_size: int | None,
    devices: Sharded | None,
) -> Embeddings:
    """Checks anchors and partners of the same shape, with the options common to all losses."""
    x, y = as_matrix("x", x), as_matrix("y", y)
    if x.shape != y.shape:
        raise ValueError(
            f"y: expected a partner for every row of x, shape {x.shape}, got shape {y.shape}"
        )
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)
    check_devices(devices)
    if devices is not None:
        check_divisible("x", x, devices)
    dtype = result_dtype(x, y)
    x, y = x.astype(dtype), y.astype(dtype)
    weights = as_weights("weights", weights, x[:, 0])
    ids = as_ids("ids", ids, x.shape[:1])
    if weights is not None:
        is_counted = weights != 0
        x, y = (jnp.where(is_counted[:, None], vectors, 0) for vectors in (x, y))
        ids = jnp.where(is_counted, ids, IGNORED_ID)
    scale = inverse_temperature(temperature, x)
    return Embeddings(x, y, scale, ids, weights, chunk_size, devices)


def as_matrix(name: str, values: Any) -> jax.Array:
    """Returns `values` as a floating array (n, dim) of at least one vector, or raises."""
    values = as_floating(name, values)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name}: expected vectors of shape (n, dim), got shape {values.shape}")
    return values


def as_ids(name: str, ids: Any, shape: tuple[int, ...]) -> jax.Array:
    """Returns ids as integers of that shape; None gives every vector an id of its own."""
    if ids is None:
        return jnp.arange(shape[0])
    ids = as_array(name, ids, "an array of integers")
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" and ids.size:
        smallest, largest = int(ids.min()), int(ids.max())
        # JAX would truncate them silently.
        if not IGNORED_ID < smallest <= largest <= np.iinfo(np.int32).max:
            raise ValueError(
                f"{name}: expected integers that fit an int32, got {smallest} to {largest}"
            )
    ids = jnp.asarray(ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integers, got dtype {ids.dtype}")
    if ids.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got shape {ids.shape}")
    return ids.astype(jnp.promote_types(ids.dtype, jnp.int32))  # IGNORED_ID has to fit


def as_numbers(name: str, values: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Returns `values` as an array of that shape and dtype, or raises."""
    values = jnp.asarray(as_array(name, values, f"an array of shape {shape}"), dtype)
    if values.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got shape {values.shape}")
    return values


def inverse_temperature(temperature: Any, x: jax.Array) -> jax.Array:
    """1 / temperature, in the dtype of the computation."""
    dtype = compute_dtype(x)
    _check_single("temperature", temperature)
    return 1 / as_positive("temperature", temperature, jnp.zeros(1, dtype))


def as_number(name: str, value: Any, dtype: Any) -> jax.Array:
    """Returns `value` as one number of that dtype."""
    _check_single(name, value)
    return as_scalar(name, value, jnp.zeros(1, dtype))


def _check_single(name: str, value: Any) -> None:
    if np.ndim(value):
        raise ValueError(f"{name}: expected a number, got shape {np.shape(value)}")
