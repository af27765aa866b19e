"""Checked batches of tokens and sampled words, their scores, and sums over the sampled words."""

import functools
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from nce_jax._checks import as_array, as_weights, check_positive_int, compute_dtype, describe
from nce_jax._dtypes import result_dtype
from nce_jax._numerics import mask_terms
from nce_jax.losses._pairs.embeddings import as_ids, as_matrix, as_numbers
from nce_jax.losses._pairs.sums import IGNORED_ID, Pairs, Plan, Reduction, reduce_pairs

AccidentalHits = Literal["keep", "exclude"]


class Table(NamedTuple):
    """The output layer: an embedding (V, dim), and a bias (V,) or None."""

    embedding: jax.Array
    bias: jax.Array | None


class Tokens(NamedTuple):
    """A checked batch: tokens of weight zero have a zero hidden state and word 0 as target.

    Attributes:
      hidden: (n, dim), floating.
      targets: int32, (n,).
      table: the output layer.
      weights: (n,) or None.
      dtype: the dtype of the computation.
    """

    hidden: jax.Array
    targets: jax.Array
    table: Table
    weights: jax.Array | None
    dtype: Any

    def scores(self) -> jax.Array:
        """The scores of the targets, (n,)."""
        rows, bias = gather_words(self.table, self.targets, self.dtype)
        return jnp.sum(self.hidden.astype(self.dtype) * rows.astype(self.dtype), axis=-1) + bias

    def mask(self, values: jax.Array) -> jax.Array:
        """The values, one per token, set to zero where the weight is zero."""
        return mask_terms(values, self.weights)


class Words(NamedTuple):
    """A checked batch of sampled words.

    Attributes:
      ids: (K,), shared by all tokens, or (n, K).
      log_noise: log noise probabilities, in the shape of `ids`.
      exclude_hits: whether words that are the target of their token are ignored.
    """

    ids: jax.Array
    log_noise: jax.Array
    exclude_hits: bool

    @property
    def num_words(self) -> int:
        """K, the number of sampled words per token."""
        return self.ids.shape[-1]


def as_tokens(hidden: Any, targets: Any, embedding: Any, bias: Any, weights: Any) -> Tokens:
    """Checks hidden states (n, dim), targets (n,), the output layer, and weights of the tokens."""
    hidden = as_matrix("hidden", hidden)
    table = as_table(hidden, embedding, bias)
    dtype = compute_dtype(hidden, table.embedding)
    targets = _as_integers("targets", targets, (hidden.shape[0],))
    weights = as_weights("weights", weights, hidden[:, 0].astype(dtype))
    if weights is not None:
        hidden = jnp.where(weights[:, None] == 0, 0, hidden)
        targets = jnp.where(weights == 0, 0, targets)
    return Tokens(hidden, targets, table, weights, dtype)


def as_table(hidden: jax.Array, embedding: Any, bias: Any) -> Table:
    """Checks an embedding (V, dim) that fits the hidden states, and a bias (V,) or None."""
    embedding = as_matrix("embedding", embedding)
    if embedding.shape[1] != hidden.shape[1]:
        expected = f"the {hidden.shape[1]} dimensions of hidden"
        raise ValueError(
            f"embedding: expected {expected}, shape (V, {hidden.shape[1]}), got shape"
            f" {embedding.shape}"
        )
    if bias is not None:
        bias = jnp.asarray(as_array("bias", bias, "an array of one number per word"))
        if bias.shape != embedding.shape[:1]:
            raise ValueError(
                f"bias: expected one per word, shape {embedding.shape[:1]}, got shape {bias.shape}"
            )
    return Table(embedding, bias)


def as_words(tokens: Tokens, noise_ids: Any, log_noise_ids: Any, accidental_hits: Any) -> Words:
    """Checks the ids of sampled words, (K,) or (n, K), and their log noise probabilities."""
    options = get_args(AccidentalHits)
    if not isinstance(accidental_hits, str) or accidental_hits not in options:
        got = describe(accidental_hits)
        raise ValueError(f"accidental_hits: expected one of {options}, got {got}")
    noise_ids = as_array("noise_ids", noise_ids, "an array of integers")
    shape, n = noise_ids.shape, tokens.hidden.shape[0]
    if len(shape) not in (1, 2) or 0 in shape or (len(shape) == 2 and shape[0] != n):
        raise ValueError(f"noise_ids: expected shape (K,) or ({n}, K), got shape {shape}")
    ids = _as_integers("noise_ids", noise_ids, shape)
    log_noise = as_numbers("log_noise_ids", log_noise_ids, shape, tokens.dtype)
    if tokens.weights is not None and ids.ndim == 2:
        ids, log_noise = (
            jnp.where(tokens.weights[:, None] == 0, 0, leaf) for leaf in (ids, log_noise)
        )
    return Words(ids, log_noise, accidental_hits == "exclude")


def _as_integers(name: str, ids: Any, shape: tuple[int, ...]) -> jax.Array:
    if ids is None:
        raise TypeError(f"{name}: expected integers of shape {shape}, got None")
    # An id beyond int32 is outside of the vocabulary; wrapped around it could become a word.
    return jnp.clip(as_ids(name, ids, shape), -1, jnp.iinfo(jnp.int32).max).astype(jnp.int32)


def gather_words(table: Table, ids: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Rows and biases of words, and NaN for ids outside of the vocabulary."""

    def gather(leaf: jax.Array) -> jax.Array:
        return leaf.at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)

    bias = jnp.zeros(ids.shape, dtype) if table.bias is None else gather(table.bias).astype(dtype)
    return gather(table.embedding), bias


def sum_words(
    reduction: Reduction, tokens: Tokens, words: Words, shift: jax.Array, chunk_size: int | None
) -> jax.Array:
    """Sums over the words, (n,), of the reduced logits score - log_noise - shift.

    `shift` is a number or one number per token.
    """
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)
    if words.ids.ndim == 1 and shift.ndim == 0:
        return _sum_shared(reduction, tokens, words, shift, chunk_size)
    return _sum_in_blocks(reduction, tokens, words, shift, chunk_size)


def _sum_shared(
    reduction: Reduction, tokens: Tokens, words: Words, shift: jax.Array, chunk_size
) -> jax.Array:
    rows, bias = gather_words(tokens.table, words.ids, tokens.dtype)
    vector_dtype = result_dtype(tokens.hidden, rows)
    target_ids, word_ids = tokens.targets, words.ids
    if not words.exclude_hits:  # ids that are never equal count every word
        target_ids, word_ids = jnp.zeros_like(target_ids), jnp.ones_like(word_ids)
    if tokens.weights is not None:
        target_ids = jnp.where(tokens.weights == 0, IGNORED_ID, target_ids)
    pairs = Pairs(
        x=tokens.hidden.astype(vector_dtype),
        y=rows.astype(vector_dtype),
        scale=jnp.ones((), tokens.dtype),
        offset=bias - words.log_noise - shift,
        ids_x=target_ids,
        ids_y=word_ids,
    )
    return reduce_pairs(Plan(reduction, chunk_size=chunk_size), pairs)[0]


def _sum_in_blocks(
    reduction: Reduction, tokens: Tokens, words: Words, shift: jax.Array, chunk_size
) -> jax.Array:
    """The sums where logits are not of the form of `Pairs`, in blocks of the K words.

    The words of a block are gathered once for the value and once more for the derivative.
    """
    size = words.num_words if chunk_size is None else min(chunk_size, words.num_words)
    total = functools.partial(_block_total, reduction, tokens, words.exclude_hits, shift)
    blocks = _split(words.ids, size, IGNORED_ID), _split(words.log_noise, size, 0)
    if len(blocks[0]) == 1:
        return total(*(leaf[0] for leaf in blocks))
    rematerialized = jax.checkpoint(total)
    start = jnp.full(tokens.targets.shape, reduction.empty, tokens.dtype)
    return jax.lax.scan(
        lambda sums, block: (reduction.join(sums, rematerialized(*block)), None), start, blocks
    )[0]


def _split(leaf: jax.Array, size: int, fill: Any) -> jax.Array:
    """Blocks of the last axis on a new first axis; the last block is padded with `fill`."""
    padding = [(0, 0)] * (leaf.ndim - 1) + [(0, -leaf.shape[-1] % size)]
    padded = jnp.pad(leaf, padding, constant_values=fill)
    return jnp.moveaxis(padded.reshape(*leaf.shape[:-1], -1, size), -2, 0)


def _block_total(
    reduction: Reduction, tokens: Tokens, exclude_hits: bool, shift, ids, log_noise
) -> jax.Array:
    is_word = ids != IGNORED_ID
    logits = word_scores(tokens, jnp.where(is_word, ids, 0)) - _align(log_noise, ids)
    logits = logits - (shift[:, None] if shift.ndim else shift)
    is_counted = _align(is_word, ids)
    if exclude_hits:
        is_counted = is_counted & (_align(ids, ids) != tokens.targets[:, None])
    # A logit of minus infinity adds nothing to either sum, and no gradient passes through `where`.
    return reduction.total(jnp.where(is_counted, logits, -jnp.inf), 1)


def word_scores(tokens: Tokens, ids: jax.Array) -> jax.Array:
    """The scores of words (K,) or (n, K) for every token, (n, K)."""
    rows, bias = gather_words(tokens.table, ids, tokens.dtype)
    subscripts = "nd,kd->nk" if ids.ndim == 1 else "nd,nkd->nk"
    products = jnp.einsum(subscripts, tokens.hidden, rows, preferred_element_type=tokens.dtype)
    return products + _align(bias, ids)


def _align(leaf: jax.Array, ids: jax.Array) -> jax.Array:
    """Adds an axis for the tokens to numbers of shared words."""
    return leaf[None, :] if ids.ndim == 1 else leaf
