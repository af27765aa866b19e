"""Noise over words: exact tables, draws that follow them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nce_jax import noise
from nce_jax.noise._alias import alias_table
from tests.slow import slow_but

RNG = np.random.default_rng(0)
TABLES = {
    "uniform": np.ones(7),
    "one word": np.ones(1),
    "one of many": np.eye(50)[3],
    "Zipf": 1 / np.arange(1, 1001),
    "steep": np.exp(-np.arange(80.0)),
    "with zeros": RNG.random(301) * (RNG.random(301) < 0.3),
    "rounded": np.full(97, 0.1) * np.tile([1, 1 + 1e-15], 49)[:97],
}
WORDS = {
    "categorical": lambda: noise.categorical(TABLES["with zeros"][:40]),
    "unigram": lambda: noise.unigram(np.arange(40)),
    "log_uniform": lambda: noise.log_uniform(40),
}


def implied(probabilities):
    """The distribution that an alias table draws from, exactly: each cell by 1/V, its 32 bits one
    by one.
    """
    thresholds, aliases = alias_table(probabilities)
    probability_kept = thresholds / 2.0**32
    return (
        probability_kept + np.bincount(aliases, 1 - probability_kept, len(probability_kept))
    ) / len(probability_kept)


@pytest.mark.parametrize("table", TABLES)
def test_the_alias_table_is_the_distribution(table):
    """To 32 bits of a cell, and none of them for a word of probability zero."""
    probabilities = TABLES[table] / TABLES[table].sum()
    actual = implied(probabilities)
    np.testing.assert_allclose(actual.sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(actual, probabilities, rtol=1e-13, atol=2.0**-32)
    np.testing.assert_array_equal(actual[probabilities == 0], 0)


def test_logarithms_of_the_formulas():
    ids = np.arange(40)
    power = ids**0.3 / (ids**0.3)[1:].sum()
    zipf = np.log((ids + 2) / (ids + 1)) / np.log(41)
    with np.errstate(divide="ignore"):
        expected = np.log(np.where(ids > 0, power, 0))
    np.testing.assert_allclose(noise.unigram(ids, power=0.3).log_prob(ids), expected, rtol=1e-6)
    np.testing.assert_allclose(noise.log_uniform(40).log_prob(ids), np.log(zipf), rtol=1e-6)
    rare = np.arange(1, 41) ** -0.5
    np.testing.assert_allclose(
        noise.unigram(np.arange(1, 41), power=-0.5).log_prob(ids),
        np.log(rare / rare.sum()),
        rtol=1e-6,
    )
    # Counts whose power would overflow or underflow.
    np.testing.assert_allclose(
        jnp.exp(noise.unigram([1, 1e300, 2], power=-2.0).log_prob(jnp.arange(3))), [0.8, 0, 0.2]
    )
    for build in WORDS.values():
        np.testing.assert_allclose(jnp.exp(build().log_prob(ids)).sum(), 1, rtol=1e-5)
        np.testing.assert_array_equal(build().log_prob(jnp.array([-1, 40, 10**6])), -jnp.inf)


@pytest.mark.parametrize("name", WORDS)
def test_draws_follow_the_distribution(name):
    """Chi-squared of 200,000 draws, seed 0, above its 1e-4 quantile; no word of probability
    zero.
    """
    words = WORDS[name]()
    draws = np.asarray(words.sample(seed=jax.random.key(0), sample_shape=200_000))
    expected = np.exp(np.asarray(words.log_prob(np.arange(40)), np.float64))
    counts = np.bincount(draws, minlength=40)
    assert counts[expected == 0].sum() == 0
    there = expected > 0
    assert (
        stats.chisquare(counts[there], len(draws) * expected[there] / expected[there].sum()).pvalue
        > 1e-4
    )


def test_rare_words_of_a_large_vocabulary_are_told_apart():
    """In one piece, float32 leaves many of the last ids out and doubles others; 2^21 draws, seed 1,
    5 standard errors.
    """
    count, last = 2**21, 500_000
    draws = np.asarray(noise.log_uniform(10**6).sample(seed=jax.random.key(1), sample_shape=count))
    q = np.log1p(1 / (np.arange(10**6) + 1)) / np.log(10**6 + 1)
    late = draws[draws >= last]
    assert draws.max() < 10**6
    error = np.sqrt(count * q[last:].sum())
    assert abs(len(late) - count * q[last:].sum()) < 5 * error
    counts = np.bincount(late - last)
    # The number of pairs of equal draws is lowest for the right distribution: it grows if some ids
    # are left out and others doubled.
    pairs = np.sum(counts * (counts - 1)) / 2
    expected = count**2 / 2 * np.square(q[last:]).sum()
    assert abs(pairs - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("name", slow_but(["categorical"], WORDS))
def test_under_jit_and_vmap_and_strict_ranks(name):
    words, key = WORDS[name](), jax.random.key(2)

    @jax.jit
    def draw(words, key):
        return words.sample_and_log_prob(seed=key, sample_shape=(3, 5))

    with jax.numpy_rank_promotion("raise"):
        ids, log_q = draw(words, key)
        lanes = jax.vmap(lambda key: words.sample(seed=key, sample_shape=4))(
            jax.random.split(key, 6)
        )
    assert (ids.shape, ids.dtype, log_q.shape, log_q.dtype, lanes.shape) == (
        (3, 5),
        jnp.int32,
        (3, 5),
        jnp.float32,
        (6, 4),
    )
    np.testing.assert_array_equal(ids, words.sample(seed=key, sample_shape=(3, 5)))
    np.testing.assert_allclose(log_q, words.log_prob(ids), rtol=1e-6)
    assert len(np.unique(lanes, axis=0)) == 6


def test_a_draw_does_not_go_through_the_vocabulary():
    costs = []
    for num_words in (10**3, 10**5):
        words = noise.categorical(np.ones(num_words))
        draw = jax.jit(lambda words, key: words.sample(seed=key, sample_shape=64))
        costs.append(draw.lower(words, jax.random.key(0)).compile().cost_analysis()["flops"])
    assert max(costs) < 2 * min(costs)


REFUSED = [
    (
        lambda: noise.categorical(np.ones((2, 2))),
        ValueError,
        "probabilities: expected one number per word, shape (V,)",
    ),
    (
        lambda: noise.categorical([]),
        ValueError,
        "probabilities: expected one number per word, shape (V,)",
    ),
    (
        lambda: noise.categorical([0.5, -0.1]),
        ValueError,
        "probabilities: expected finite numbers >= 0, not all zero, got",
    ),
    (
        lambda: noise.categorical([0.0, 0.0]),
        ValueError,
        "probabilities: expected finite numbers >= 0, not all zero",
    ),
    (lambda: noise.categorical(["a"]), TypeError, "probabilities: expected numbers, got dtype"),
    (
        lambda: jax.jit(noise.categorical)(jnp.ones(3)),
        TypeError,
        "probabilities: expected values known on the host",
    ),
    (lambda: noise.unigram([1, np.inf]), ValueError, "counts: expected finite numbers >= 0"),
    (
        lambda: noise.unigram([1, 2], power=-np.inf),
        ValueError,
        "power: expected a finite number, got -inf",
    ),
    (
        lambda: noise.unigram([1, 0, 2, 0], power=-0.5),
        ValueError,
        "counts: expected positive counts with a negative power, got 2 of 4 that are zero",
    ),
    (lambda: noise.unigram([1, 2], power="3/4"), TypeError, "power: expected a number, got '3/4'"),
    (lambda: noise.log_uniform(0), ValueError, "num_words: expected at least 1, got 0"),
    (lambda: noise.log_uniform(2.0), TypeError, "num_words: expected an integer, got 2.0"),
    (lambda: noise.log_uniform(2**31), ValueError, "num_words: expected ids that fit an int32"),
    (
        lambda: noise.log_uniform(3).log_prob(jnp.ones(2)),
        TypeError,
        "value: expected integer ids, got dtype float32",
    ),
]


@pytest.mark.bad_input
@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_bad_arguments_are_named(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("words", [noise.unigram(np.ones(5)), noise.log_uniform(5)])
def test_ids_that_int32_wraps_are_no_words(words):
    assert np.isneginf(words.log_prob(np.array([2**32 + 3, -(2**32) + 3]))).all()


def test_bytes_are_ids_too():
    ids = jnp.array([0, 200, 255], jnp.uint8)
    for words in (noise.log_uniform(256), noise.unigram(np.arange(1, 257))):
        np.testing.assert_array_equal(words.log_prob(ids), words.log_prob(ids.astype(jnp.int32)))


def test_probabilities_whose_sum_overflows_are_normalized():
    words = noise.categorical(np.array([1e308, 1e308]))
    np.testing.assert_allclose(words.log_prob(jnp.arange(2)), -np.log(2), rtol=1e-6)
