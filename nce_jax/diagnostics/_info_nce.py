"""Mutual information from InfoNCE, with the ceiling that its estimates cannot exceed."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_samples, as_weights, check_positive, compute_dtype
from nce_jax._eager import SampleSet, one_program
from nce_jax._numerics import expand, jackknife_variance, total_weight, weighted_mean
from nce_jax._types import Array, ArrayLike, Float, Real, Weights


class InfoNCEBound(NamedTuple):
    """A lower bound on mutual information; every field has the batch shape.

    Attributes:
      value: the bound, in nats; negative where the scores are worse than constant ones.
      ceiling: the largest possible value, the mean log of the number of candidates. A value near
        the ceiling says only that the mutual information is at least about as large; use more
        candidates.
      standard_error: standard error of the value, in nats, for independent anchors; inf with a
        single one. In-batch negatives are shared, so that anchors are not quite independent.
    """

    value: Float[Array, "*batch"]
    ceiling: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]


def info_nce_bound(
    loss_terms: Float[Array, "*batch n"],
    num_candidates: Real[ArrayLike, "..."],
    *,
    weights: Weights | None = None,
) -> InfoNCEBound:
    r"""A lower bound on mutual information from the terms of an InfoNCE loss.

    The bound is :math:`I(x; y) \ge \operatorname{mean}_i(\log K_i - \ell_i)`, with the terms
    :math:`\ell_i` and the number K_i of candidates among which the partner of anchor i is to be
    found: the partner itself and all negatives, drawn independently of the anchor. With in-batch
    negatives K is n, and a larger one is wrong, which the terms do not show. The bound is void for
    terms made with `ids` or `ids_negatives`, because negatives that were selected to differ from
    the anchor are not independent of it; terms at M below 1 (above 1 the bound is looser); terms of
    SigLIP or NT-Xent, which are other losses; scores that were fitted to the same samples; and
    `weights` that depend on the terms. Terms of `clip_loss_terms`, which are means over both
    directions, give the mean of two bounds.

    Args:
      loss_terms: what `info_nce_loss_terms`, `clip_loss_terms` or `ranking_nce_loss_terms` return
        at M = 1, (*batch, n), in nats.
      num_candidates: K, a number, or one per anchor.
      weights: weights >= 0 of the anchors, broadcastable to them.

    Returns:
      An `InfoNCEBound`.

    Raises:
      TypeError: terms that are not floating.
      ValueError: empty terms, or numbers of candidates that are known and not positive, or that do
        not fit the anchors.

    Examples:
      >>> import jax
      >>> import nce_jax
      >>> key_x, key_y = jax.random.split(jax.random.key(0))
      >>> x = jax.random.normal(key_x, (500, 1))
      >>> y = 0.9 * x + 0.19**0.5 * jax.random.normal(
      ...     key_y, (500, 1)
      ... )  # I = -log(0.19) / 2 = 0.8304
      >>> log_ratio = lambda x, y: (
      ...     (2 * 0.9 * x * y - 0.81 * (x**2 + y**2)) / (2 * 0.19)
      ... )  # and a constant, which cancels
      >>> s = log_ratio(x, y.T)
      >>> noise = s[~jax.numpy.eye(500, dtype=bool)].reshape(500, 499)
      >>> bound = nce_jax.diagnostics.info_nce_bound(
      ...     nce_jax.losses.ranking_nce_loss_terms(s.diagonal(), noise), 500
      ... )
      >>> print(f"{bound.value:.4f} +- {bound.standard_error:.4f}, at most {bound.ceiling:.4f}")
      0.8175 +- 0.0402, at most 6.2146

    References:
      van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding,
        2018, section 2.3.
      Poole et al., On variational bounds of mutual information, 2019 (the ceiling).
    """
    check_positive("num_candidates", num_candidates)
    _check_counts(num_candidates, np.shape(loss_terms))
    # One number per anchor is not padded: the terms of such a bound are few, as a rule.
    bound = _bound_of_one_count if np.ndim(num_candidates) == 0 else _bound
    return bound(loss_terms, num_candidates, weights)


def _check_counts(num_candidates: Any, shape: tuple[int, ...]) -> None:
    """Raises unless there is one number of candidates, or one per anchor."""
    given = np.shape(num_candidates)
    try:
        is_fit = np.broadcast_shapes(given, shape) == shape
    except ValueError:
        is_fit = False
    if not is_fit:
        raise ValueError(
            f"num_candidates: expected one number, or one per anchor, shape {shape}, got shape"
            f" {given}"
        )


def _bound(loss_terms: Any, num_candidates: Any, weights: Any) -> InfoNCEBound:
    terms = as_samples("loss_terms", loss_terms)
    terms = terms.astype(compute_dtype(terms))
    weights = as_weights("weights", weights, terms)
    candidates = jnp.asarray(num_candidates, terms.dtype)
    candidates = jnp.where((candidates > 0) & (candidates < jnp.inf), candidates, jnp.nan)
    log_candidates = jnp.broadcast_to(jnp.log(candidates), terms.shape)
    gains = log_candidates - terms
    gains = gains if weights is None else jnp.where(weights == 0, 0, gains)
    value = weighted_mean(gains, weights)
    shares = jnp.ones_like(gains) if weights is None else weights
    influence = shares / expand(total_weight(gains, weights)) * (gains - expand(value))
    variance = jackknife_variance(influence, weights, 1)
    return InfoNCEBound(value, weighted_mean(log_candidates, weights), jnp.sqrt(variance))


_bound_of_one_count = one_program(SampleSet("loss_terms", "weights"))(_bound)
