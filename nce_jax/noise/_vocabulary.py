"""Noise over the words of a vocabulary, drawn in constant time whatever their number."""

from collections.abc import Sequence
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_not_record, check_positive_int
from nce_jax._ranges import saturated
from nce_jax._types import Array, ArrayLike, PRNGKeyArray, Real
from nce_jax.noise._alias import alias_table

_NUM_PIECES = 4096
"""Number of pieces of equal log mass into which `log_uniform` divides its range, so that float32
distinguishes the rarest words."""


def categorical(
    probabilities: Real[ArrayLike, " num_words"] | Sequence[int | float],
) -> distrax.Distribution:
    r"""Noise over words with given probabilities, drawn by the alias method.

    .. math:: q(k) = \frac{p_k}{\sum_l p_l}

    with p given by `probabilities`, which need not be normalized. A draw looks up one of V cells
    and compares one random integer with its threshold. It takes constant time, where
    `distrax.Categorical` needs V random numbers. The table is built on the host, in float64, in
    time proportional to V: about a second for a million words. Words of probability zero are never
    drawn.

    Args:
      probabilities: weights >= 0 of the V words, (V,), as an array that is not traced.

    Returns:
      A distrax distribution over int32 ids 0 .. V - 1, with event shape (). `log_prob(ids)` is a
      look-up; it is -inf for ids that are not words.

    Raises:
      TypeError: `probabilities` are not numbers.
      ValueError: they are not (V,), one is negative or not finite, or all are zero.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> words = noise.categorical([0.5, 0.0, 0.25, 0.25])
      >>> with jnp.printoptions(precision=4):
      ...     print(words.log_prob(jnp.array([0, 1, 2])))
      [-0.6931    -inf -1.3863]
      >>> noise_ids = words.sample(seed=jax.random.key(0), sample_shape=10_000)
      >>> bool((noise_ids == 1).any())
      False

    References:
      Vose, A linear algorithm for generating random numbers with a given distribution, 1991.
    """
    return AliasCategorical(_as_table("probabilities", probabilities))


def unigram(
    counts: Real[ArrayLike, " num_words"] | Sequence[int | float], *, power: float = 0.75
) -> distrax.Distribution:
    r"""Noise in proportion to a power of the word counts.

    .. math:: q(k) = \frac{c_k^a}{\sum_l c_l^a}

    with c given by `counts` and a = `power`. With a = 1 it is the unigram distribution of the data,
    with a = 0 it is uniform over the words that occur, and a = 3/4 performed best in word2vec. A
    negative a draws rare words more often, as recommender systems do. NCE
    needs q > 0 wherever there are data: every word that can be a target must have a count of at
    least one.

    Args:
      counts: occurrences of the V words, (V,), on the host; words of count zero are never drawn.
      power: a, a plain number; below zero every count has to be positive.

    Returns:
      A distrax distribution over int32 ids 0 .. V - 1, as `categorical` returns it.

    Raises:
      TypeError: `counts` or `power` are not numbers.
      ValueError: `counts` are not (V,), one is negative or not finite, or all are zero; `power` is
        not finite; or it is negative and a count is zero.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> words = noise.unigram([81, 16, 0, 1])
      >>> with jnp.printoptions(precision=4):
      ...     print(jnp.exp(words.log_prob(jnp.arange(4))))
      [0.75   0.2222 0.     0.0278]

    References:
      Mikolov et al., Distributed representations of words and phrases and their compositionality,
        2013, section 2.2.
    """
    counts = _as_table("counts", counts)
    if isinstance(power, bool) or not isinstance(power, int | float | np.number):
        raise TypeError(f"power: expected a number, got {power!r}")
    if not -np.inf < power < np.inf:
        raise ValueError(f"power: expected a finite number, got {power}")
    is_drawn = counts > 0
    if power < 0 and not is_drawn.all():
        raise ValueError(
            f"counts: expected positive counts with a negative power, got {np.sum(~is_drawn)} of"
            f" {counts.size} that are zero, whose probability would be infinite; leave these words"
            " out, or add one to all counts"
        )
    # Relative to the most frequent draw, since the power of a count itself could overflow.
    log_counts = power * np.log(np.where(is_drawn, counts, 1))
    largest = log_counts[is_drawn].max()
    return AliasCategorical(np.where(is_drawn, np.exp(log_counts - largest), 0))


def log_uniform(num_words: int) -> distrax.Distribution:
    r"""Noise close to Zipf's law, without a table, for a vocabulary sorted from frequent to rare.

    .. math:: q(k) = \frac{\log\frac{k + 2}{k + 1}}{\log(V + 1)}, \qquad k = 0, \dots, V - 1

    with V = `num_words`. A draw inverts the distribution function,
    :math:`k + 1 = \lfloor (V + 1)^u \rfloor` for a uniform u. The range of u is divided into 4,096
    pieces, because in a single piece float32 could not distinguish the rare words of a large
    vocabulary.

    Args:
      num_words: V.

    Returns:
      A distrax distribution over int32 ids 0 .. V - 1, with event shape (). `log_prob(ids)` is -inf
      for ids that are not words.

    Raises:
      TypeError: `num_words` is not an integer.
      ValueError: it is less than one, or does not fit an int32.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> words = noise.log_uniform(3)
      >>> with jnp.printoptions(precision=4):
      ...     print(jnp.exp(words.log_prob(jnp.arange(4))))
      [0.5    0.2925 0.2075 0.    ]
    """
    check_positive_int("num_words", num_words)
    if num_words > np.iinfo(np.int32).max - 1:
        raise ValueError(f"num_words: expected ids that fit an int32, got {num_words}")
    return LogUniform(int(num_words))


class _Words(distrax.Distribution):
    """Base class of distributions over ids, which are scalars."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        return ()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return ()


class AliasCategorical(_Words):
    """A distribution given by the probabilities of its words, drawn by the alias method."""

    def __init__(self, weights: np.ndarray) -> None:
        """Builds the alias table of checked weights (V,), float64."""
        super().__init__()
        weights = weights / weights.max()  # their sum may overflow
        probabilities = weights / weights.sum()
        thresholds, aliases = alias_table(probabilities)
        with np.errstate(divide="ignore"):
            self._log_probabilities = jnp.asarray(np.log(probabilities), jnp.float32)
        self._thresholds, self._aliases = jnp.asarray(thresholds), jnp.asarray(aliases)

    def _sample_n(self, key: PRNGKeyArray, n: int) -> Array:
        key_cell, key_bits = jax.random.split(key)
        cells = jax.random.randint(key_cell, (n,), 0, self._aliases.shape[0], dtype=jnp.int32)
        is_below = jax.random.bits(key_bits, (n,), jnp.uint32) < self._thresholds[cells]
        return jnp.where(is_below, cells, self._aliases[cells])

    def log_prob(self, value: Any) -> Array:
        """Returns the natural logarithm of q at ids of any shape."""
        return self._log_probabilities.at[_ids(value)].get(
            mode="fill", fill_value=-jnp.inf, wrap_negative_indices=False
        )


class LogUniform(_Words):
    """The log-uniform distribution over 0 .. num_words - 1."""

    def __init__(self, num_words: int) -> None:
        """Tabulates the edges of the pieces for a checked number of words."""
        super().__init__()
        self._num_words = num_words
        edges = (num_words + 1.0) ** (np.arange(_NUM_PIECES) / _NUM_PIECES)
        # Integer and fraction are stored separately: float32 has no bits for the fraction of a
        # large id.
        self._whole = jnp.asarray(np.floor(edges), jnp.int32)
        self._fraction = jnp.asarray(edges - np.floor(edges), jnp.float32)
        self._edges = jnp.asarray(edges, jnp.float32)

    def _sample_n(self, key: PRNGKeyArray, n: int) -> Array:
        key_piece, key_within = jax.random.split(key)
        piece = jax.random.randint(key_piece, (n,), 0, _NUM_PIECES, dtype=jnp.int32)
        within = jax.random.uniform(key_within, (n,), jnp.float32)
        beyond = self._edges[piece] * jnp.expm1(
            within * (np.log(self._num_words + 1.0) / _NUM_PIECES)
        )
        ids = self._whole[piece] + jnp.floor(self._fraction[piece] + beyond).astype(jnp.int32) - 1
        return jnp.minimum(ids, self._num_words - 1)  # rounding can exceed the last id by one

    def log_prob(self, value: Any) -> Array:
        """Returns the natural logarithm of q at ids of any shape."""
        ids = _ids(value)
        is_word = (ids >= 0) & (ids < self._num_words)
        mass = jnp.log1p(1 / (jnp.where(is_word, ids, 0).astype(jnp.float32) + 1))
        return jnp.where(
            is_word, jnp.log(mass / np.float32(np.log(self._num_words + 1.0))), -jnp.inf
        )


def _ids(value: Any) -> Array:
    ids = jnp.asarray(saturated(value))
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"value: expected integer ids, got dtype {ids.dtype}")
    # Ids of one byte cannot be compared with a large number of words.
    return ids.astype(jnp.promote_types(ids.dtype, jnp.int32))


def _as_table(name: str, values: Any) -> np.ndarray:
    """Returns weights (V,) in float64 on the host, where their values can be checked."""
    if isinstance(values, jax.core.Tracer):
        raise TypeError(
            f"{name}: expected values known on the host, where the table is built, got a traced"
            " array"
        )
    check_not_record(name, values, "an array of one number per word")
    values = np.asarray(values)
    if values.dtype.kind not in "iufb" and not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name}: expected numbers, got dtype {values.dtype}")
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"{name}: expected one number per word, shape (V,), got shape {values.shape}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any() or values.max() == 0:
        raise ValueError(
            f"{name}: expected finite numbers >= 0, not all zero, got {values.min()} to"
            f" {values.max()}"
        )
    return values
