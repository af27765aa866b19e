"""Numerical building blocks: exact in their ranges, finite beyond, and with the derivatives they
claim.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from nce_jax import _numerics as numerics

EXTREMES = (-1e4, -800.0, -90.0, -1.0, 0.0, 1.0, 90.0, 800.0, 1e4)


def test_softplus_and_its_derivatives(float_dtype):
    values = jnp.array(EXTREMES, float_dtype)
    np.testing.assert_allclose(
        numerics.softplus(values), np.logaddexp(0, np.array(EXTREMES)), rtol=1e-6, atol=1e-37
    )
    slopes = jax.vmap(jax.grad(numerics.softplus))(values)
    np.testing.assert_allclose(slopes, jax.nn.sigmoid(values), rtol=1e-6, atol=1e-37)
    curvatures = jax.vmap(jax.grad(jax.grad(numerics.softplus)))(values)
    assert np.isfinite(curvatures).all()


def test_softplus_to_second_order(x64):
    check_grads(numerics.softplus, (jnp.array([-3.0, 0.0, 2.0]),), order=2)


@pytest.mark.parametrize("offset", EXTREMES)
def test_scaled_sigmoids_keep_their_sum_off_zero(offset, float_dtype):
    values = jnp.array([[-3.0, -0.5, 0.0, 2.0]], float_dtype) + jnp.asarray(offset, float_dtype)
    scaled, log_scale = numerics.scaled_sigmoid(values)
    assert scaled.dtype == values.dtype
    assert 0.5 <= scaled.max() <= 1
    expected = np.asarray(jax.nn.log_sigmoid(values)) - np.asarray(log_scale)[:, None]
    np.testing.assert_allclose(
        np.log(np.maximum(scaled, 1e-37)), np.maximum(expected, np.log(1e-37)), atol=2e-6
    )


def test_a_weight_of_zero_hides_anything():
    samples = jnp.array([1.0, jnp.nan, 3.0, -jnp.inf])
    weights = jnp.array([1.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(
        numerics.ignore_unweighted(samples, weights), [1.0, 3.0, 3.0, 3.0]
    )


@pytest.mark.parametrize("bad", [jnp.inf, jnp.nan])
def test_what_hides_a_sample_is_in_the_range_of_the_finite_ones(bad):
    samples, weights = jnp.array([1e4, jnp.nan, 2e4, bad]), jnp.array([1.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(
        numerics.ignore_unweighted(samples, weights), [1e4, 2e4, 2e4, bad]
    )


def test_kish_counts():
    samples = jnp.zeros(5)
    assert numerics.sample_count(samples, None) == 5
    assert numerics.sample_count(samples, jnp.array([1.0, 1.0, 0.0, 1.0, 0.0])) == 3
    assert numerics.sample_count(samples, jnp.array([7.0, 0.0, 0.0, 0.0, 0.0])) == 1


@pytest.mark.parametrize("log_scale", [-60.0, -1.0, 0.0, 3.0, 60.0])
def test_scaled_softplus_and_its_derivatives(log_scale, x64):
    """As the product of both, of which it keeps more digits, to second order."""
    values = jnp.concatenate([jnp.linspace(-25, 30, 12), log_scale + jnp.linspace(-3, 3, 7)])
    both = numerics.scaled_softplus, lambda v, s: jnp.exp(s) * numerics.softplus(v - s)

    def of_order(order, function):
        function = jax.hessian(function, (0, 1)) if order == 2 else function
        function = jax.grad(function, (0, 1)) if order == 1 else function
        return np.array(jax.vmap(function, (0, None))(values, jnp.float64(log_scale)))

    for order in range(3):
        one, other = (of_order(order, function) for function in both)
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-14 * np.exp(log_scale))


def test_scaled_softplus_at_the_ends(float_dtype):
    """Infinite values, and a scale that the dtype does not hold."""
    values = jnp.array([-jnp.inf, jnp.inf, 3.0], float_dtype)
    scale = jnp.array([1.0, 1.0, 800.0], float_dtype)
    np.testing.assert_allclose(
        numerics.scaled_softplus(values, scale), [0, np.inf, np.exp(3.0)], rtol=1e-6
    )
    slopes = jax.vmap(jax.grad(numerics.scaled_softplus))(values, scale)
    np.testing.assert_allclose(slopes, [0, np.e, np.exp(3.0)], rtol=1e-6)
