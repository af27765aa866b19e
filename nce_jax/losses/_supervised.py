"""Supervised contrastive losses, with several positives per anchor."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from nce_jax._checks import as_positive, describe
from nce_jax._eager import as_one_program
from nce_jax._types import Array, ArrayLike, Bool, Float, Integer, Scalars, Weights
from nce_jax.losses._pairs.embeddings import Embeddings, as_embeddings, as_numbers
from nce_jax.losses._pairs.positives import as_positives, log_ratio_terms
from nce_jax.losses._pairs.sharded import Sharded
from nce_jax.losses._pairs.sums import Pairs

SupervisedForm = Literal["out", "in", "separate"]


@as_one_program("form", "chunk_size", "devices")
def supervised_contrastive_loss(
    x: Float[Array, "n dim"],
    labels: Integer[ArrayLike, " n"] | None = None,
    *,
    positives: Bool[ArrayLike, "n n"] | None = None,
    form: SupervisedForm = "out",
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    log_noise: Float[ArrayLike, " n"] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, ""]:
    r"""Supervised contrastive loss, whose positives are all vectors with the label of the anchor.

    With P(i) the other vectors of the label of x_i and N(i) the vectors of other labels,

    .. math::

       s_{ij} = \langle x_i, x_j \rangle / \tau, \qquad
       S_i = \sum_{j \in P(i)} e^{s_{ij}}, \qquad N_i = M \sum_{j \in N(i)} e^{s_{ij}},

    the loss is the mean over anchors i of one of three terms, chosen by `form`:

    .. math::

       \text{out:} \quad & \frac{1}{|P(i)|} \sum_{p \in P(i)}
           -\log \frac{e^{s_{ip}}}{S_i + N_i}, \\
       \text{in:} \quad & -\log \frac{S_i / |P(i)|}{S_i + N_i}, \\
       \text{separate:} \quad & \frac{1}{|P(i)|} \sum_{p \in P(i)}
           -\log \frac{e^{s_{ip}}}{e^{s_{ip}} + N_i}.

    "out" and "in" are equations 2 and 3 of Khosla et al., who recommend "out". In "separate" each
    positive is compared with the negatives alone, as in NT-Xent with several positives. All three
    are `info_nce_loss` where each anchor has one positive. Anchors without a positive are left out
    of the mean. For the loss of Khosla et al. on two views of every image, pass the views as one
    batch, `jnp.concatenate([x, y])`, with the labels twice. For a mean over pairs instead of
    anchors, pass the number of positives of every anchor as its weight.

    Args:
      x: the vectors, (n, dim), as they are; divide them by their norms for cosines.
      labels: integers, (n,). Vectors of equal labels are positives of each other.
      positives: in place of labels, whether j is a positive of i, (n, n) Booleans. All other pairs
        are negatives; the diagonal has no meaning, since no vector is compared with itself.
      form: "out", "in" or "separate".
      temperature: divides the logits, a traced number.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      log_noise: log probability with which each vector enters a batch, (n,). It is subtracted from
        the logits of that vector, both as a positive and as a negative.
      ids: integers, (n,). Pairs of equal ids, such as copies, are neither positives nor negatives
        of each other. By default all vectors are different.
      weights: weights >= 0 of the anchors in the mean, (n,). A vector of weight zero is ignored,
        also as a positive and as a negative.
      chunk_size: columns per block; None stores the n^2 logits.
      devices: `Sharded(mesh)` splits the vectors over the devices of a mesh.

    Returns:
      The loss, a number in nats; float32 for inputs of lower precision. It is zero, with a gradient
      of zero, where no anchor has a positive.

    Raises:
      TypeError: vectors, labels, positives, weights, ids or devices of the wrong type, or neither
        labels nor positives.
      ValueError: mismatched shapes, plain numbers out of their range, an unknown form, or both
        labels and positives.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
      >>> labels = jnp.array([0, 0, 0, 1])
      >>> for form in ("out", "in", "separate"):
      ...     loss = nce_jax.losses.supervised_contrastive_loss(x, labels, form=form)
      ...     print(f"{loss:.4f}")
      1.0170
      1.0089
      0.5584

    References:
      Khosla et al., Supervised contrastive learning, 2020, eq. 2 ("out") and 3 ("in").
      Chen et al., A simple framework for contrastive learning of visual representations, 2020, eq.
        1 ("separate", for one positive).
    """
    batch = as_embeddings(x, x, temperature, ids, weights, chunk_size, devices)
    terms, has_positives = _terms(batch, labels, positives, form, magnification, log_noise)
    return batch.mean(terms, has_positives)


@as_one_program("form", "chunk_size", "devices")
def supervised_contrastive_loss_terms(
    x: Float[Array, "n dim"],
    labels: Integer[ArrayLike, " n"] | None = None,
    *,
    positives: Bool[ArrayLike, "n n"] | None = None,
    form: SupervisedForm = "out",
    temperature: Scalars = 1.0,
    magnification: Scalars = 1.0,
    log_noise: Float[ArrayLike, " n"] | None = None,
    ids: Integer[ArrayLike, " n"] | None = None,
    weights: Weights | None = None,
    chunk_size: int | None = None,
    devices: Sharded | None = None,
) -> Float[Array, " n"]:
    """Per-anchor terms of `supervised_contrastive_loss`.

    The loss is their (weighted) mean over the anchors that have a positive.

    Args:
      x: the vectors, (n, dim).
      labels: integers, (n,). Vectors of equal labels are positives of each other.
      positives: in place of labels, whether j is a positive of i, (n, n) Booleans.
      form: "out", "in" or "separate".
      temperature: divides the logits, a traced number.
      magnification: M > 0, virtual copies of the negatives, a traced number.
      log_noise: log probability of each vector, (n,), subtracted from its logits.
      ids: integers, (n,); pairs of equal ids are neither positives nor negatives.
      weights: weights >= 0, (n,). A vector of weight zero is ignored, and its term is zero.
      chunk_size: columns per block; None stores the n^2 logits.
      devices: `Sharded(mesh)` splits the vectors over the devices of a mesh.

    Returns:
      The terms, (n,), in nats; zero for an anchor without a positive.

    Raises:
      TypeError: vectors, labels, positives, weights, ids or devices of the wrong type, or neither
        labels nor positives.
      ValueError: mismatched shapes, plain numbers out of their range, an unknown form, or both
        labels and positives.

    Examples:
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> x = jnp.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
      >>> with jnp.printoptions(precision=4):
      ...     print(nce_jax.losses.supervised_contrastive_loss_terms(x, jnp.array([0, 0, 0, 1])))
      [0.9189 1.016  1.116  0.    ]

    References:
      Khosla et al., Supervised contrastive learning, 2020, eq. 2 and 3.
    """
    batch = as_embeddings(x, x, temperature, ids, weights, chunk_size, devices)
    terms, _ = _terms(batch, labels, positives, form, magnification, log_noise)
    return batch.mask(terms)


def _terms(
    batch: Embeddings, labels: Any, positives: Any, form: Any, magnification: Any, log_noise: Any
) -> tuple[jax.Array, jax.Array]:
    """The terms, and which anchors have a positive."""
    marked = as_positives(labels, positives, batch.x.shape[0])
    if marked is None:
        raise TypeError("labels: expected an array of integers, got None; or pass positives")
    if not isinstance(form, str) or form not in get_args(SupervisedForm):
        got = repr(form) if isinstance(form, str) else describe(form)
        raise ValueError(f"form: expected one of {get_args(SupervisedForm)}, got {got}")
    offset = jnp.zeros(batch.x.shape[0], batch.scale.dtype)
    if log_noise is not None:
        offset = -batch.mask(as_numbers("log_noise", log_noise, offset.shape, offset.dtype))
    log_magnification = jnp.log(as_positive("magnification", magnification, offset))
    pairs = marked.mark(Pairs(batch.x, batch.y, batch.scale, offset, batch.ids, batch.ids))
    return log_ratio_terms(batch, pairs, log_magnification, form)
