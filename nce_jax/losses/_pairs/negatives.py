"""Sums over explicit negatives, given by the caller in place of, or beside, the other pairs."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_floating
from nce_jax._numerics import log_sum_exp
from nce_jax.losses._pairs.embeddings import Embeddings, as_ids, as_numbers
from nce_jax.losses._pairs.sharded import check_divisible, map_rows, reduce_pairs_over_devices
from nce_jax.losses._pairs.sums import IGNORED_ID, LOG_SUM_EXP, Pairs, Plan


def log_sum_negatives(
    batch: Embeddings,
    negatives: Any,
    ids: Any,
    ids_negatives: Any,
    log_noise: Any = None,
    *,
    side: str = "",
) -> jax.Array:
    """The log of the sum of exp(logit) over the negatives of each anchor, (n,).

    `ids` are those that the caller gave, to tell None from ids; `batch` holds the checked ones.
    `log_noise` holds log probabilities of the negatives, which are subtracted from their logits.
    The names of all arguments of the negatives end in `side`.
    """
    negatives = _as_negatives(f"negatives{side}", negatives, batch.x)
    ids_x, ids_y = _as_ids_of_both(batch, negatives.shape[:-1], ids, ids_negatives, side)
    offset = jnp.zeros(negatives.shape[:-1], batch.scale.dtype)
    if log_noise is not None:
        offset = -as_numbers(f"log_noise_negatives{side}", log_noise, offset.shape, offset.dtype)
    if negatives.ndim == 3:
        arguments = batch.x, negatives, batch.scale, offset, ids_x, ids_y
        return map_rows(_log_sum_per_anchor, batch.devices, *arguments)
    if batch.devices is not None:
        check_divisible(f"negatives{side}", negatives, batch.devices)
    pairs = Pairs(batch.x, negatives, batch.scale, offset, ids_x, ids_y)
    plan = Plan(LOG_SUM_EXP, chunk_size=batch.chunk_size)
    return reduce_pairs_over_devices(plan, batch.devices, pairs)[0]


def _log_sum_per_anchor(
    x: jax.Array,
    negatives: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    ids_x: jax.Array,
    ids_y: jax.Array,
) -> jax.Array:
    """The sums where each anchor has K negatives of its own, (n, K, dim): nothing is shared.

    There are no blocks: the logits take less memory than the negatives.
    """
    is_counted = (ids_y != ids_x[:, None]) & (ids_x[:, None] != IGNORED_ID)
    # A negative that is not counted may hold anything, NaN included.
    counted = jnp.where(is_counted[..., None], negatives, 0)
    products = jnp.einsum("nd,nkd->nk", x, counted, preferred_element_type=scale.dtype)
    logits = scale * products + jnp.where(is_counted, offset, 0)
    return log_sum_exp(logits, is_counted.astype(logits.dtype))


def _as_ids_of_both(
    batch: Embeddings, shape: tuple[int, ...], ids: Any, ids_negatives: Any, side: str
) -> tuple[jax.Array, jax.Array]:
    """Ids of the anchors and of the negatives, of that shape; none are equal if none are given."""
    name = f"ids_negatives{side}"
    if (ids is None) != (ids_negatives is None):
        missing, given = ("ids", name) if ids is None else (name, "ids")
        raise ValueError(f"{missing}: expected integers with negatives{side} and {given}, got None")
    if ids_negatives is not None:
        return batch.ids, as_ids(name, ids_negatives, shape)
    return batch.distinct_ids(shape)


def _as_negatives(name: str, negatives: Any, x: jax.Array) -> jax.Array:
    """Returns negatives (K, dim) or (n, K, dim) in the dtype of the anchors, or raises."""
    negatives = as_floating(name, negatives)
    (n, dim), shape = x.shape, negatives.shape
    is_shared = len(shape) == 2 and shape[1] == dim
    is_per_anchor = len(shape) == 3 and (shape[0], shape[2]) == (n, dim)
    if not (is_shared or is_per_anchor) or 0 in shape:
        raise ValueError(f"{name}: expected shape (K, {dim}) or ({n}, K, {dim}), got shape {shape}")
    return negatives.astype(x.dtype)
