"""The test of the stages' models: a NumPy oracle, misfits that it must see, and true models that it
must leave alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import telescoping
from nce_jax.telescoping._fit.misfit import is_misfit, misfit
from tests.telescoping.test_fit_telescope import KEYS, MODEL, X_DATA, X_NOISE

LEVELS, KAPPA = np.array([0.0, 0.8, 1.0]), 3.0
QUADRATIC = (jnp.zeros(2), lambda theta, x: theta[0] * x[:, 0] + theta[1] * x[:, 0] ** 2)


def fit(key, x_data, x_noise, model, **options):
    return nce_jax.fit_telescope(key, x_data, x_noise, model=model, progress=False, **options)


def two_modes(key, count, distance=6.0):
    key_side, key_noise = jax.random.split(key)
    side = jnp.where(jax.random.bernoulli(key_side, 0.5, (count, 1)), distance, -distance)
    return side + jax.random.normal(key_noise, (count, 1))


def standard_normal(key, count):
    return jax.random.normal(key, (count, 1))


def oracle(data, noise, theta, root):
    """max |score| of one stage: least squares of every h on (1, x) with the weights of the
    curvature, then a plain mean.
    """
    x = np.concatenate([data, noise])
    u = theta * x - root
    p = 1 / (1 + np.exp(u) / KAPPA)
    factors = np.where(np.arange(len(x)) < len(data), p, KAPPA * (1 - p))
    slopes = factors * np.where(np.arange(len(x)) < len(data), 1 - p, p)
    design = np.stack([np.ones_like(x), x], axis=-1)
    scores = []
    for h in (
        1 / (1 + 3 * KAPPA * np.exp(-u)),
        1 / (1 + KAPPA / 3 * np.exp(-u)),
        x**2 / (1 + x**2),
    ):
        root_weights = np.sqrt(slopes)
        fitted = np.linalg.lstsq(design * root_weights[:, None], h * root_weights, rcond=None)[0]
        each = factors * (h - design @ fitted)
        pairs = each[: len(data)] - each[len(data) :]
        scores.append(abs(pairs.mean()) / pairs.std() * np.sqrt(len(pairs)))
    return max(scores)


def test_equals_the_formula():
    """For any theta and F: a shift, which a linear model contains, then Gaussians of two widths."""
    theta, roots = np.array([-0.2, 0.3]), np.array([-0.1, 0.05])
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0))
        x = telescoping.bridges(
            1 + jax.random.normal(keys[0], (200,)),
            2 * jax.random.normal(keys[1], (200,)),
            noise_levels=LEVELS,
        )
        z = x[:-1], x[1:]
        arrays = [(jnp.asarray(theta)[:, None] * side, side[..., None]) for side in z]
        scores = jax.jit(misfit)(arrays, z, jnp.asarray(roots), jnp.log(jnp.full(2, KAPPA)), 0.0)
    expected = [oracle(*stage) for stage in zip(*map(np.asarray, z), theta, roots, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.costly
def test_a_model_that_is_calibrated_and_coarse_is_seen():
    """One linear function for two modes finds u = 0, an overlap of 1 and no gap: only the distance
    from the center tells.
    """
    result = fit(KEYS[2], two_modes(KEYS[0], len(X_DATA)), X_NOISE, MODEL)
    assert result.kl < 0.1
    assert len(result.misfit) == len(result.noise_levels) - 1
    assert not result.is_converged
    assert np.isinf([result.kl_sampling_error, result.kl_standard_error]).all()
    assert np.isinf(result.log_ratio_standard_error(X_DATA[:2])).all()
    assert "MISFIT in stages [0]" in result.summary()


@pytest.mark.costly
def test_two_modes_are_no_gaussian():
    """KL is 17.3 and the chain says 36: at 2,000 pairs, and on a stream; with descent too."""
    keys = jax.random.split(KEYS[2])
    x_data, x_noise = two_modes(keys[0], 2000), standard_normal(keys[1], 2000)
    options = {"optimizer": optax.adam(3e-2), "noise_levels": [0.0, 0.72, 0.93, 1.0]}
    results = [
        fit(KEYS[2], x_data, x_noise, QUADRATIC),
        fit(KEYS[2], two_modes, standard_normal, QUADRATIC),
        fit(KEYS[2], two_modes, standard_normal, QUADRATIC, **options),
    ]
    for result in results:
        assert result.kl > 30
        assert is_misfit(result.misfit).any()
        assert not result.is_converged
        assert result.kl_sampling_error == np.inf


@pytest.mark.costly
def test_true_models_raise_no_alarm():
    """30 fits each of a linear model to Gaussians 8 apart, and of a quadratic one to Gaussians of
    other widths.
    """
    for model, scale in ((MODEL, 1.0), (QUADRATIC, 0.3)):
        for seed in range(30):
            keys = jax.random.split(jax.random.key(seed), 3)
            x_data = 8 + scale * standard_normal(keys[0], 1000)
            result = fit(keys[1], x_data, standard_normal(keys[2], 1000), model)
            assert result.is_converged, (scale, seed, result.misfit)
