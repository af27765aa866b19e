"""Overlap: its formula at the root, its two forms, its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights

overlap = jax.jit(nce_jax.overlap)
KAPPAS = [1e-3, 0.4, 1.0, 1e3]


@pytest.mark.parametrize("kappa", KAPPAS)
def test_equals_its_formula_from_either_side(kappa, x64):
    """(1 + kappa) / kappa E_data[P] = (1 + kappa) E_noise[Q] at the root."""
    data, noise = gaussian_log_ratios()
    best = oracles.root(data, noise, kappa=kappa)
    actual = overlap(data, noise, magnification=kappa)
    np.testing.assert_allclose(actual, oracles.overlap(data, noise, best, kappa), rtol=1e-9)
    _, q = oracles.probabilities(data, noise, best, kappa)
    np.testing.assert_allclose(actual, (1 + kappa) * q.mean(), rtol=1e-9)


def test_in_float32_too():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    expected = oracles.overlap(data, noise, oracles.root(data, noise))
    np.testing.assert_allclose(overlap(data, noise), expected, rtol=2e-5)


def test_weights_and_the_root_that_is_handed_in(x64):
    data, noise = gaussian_log_ratios()
    weights = {
        "weights_data": random_weights(data, 1, 3),
        "weights_noise": random_weights(noise, 2, 4),
    }
    best = oracles.root(data, noise, kappa=3, **weights)
    expected = oracles.overlap(data, noise, best, 3.0, weights["weights_data"])
    np.testing.assert_allclose(
        overlap(data, noise, magnification=3.0, **weights), expected, rtol=1e-9
    )
    handed_in = overlap(data, noise, log_partition=best, noise_ratio=3.0, **weights)
    np.testing.assert_allclose(handed_in, expected, rtol=1e-9)


def test_one_where_model_and_noise_are_equal_zero_where_disjoint_more_where_inverted(x64):
    constant = jnp.zeros(7)
    np.testing.assert_allclose(overlap(constant, constant, magnification=5.0), 1, rtol=1e-12)
    assert overlap(jnp.full(7, 400.0), jnp.full(7, -400.0)) < 1e-100
    data, noise = gaussian_log_ratios(3.0, 7, 7)
    assert 0 < overlap(data, noise) < 1
    np.testing.assert_allclose(overlap(jnp.full(7, -400.0), jnp.full(7, 400.0)), 2, rtol=1e-12)


def test_is_the_integral_of_the_harmonic_mean(x64):
    """p = N(1, 1), q = N(0, 1): (1 + kappa) p q / (p + kappa q) integrated; 200,000 samples, seed
    5, within 1 %.
    """
    data, noise = gaussian_log_ratios(1.0, 200_000, 200_000, seed=5)
    x = np.linspace(-9, 10, 4001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (1, 0))
    for kappa in (0.2, 1.0, 5.0):
        expected = np.sum((1 + kappa) * p * q / (p + kappa * q)) * (x[1] - x[0])
        np.testing.assert_allclose(overlap(data, noise, magnification=kappa), expected, rtol=0.01)


def test_not_a_number_stays_in_its_lane():
    data, noise = (jnp.stack([side] * 3) for side in gaussian_log_ratios(dtype=np.float32))
    values = overlap(data.at[1, 0].set(np.nan), noise)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(values[::2], overlap(data, noise)[::2])
