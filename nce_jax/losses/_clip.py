"""CLIP's symmetric loss, with hard negatives on request."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._eager import as_one_program
from nce_jax._types import Array, ArrayLike, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import Embeddings, as_embeddings
from nce_jax.losses._pairs.negatives import log_sum_negatives
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._pairs.sums import LOG_SUM_EXP
from nce_jax.losses._rank import ranking_terms


@as_one_program("chunk_size", "devices")
def clip_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives_x: Float[ArrayLike, "..."] | None = None,
    negatives_y: Float[ArrayLike, "..."] | None = None,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives_x: Integer[ArrayLike, "..."] | None = None,
    ids_negatives_y: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, ""]:
    """CLIP's symmetric loss, which identifies the y of each x_i and the x of each y_i.

    It is the average of `info_nce_loss(x, y)` and `info_nce_loss(y, x)`. Each logit is computed
    once for both directions. CLIP divides every vector by its norm, to be done before the call, and
    multiplies by a logit scale, exp of a parameter; `temperature` is the inverse of that scale.
    Each anchor has one partner; several are for `siglip_loss(labels=...)`, or
    `supervised_contrastive_loss` of both kinds together.

    Args:
      x: embeddings of one kind, (n, dim).
      y: embeddings of the other kind, row by row, (n, dim).
      negatives_x: hard negatives of the kind of `x`, which are added to the other rows of `x` as
        negatives of each y_i: (K, dim), shared by all anchors, or (n, K, dim), K for each anchor.
      negatives_y: the same of the kind of `y`, for each x_i. Either may be given alone.
      temperature: divides the logits, a traced number; NaN results where it is not positive. To
        learn it, pass exp of a parameter.
      magnification: M > 0, virtual copies of the negatives, a traced number; CLIP has M = 1.
      ids: integers, (n,); pairs of equal ids are no negatives of each other. r copies of every
        pair have the loss of one copy at M = r.
      ids_negatives_x: integers of `negatives_x`, (K,) or (n, K), with `ids`: a hard negative is
        ignored where its id is that of the anchor.
      ids_negatives_y: integers of `negatives_y`, with the same meaning.
      weights: weights >= 0 of the pairs in the mean, (n,). A pair of weight zero is ignored, also
        as a negative.
      chunk_size: columns per block; None stores all n^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The loss, a number in nats; log n for constant encoders at M = 1.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or ids of one side only.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> y = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
      >>> print(f"{nce_jax.losses.clip_loss(x, y, temperature=0.5):.4f}")
      0.9885

      With one hard negative of the kind of `y` for each x:

      >>> hard = jnp.array([[[0.6, 0.8]], [[0.8, 0.6]], [[0.0, 1.0]]])
      >>> print(f"{nce_jax.losses.clip_loss(x, y, negatives_y=hard, temperature=0.5):.4f}")
      1.1145

    References:
      Radford et al., Learning transferable visual models from natural language supervision, 2021,
        figure 3.
      Yuksekgonul et al., When and why vision-language models behave like bags-of-words, 2023,
        section 4 (hard negatives of one side).
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    sides = (negatives_x, ids_negatives_x), (negatives_y, ids_negatives_y)
    return batch.mean(_terms(batch, ids, *sides, magnification))


@as_one_program("chunk_size", "devices")
def clip_loss_terms(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives_x: Float[ArrayLike, "..."] | None = None,
    negatives_y: Float[ArrayLike, "..."] | None = None,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives_x: Integer[ArrayLike, "..."] | None = None,
    ids_negatives_y: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, " n"]:
    """Per-pair terms of `clip_loss`, which is their (weighted) mean.

    The term of a pair is the mean of its two directions. For the terms of one direction, see
    `info_nce_loss_terms`.

    Args:
      x: embeddings of one kind, (n, dim).
      y: embeddings of the other kind, row by row, (n, dim).
      negatives_x: hard negatives of the kind of `x`, (K, dim) or (n, K, dim).
      negatives_y: hard negatives of the kind of `y`, (K, dim) or (n, K, dim).
      temperature: divides the logits, a traced number.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      ids_negatives_x: integers of `negatives_x`, (K,) or (n, K), with `ids`.
      ids_negatives_y: integers of `negatives_y`, (K,) or (n, K), with `ids`.
      weights: weights >= 0, (n,). A pair of weight zero is ignored, also as a negative, and its
        term is zero.
      chunk_size: columns per block; None stores all n^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The terms, (n,), in nats.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or ids of one side only.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.clip_loss_terms(x, x, temperature=0.5))
      [0.4604 0.5909 0.7513]

    References:
      Radford et al., Learning transferable visual models from natural language supervision, 2021,
        figure 3.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    sides = (negatives_x, ids_negatives_x), (negatives_y, ids_negatives_y)
    return batch.mask(_terms(batch, ids, *sides, magnification))


def _terms(
    batch: Embeddings,
    ids: Any,
    side_x: tuple[Any, Any],
    side_y: tuple[Any, Any],
    magnification: Any,
) -> jax.Array:
    """The mean of both directions; a side holds hard negatives of that kind and their ids."""
    forward, backward = batch.sum_others(LOG_SUM_EXP, column_sums=True)
    forward = _add_hard_negatives(batch, forward, ids, *side_y, side="_y")
    swapped = batch._replace(x=batch.y, y=batch.x)
    backward = _add_hard_negatives(swapped, backward, ids, *side_x, side="_x")
    terms = (
        ranking_terms(batch.partner_logits, log_sum, magnification)
        for log_sum in (forward, backward)
    )
    return sum(terms, jnp.zeros((), batch.scale.dtype)) / 2


def _add_hard_negatives(
    batch: Embeddings, log_sum: jax.Array, ids: Any, negatives: Any, ids_negatives: Any, side: str
) -> jax.Array:
    """The log sum over the other pairs, with that over hard negatives of one side added."""
    if negatives is None:
        if ids_negatives is not None:
            name = f"ids_negatives{side}"
            raise ValueError(f"{name}: expected None without negatives{side}, got an array")
        return log_sum
    added = log_sum_negatives(batch, negatives, ids, ids_negatives, side=side)
    return LOG_SUM_EXP.join(log_sum, added)
