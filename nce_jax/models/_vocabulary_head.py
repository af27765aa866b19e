"""The output layer of a language model."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_positive_int, compute_dtype
from nce_jax._types import Array, Float, Real
from nce_jax.models._checks import check_inputs


class VocabularyHead(nnx.Module):
    """One row and one bias per word: scores of all words for evaluation, the table itself for training by samples.

    phi(w | h) = <h, E_w> + b_w, with h of `hidden` and E and b the parameters `embedding`, (V, dim), and `bias`, (V,).
    Called, the layer computes all V scores of every token, whose softmax is the model. Training by `vocabulary_nce_loss` or
    `sampled_softmax_loss` needs the scores of a few words only, and takes the table by name: `**head.table()`, or, under
    `jax.grad`, any dictionary of the same form; so do `full_softmax_loss`, `perplexity` and `self_normalisation`, which
    need not store all scores.

    b starts at -log V and E with variance 1/dim, so that the log partition of every context starts near zero, not near
    log V: where it is fixed at zero in training, there is less to unlearn.

    Args:
        num_words: V, the size of the vocabulary.
        dim: number of dimensions of a hidden state.
        use_bias: False leaves b out.
        param_dtype: dtype of the parameters.
        rngs: random streams of flax, for the initial E.

    Raises:
        TypeError: `num_words` or `dim` is not an integer.
        ValueError: one of them is less than one; when called: `hidden` is not (n, dim).

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import nce_jax
        >>> from flax import nnx
        >>> from nce_jax import models
        >>> head = models.VocabularyHead(1000, 16, rngs=nnx.Rngs(jax.random.key(0)))
        >>> hidden, targets = jax.random.normal(jax.random.key(1), (4, 16)), jnp.array([1, 10, 100, 999])
        >>> head(hidden).shape
        (4, 1000)
        >>> print(f"log Z {nce_jax.self_normalisation(hidden, **head.table()).mean:.4f}")
        log Z 0.5960
        >>> words = nce_jax.noise.log_uniform(1000)
        >>> noise_ids, log_q = words.sample_and_log_prob(seed=jax.random.key(2), sample_shape=64)
        >>> noise = {"log_noise_targets": words.log_prob(targets), "log_noise_ids": log_q}
        >>> loss = lambda table: nce_jax.vocabulary_nce_loss(hidden, targets, noise_ids, **table, **noise)
        >>> jax.tree.map(jnp.shape, jax.grad(loss)(head.table()))
        {'bias': (1000,), 'embedding': (1000, 16)}

    References:
        Mnih and Teh, "A fast and simple algorithm for training neural probabilistic language models", 2012.
        Devlin et al., "Fast and robust neural network joint models for statistical machine translation", 2014
        (the start at -log V).
    """

    def __init__(
        self,
        num_words: int,
        dim: int,
        *,
        use_bias: bool = True,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        check_positive_int("num_words", num_words)
        check_positive_int("dim", dim)
        self.num_words, self.dim = num_words, dim
        initial = nnx.initializers.normal(dim**-0.5)
        self.embedding = nnx.Param(initial(rngs.params(), (num_words, dim), param_dtype))
        bias = jnp.full(num_words, -jnp.log(jnp.asarray(num_words, param_dtype)), param_dtype)
        self.bias = nnx.Param(bias) if use_bias else None

    def __call__(self, hidden: Real[Array, "n dim"]) -> Float[Array, "n num_words"]:
        """Returns the scores of all words, float32 or wider: for evaluation, where n V of them fit."""
        check_inputs(hidden, dim=self.dim)
        table = self.table()
        dtype = compute_dtype(hidden, *table.values())
        scores = jnp.matmul(hidden, table["embedding"].T, preferred_element_type=dtype)
        return scores + table["bias"].astype(dtype)[None, :] if "bias" in table else scores

    def table(self) -> dict[str, Any]:
        """Returns the arrays by the names that the losses have for them: `embedding` and, where there is one, `bias`."""
        table = {"embedding": self.embedding[...]}
        return table if self.bias is None else {**table, "bias": self.bias[...]}
