"""InfoNCE and its relatives: the other pairs of a batch serve as the noise of each pair."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import describe
from nce_jax._eager import as_one_program
from nce_jax._types import Array, ArrayLike, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import Embeddings, as_embeddings, as_numbers
from nce_jax.losses._pairs.negatives import log_sum_negatives
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._pairs.sums import LOG_SUM_EXP
from nce_jax.losses._rank import ranking_terms


@as_one_program("in_batch", "chunk_size", "devices")
def info_nce_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives: Float[ArrayLike, "..."] | None = None,
    in_batch: bool = False,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    log_noise: Float[ArrayLike, " n"] | None = None,
    log_noise_negatives: Float[ArrayLike, "..."] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, ""]:
    r"""InfoNCE loss, which identifies the partner of each x_i among the vectors y of a batch.

    .. math::

       L = \frac{1}{n} \sum_i
           -\log \frac{e^{s_{ii}}}{e^{s_{ii}} + M \sum_{j \ne i} e^{s_{ij}}},
       \qquad s_{ij} = \langle x_i, y_j \rangle / \tau,

    with the temperature tau = `temperature` and M = `magnification`. The negatives y_j are the
    other rows of `y` (in-batch negatives) or, if given, `negatives`, or both. The loss is
    `ranking_nce_loss` of these logits. `clip_loss` averages it over both directions. For several
    partners per anchor, see `supervised_contrastive_loss` and `siglip_loss`.

    Conventions (packages differ; these are ours):

    - Vectors are used as they are. Divide them by their norms before the call if the logits are to
      be cosines, with a floor below the norms if rows may be zero, as in padding.
    - Logits are divided by the temperature, the inverse of CLIP's logit scale.
    - The denominator contains the partner.
    - x_j is no negative of x_i; `nt_xent_loss` counts these pairs as well.
    - The mean is over anchors, so that the loss of a constant encoder is log n.
    - No correction is made for how frequent a y is, unless `log_noise` gives its log probability.

    The n^2 logits are stored by default. With `chunk_size` they are computed in blocks of columns,
    once for the value and once more for the gradient, in O(n (dim + chunk_size)) memory.
    Derivatives of any order are available in reverse mode; `jax.jvp` is not supported.

    Args:
      x: the anchors, (n, dim).
      y: the partner of each anchor, row by row, (n, dim).
      negatives: vectors that replace the other rows of `y` as negatives: (K, dim), shared by all
        anchors, or (n, K, dim), K for each anchor.
      in_batch: whether the other rows of `y` remain negatives beside `negatives`, as with hard
        negatives. Without `negatives` they always are.
      temperature: divides the logits, a traced number. To learn it, pass exp of a parameter.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      log_noise: log probability with which each row of `y` enters a batch, (n,). It is subtracted
        from the logits of that row, both as a partner and as a negative.
      log_noise_negatives: log probability of each of the `negatives`, (K,) or (n, K), subtracted
        from their logits; required with `log_noise` and `negatives`.
      ids: integers, (n,). Pairs of equal ids are duplicates and no negatives of each other. By
        default all pairs are different.
      ids_negatives: integers of `negatives`, (K,) or (n, K), with `ids`: a negative is ignored
        where its id is that of the anchor.
      weights: weights >= 0 of the pairs in the mean, (n,). A pair of weight zero is ignored, also
        as a negative.
      chunk_size: columns per block; None computes all at once. Negatives (n, K, dim) take more
        memory than their logits, and are not split.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh, without a change of
        value or gradient.

    Returns:
      The loss, a number in nats; float32 for inputs of lower precision.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or options that do not apply
        to the given negatives.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jax.random.normal(jax.random.key(0), (8, 16))
      >>> x = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
      >>> matched = nce_jax.losses.info_nce_loss(x, x, temperature=0.1)
      >>> shuffled = nce_jax.losses.info_nce_loss(x, jnp.roll(x, 1, axis=0))
      >>> print(f"{matched:.4f} {shuffled:.4f}")
      0.0037 2.3311

    References:
      van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding,
        2018, eq. 4.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    candidates = _Candidates(negatives, in_batch, log_noise, log_noise_negatives, ids_negatives)
    return batch.mean(_ranking_terms(batch, candidates, ids, magnification))


@as_one_program("in_batch", "chunk_size", "devices")
def info_nce_loss_terms(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives: Float[ArrayLike, "..."] | None = None,
    in_batch: bool = False,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    log_noise: Float[ArrayLike, " n"] | None = None,
    log_noise_negatives: Float[ArrayLike, "..."] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, " n"]:
    r"""Per-anchor terms of `info_nce_loss`, whose (weighted) mean is the loss.

    .. math::

       -\log \frac{e^{s_{ii}}}{e^{s_{ii}} + M \sum_{j \ne i} e^{s_{ij}}}

    Args:
      x: the anchors, (n, dim).
      y: the partner of each anchor, (n, dim).
      negatives: vectors that replace the other rows of `y` as negatives, (K, dim) or (n, K, dim).
      in_batch: whether the other rows of `y` remain negatives beside `negatives`.
      temperature: divides the logits, a traced number.
      magnification: M > 0, a traced number.
      log_noise: log probability of each row of `y`, (n,), subtracted from its logits.
      log_noise_negatives: log probability of each of the `negatives`, (K,) or (n, K).
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      ids_negatives: integers of `negatives`, (K,) or (n, K), with `ids`.
      weights: weights >= 0 of the pairs, (n,). A pair of weight zero is ignored, also as a
        negative, and its term is zero.
      chunk_size: columns per block; None computes all at once.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The terms, (n,), in nats.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, plain numbers out of their range, or options that do not apply
        to the given negatives.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.info_nce_loss_terms(x, x, temperature=0.5))
      [0.4604 0.5909 0.7513]

    References:
      van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding,
        2018, eq. 4.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    candidates = _Candidates(negatives, in_batch, log_noise, log_noise_negatives, ids_negatives)
    return batch.mask(_ranking_terms(batch, candidates, ids, magnification))


@as_one_program("chunk_size", "devices")
def nt_xent_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, ""]:
    r"""SimCLR's NT-Xent loss, which identifies the partner of each view among all 2 n views.

    The mean over both views of all n samples of

    .. math::

       -\log \frac{e^{s_+}}{e^{s_+} + M \sum_- e^{s_-}},

    where s_+ is the logit of a view and its partner. The sum is over the logits s_- of that view
    with the other 2 n - 2 views, those in `x` as well as those in `y`.

    Args:
      x: the first views, (n, dim). SimCLR L2-normalizes them; do so before the call.
      y: the second views, (n, dim).
      temperature: divides the logits, a traced number.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      ids: integers, (n,); views of equal ids are no negatives of each other.
      weights: weights >= 0 of the samples in the mean, (n,). A sample of weight zero is ignored,
        also as a negative.
      chunk_size: columns per block; None stores all (2 n)^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The loss, a number in nats; log(2 n - 1) for constant encoders at M = 1.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> y = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
      >>> print(f"{nce_jax.losses.nt_xent_loss(x, y, temperature=0.5):.4f}")
      1.3647

    References:
      Chen et al., A simple framework for contrastive learning of visual representations, 2020, eq.
        1.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    return batch.mean(_view_terms(batch, magnification))


@as_one_program("chunk_size", "devices")
def nt_xent_loss_terms(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, " n"]:
    """Per-sample terms of `nt_xent_loss`, which is their (weighted) mean.

    The term of a sample is the mean of the terms of its two views.

    Args:
      x: the first views, (n, dim).
      y: the second views, (n, dim).
      temperature: divides the logits, a traced number.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      ids: integers, (n,); views of equal ids are no negatives of each other.
      weights: weights >= 0, (n,). A sample of weight zero is ignored, also as a negative, and its
        term is zero.
      chunk_size: columns per block; None stores all (2 n)^2 logits.
      devices: `Sharded(mesh)` splits the samples over the devices of a mesh.

    Returns:
      The terms, (n,), in nats.

    Raises:
      TypeError: embeddings, weights, ids or devices of the wrong type.
      ValueError: mismatched shapes, or plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.nt_xent_loss_terms(x, x, temperature=0.5))
      [0.7744 0.9599 1.1754]

    References:
      Chen et al., A simple framework for contrastive learning of visual representations, 2020, eq.
        1.
    """
    batch = as_embeddings(x, y, temperature, ids, weights, chunk_size, devices)
    return batch.mask(_view_terms(batch, magnification))


def _view_terms(batch: Embeddings, magnification: Any) -> jax.Array:
    """The mean over the two views of each sample."""
    views = jnp.concatenate([batch.x, batch.y])
    # A view and its partner share an id: neither the view itself nor its partner is a negative.
    all_views = batch._replace(x=views, y=views, ids=jnp.concatenate([batch.ids, batch.ids]))
    log_sum, _ = all_views.sum_others(LOG_SUM_EXP)
    terms = ranking_terms(jnp.tile(batch.partner_logits, 2), log_sum, magnification)
    return terms.reshape(2, -1).mean(axis=0)


def _ranking_terms(
    batch: Embeddings, candidates: "_Candidates", ids: Any, magnification: Any
) -> jax.Array:
    log_sum, offset = _log_sum(batch, candidates, ids)
    return ranking_terms(batch.partner_logits + offset, log_sum, magnification)


class _Candidates(NamedTuple):
    """The arguments of `info_nce_loss` that say what the negatives are."""

    negatives: Any
    in_batch: Any
    log_noise: Any
    log_noise_negatives: Any
    ids_negatives: Any


def _log_sum(
    batch: Embeddings, candidates: _Candidates, ids: Any
) -> tuple[jax.Array, jax.Array | float]:
    """The log of the sum over the negatives of each anchor, and the offsets of the partners."""
    _check_candidates(candidates)
    negatives, in_batch, log_noise, log_noise_negatives, ids_negatives = candidates
    offset = None
    if log_noise is not None:
        log_noise = as_numbers("log_noise", log_noise, batch.ids.shape, batch.scale.dtype)
        offset = -batch.mask(log_noise)
    log_sums = []
    if negatives is None or in_batch:
        log_sums.append(batch.sum_others(LOG_SUM_EXP, offset)[0])
    if negatives is not None:
        arguments = negatives, ids, ids_negatives, log_noise_negatives
        log_sums.append(log_sum_negatives(batch, *arguments))
    return functools.reduce(LOG_SUM_EXP.join, log_sums), 0.0 if offset is None else offset


def _check_candidates(candidates: _Candidates) -> None:
    """Raises unless the options apply to the given negatives."""
    negatives, in_batch, log_noise, log_noise_negatives, ids_negatives = candidates
    if not isinstance(in_batch, bool):
        raise TypeError(f"in_batch: expected a Boolean, got {describe(in_batch)}")
    if negatives is None:
        options = {"ids_negatives": ids_negatives, "log_noise_negatives": log_noise_negatives}
        for name, value in options.items():
            if value is not None:
                raise ValueError(f"{name}: expected None without negatives, got an array")
    elif (log_noise is None) != (log_noise_negatives is None):
        names = "log_noise", "log_noise_negatives"
        missing, given = names if log_noise is None else names[::-1]
        raise ValueError(
            f"{missing}: expected log probabilities with negatives and {given}, got None"
        )
