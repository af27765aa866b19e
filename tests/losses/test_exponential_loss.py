"""eNCE: its formula, its closed-form normalizer, and the profiled loss on the log scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import nce_jax
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights

loss = jax.jit(nce_jax.losses.exponential_nce_loss)
best = jax.jit(nce_jax.losses.exponential_log_partition)
profiled = jax.jit(nce_jax.losses.log_profiled_exponential_nce_loss)


def weights_of(data, noise, num_zeros=0):
    return {
        "weights_data": random_weights(data, 1, num_zeros),
        "weights_noise": random_weights(noise, 2, num_zeros),
    }


def test_equals_its_formula(float_dtype):
    data, noise = gaussian_log_ratios(dtype=float_dtype)
    rtol = 2e-6 if float_dtype == np.float32 else 1e-14
    for weights in ({}, weights_of(data, noise, 3)):
        expected = oracles.exponential_nce_loss(data, noise, log_partition=0.4, **weights)
        np.testing.assert_allclose(
            loss(data, noise, log_partition=0.4, **weights), expected, rtol=rtol
        )
        expected = oracles.exponential_log_partition(data, noise, **weights)
        # F is a difference of logs: its error is absolute, a rounding of each of its operations.
        atol = 8 * np.finfo(float_dtype).eps
        np.testing.assert_allclose(best(data, noise, **weights), expected, rtol=0, atol=atol)


def test_the_closed_form_is_the_minimizer(x64):
    data, noise = gaussian_log_ratios()
    slope, curvature = (
        jax.jit(
            derivative(lambda f: nce_jax.losses.exponential_nce_loss(data, noise, log_partition=f))
        )(best(data, noise))
        for derivative in (jax.grad, jax.hessian)
    )
    np.testing.assert_allclose(slope, 0, atol=1e-15)
    assert curvature > 0


def test_the_profiled_loss_is_the_log_of_the_loss_at_the_minimum(x64):
    data, noise = gaussian_log_ratios()
    weights = weights_of(data, noise)
    minimum = loss(data, noise, log_partition=best(data, noise, **weights), **weights)
    np.testing.assert_allclose(profiled(data, noise, **weights), np.log(minimum), rtol=1e-13)


def test_shifting_all_log_ratios(x64):
    data, noise = gaussian_log_ratios()
    np.testing.assert_allclose(best(data + 2.5, noise + 2.5), best(data, noise) + 2.5, rtol=1e-14)
    np.testing.assert_allclose(profiled(data + 2.5, noise + 2.5), profiled(data, noise), rtol=1e-13)


def test_gaussians_have_their_closed_form(x64):
    """Model = data = N(1, 1), log Z 3, noise N(0, 1): F* = 3 and the loss is the Bhattacharyya
    coefficient, log = -1/8.

    50,000 + 50,000 samples, seed 1, within 4 standard errors (delta method).
    """
    data, noise = gaussian_log_ratios(1.0, 50_000, 50_000, offset=3.0, seed=1)
    relative = [
        np.std(w) / np.mean(w) / np.sqrt(w.size) for w in (np.exp(-data / 2), np.exp(noise / 2))
    ]
    error = np.hypot(*relative)
    assert abs(best(data, noise) - 3) < 4 * error < 0.03
    assert abs(profiled(data, noise) + 1 / 8) < 4 * error / 2


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_finite_where_the_plain_loss_overflows(size, float_dtype):
    for data, noise in ((size, -size), (-size, size), (size, size)):
        sides = jnp.array([data, data - 1], float_dtype), jnp.array([noise, noise + 1], float_dtype)
        value, slopes = jax.jit(
            jax.value_and_grad(nce_jax.losses.log_profiled_exponential_nce_loss, argnums=(0, 1))
        )(*sides)
        np.testing.assert_allclose(value, (noise - data) / 4, rtol=1e-3, atol=1)
        assert all(np.all(np.isfinite(slope)) for slope in slopes)
        np.testing.assert_allclose(slopes[0].sum() + slopes[1].sum(), 0, atol=1e-6)


@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf])
def test_weight_zero_drops_a_sample_from_values_and_gradients(padding):
    data, noise = gaussian_log_ratios(dtype=np.float32)
    weights = weights_of(data, noise, 4)
    padded = data.at[:4].set(padding), noise.at[:4].set(padding)
    kept_weights = {name: values[4:] for name, values in weights.items()}
    for function in (loss, best, profiled):
        np.testing.assert_allclose(
            function(*padded, **weights), function(data[4:], noise[4:], **kept_weights), rtol=1e-5
        )
        slope = jax.jit(jax.grad(function))(*padded, **weights)
        np.testing.assert_array_equal(slope[:4], 0)
        assert np.all(np.isfinite(slope))


@pytest.mark.costly
def test_derivatives(x64):
    data, noise = gaussian_log_ratios(1.0, 3, 4)
    for function in (loss, best, profiled):
        check_grads(function, (data, noise), order=2, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_batch_axes_are_a_loop(x64):
    lanes = [gaussian_log_ratios(seed=seed) for seed in range(3)]
    data, noise = (jnp.stack(side) for side in zip(*lanes, strict=True))
    for function in (loss, best, profiled):
        np.testing.assert_allclose(
            function(data, noise), [function(*lane) for lane in lanes], rtol=1e-14
        )


@pytest.mark.costly
def test_low_precision_inputs_are_computed_in_float32():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    for function in (loss, best, profiled):
        value = function(data.astype(jnp.bfloat16), noise.astype(jnp.bfloat16))
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, function(data, noise), rtol=0.05, atol=0.02)
