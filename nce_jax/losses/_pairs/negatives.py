"""Sums over explicit negatives, given by the caller in place of the other pairs of the batch."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_floating
from nce_jax._numerics import log_sum_exp
from nce_jax.losses._pairs.embeddings import Embeddings, as_ids
from nce_jax.losses._pairs.sharded import check_divisible, reduce_pairs_over_devices
from nce_jax.losses._pairs.sums import IGNORED_ID, LOG_SUM_EXP, Pairs, Plan


def log_sum_negatives(batch: Embeddings, negatives: Any, ids: Any, ids_negatives: Any) -> jax.Array:
    """The log of the sum of exp(logit) over the negatives of each anchor, (n,).

    `ids` are those that the caller gave, to tell None from ids; `batch` holds the checked ones.
    """
    negatives = _as_negatives(negatives, batch.x)
    ids_x, ids_y = _as_ids_of_both(batch, negatives.shape[:-1], ids, ids_negatives)
    if negatives.ndim == 3:
        return _log_sum_per_anchor(batch, negatives, ids_x, ids_y)
    if batch.devices is not None:
        check_divisible("negatives", negatives, batch.devices)
    offset = jnp.zeros(negatives.shape[:-1], batch.scale.dtype)
    pairs = Pairs(batch.x, negatives, batch.scale, offset, ids_x, ids_y)
    plan = Plan(LOG_SUM_EXP, chunk_size=batch.chunk_size)
    return reduce_pairs_over_devices(plan, batch.devices, pairs)[0]


def _log_sum_per_anchor(
    batch: Embeddings, negatives: jax.Array, ids_x: jax.Array, ids_y: jax.Array
) -> jax.Array:
    """The sums where each anchor has K negatives of its own, (n, K, dim): nothing is shared."""
    for name, value in (("chunk_size", batch.chunk_size), ("devices", batch.devices)):
        if value is not None:
            raise ValueError(
                f"{name}: expected None with negatives of shape (n, K, dim), which every anchor has"
                f" for itself, got {value}"
            )
    is_counted = (ids_y != ids_x[:, None]) & (ids_x[:, None] != IGNORED_ID)
    # A negative that is not counted may hold anything, NaN included.
    counted = jnp.where(is_counted[..., None], negatives, 0)
    dtype = batch.scale.dtype
    products = jnp.einsum("nd,nkd->nk", batch.x, counted, preferred_element_type=dtype)
    return log_sum_exp(batch.scale * products, is_counted.astype(products.dtype))


def _as_ids_of_both(
    batch: Embeddings, shape: tuple[int, ...], ids: Any, ids_negatives: Any
) -> tuple[jax.Array, jax.Array]:
    """Ids of the anchors and of the negatives, of that shape; none are equal if none are given."""
    if (ids is None) != (ids_negatives is None):
        missing, given = ("ids", "ids_negatives") if ids is None else ("ids_negatives", "ids")
        raise ValueError(f"{missing}: expected integers with negatives and {given}, got None")
    if ids_negatives is not None:
        return batch.ids, as_ids("ids_negatives", ids_negatives, shape)
    ids_x = jnp.where(batch.ids == IGNORED_ID, IGNORED_ID, 1)
    return ids_x, jnp.zeros(shape, ids_x.dtype)


def _as_negatives(negatives: Any, x: jax.Array) -> jax.Array:
    """Returns negatives (K, dim) or (n, K, dim) in the dtype of the anchors, or raises."""
    negatives = as_floating("negatives", negatives)
    (n, dim), shape = x.shape, negatives.shape
    is_shared = len(shape) == 2 and shape[1] == dim
    is_per_anchor = len(shape) == 3 and (shape[0], shape[2]) == (n, dim)
    if not (is_shared or is_per_anchor) or 0 in shape:
        raise ValueError(
            f"negatives: expected shape (K, {dim}) or ({n}, K, {dim}), got shape {shape}"
        )
    return negatives.astype(x.dtype)
