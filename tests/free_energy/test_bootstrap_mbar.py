"""The bootstrap of `mbar`: what is redrawn, and the spread of the replicates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import free_energy
from nce_jax.free_energy._bootstrap_mbar import redraw
from nce_jax.free_energy._network import make_network
from tests.free_energy.networks import NUM_SAMPLES, oscillators


@pytest.mark.parametrize("block_size", [1, 7])
@pytest.mark.costly
def test_samples_are_redrawn_within_their_states(block_size, x64):
    pool = oscillators()
    counts = jnp.array(NUM_SAMPLES)
    padded = np.pad(pool.potentials, ((0, 0), (0, 6)))
    network = make_network(jnp.asarray(padded), counts, None, 1.0)
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = jax.vmap(lambda key: redraw(key, network, block_size))(keys)
    of_states = np.split(np.asarray(drawn), np.cumsum(NUM_SAMPLES), axis=1)
    for part, count in zip(of_states, (*NUM_SAMPLES, 0), strict=True):
        assert np.all(part.sum(axis=1) == count)
    # Every sample far from the ends of its state is drawn once in the mean: k = 5.
    inner = of_states[0][:, block_size:-block_size]
    expected = 60 / (61 - block_size) * np.ones(inner.shape[1])
    spread = inner.std(axis=0) / np.sqrt(len(keys))
    assert np.all(np.abs(inner.mean(axis=0) - expected) < 5 * spread + 0.05)
    if block_size > 1:
        neighbors = np.corrcoef(inner[:, 10], inner[:, 11])[0, 1]
        assert neighbors > 0.7


@pytest.mark.costly
def test_the_spread_is_the_error(x64):
    """At k = 4: 400 replicates know a standard error to 3.5 %; keys 1 and 2."""
    pool = oscillators((300, 200, 250))
    options = {"num_replicates": 400}
    result = free_energy.bootstrap_mbar(jax.random.key(1), *pool[:2], **options)
    expected = nce_jax.mbar(*pool[:2])
    np.testing.assert_allclose(result.delta_f, expected.f, rtol=0, atol=1e-12)
    ratio = result.standard_error[1:] / np.sqrt(np.diag(expected.sandwich_covariance)[1:])
    assert np.all(np.abs(ratio - 1) < 4 * 0.035)
    interval = free_energy.studentized_interval(result)
    assert np.all((interval.lower <= expected.f) & (expected.f <= interval.upper))
    other = free_energy.bootstrap_mbar(jax.random.key(2), *pool[:2], **options)
    assert np.all(other.replicates[:, 1] != result.replicates[:, 1])


@pytest.mark.costly
def test_a_replicate_is_mbar_of_the_redrawn_samples(x64):
    pool = oscillators()
    result = free_energy.bootstrap_mbar(jax.random.key(3), *pool[:2], num_replicates=2)
    key = jax.random.split(jax.random.key(3), 2)[1]
    counts = jnp.array(NUM_SAMPLES)
    # The program pads to 256 samples; the draws of the first do not depend on it.
    network = make_network(jnp.asarray(pool.potentials), counts, None, 1.0)
    drawn = np.asarray(redraw(key, network, 1)).astype(int)
    again = nce_jax.mbar(np.repeat(pool.potentials, drawn, axis=1), NUM_SAMPLES)
    np.testing.assert_allclose(result.replicates[1], again.f, rtol=0, atol=1e-10)
    expected = again.standard_error[0]
    np.testing.assert_allclose(result.replicate_errors[1], expected, rtol=0, atol=1e-10)


def test_blocks_are_compared_with_the_samples_of_positive_weight():
    potentials, weights = np.zeros((2, 60)), np.arange(60) < 33
    with pytest.raises(ValueError, match="block_size: expected at most 3, .* got 10"):
        free_energy.bootstrap_mbar(
            jax.random.key(0),
            potentials,
            [30, 30],
            num_replicates=2,
            block_size=10,
            weights=weights,
        )
