"""Perplexity and self-normalization by the whole vocabulary, and the layer whose arrays they
take.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import nce_jax
from nce_jax import models

N, V, DIM = 6, 13, 4


@pytest.fixture
def layer():
    return models.VocabularyHead(V, DIM, rngs=nnx.Rngs(jax.random.key(0)))


@pytest.fixture
def hidden():
    return jax.random.normal(jax.random.key(1), (N, DIM))


TARGETS = jnp.array([0, 12, 3, 3, 7, 1])
WEIGHTS = jnp.array([1, 0, 2, 1, 1, 0.5])


def test_scores_and_table(layer, hidden):
    scores = layer(hidden)
    assert (scores.shape, scores.dtype) == ((N, V), jnp.float32)
    table = layer.table()
    np.testing.assert_allclose(
        scores, hidden @ table["embedding"].T + table["bias"][None, :], rtol=1e-6
    )
    np.testing.assert_allclose(table["bias"], -np.log(V), rtol=1e-6)
    plain = models.VocabularyHead(
        V, DIM, use_bias=False, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(jax.random.key(0))
    )
    assert plain.table().keys() == {"embedding"}
    assert plain(hidden.astype(jnp.bfloat16)).dtype == jnp.float32


def test_training_and_evaluation_are_of_one_layer(layer, hidden):
    """Gradients come back as those of the layer's variables; the full softmax is that of the
    scores.
    """
    graphdef, params = nnx.split(layer, nnx.Param)

    def loss(params):
        table = nnx.merge(graphdef, params).table()
        return nce_jax.losses.full_softmax_loss(hidden, TARGETS, **table, chunk_size=5)

    value, slope = jax.jit(jax.value_and_grad(loss))(params)
    log_p = jax.nn.log_softmax(layer(hidden), axis=-1)
    np.testing.assert_allclose(value, -jnp.mean(log_p[jnp.arange(N), TARGETS]), rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(slope["bias"][...]), 0, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [4, 4096])
def test_perplexity_and_self_normalization(layer, hidden, chunk_size):
    scores = np.asarray(layer(hidden), np.float64)
    log_z = np.log(np.exp(scores).sum(axis=-1))
    terms, weights = log_z - scores[np.arange(N), TARGETS], np.asarray(WEIGHTS)
    padded = hidden.at[1].set(jnp.nan)
    options = {**layer.table(), "weights": WEIGHTS, "chunk_size": chunk_size}
    perplexity = nce_jax.diagnostics.perplexity(padded, TARGETS, **options)
    np.testing.assert_allclose(perplexity, np.exp(np.average(terms, weights=weights)), rtol=1e-5)
    report = nce_jax.diagnostics.self_normalization(padded, **options, log_partition=0.25)
    mean = np.average(log_z - 0.25, weights=weights)
    spread = np.sqrt(np.average((log_z - 0.25 - mean) ** 2, weights=weights))
    counted = log_z[weights > 0] - 0.25
    np.testing.assert_allclose(
        report, [mean, spread, counted.min(), counted.max()], rtol=1e-4, atol=1e-5
    )


def test_a_normalized_model_is_reported_as_one(hidden):
    """At F = log Z of each context nothing is left; a model that knows nothing has perplexity V."""
    table = {"embedding": jax.random.normal(jax.random.key(2), (V, DIM))}
    log_z = nce_jax.losses.vocabulary_log_partition(hidden, **table)
    np.testing.assert_allclose(
        nce_jax.diagnostics.self_normalization(hidden, **table, log_partition=log_z), 0, atol=1e-6
    )
    flat = {"embedding": jnp.zeros((V, DIM)), "bias": jnp.full(V, 3.0)}
    np.testing.assert_allclose(
        nce_jax.diagnostics.perplexity(hidden, TARGETS, **flat), V, rtol=1e-6
    )
    report = nce_jax.diagnostics.self_normalization(hidden, **flat)
    np.testing.assert_allclose(report.mean, 3 + np.log(V), rtol=1e-6)
    assert report.standard_deviation < 1e-6


@pytest.mark.bad_input
def test_bad_arguments_are_named(layer, hidden):
    with pytest.raises(
        ValueError, match="log_partition: expected a number or shape .6,., got shape .2,."
    ):
        nce_jax.diagnostics.self_normalization(hidden, **layer.table(), log_partition=jnp.ones(2))
    with pytest.raises(ValueError, match="chunk_size: expected at least 1, got 0"):
        nce_jax.diagnostics.perplexity(hidden, TARGETS, **layer.table(), chunk_size=0)
    with pytest.raises(ValueError, match="hidden: expected shape .samples, 4., got shape .6, 3."):
        layer(hidden[:, :3])
    with pytest.raises(ValueError, match="num_words: expected at least 1, got 0"):
        models.VocabularyHead(0, DIM, rngs=nnx.Rngs(jax.random.key(0)))
    of_another_size = r"expected shape .20,., got shape .3,."
    without = "expected None where use_bias is False"
    for options, message in [({}, of_another_size), ({"use_bias": False}, without)]:
        with pytest.raises(ValueError, match=f"initial_bias: {message}"):
            models.VocabularyHead(
                20, DIM, initial_bias=jnp.zeros(3), **options, rngs=nnx.Rngs(jax.random.key(0))
            )


def test_a_bias_that_starts_at_log_frequencies_makes_the_layer_the_noise_where_states_are_zero():
    log_p = nce_jax.noise.unigram([4.0, 2.0, 1.0, 1.0], power=1.0).log_prob(jnp.arange(4))
    layer = models.VocabularyHead(4, DIM, initial_bias=log_p, rngs=nnx.Rngs(jax.random.key(0)))
    np.testing.assert_allclose(
        jnp.exp(layer(jnp.zeros((1, DIM))))[0], [0.5, 0.25, 0.125, 0.125], rtol=1e-6
    )
    assert layer.table()["bias"] is not log_p
