"""The pairwise sigmoid loss of SigLIP: binary NCE on all pairs of a batch."""

import jax.numpy as jnp

from nce_jax._numerics import softplus
from nce_jax._types import Array, ArrayLike, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import as_embeddings, as_number
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._pairs.sums import SOFTPLUS_SUM


def siglip_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
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

    with the temperature tau = `temperature` and b = `bias`. It is `nce_loss` of the log ratios s =
    l + log(n - 1) at noise ratio n - 1. The optimal logit is therefore

    .. math::

       l = \log \frac{p(x, y)}{p(x)\, p(y)} - \log(n - 1),

    and the bias is -F - log(n - 1). The loss grows with n, whereas InfoNCE grows with log n. SigLIP
    starts from a temperature of 1/10 and a bias of -10.

    Args:
      x: embeddings of one kind, (n, dim). SigLIP L2-normalizes them; do so before the call.
      y: embeddings of the other kind, row by row, (n, dim).
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
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, or plain numbers out of their range.

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
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    offset = jnp.broadcast_to(as_number("bias", bias, batch.scale.dtype), batch.ids.shape)
    sum_negatives, _ = batch.sum_others(SOFTPLUS_SUM, offset)
    return batch.mean(softplus(-(batch.partner_logits + offset)) + sum_negatives)
