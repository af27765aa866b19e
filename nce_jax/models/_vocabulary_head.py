"""The output layer of a language model."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_positive_int, compute_dtype
from nce_jax._types import Array, ArrayLike, Float, Real
from nce_jax.models._checks import check_inputs


class VocabularyHead(nnx.Module):
    """The output layer of a language model, with one embedding and one bias per word.

    phi(w | h) = <h, E_w> + b_w, with the hidden state h and the parameters E, `embedding`, (V,
    dim), and b, `bias`, (V,). A call of the layer computes all V scores of every token, whose
    softmax is the model. Training by `vocabulary_nce_loss` or `sampled_softmax_loss` needs the
    scores of a few words only. These losses take the parameters as keyword arguments,
    `**head.table()`, or, under `jax.grad`, any dictionary of the same form. So do
    `full_softmax_loss`, `perplexity` and `self_normalization`, which do not store all scores.

    The initial E has variance 1/dim, and the initial b is -log V, or `initial_bias`, so that the
    log partition of every context starts near zero and not near log V. This is a good start for
    training in which the log partition is fixed at zero. As `initial_bias`, the log frequencies of
    the words are better still: the scores then start near the log probabilities of unigram noise,
    and NCE need not first learn the frequencies, which is most of what it learns in the beginning.

    Args:
      num_words: V, the size of the vocabulary.
      dim: number of dimensions of a hidden state.
      use_bias: whether the layer has a bias.
      initial_bias: initial b, (V,), such as `noise.unigram(counts, power=1).log_prob(ids)`; None
        means -log V.
      param_dtype: dtype of the parameters.
      rngs: random streams of flax, for the initial E.

    Raises:
      TypeError: `num_words` or `dim` is not an integer.
      ValueError: one of them is less than one; `initial_bias` is not (V,), or given without a bias;
        when called: `hidden` is not (n, dim).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> from flax import nnx
      >>> from nce_jax import models
      >>> head = models.VocabularyHead(1000, 16, rngs=nnx.Rngs(jax.random.key(0)))
      >>> hidden = jax.random.normal(jax.random.key(1), (4, 16))
      >>> targets = jnp.array([1, 10, 100, 999])
      >>> head(hidden).shape
      (4, 1000)
      >>> print(f"log Z {nce_jax.diagnostics.self_normalization(hidden, **head.table()).mean:.4f}")
      log Z 0.5960
      >>> words = nce_jax.noise.log_uniform(1000)
      >>> noise_ids, log_q = words.sample_and_log_prob(seed=jax.random.key(2), sample_shape=64)
      >>> noise = {"log_noise_targets": words.log_prob(targets), "log_noise_ids": log_q}
      >>> loss = lambda table: nce_jax.losses.vocabulary_nce_loss(
      ...     hidden, targets, noise_ids, **table, **noise
      ... )
      >>> jax.tree.map(jnp.shape, jax.grad(loss)(head.table()))
      {'bias': (1000,), 'embedding': (1000, 16)}

    References:
      Mnih and Teh, A fast and simple algorithm for training neural probabilistic language models,
        2012.
      Devlin et al., Fast and robust neural network joint models for statistical machine
        translation, 2014 (the start at -log V).
    """

    def __init__(
        self,
        num_words: int,
        dim: int,
        *,
        use_bias: bool = True,
        initial_bias: Real[ArrayLike, " num_words"] | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        check_positive_int("num_words", num_words)
        check_positive_int("dim", dim)
        self.num_words, self.dim = num_words, dim
        initial = nnx.initializers.normal(dim**-0.5)
        self.embedding = nnx.Param(initial(rngs.params(), (num_words, dim), param_dtype))
        if initial_bias is not None and not use_bias:
            raise ValueError("initial_bias: expected None where use_bias is False, got an array")
        self.bias = (
            nnx.Param(_initial_bias(num_words, initial_bias, param_dtype)) if use_bias else None
        )

    def __call__(self, hidden: Real[Array, "n dim"]) -> Float[Array, "n num_words"]:
        """Returns the scores of all words, float32 or wider, which need memory for n V numbers."""
        check_inputs(hidden, dim=self.dim, name="hidden")
        table = self.table()
        dtype = compute_dtype(hidden, *table.values())
        scores = jnp.matmul(hidden, table["embedding"].T, preferred_element_type=dtype)
        return scores + table["bias"].astype(dtype)[None, :] if "bias" in table else scores

    def table(self) -> dict[str, Any]:
        """Returns the parameters by the names of the losses' arguments: `embedding` and `bias`."""
        table = {"embedding": self.embedding[...]}
        return table if self.bias is None else {**table, "bias": self.bias[...]}


def _initial_bias(num_words: int, initial_bias: Any, dtype: DTypeLike) -> Array:
    if initial_bias is None:
        return jnp.full(num_words, -jnp.log(jnp.asarray(num_words, dtype)), dtype)
    if jnp.shape(initial_bias) != (num_words,):
        raise ValueError(
            f"initial_bias: expected shape ({num_words},), got shape {jnp.shape(initial_bias)}"
        )
    return jnp.array(initial_bias, dtype)
