"""The pairwise sigmoid loss of SigLIP: binary NCE on all pairs of a batch."""

from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._eager import as_one_program
from nce_jax._numerics import softplus
from nce_jax._types import Array, ArrayLike, Bool, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import Embeddings, as_embeddings, as_number
from nce_jax.losses._pairs.positives import Positives, as_positives, sum_of_kind
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._pairs.sums import IGNORED_ID, SOFTPLUS_SUM, Pairs


@as_one_program("chunk_size", "devices")
def siglip_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    labels: Integer[ArrayLike, " n"] | None = None,
    positives: Bool[ArrayLike, "n n"] | None = None,
    temperature: Scalars = 1.0,
    bias: Scalars = 0.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, ""]:
    r"""SigLIP's loss, which classifies every pair (x_i, y_j) as matched or not, one at a time.

    .. math::

       L = \frac{1}{n} \sum_i \Big[ \operatorname{softplus}(-l_{ii})
           + \sum_{j \ne i} \operatorname{softplus}(l_{ij}) \Big],
       \qquad l_{ij} = \langle x_i, y_j \rangle / \tau + b,

    with the temperature tau = `temperature` and b = `bias`. With `labels` or `positives` an anchor
    may have several positives, or none: the first sum is over all its positives, the second over
    all other y. Without them, it is `nce_loss` of the log ratios s =
    l + log(n - 1) at noise ratio n - 1. The optimal logit is therefore

    .. math::

       l = \log \frac{p(x, y)}{p(x)\, p(y)} - \log(n - 1),

    and the bias is -F - log(n - 1). The loss grows with n, whereas InfoNCE grows with log n. SigLIP
    starts from a temperature of 1/10 and a bias of -10.

    Args:
      x: embeddings of one kind, (n, dim). SigLIP L2-normalizes them; do so before the call.
      y: embeddings of the other kind, row by row, (n, dim).
      labels: integers, (n,). Pairs of equal labels are positives, all others negatives.
      positives: in place of labels, whether y_j is a positive of x_i, (n, n) Booleans. The diagonal
        is no exception.
      temperature: divides the products, a traced number.
      bias: added to the logits, a traced number. To learn it, pass a parameter.
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      weights: weights >= 0 of the anchors in the mean, (n,). A pair of weight zero is ignored, also
        as a negative.
      chunk_size: columns per block; None stores all n^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The loss, a number in nats.

    Raises:
      TypeError: embeddings, labels, positives, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or both labels and positives.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> y = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
      >>> print(f"{nce_jax.losses.siglip_loss(x, y, temperature=0.5, bias=-1.0):.4f}")
      2.1266

      With two y of the kind of each x:

      >>> labels = jnp.array([0, 1, 0])
      >>> print(f"{nce_jax.losses.siglip_loss(x, y, labels=labels, temperature=0.5):.4f}")
      1.8238

    References:
      Zhai et al., Sigmoid loss for language image pre-training, 2023, section 3.2.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    return batch.mean(_terms(batch, labels, positives, bias, ids))


@as_one_program("chunk_size", "devices")
def siglip_loss_terms(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    labels: Integer[ArrayLike, " n"] | None = None,
    positives: Bool[ArrayLike, "n n"] | None = None,
    temperature: Scalars = 1.0,
    bias: Scalars = 0.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, " n"]:
    """Per-anchor terms of `siglip_loss`, which is their (weighted) mean.

    The term of x_i is the sum over all its pairs (x_i, y_j).

    Args:
      x: embeddings of one kind, (n, dim).
      y: embeddings of the other kind, row by row, (n, dim).
      labels: integers, (n,). Pairs of equal labels are positives, all others negatives.
      positives: in place of labels, whether y_j is a positive of x_i, (n, n) Booleans.
      temperature: divides the products, a traced number.
      bias: added to the logits, a traced number.
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      weights: weights >= 0, (n,). A pair of weight zero is ignored, also as a negative, and its
        term is zero.
      chunk_size: columns per block; None stores all n^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The terms, (n,), in nats.

    Raises:
      TypeError: embeddings, labels, positives, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or both labels and positives.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.siglip_loss_terms(x, x, temperature=0.5, bias=-1.0))
      [1.4247 1.664  2.1489]

    References:
      Zhai et al., Sigmoid loss for language image pre-training, 2023, section 3.2.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    return batch.mask(_terms(batch, labels, positives, bias, ids))


def _terms(batch: Embeddings, labels: Any, positives: Any, bias: Any, ids: Any) -> jax.Array:
    marked = as_positives(labels, positives, batch.x.shape[0])
    bias = as_number("bias", bias, batch.scale.dtype)
    # A loss of few pairs may be finite at an infinite bias.
    bias = jnp.where(jnp.isfinite(bias), bias, jnp.nan)
    offset = jnp.broadcast_to(bias, batch.ids.shape)
    if marked is not None:
        return _sum_both_kinds(batch, marked, offset, excludes_equal_ids=ids is not None)
    sum_negatives, _ = batch.sum_others(SOFTPLUS_SUM, offset)
    return softplus(-(batch.partner_logits + offset)) + sum_negatives


def _sum_both_kinds(
    batch: Embeddings, marked: Positives, offset: jax.Array, *, excludes_equal_ids: bool
) -> jax.Array:
    """The sums over positives and negatives; equal ids exclude a pair from the negatives alone."""
    ids_x, ids_y = batch.distinct_ids(batch.ids.shape)
    ids_y = jnp.where(ids_x == IGNORED_ID, IGNORED_ID, ids_y)
    pairs = marked.mark(Pairs(batch.x, batch.y, batch.scale, offset, ids_x, ids_y))
    minus = pairs._replace(scale=-batch.scale, offset=-offset)
    if excludes_equal_ids:
        pairs = pairs._replace(ids_x=batch.ids, ids_y=batch.ids)
    sum_positives = sum_of_kind(batch, SOFTPLUS_SUM, "positives", minus)
    return sum_positives + sum_of_kind(batch, SOFTPLUS_SUM, "negatives", pairs)
