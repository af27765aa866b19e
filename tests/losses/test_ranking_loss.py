"""Ranking and conditional NCE: formulas, identities, limits, closed forms and extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles

ranking = jax.jit(nce_jax.losses.ranking_nce_loss)
conditional = jax.jit(nce_jax.losses.conditional_nce_loss)


def log_ratios(n=7, num_noise=5, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, n).astype(dtype), rng.normal(-1, 2, (n, num_noise)).astype(dtype)


def ranked(data, noise, *, magnification=1.0, weights_data=None, weights_noise=None):
    """Minus the log probability of each data sample in turn. Nonzero weights of the noise are
    scaled to a mean of one.
    """
    weights = (
        np.ones(noise.shape)
        if weights_noise is None
        else np.broadcast_to(weights_noise, noise.shape)
    )
    terms = []
    for s, noise_row, w in zip(data, noise, weights, strict=True):
        scaled = w[w != 0] / w[w != 0].mean()
        terms.append(
            oracles.log_sum_exp([s, *(np.log(magnification * scaled) + noise_row[w != 0])]) - s
        )
    return oracles.mean(np.array(terms), weights_data)


def test_equals_its_formula(float_dtype):
    data, noise = log_ratios(dtype=float_dtype)
    weights = np.random.default_rng(1).uniform(0.1, 2, noise.shape) * (np.arange(5) != 2)
    for options in (
        {},
        {"magnification": 50.0},
        {"weights_data": np.arange(7.0), "weights_noise": weights, "magnification": 0.2},
    ):
        expected = ranked(data.astype(float), noise.astype(float), **options)
        rtol = 3e-6 if float_dtype == np.float32 else 1e-13
        np.testing.assert_allclose(ranking(data, noise, **options), expected, rtol=rtol)
    shared = np.broadcast_to(noise[0], noise.shape)
    np.testing.assert_allclose(ranking(data, noise[0]), ranked(data, shared), rtol=rtol)


def test_conditional_equals_its_formula(x64):
    data, noise = log_ratios()
    forward, backward = (np.random.default_rng(k).normal(size=noise.shape) for k in (1, 2))
    loss = conditional(data, noise, log_forward=forward, log_backward=backward)
    log_odds = data[:, None] - noise + forward - backward
    np.testing.assert_allclose(loss, 2 * oracles.softplus(-log_odds).mean(), rtol=1e-13)
    weights = {"weights_data": np.arange(7.0), "weights_noise": np.arange(5.0)}
    terms = oracles.softplus(noise - data[:, None]) @ (np.arange(5.0) / 10)
    np.testing.assert_allclose(
        conditional(data, noise, **weights), 2 * oracles.mean(terms, np.arange(7.0)), rtol=1e-13
    )


def test_a_constant_changes_nothing_and_one_noise_sample_is_binary(x64):
    data, noise = log_ratios()
    shift = np.linspace(-50, 50, 7)
    np.testing.assert_allclose(
        ranking(data + shift, noise + shift[:, None]), ranking(data, noise), rtol=1e-12
    )
    np.testing.assert_allclose(
        ranking(data, noise[:, :1]), conditional(data, noise[:, :1]) / 2, rtol=1e-13
    )
    order = np.random.default_rng(0).permutation(5)
    np.testing.assert_allclose(ranking(data, noise[:, order]), ranking(data, noise), rtol=1e-13)
    batch = nce_jax.losses.ranking_nce_loss(
        jnp.stack([data, data]), jnp.stack([noise, noise]), magnification=jnp.array([1.0, 9.0])
    )
    np.testing.assert_allclose(
        batch, [ranking(data, noise), ranking(data, noise, magnification=9.0)], rtol=1e-13
    )


def test_a_large_m_is_maximum_likelihood(x64):
    """loss - log(K M) -> Donsker and Varadhan's, with an error of order 1 / M, and so does the
    gradient.
    """
    data, noise = log_ratios()
    limit, slope = jax.value_and_grad(nce_jax.losses.donsker_varadhan_loss, (0, 1))(
        jnp.asarray(data), jnp.asarray(noise[0])
    )
    errors = []
    for magnification in (1e4, 1e5):
        value, gradients = jax.value_and_grad(ranking, (0, 1))(
            jnp.asarray(data), noise[0], magnification=magnification
        )
        errors.append(abs(value - np.log(5 * magnification) - limit))
        for ours, theirs in zip(gradients, slope, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=30 / magnification)
    np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)
    np.testing.assert_allclose(ranking(data, noise, magnification=1e-9), 0, atol=1e-7)


@pytest.mark.costly
def test_many_noise_samples_give_the_likelihood_gradient(x64):
    """The model e^(theta x) N(x; 0, 1) at theta = 1: per data sample theta - x; k = 4 standard
    errors, seed 0.
    """
    rng = np.random.default_rng(0)
    data, noise = rng.normal(2, 1, 400), rng.normal(0, 1, (400, 4000))
    slopes = jax.jit(
        jax.jacfwd(
            lambda theta: nce_jax.losses.ranking_nce_loss_terms(
                theta * data, theta * jnp.asarray(noise)
            )
        )
    )(1.0)
    difference = np.asarray(slopes) - (1 - data)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(400) < 0.02


@pytest.mark.parametrize("size", [1e4, 3e38, np.inf])
def test_extremes(size):
    slope = jax.jit(jax.value_and_grad(nce_jax.losses.ranking_nce_loss, (0, 1)))
    size = np.float32(size)
    value, gradients = slope(jnp.array([size]), jnp.array([[0.0, 1.0]]))
    assert value == 0
    assert all(np.isfinite(leaf).all() for leaf in gradients)
    value, _ = slope(jnp.array([-size]), jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(value, size, rtol=1e-3)
    value, gradients = slope(jnp.array([0.0]), jnp.array([[-size, -np.float32(np.inf)]]))
    assert value == 0
    assert all(np.isfinite(leaf).all() for leaf in gradients)


def test_what_has_no_weight_is_ignored_and_nan_is_not_hidden():
    data, noise = jnp.array([1.0, jnp.nan]), jnp.array([[0.0, jnp.nan], [jnp.inf, 1.0]])
    weights = {
        "weights_data": jnp.array([1.0, 0.0]),
        "weights_noise": jnp.array([[1.0, 0.0], [1.0, 1.0]]),
    }
    for loss in (nce_jax.losses.ranking_nce_loss, nce_jax.losses.conditional_nce_loss):
        value, slope = jax.jit(jax.value_and_grad(loss, (0, 1)))(data, noise, **weights)
        np.testing.assert_allclose(value, loss(data[:1], noise[:1, :1]), rtol=1e-6)
        assert all(np.isfinite(leaf).all() for leaf in slope)
        assert np.isnan(loss(data, noise))
    nothing = jnp.zeros((2, 2))
    value, slope = jax.jit(jax.value_and_grad(nce_jax.losses.ranking_nce_loss))(
        jnp.ones(2), jnp.ones((2, 2)), weights_noise=nothing
    )
    assert value == 0
    np.testing.assert_array_equal(slope, 0)
    assert (
        nce_jax.losses.ranking_nce_loss(jnp.ones(2, jnp.bfloat16), jnp.ones(3, jnp.bfloat16)).dtype
        == jnp.float32
    )


def test_corrections_of_padding_may_hold_anything_and_no_noise_is_zero():
    data, noise = jnp.zeros(3), jnp.zeros((3, 2))
    forward = noise.at[2].set(jnp.nan)
    value = nce_jax.losses.conditional_nce_loss(
        data, noise, log_forward=forward, weights_data=jnp.array([1.0, 1.0, 0.0])
    )
    np.testing.assert_allclose(value, 2 * np.log(2), rtol=1e-6)
    value = nce_jax.losses.conditional_nce_loss(
        data, noise, weights_noise=jnp.ones((3, 2)).at[0].set(0)
    )
    np.testing.assert_allclose(value, 2 * np.log(2) * 2 / 3, rtol=1e-6)


def test_the_criterion_trains_whatever_the_treatment():
    """F is in no gradient, and `solved()` reports the one that normalizes the model."""
    criterion, (data, noise) = (
        nce_jax.criteria.ranking_nce(magnification=3.0),
        log_ratios(dtype=np.float32),
    )
    loss = criterion.loss(jnp.asarray(data), jnp.asarray(noise[0]), log_partition=5.0)
    np.testing.assert_allclose(loss, ranking(data, noise[0], magnification=3.0), rtol=1e-6)
    solution = criterion.profile(jnp.asarray(data), jnp.asarray(noise[0]))
    np.testing.assert_allclose(
        solution.log_partition, oracles.importance_log_partition(noise[0]), rtol=1e-5
    )


REFUSED = [
    (
        (jnp.ones(3), jnp.ones((4, 2))),
        {},
        ValueError,
        "log_ratio_noise: expected shape (3, K) or (K,) for log_ratio_data of shape (3,), got",
    ),
    (
        (jnp.ones(3, int), jnp.ones(4)),
        {},
        TypeError,
        "log_ratio_data: expected a floating array, got dtype int32",
    ),
    (
        (jnp.ones(3), jnp.ones(4)),
        {"magnification": 0.0},
        ValueError,
        "magnification: expected a finite positive number",
    ),
    (
        (jnp.ones(3), jnp.ones(4)),
        {"weights_noise": jnp.ones(3)},
        ValueError,
        "weights_noise: expected one weight per",
    ),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("arguments", "options", "error", "message"), REFUSED)
def test_bad_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error) as caught:
        nce_jax.losses.ranking_nce_loss(*arguments, **options)
    assert str(caught.value).startswith(message)


@pytest.mark.bad_input
def test_bad_arguments_of_the_conditional_are_named():
    with pytest.raises(
        ValueError, match=r"log_density_noise: expected shape \(3, K\) for .*got shape \(4,\)"
    ):
        nce_jax.losses.conditional_nce_loss(jnp.ones(3), jnp.ones(4))
    with pytest.raises(
        ValueError, match=r"log_forward: expected a number or shape \(3, 4\), got shape \(3,\)"
    ):
        nce_jax.losses.conditional_nce_loss(jnp.ones(3), jnp.ones((3, 4)), log_forward=jnp.ones(3))
