"""The pairwise sigmoid loss of SigLIP: binary NCE on all pairs of a batch."""

from typing import Literal

import jax.numpy as jnp
from jax.sharding import Mesh

from nce_jax._types import Array, ArrayLike, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import as_embeddings, as_number, make_work, sum_pairs
from nce_jax.losses._pairs.sums import SOFTPLUS_SUM
from nce_jax.numerics import softplus, weighted_mean


def siglip_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    temperature: Scalars = 1.0,
    bias: Scalars = 0.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    axis_name: str = "data",
    exchange: Literal["gather", "ring"] = "gather",
) -> Float[Array, ""]:
    """SigLIP's loss: does y_j belong to x_i? asked of every pair for itself.

    L = mean_i [softplus(-l_ii) + sum_j softplus(l_ij)], l_ij = <x_i, y_j> / `temperature` + `bias`,
    j over all rows of `y` but i. It is `nce_loss` of s = l + log(n - 1) at noise ratio n - 1: its
    best logit is log(p(x, y) / (p(x) p(y))) - log(n - 1), and the bias is minus F minus log(n - 1).
    It grows with n, where InfoNCE grows with log n. SigLIP begins at temperature 1/10 and bias -10.

    Args:
      x: embeddings of one kind, (n, dim); SigLIP divides them by their norms, which is the
        caller's.
      y: those of the other, row by row, (n, dim).
      temperature: what products are divided by, a traced number.
      bias: what is added to them, a traced number; learnable outside.
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      weights: weights >= 0 of the anchors in the mean, (n,). A pair of weight zero takes no part,
        as a negative neither.
      chunk_size: columns per block; None stores all n^2 logits.
      mesh: the devices over which samples are split; value and gradient are those of one device.
      axis_name: the axis of the mesh along which samples are split.
      exchange: "gather" or "ring", as in `info_nce_loss`.

    Returns:
      The loss, a number in nats.

    Raises:
      TypeError: embeddings, weights or ids of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> y = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
      >>> print(f"{nce_jax.losses.siglip_loss(x, y, temperature=0.5, bias=-1.0):.4f}")
      2.1266

    References:
      Zhai et al., Sigmoid loss for language image pre-training, 2023, section 3.2.
    """
    batch = as_embeddings(x, y, temperature, ids, weights)
    work = make_work(batch.x, chunk_size, mesh, axis_name, exchange)
    offset = jnp.broadcast_to(as_number("bias", bias, batch.scale.dtype), batch.ids.shape)
    against, _ = sum_pairs(SOFTPLUS_SUM, batch, offset, work)
    return weighted_mean(batch.keep(softplus(-(batch.products + offset)) + against), batch.weights)
