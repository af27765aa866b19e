"""Bootstrap of F*: agreement with the formula's error, reproducibility, weights, batches and
failures.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests.log_partition.cases import gaussian_log_ratios, random_weights, solve, standard_error
from tests.oracles import root

_compiled = jax.jit(nce_jax.bootstrap_log_partition, static_argnames="num_replicates")


def bootstrap(
    seed, data, noise, *, num_replicates=600, magnification=1.0, **weights
) -> nce_jax.diagnostics.Bootstrap:
    options = {
        "num_replicates": num_replicates,
        "magnification": jnp.asarray(magnification, data.dtype),
    }
    return _compiled(jax.random.key(seed), data, noise, **options, **weights)


def test_replicates_of_two_samples_are_all_pairs_of_draws():
    """Two samples a side have three different draws each, and nine roots of known probabilities:
    the spread of 2,000 replicates is theirs within 5 %, and the error reported is the spread.
    """
    data, noise = np.array([0.0, 1.0]), np.array([-1.0, 0.5])
    draws = [(0, 0), (0, 1), (1, 0), (1, 1)]
    roots = [root(data[[*i]], noise[[*j]]) for i, j in itertools.product(draws, draws)]
    result = bootstrap(0, *map(jnp.float32, (data, noise)), num_replicates=2000)
    replicates = np.asarray(result.replicates, np.float64)
    nearest = np.abs(replicates[:, None] - np.unique(np.round(roots, 6))).argmin(axis=1)
    expected = np.unique(np.round(roots, 6), return_counts=True)[1] / 16
    counts = np.bincount(nearest, minlength=len(expected))
    # 4.5 standard deviations of a binomial count: one alarm in 10,000 seeds.
    assert (np.abs(counts - 2000 * expected) < 4.5 * np.sqrt(2000 * expected)).all(), counts
    np.testing.assert_allclose(np.std(roots), np.std(replicates), rtol=0.05)
    np.testing.assert_allclose(result.standard_error, np.std(replicates, ddof=1), rtol=1e-5)


@pytest.mark.costly
@pytest.mark.parametrize("kappa", [0.1, 1.0, 10.0])
def test_agrees_with_the_formula(kappa):
    """300 + 300 samples, 600 replicates: the spread is known to 2.9 %, the formula is good to order
    1 / n: within 12 %.

    Both sides are sorted: draws of the two that were not independent would then show, by up to a
    factor of 1.4.
    """
    data, noise = (jnp.sort(side) for side in gaussian_log_ratios(1.0, 300, 300, dtype=np.float32))
    result = bootstrap(1, data, noise, magnification=kappa)
    expected = standard_error(data, noise, magnification=kappa)
    np.testing.assert_allclose(result.standard_error, expected, rtol=0.12)
    np.testing.assert_allclose(result.standard_error, np.std(result.replicates, ddof=1), rtol=1e-4)
    center = solve(data, noise, magnification=kappa).log_partition
    assert abs(np.mean(result.replicates) - center) < 0.3 * expected


@pytest.mark.costly
def test_same_key_same_replicates_other_key_others():
    data, noise = gaussian_log_ratios(1.0, 300, 300, dtype=np.float32)
    first, again, other = (bootstrap(seed, data, noise).replicates for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.01
    assert len(np.unique(first)) > 590


@pytest.mark.costly
def test_replicates_are_roots_of_redrawn_samples(x64):
    """Where all samples are equal every draw is the same problem: each replicate is the root
    itself.
    """
    result = bootstrap(0, jnp.full(9, 2.0), jnp.full(5, 1.0), num_replicates=7, magnification=3.0)
    expected = solve(jnp.full(9, 2.0), jnp.full(5, 1.0), magnification=3.0).log_partition
    np.testing.assert_allclose(result.replicates, np.full(7, expected), rtol=1e-11)
    np.testing.assert_allclose(result.standard_error, 0, atol=1e-11)


@pytest.mark.costly
def test_weights_are_drawn_with_their_samples_and_padding_never():
    """Padding of NaN is not drawn; a uniform weight of two changes the spread not at all beyond its
    own noise.
    """
    data, noise = gaussian_log_ratios(1.0, 300, 300, dtype=np.float32)
    padded = [
        jnp.concatenate([side, jnp.full((50,), np.nan, np.float32)]) for side in (data, noise)
    ]
    twice = jnp.concatenate([jnp.full((300,), 2.0), jnp.zeros(50)])
    plain = bootstrap(3, data, noise)
    result = bootstrap(4, *padded, weights_data=twice, weights_noise=twice)
    assert np.all(np.isfinite(result.replicates))
    # 3 % each, 4 s.d. of their ratio.
    np.testing.assert_allclose(result.standard_error, plain.standard_error, rtol=0.15)


@pytest.mark.costly
def test_uneven_weights_agree_with_the_formula():
    data, noise = gaussian_log_ratios(1.0, 350, 350, dtype=np.float32)
    weights = {
        "weights_data": random_weights(data, 1, 50),
        "weights_noise": random_weights(noise, 2, 50),
    }
    result = bootstrap(5, data, noise, **weights)
    expected = standard_error(data, noise, **weights)
    np.testing.assert_allclose(result.standard_error, expected, rtol=0.15)


@pytest.mark.costly
def test_batches_chunks_and_failures():
    """Lanes of a batch fail alone; many samples make several chunks of replicates."""
    lanes = [
        gaussian_log_ratios(1.0, 20_000, 20_000, seed=seed, dtype=np.float32) for seed in range(2)
    ]
    data, noise = (jnp.stack(side) for side in zip(*lanes, strict=True))
    result = bootstrap(6, data.at[1, 0].set(np.nan), noise, num_replicates=7)
    assert result.replicates.shape == (7, 2)
    assert result.standard_error.shape == (2,)
    assert np.all(np.isfinite(result.replicates[:, 0]))
    assert np.isfinite(result.standard_error[0])
    # The draws that miss the bad sample are solved, and there are too few replicates to say how far
    # they spread.
    assert np.isnan(result.standard_error[1])


@pytest.mark.costly
def test_one_replicate_has_no_spread():
    result = bootstrap(0, *gaussian_log_ratios(dtype=np.float32), num_replicates=1)
    assert result.replicates.shape == (1,)
    assert not np.isfinite(result.standard_error), "nothing supports an error of zero"


@pytest.mark.bad_input
def test_number_of_replicates():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    for value, error in ((0, ValueError), (-3, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match=f"num_replicates.*{value}"):
            nce_jax.bootstrap_log_partition(jax.random.key(0), data, noise, num_replicates=value)
