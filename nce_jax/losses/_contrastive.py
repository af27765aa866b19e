"""InfoNCE and its relatives: every pair of a batch of embeddings has the others for noise."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from nce_jax._types import Array, ArrayLike, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import (
    Embeddings,
    Work,
    as_embeddings,
    as_ids,
    as_negatives,
    check_divisible,
    make_work,
    sum_pairs,
)
from nce_jax.losses._pairs.sharded import reduce_everywhere
from nce_jax.losses._pairs.sums import LEFT_OUT, LOG_SUM_EXP, Pairs, Plan
from nce_jax.losses._rank import log_against
from nce_jax.numerics import log_sum_exp, weighted_mean


def info_nce_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives: Float[ArrayLike, "..."] | None = None,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    two_sided: bool = False,
    log_noise: Float[ArrayLike, " n"] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    axis_name: str = "data",
    exchange: Literal["gather", "ring"] = "gather",
) -> Float[Array, ""]:
    """InfoNCE: which of the vectors y belongs to x_i?

    L = mean_i -log(e^{s_ii} / (e^{s_ii} + M sum_j e^{s_ij})), s_ij = <x_i, y_j> / `temperature`, M
    = `magnification`, j over all rows of `y` but i (in-batch negatives), or over `negatives`. It is
    `ranking_nce_loss` of these logits.

    What differs elsewhere, and is so here: vectors are taken as they are (divide them by their
    norms yourself where you want cosines); the logits are divided by the temperature, whose inverse
    is CLIP's logit scale; the partner is in its own denominator; x_j is no negative of x_i
    (`nt_xent_loss` has those, too); the mean is over anchors, so that the loss of a constant
    encoder is log n; nothing is corrected for how often a y occurs, unless `log_noise` says how
    often.

    The n^2 logits are stored, or, with `chunk_size`, made block by block, twice: memory is then O(n
    (dim + chunk_size)). Derivatives are in reverse mode, to any order; `jax.jvp` has no rule.

    Args:
      x: the anchors, (n, dim).
      y: their partners, (n, dim), row by row.
      negatives: vectors to take for noise in the place of the other rows of `y`: (K, dim), shared
        by all anchors, or (n, K, dim), K for each.
      temperature: what logits are divided by, a traced number; learnable outside as exp of a
        parameter.
      magnification: M > 0, a traced number: virtual copies of the noise.
      two_sided: takes the average with the same loss of x and y exchanged; for in-batch negatives.
      log_noise: log probability with which each row of `y` comes into a batch, subtracted from its
        logits, for the partner and as a negative; for one-sided, in-batch negatives.
      ids: integers, (n,); pairs of equal ids are the same thing seen twice, and no negatives of
        each other. None counts every row as its own, and duplicates as negatives.
      ids_negatives: those of `negatives`, (K,) or (n, K): where equal to the anchor's, left out.
      weights: weights >= 0 of the pairs in the mean, (n,). A pair of weight zero takes no part, as
        a negative neither.
      chunk_size: columns per block; None takes all at once. Without use, as `mesh`, for negatives
        (n, K, dim).
      mesh: one with Auto axes (`training.make_mesh`); splits x and y over the devices along
        `axis_name`: every x_i meets the y of all devices, and value and gradient are those of one
        device. n is the number of all samples, in all devices and processes.
      axis_name: the axis of the mesh along which samples are split.
      exchange: "gather" holds all y on every device; "ring" passes them on, device to device,
        holding 1/D of them.

    Returns:
      The loss, a number in nats; float32 for inputs of lower precision.

    Raises:
      TypeError: embeddings, weights or ids of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range, options that do not go
        together.

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
    terms = info_nce_loss_terms(
        x,
        y,
        negatives=negatives,
        temperature=temperature,
        magnification=magnification,
        two_sided=two_sided,
        log_noise=log_noise,
        ids=ids,
        ids_negatives=ids_negatives,
        weights=weights,
        chunk_size=chunk_size,
        mesh=mesh,
        axis_name=axis_name,
        exchange=exchange,
    )
    return weighted_mean(terms, None if weights is None else jnp.asarray(weights, terms.dtype))


def info_nce_loss_terms(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    negatives: Float[ArrayLike, "..."] | None = None,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    two_sided: bool = False,
    log_noise: Float[ArrayLike, " n"] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    ids_negatives: Integer[ArrayLike, "..."] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    axis_name: str = "data",
    exchange: Literal["gather", "ring"] = "gather",
) -> Float[Array, " n"]:
    """Per-anchor terms of `info_nce_loss`, which is their (weighted) mean.

    -log(e^{s_ii} / (e^{s_ii} + M sum_j e^{s_ij})), or its average with that of y_i among all x
    where `two_sided`.

    Args:
      x: the anchors, (n, dim).
      y: their partners, (n, dim).
      negatives: noise in the place of the other rows of `y`, (K, dim) or (n, K, dim).
      temperature: what logits are divided by.
      magnification: M > 0.
      two_sided: averages both directions.
      log_noise: log probability of each row of `y`, (n,).
      ids: integers; equal ones are no negatives of each other, (n,).
      ids_negatives: those of `negatives`, (K,) or (n, K).
      weights: where zero, so is the term, (n,).
      chunk_size: columns per block.
      mesh: the devices.
      axis_name: the axis of the mesh along which samples are split.
      exchange: "gather" or "ring".

    Returns:
      The terms, (n,), in nats.

    Raises:
      TypeError: embeddings, weights or ids of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range, options that do not go
        together.

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
    batch = as_embeddings(x, y, temperature, ids, weights)
    work = make_work(batch.x, chunk_size, mesh, axis_name, exchange)
    if negatives is not None:
        if two_sided or log_noise is not None:
            raise ValueError(
                "negatives: expected in-batch ones (None) with two_sided or log_noise, got an array"
            )
        against = _against(batch, negatives, ids, ids_negatives, work)
        return batch.keep(log_against(batch.products, against, magnification))
    if ids_negatives is not None:
        raise ValueError("ids_negatives: expected None without negatives, got an array")
    if log_noise is not None and two_sided:
        raise ValueError("log_noise: expected None where two_sided, got an array")
    offset = None if log_noise is None else -_as_log_noise(log_noise, batch)
    rows, columns = sum_pairs(LOG_SUM_EXP, batch, offset, work, both=two_sided)
    partner = batch.products if offset is None else batch.products + offset
    terms = log_against(partner, rows, magnification)
    return batch.keep(
        (terms + log_against(partner, columns, magnification)) / 2 if two_sided else terms
    )


def clip_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    temperature: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    axis_name: str = "data",
    exchange: Literal["gather", "ring"] = "gather",
) -> Float[Array, ""]:
    """CLIP's symmetric loss: which y belongs to x_i, and which x to y_i.

    The average of `info_nce_loss` and the same with x and y exchanged: `info_nce_loss(...,
    two_sided=True)`. CLIP multiplies by a logit scale, exp of a parameter, and divides every vector
    by its norm: `temperature` is the inverse of that scale, and norms are the caller's. Each logit
    is computed once for both directions.

    Args:
      x: embeddings of one kind, (n, dim).
      y: those of the other, row by row, (n, dim).
      temperature: what logits are divided by, a traced number.
      ids: integers, (n,); pairs of equal ids are no negatives of each other.
      weights: weights >= 0 of the pairs, (n,); those of weight zero take no part.
      chunk_size: columns per block; None stores all n^2 logits.
      mesh: the devices over which samples are split; value and gradient are those of one device.
      axis_name: the axis of the mesh along which samples are split.
      exchange: "gather" or "ring", as in `info_nce_loss`.

    Returns:
      The loss, a number in nats; log n for constant encoders.

    Raises:
      TypeError: embeddings, weights or ids of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
      >>> y = jnp.array([[0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
      >>> print(f"{nce_jax.losses.clip_loss(x, y, temperature=0.5):.4f}")
      0.9885

    References:
      Radford et al., Learning transferable visual models from natural language supervision, 2021,
        figure 3.
    """
    return info_nce_loss(
        x,
        y,
        temperature=temperature,
        two_sided=True,
        ids=ids,
        weights=weights,
        chunk_size=chunk_size,
        mesh=mesh,
        axis_name=axis_name,
        exchange=exchange,
    )


def nt_xent_loss(
    x: Float[Array, "n dim"],
    y: Float[Array, "n dim"],
    *,
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    mesh: Mesh | None = None,
    axis_name: str = "data",
    exchange: Literal["gather", "ring"] = "gather",
) -> Float[Array, ""]:
    """SimCLR's loss, NT-Xent: each of 2 n views against all others, those of its own kind too.

    The mean over both views of all n samples of -log(e^{s+} / (e^{s+} + M sum of e^{s-})), with s+
    the logit of a view and its partner, and s- those with the other 2 n - 2 views, of `x` and of
    `y`.

    Args:
      x: the first views, (n, dim); SimCLR divides them by their norms, which is the caller's.
      y: the second views, (n, dim).
      temperature: what logits are divided by, a traced number.
      magnification: M > 0, a traced number: virtual copies of the noise.
      ids: integers, (n,); views of equal ids are no negatives of each other.
      weights: weights >= 0 of the samples, (n,); those of weight zero take no part.
      chunk_size: columns per block; None stores all (2 n)^2 logits.
      mesh: the devices over which samples are split; value and gradient are those of one device.
      axis_name: the axis of the mesh along which samples are split.
      exchange: "gather" or "ring", as in `info_nce_loss`.

    Returns:
      The loss, a number in nats; log(2 n - 1) for constant encoders.

    Raises:
      TypeError: embeddings, weights or ids of the wrong kind.
      ValueError: mismatched shapes, plain numbers out of their range.

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
    batch = as_embeddings(x, y, temperature, ids, weights)
    work = make_work(batch.x, chunk_size, mesh, axis_name, exchange)
    views = jnp.concatenate([batch.x, batch.y])
    # A view and its partner have one id: neither itself nor the partner is among its negatives.
    both = batch._replace(x=views, y=views, ids=jnp.concatenate([batch.ids, batch.ids]))
    against, _ = sum_pairs(LOG_SUM_EXP, both, None, work)
    terms = (
        log_against(jnp.tile(batch.products, 2), against, magnification).reshape(2, -1).mean(axis=0)
    )
    return weighted_mean(batch.keep(terms), batch.weights)


def _as_log_noise(log_noise: Any, batch: Embeddings) -> jax.Array:
    log_noise = jnp.asarray(log_noise, batch.scale.dtype)
    if log_noise.shape != batch.ids.shape:
        raise ValueError(
            f"log_noise: expected shape {batch.ids.shape}, got shape {log_noise.shape}"
        )
    return log_noise if batch.weights is None else jnp.where(batch.weights == 0, 0, log_noise)


def _against(
    batch: Embeddings, negatives: Any, ids: Any, ids_negatives: Any, work: Work
) -> jax.Array:
    """The logarithm of the sum over explicit negatives, one per anchor."""
    negatives = as_negatives(negatives, batch.x)
    shape = negatives.shape[:-1]
    if ids_negatives is not None and ids is None:
        raise ValueError("ids: expected those of the anchors beside ids_negatives, got None")
    named = ids_negatives is not None
    # Without ids nothing is equal to anything.
    own = batch.ids if named else jnp.where(batch.ids == LEFT_OUT, LEFT_OUT, 1)
    others = as_ids("ids_negatives", ids_negatives, shape) if named else jnp.zeros(shape, own.dtype)
    if negatives.ndim == 2:
        if work.spread is not None:
            check_divisible("negatives", negatives, work.spread.mesh, work.spread.axis)
        pairs = Pairs(
            batch.x, negatives, batch.scale, jnp.zeros(shape, batch.scale.dtype), own, others
        )
        return reduce_everywhere(Plan(LOG_SUM_EXP, False, work.chunk_size), work.spread, pairs)[0]
    counts = (others != own[:, None]) & (own[:, None] != LEFT_OUT)
    kept = jnp.where(counts[..., None], negatives, 0)  # what is left out may hold anything
    products = jnp.einsum("nd,nkd->nk", batch.x, kept, preferred_element_type=batch.scale.dtype)
    return log_sum_exp(batch.scale * products, counts.astype(products.dtype))
