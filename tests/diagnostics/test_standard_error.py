"""Standard error of F*: its formula, Monte Carlo over replicates, coverage, and blocks of
correlated samples.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights, solve, standard_error

KAPPAS = [1e-3, 0.1, 1.0, 100.0, 1e4]


@pytest.mark.parametrize("kappa", KAPPAS)
def test_equals_its_formula(kappa, float_dtype):
    data, noise = gaussian_log_ratios(dtype=float_dtype)
    expected = oracles.standard_error(data, noise, oracles.root(data, noise, kappa=kappa), kappa)
    rtol = 1e-4 if float_dtype == np.float32 else 1e-9
    np.testing.assert_allclose(
        standard_error(data, noise, magnification=kappa), expected, rtol=rtol
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_its_formula_with_weights_and_blocks(weighted, x64):
    """40 samples in blocks of 7: the last one is shorter, and counts by its weight."""
    data, noise = gaussian_log_ratios()
    weights = (
        {"weights_data": random_weights(data, 1), "weights_noise": random_weights(noise, 2)}
        if weighted
        else {}
    )
    best = oracles.root(data, noise, kappa=3, **weights)
    expected = oracles.standard_error(data, noise, best, 3.0, **weights, block_size=7)
    actual = standard_error(data, noise, magnification=3.0, block_size=7, **weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.costly
def test_padding_is_dropping_and_weights_need_no_scale(x64):
    data, noise = gaussian_log_ratios()
    weights = {
        "weights_data": random_weights(data, 1, 5),
        "weights_noise": random_weights(noise, 2, 5),
    }
    hidden = data.at[:5].set(np.nan), noise.at[:5].set(np.inf)
    expected = standard_error(data[5:], noise[5:], **{name: w[5:] for name, w in weights.items()})
    np.testing.assert_allclose(standard_error(*hidden, **weights), expected, rtol=1e-9)
    scaled = {name: 1e6 * w for name, w in weights.items()}
    np.testing.assert_allclose(standard_error(*hidden, **scaled), expected, rtol=1e-9)


def test_the_root_may_be_handed_in(x64):
    data, noise = gaussian_log_ratios()
    best = solve(data, noise, magnification=3.0).log_partition
    handed_in = standard_error(data, noise, log_partition=best, noise_ratio=jnp.asarray(3.0))
    np.testing.assert_allclose(
        handed_in, standard_error(data, noise, magnification=3.0), rtol=1e-10
    )


@pytest.mark.costly
@pytest.mark.parametrize(("num_data", "num_noise"), [(200, 200), (400, 60)])
def test_monte_carlo_and_coverage(num_data, num_noise, x64):
    """500 replicates (seed 6) of a model that fits and of one that does not, at three kappa.

    The spread of 500 is known to 3.2 %, and the errors vary between replicates: within 12 %.
    Coverage of 1.96 standard errors: 95 % within 3 (the standard deviation of 500 draws is 1 %).
    """
    generator = np.random.default_rng(6)
    x_data = 1 + generator.normal(size=(500, num_data))
    x_noise = generator.normal(size=(500, num_noise))
    for slope, kappa, exact in ((1.0, 1.0, 0.5), (1.0, 10.0, 0.5), (0.5, 1.0, None)):
        samples = jnp.asarray(slope * x_data), jnp.asarray(slope * x_noise)
        values = solve(*samples, magnification=kappa).log_partition
        errors = standard_error(*samples, magnification=kappa)
        np.testing.assert_allclose(np.mean(errors), np.std(values, ddof=1), rtol=0.12)
        center = np.mean(values) if exact is None else exact
        assert 0.92 < np.mean(np.abs(values - center) < 1.96 * errors) < 0.98
        assert abs(np.mean(values) - center) < 4 * np.std(values) / np.sqrt(500) + 0.01


def autoregressive(generator, shape, correlation):
    """AR(1) of unit variance: statistical inefficiency (1 + c) / (1 - c)."""
    noise, values = generator.normal(size=shape), np.empty(shape)
    values[..., 0] = noise[..., 0]
    for t in range(1, shape[-1]):
        values[..., t] = (
            correlation * values[..., t - 1] + np.sqrt(1 - correlation**2) * noise[..., t]
        )
    return values


@pytest.mark.costly
def test_blocks_of_correlated_samples(x64):
    """AR(1) with c = 0.8: the true spread over 300 replicates (seed 7) is 2.5-3 times what
    independence says.

    sqrt of the inefficiency is 3 for linear statistics, somewhat less for bounded ones. Blocks of
    100, of 20 correlation times, find it within 15 %: 300 replicates know the spread to 4 %, 20
    blocks a side miss some 2 %.
    """
    generator = np.random.default_rng(7)
    data = jnp.asarray(1 + autoregressive(generator, (300, 2000), 0.8))
    noise = jnp.asarray(autoregressive(generator, (300, 2000), 0.8))
    values = solve(data, noise).log_partition
    spread = np.std(values, ddof=1)
    naive = np.mean(standard_error(data, noise))
    blocked = np.mean(standard_error(data, noise, block_size=100))
    assert 2.3 < spread / naive < 3.3
    np.testing.assert_allclose(blocked, spread, rtol=0.15)


@pytest.mark.costly
def test_bennetts_choice_of_kappa_is_best(x64):
    """Model samples, n = 100, m = 10,000: the error is least at kappa = m / n, half of that at
    kappa = 1.
    """
    data, noise = gaussian_log_ratios(3.0, 100, 10_000, seed=8)
    kappas = jnp.asarray([1.0, 10.0, 100.0, 1000.0, 10_000.0])
    lanes = [jnp.broadcast_to(side, (5, *side.shape)) for side in (data, noise)]
    errors = np.asarray(standard_error(*lanes, magnification=kappas))
    assert np.argmin(errors) == 2
    assert errors[2] < 0.75 * errors[0]


@pytest.mark.parametrize("block_size", [1, 60])
def test_a_single_sample_or_block_supports_no_error(block_size):
    data, noise = gaussian_log_ratios(num_data=1 if block_size == 1 else 40, dtype=np.float32)
    assert standard_error(data, noise, block_size=block_size) == np.inf


def test_no_overlap_supports_no_error(float_dtype):
    assert standard_error(*gaussian_log_ratios(16.0, dtype=float_dtype)) == np.inf


@pytest.mark.costly
def test_not_a_number_stays_in_its_lane():
    data, noise = (jnp.stack([side] * 3) for side in gaussian_log_ratios(dtype=np.float32))
    values = standard_error(data.at[1, 0].set(np.nan), noise)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(values[::2], standard_error(data, noise)[::2])
