"""Several positives per anchor: which pairs they are, and sums over them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_array, check_not_record, describe
from nce_jax._numerics import softplus
from nce_jax.losses._pairs.embeddings import Embeddings, as_ids
from nce_jax.losses._pairs.sharded import reduce_pairs_over_devices
from nce_jax.losses._pairs.sums import (
    COUNT,
    LINEAR_SUM,
    LOG_SUM_EXP,
    SOFTPLUS_SUM,
    Kind,
    Pairs,
    Plan,
    Reduction,
)


class Positives(NamedTuple):
    """Which pairs of a batch are positive, by labels or by a matrix.

    Attributes:
      labels: (n,); with a matrix, the number of its column.
      matrix: (n, n) Booleans, or None.
    """

    labels: jax.Array
    matrix: jax.Array | None

    def mark(self, pairs: Pairs) -> Pairs:
        """The same pairs with labels, or with the matrix."""
        labels, matrix = self
        return pairs._replace(labels_x=labels, labels_y=labels, positives=matrix)


def as_positives(labels: Any, positives: Any, num_samples: int) -> Positives | None:
    """Returns the positives that labels or a matrix of Booleans give; None if neither is given."""
    matrix = None if positives is None else _as_matrix_of_pairs(positives, num_samples)
    if labels is not None:
        labels = as_ids("labels", labels, (num_samples,))
        if matrix is not None:
            raise ValueError("positives: expected None with labels, got an array")
        return Positives(labels, None)
    return None if matrix is None else Positives(jnp.arange(num_samples), matrix)


def _as_matrix_of_pairs(positives: Any, num_samples: int) -> jax.Array:
    expected = f"Booleans of shape ({num_samples}, {num_samples})"
    check_not_record("positives", positives, expected)
    matrix = jnp.asarray(as_array("positives", positives, expected))
    if matrix.dtype != bool:
        cure = "; .astype(bool) converts it"
        raise TypeError(f"positives: expected {expected}, got {describe(matrix)}{cure}")
    if matrix.shape != (num_samples, num_samples):
        raise ValueError(f"positives: expected {expected}, got shape {matrix.shape}")
    return matrix


def sum_of_kind(batch: Embeddings, reduction: Reduction, kind: Kind, pairs: Pairs) -> jax.Array:
    """The sum over the positive or over the negative pairs of every anchor, (n,)."""
    plan = Plan(reduction, chunk_size=batch.chunk_size, kind=kind)
    return reduce_pairs_over_devices(plan, batch.devices, pairs)[0]


def count_positives(batch: Embeddings, pairs: Pairs) -> jax.Array:
    """The number of positive pairs of every anchor, (n,), in the dtype of the computation."""
    x, y = (jnp.zeros((vectors.shape[0], 1), vectors.dtype) for vectors in (pairs.x, pairs.y))
    return sum_of_kind(batch, COUNT, "positives", pairs._replace(x=x, y=y, row_offset=None))


def log_ratio_terms(
    batch: Embeddings, pairs: Pairs, log_magnification: jax.Array, form: str
) -> tuple[jax.Array, jax.Array]:
    """The terms of `supervised_contrastive_loss`, zero without positives, and whether there are."""
    count = count_positives(batch, pairs)
    has_positives = count > 0
    count = jnp.where(has_positives, count, 1)
    log_negatives = log_magnification + sum_of_kind(batch, LOG_SUM_EXP, "negatives", pairs)
    # Minus the logit of a positive, plus the log of its denominator: both are taken together for
    # every pair, since they may be large and close to each other.
    minus = pairs._replace(scale=-pairs.scale, offset=-pairs.offset)
    if form == "separate":
        minus = minus._replace(row_offset=log_negatives)
        terms = sum_of_kind(batch, SOFTPLUS_SUM, "positives", minus) / count
        return terms, has_positives
    log_positives = sum_of_kind(batch, LOG_SUM_EXP, "positives", pairs)
    log_positives = jnp.where(has_positives, log_positives, 0)
    terms = softplus(log_negatives - log_positives)
    if form == "in":
        terms = terms + jnp.log(count)
    else:
        minus = minus._replace(row_offset=log_positives)
        terms = terms + sum_of_kind(batch, LINEAR_SUM, "positives", minus) / count
    return jnp.where(has_positives, terms, 0), has_positives
