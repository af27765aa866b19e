"""Newton's method for all stages at once: NumPy oracles, and a stream that ends where one fit to
all of it does.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import telescoping
from nce_jax.telescoping._fit.config import Chain
from nce_jax.telescoping._fit.errors import StageEstimates, parameter_errors
from nce_jax.telescoping._fit.newton import newton_fit, newton_stream
from nce_jax.telescoping._fit.stage_model import StageModel, identity_moments

LEVELS, KAPPA = np.array([0.0, 0.8, 1.0]), 3.0


def log_ratio(theta, x):
    return jnp.stack([x, x**2], axis=-1) @ theta


MODEL = StageModel(log_ratio)


def pairs_of(seed, count):
    key_data, key_noise = jax.random.split(jax.random.key(seed))
    return 2 + 0.7 * jax.random.normal(key_data, (count,)), jax.random.normal(key_noise, (count,))


def oracle(data, noise, num_steps=50):
    """(theta, F) of one stage by Newton's method on the plain loss in both, and the influences of
    the pairs on it.
    """
    design = [
        np.stack([x, x**2, -np.ones_like(x)], axis=-1)
        for x in (np.asarray(data), np.asarray(noise))
    ]
    eta = np.zeros(3)
    for _ in range(num_steps):
        p = 1 / (1 + np.exp(design[0] @ eta) / KAPPA)
        q = 1 / (1 + KAPPA * np.exp(-design[1] @ eta))
        each = -p[:, None] * design[0] + KAPPA * q[:, None] * design[1]
        hessian = sum(
            (d * (w * s * (1 - s))[:, None]).T @ d / len(d)
            for d, s, w in ((design[0], p, 1.0), (design[1], q, KAPPA))
        )
        step = np.linalg.solve(hessian, each.mean(0))
        eta = eta - step * min(1, 2 / np.abs(step).max())
    return eta, -np.linalg.solve(hessian, (each - each.mean(0)).T) / len(each)


@pytest.fixture(scope="module")
def small():
    """A fit to 300 pairs with its covariance, and a stream of 100 batches of 60 from there on:
    float64, as NumPy arrays.
    """
    with jax.enable_x64(True):
        pairs = pairs_of(0, 300)
        later = pairs_of(1, 6000)
        levels = jnp.asarray(LEVELS)
        kappa = jnp.full(2, KAPPA)
        template = jnp.zeros(2)
        x = telescoping.bridges(*pairs, noise_levels=levels)
        x_later = telescoping.bridges(*later, noise_levels=levels)
        start = jnp.zeros((2, 2))
        fit = newton_fit(MODEL, template, identity_moments(x), start, x, kappa, 60)
        estimates = StageEstimates(fit.theta, fit.log_partition, identity_moments(x))
        errors = parameter_errors(MODEL, template, estimates, pairs, Chain(levels, kappa), None)
        stream = newton_stream(
            MODEL, template, identity_moments(x), fit, x_later, kappa, jnp.array(6.0), batch_size=60
        )
        apart = newton_fit(MODEL, template, identity_moments(x), start, x.at[0].add(50), kappa, 60)
        return jax.tree.map(
            np.asarray,
            (pairs, x, fit, errors, jnp.concatenate([x, x_later], axis=1), stream, apart),
        )


@pytest.mark.costly
def test_a_fit_is_the_minimizer_of_the_plain_loss(small):
    _, x, fit, *_ = small
    for stage in range(2):
        eta, _ = oracle(x[stage], x[stage + 1])
        np.testing.assert_allclose(fit.theta[stage], eta[:2], rtol=1e-5)
        np.testing.assert_allclose(fit.log_partition[stage], eta[2], rtol=1e-5)


@pytest.mark.costly
def test_the_covariance_is_that_of_all_stages_together(small):
    """Influences of both stages' (theta, F) side by side, their outer product summed over pairs."""
    pairs, x, fit, errors, *_ = small
    psi = np.concatenate([oracle(x[stage], x[stage + 1])[1] for stage in range(2)])[
        [0, 1, 3, 4, 2, 5]
    ]
    expected = psi @ psi.T * 300 / 299
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        errors.covariance / np.outer(scale, scale), expected / np.outer(scale, scale), atol=2e-4
    )
    design = np.stack([pairs[0], pairs[0] ** 2], axis=-1)
    of_mean = design @ fit.theta.sum(0)
    slope = np.concatenate([np.tile(design.mean(0), 2), [-1, -1]])
    total = (of_mean - of_mean.mean()) / 300 + slope @ psi
    np.testing.assert_allclose(
        errors.kl_standard_error, np.sqrt((total**2).sum() * 300 / 299), rtol=2e-4
    )


@pytest.mark.costly
def test_a_stream_ends_where_one_fit_to_all_of_it_does(small):
    """To within a small part of that fit's own error: every batch counts the same, the first 300
    pairs as five batches.
    """
    everything, stream = small[4:6]
    for stage in range(2):
        eta, psi = oracle(everything[stage], everything[stage + 1])
        error = np.sqrt((psi**2).sum(1))
        solution = np.append(stream.theta[stage], stream.log_partition[stage])
        assert np.all(np.abs(solution - eta) < 0.3 * error)


@pytest.mark.costly
def test_separated_sets_give_a_large_finite_log_ratio(small):
    """No optimum exists in the first stage; the step limit keeps the numbers finite, and the second
    stage is untouched.
    """
    _, x, fit, *_, apart = small
    sides = np.stack([x[0] + 50, x[1]])
    s = np.stack([sides, sides**2], axis=-1) @ apart.theta[0]
    assert np.all(np.isfinite(s))
    assert np.ptp(s) > 30
    np.testing.assert_allclose(apart.theta[1], fit.theta[1], rtol=1e-6)


@pytest.mark.costly
@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float64", "float32")])
def test_parameters_in_float32_stay_so_where_x64_is_on(dtypes, x64):
    """Samples, and then parameters: kappa is of the default float, float64."""
    pairs = [side.astype(dtypes[0]) for side in pairs_of(0, 120)]
    x = telescoping.bridges(*pairs, noise_levels=LEVELS)
    fixed = MODEL, jnp.zeros(2, dtypes[1]), identity_moments(x)
    kappa = jnp.full(2, KAPPA)
    fit = newton_fit(*fixed, jnp.zeros((2, 2), dtypes[1]), x, kappa, 20)
    later = newton_stream(*fixed, fit, x, kappa, jnp.float32(2), batch_size=60)
    assert fit.theta.dtype == later.theta.dtype == jnp.float32
    for stage in range(2):
        eta, _ = oracle(x[stage], x[stage + 1])
        np.testing.assert_allclose(fit.theta[stage], eta[:2], rtol=1e-3)
    np.testing.assert_allclose(later.theta, fit.theta, atol=0.5)


@pytest.fixture(scope="module")
def fitted():
    """A fit to 120 pairs, with what it was fitted to."""
    x = telescoping.bridges(*pairs_of(0, 120), noise_levels=LEVELS)
    fixed = MODEL, jnp.zeros(2), identity_moments(x)
    return fixed, x, newton_fit(*fixed, jnp.zeros((2, 2)), x, jnp.full(2, KAPPA), 20)


@pytest.mark.costly
def test_a_model_without_a_loss_is_no_optimum(fitted):
    fixed, x, fit = fitted
    np.testing.assert_array_equal(fit.is_converged, True)
    failed = newton_fit(*fixed, jnp.zeros((2, 2)), x.at[0, 0].set(jnp.nan), jnp.full(2, KAPPA), 20)
    np.testing.assert_array_equal(failed.is_converged, [False, True])


@pytest.mark.costly
def test_a_batch_that_is_not_finite_moves_nothing_and_is_said(fitted):
    """Its stage alone: the other one goes on with both batches."""
    fixed, x, fit = fitted
    x_bad = x.at[0, 70].set(jnp.nan)
    after = newton_stream(*fixed, fit, x_bad, jnp.full(2, KAPPA), jnp.float32(2), batch_size=60)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    np.testing.assert_array_equal(after.is_converged, [False, True])
    whole = newton_stream(*fixed, fit, x, jnp.full(2, KAPPA), jnp.float32(2), batch_size=60)
    np.testing.assert_array_equal(after.theta[1], whole.theta[1])
    assert not np.array_equal(whole.theta, fit.theta)
