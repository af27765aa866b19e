"""NWJ, Donsker-Varadhan and least squares: formulas, how they hang together, and the divergences
that they bound.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights

NAMES = ("nwj_loss", "donsker_varadhan_loss", "least_squares_loss", "least_squares_log_partition")
TAKES_LOG_PARTITION = ("nwj_loss", "least_squares_loss")
COMPILED = {name: jax.jit(getattr(nce_jax.losses, name)) for name in NAMES}
nwj, donsker_varadhan, least_squares, least_squares_root = COMPILED.values()


def weights_of(data, noise, num_zeros=0):
    return {
        "weights_data": random_weights(data, 1, num_zeros),
        "weights_noise": random_weights(noise, 2, num_zeros),
    }


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_formula(name, float_dtype):
    data, noise = gaussian_log_ratios(dtype=float_dtype)
    rtol = 3e-6 if float_dtype == np.float32 else 1e-13
    options = {"log_partition": 0.4} if name in TAKES_LOG_PARTITION else {}
    for weights in ({}, weights_of(data, noise, 3)):
        expected = getattr(oracles, name)(data, noise, **options, **weights)
        np.testing.assert_allclose(
            COMPILED[name](data, noise, **options, **weights), expected, rtol=rtol
        )


def test_nwj_is_the_limit_of_nce(x64):
    """NCE - log kappa - 1 -> NWJ with an error of order 1 / kappa; at a solved F it is
    Donsker-Varadhan's.
    """
    data, noise = gaussian_log_ratios()
    for criterion, options, limit in (
        (nce_jax.nce_loss, {"log_partition": 0.3}, nwj(data, noise, log_partition=0.3)),
        (nce_jax.profiled_nce_loss, {}, donsker_varadhan(data, noise)),
    ):
        criterion = jax.jit(criterion)
        values = [
            criterion(data, noise, magnification=jnp.asarray(k), **options) for k in (1e4, 1e5)
        ]
        errors = [
            abs(value - np.log(k) - 1 - limit) for value, k in zip(values, (1e4, 1e5), strict=True)
        ]
        assert errors[1] < 1e-3
        np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)


def test_donsker_varadhan_is_the_least_nwj(x64):
    """At F = log E_noise[e^s], where NWJ's slope in F vanishes; anywhere else NWJ is larger."""
    data, noise = gaussian_log_ratios()
    best = oracles.importance_log_partition(noise)
    slope = jax.jit(jax.grad(lambda f: nce_jax.losses.nwj_loss(data, noise, log_partition=f)))
    values = [
        float(nwj(data, noise, log_partition=jnp.asarray(best + step))) for step in (-0.1, 0.0, 0.1)
    ]
    np.testing.assert_allclose(donsker_varadhan(data, noise), values[1], rtol=1e-13)
    np.testing.assert_allclose(slope(best), 0, atol=1e-14)
    assert min(values[0], values[2]) > values[1] + 1e-3


def test_least_squares_at_its_normalizer(x64):
    """F* is stationary, and the profiled value -(E_data e^s)^2 / (2 E_noise e^2s)."""
    data, noise = gaussian_log_ratios()
    best = least_squares_root(data, noise)
    slope, curvature = (
        jax.jit(
            derivative(lambda f: nce_jax.losses.least_squares_loss(data, noise, log_partition=f))
        )(best)
        for derivative in (jax.grad, jax.hessian)
    )
    np.testing.assert_allclose(slope, 0, atol=1e-14)
    assert curvature > 0
    expected = -(np.mean(np.exp(data)) ** 2) / (2 * np.mean(np.exp(2 * noise)))
    np.testing.assert_allclose(least_squares(data, noise, log_partition=best), expected, rtol=1e-13)


def test_gaussians_have_their_closed_forms(x64):
    """p = N(1, 1), q = N(0, 1) on a grid, density as weight: KL = 1/2, chi-squared = e - 1; s
    carries an offset of 3.
    """
    x = jnp.linspace(-12, 14, 2001)
    weights = {"weights_data": jnp.exp(-((x - 1) ** 2) / 2), "weights_noise": jnp.exp(-(x**2) / 2)}
    ratio = x - 0.5 + 3
    np.testing.assert_allclose(-nwj(ratio, ratio, log_partition=3.0, **weights), 0.5, rtol=1e-12)
    np.testing.assert_allclose(-donsker_varadhan(ratio, ratio, **weights), 0.5, rtol=1e-12)
    chi_squared = -2 * least_squares(ratio, ratio, log_partition=3.0, **weights) - 1
    np.testing.assert_allclose(chi_squared, np.e - 1, rtol=1e-12)
    np.testing.assert_allclose(least_squares_root(ratio, ratio, **weights), 3, rtol=1e-12)


def test_shifting_all_log_ratios(x64):
    data, noise = gaussian_log_ratios()
    shifted = data + 2.5, noise + 2.5
    np.testing.assert_allclose(
        donsker_varadhan(*shifted), donsker_varadhan(data, noise), rtol=1e-13
    )
    np.testing.assert_allclose(
        least_squares_root(*shifted), least_squares_root(data, noise) + 2.5, rtol=1e-13
    )
    for loss in (nwj, least_squares):
        np.testing.assert_allclose(
            loss(*shifted, log_partition=2.5), loss(data, noise, log_partition=0.0), rtol=1e-13
        )


def test_the_logarithmic_ones_are_finite_anywhere():
    for size in (1e4, 1e6):
        sides = jnp.array([-size, 1 - size]), jnp.array([size, size - 1])
        value, slopes = jax.jit(
            jax.value_and_grad(nce_jax.losses.donsker_varadhan_loss, argnums=(0, 1))
        )(*sides)
        np.testing.assert_allclose(value, 2 * size, rtol=1e-3)
        np.testing.assert_allclose(slopes[0].sum() + slopes[1].sum(), 0, atol=1e-6)
        np.testing.assert_allclose(least_squares_root(*sides), 3 * size, rtol=1e-3)


def test_an_overflow_is_infinite_whatever_the_padding():
    """A sample of weight zero, such as the padding of an eager call, makes no NaN of it."""
    data, noise = np.array([1.0, 2.0, 3.0], np.float32), np.array([1e4, 0.0], np.float32)
    mask = np.array([1.0, 0.0])
    for function, value in (
        (nce_jax.losses.nwj_loss, np.inf),
        (nce_jax.losses.least_squares_loss, np.inf),
        (nce_jax.losses.exponential_nce_loss, np.inf),
    ):
        masked = jax.jit(function)(data, noise, weights_noise=mask)
        np.testing.assert_array_equal([function(data, noise), masked], value)
    regularized = nce_jax.criteria.ratio_regularized(nce_jax.criteria.nce())
    np.testing.assert_array_equal(regularized.loss(data, 1e20 * noise, weights_noise=mask), np.inf)


@pytest.mark.parametrize("padding", [np.nan, np.inf])
def test_weight_zero_drops_a_sample_from_values_and_gradients(padding):
    data, noise = gaussian_log_ratios(dtype=np.float32)
    weights = weights_of(data, noise, 4)
    padded = data.at[:4].set(padding), noise.at[:4].set(padding)
    kept_weights = {name: values[4:] for name, values in weights.items()}
    for function in COMPILED.values():
        np.testing.assert_allclose(
            function(*padded, **weights), function(data[4:], noise[4:], **kept_weights), rtol=1e-5
        )
        for slope in jax.jit(jax.grad(function, argnums=(0, 1)))(*padded, **weights):
            np.testing.assert_array_equal(slope[:4], 0)
            assert np.all(np.isfinite(slope))


def test_batches_are_loops_and_low_precision_is_computed_in_float32():
    lanes = [gaussian_log_ratios(seed=seed, dtype=np.float32) for seed in range(3)]
    data, noise = (jnp.stack(side) for side in zip(*lanes, strict=True))
    for function in COMPILED.values():
        values = function(data, noise)
        np.testing.assert_allclose(values, [function(*lane) for lane in lanes], rtol=1e-6)
        low = function(data.astype(jnp.bfloat16), noise.astype(jnp.bfloat16))
        assert low.dtype == np.float32
        np.testing.assert_allclose(low, values, rtol=0.1)


@pytest.mark.bad_input
@pytest.mark.parametrize("name", NAMES)
def test_bad_arguments_are_named(name):
    function, good = getattr(nce_jax.losses, name), jnp.ones(3)
    with pytest.raises(TypeError, match="log_ratio_data: expected a floating array"):
        function(jnp.arange(3), good)
    with pytest.raises(ValueError, match="log_ratio_noise: expected the batch axes"):
        function(jnp.ones((2, 3)), good)
    if name in TAKES_LOG_PARTITION:
        with pytest.raises(ValueError, match="log_partition: expected a scalar"):
            function(good, good, log_partition=jnp.ones(2))
