"""`nce_loss`: its formula, what it must not depend on, its limits, and its behavior at the ends of
the number line.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights

loss = jax.jit(nce_jax.nce_loss)
gradient = jax.jit(jax.grad(nce_jax.nce_loss, argnums=(0, 1)))


@pytest.mark.parametrize("kappa", [1e-6, 0.1, 1.0, 30.0, 1e6])
def test_equals_its_formula(kappa, float_dtype):
    data, noise = gaussian_log_ratios(dtype=float_dtype)
    actual = loss(data, noise, log_partition=0.7, magnification=kappa)
    assert actual.dtype == float_dtype
    rtol = 2e-6 if float_dtype == np.float32 else 1e-14
    np.testing.assert_allclose(
        actual, oracles.nce_loss(data, noise, log_partition=0.7, kappa=kappa), rtol=rtol
    )


def test_equals_its_formula_with_weights(x64):
    data, noise = gaussian_log_ratios()
    weights = {
        "weights_data": random_weights(data, 1, num_zeros=3),
        "weights_noise": random_weights(noise, 2, num_zeros=4),
    }
    expected = oracles.nce_loss(data, noise, log_partition=-1.5, kappa=7.0, **weights)
    np.testing.assert_allclose(
        loss(data, noise, log_partition=-1.5, magnification=7.0, **weights), expected, rtol=1e-14
    )


def test_kappa_one_is_twice_the_logistic_loss(x64):
    """Classic NCE: cross-entropy of the posterior sigma(u), data labeled one and noise zero."""
    data, noise = gaussian_log_ratios()
    cross_entropy = (
        -oracles.log_sigmoid(np.asarray(data)).mean()
        - oracles.log_sigmoid(-np.asarray(noise)).mean()
    )
    np.testing.assert_allclose(loss(data, noise), cross_entropy, rtol=1e-14)


@pytest.mark.parametrize("magnification", [1e-3, 0.5, 8.0, 1e5])
def test_only_the_product_of_magnification_and_noise_ratio_matters(magnification, x64):
    data, noise = gaussian_log_ratios()
    for ratio in (1 / magnification, 3.0):
        actual = loss(data, noise, magnification=magnification, noise_ratio=ratio)
        np.testing.assert_allclose(
            actual, loss(data, noise, magnification=magnification * ratio), rtol=1e-13
        )


def test_log_partition_is_a_shift_of_the_log_ratios(x64):
    data, noise = gaussian_log_ratios()
    shifted = loss(data - 0.8, noise - 0.8, magnification=3.0)
    np.testing.assert_allclose(
        loss(data, noise, log_partition=0.8, magnification=3.0), shifted, rtol=1e-14
    )


def test_terms_have_the_loss_as_their_means(x64):
    data, noise = gaussian_log_ratios()
    terms = nce_jax.losses.nce_loss_terms(
        data, noise, log_partition=0.3, magnification=5.0, noise_ratio=0.5
    )
    assert (terms[0].shape, terms[1].shape) == (data.shape, noise.shape)
    expected = loss(data, noise, log_partition=0.3, magnification=5.0, noise_ratio=0.5)
    np.testing.assert_allclose(terms[0].mean() + terms[1].mean(), expected, rtol=1e-14)
    weights = random_weights(data)
    weighted = loss(
        data, noise, log_partition=0.3, magnification=5.0, noise_ratio=0.5, weights_data=weights
    )
    np.testing.assert_allclose(
        oracles.mean(terms[0], weights) + terms[1].mean(), weighted, rtol=1e-13
    )


def test_weight_two_is_a_sample_twice_and_scale_is_free(x64):
    data, noise = gaussian_log_ratios()
    weights = jnp.ones_like(noise).at[:3].set(2.0)
    expected = loss(data, jnp.concatenate([noise, noise[:3]]))
    np.testing.assert_allclose(loss(data, noise, weights_noise=weights), expected, rtol=1e-14)
    np.testing.assert_allclose(loss(data, noise, weights_noise=1e9 * weights), expected, rtol=1e-14)


@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf, 1e30])
def test_weight_zero_drops_a_sample_from_value_and_gradient(padding):
    data, noise = gaussian_log_ratios(dtype=np.float32)
    weights = {
        "weights_data": random_weights(data, num_zeros=4),
        "weights_noise": random_weights(noise, num_zeros=4),
    }
    padded = data.at[:4].set(padding), noise.at[:4].set(padding)
    kept_weights = {name: values[4:] for name, values in weights.items()}
    np.testing.assert_allclose(
        loss(*padded, **weights), loss(data[4:], noise[4:], **kept_weights), rtol=1e-6
    )
    for actual, expected in zip(
        gradient(*padded, **weights), gradient(data[4:], noise[4:], **kept_weights), strict=True
    ):
        np.testing.assert_array_equal(actual[:4], 0)
        np.testing.assert_allclose(actual[4:], expected, rtol=1e-5)


@pytest.mark.bad_input  # the annotation admits no booleans
def test_masks_are_weights(x64):
    data, noise = gaussian_log_ratios()
    mask = jnp.arange(data.shape[-1]) % 3 > 0
    np.testing.assert_allclose(
        loss(data, noise, weights_data=mask), loss(data[mask], noise), rtol=1e-14
    )


def test_batch_axes_are_a_loop(x64):
    lanes = [gaussian_log_ratios(seed=seed) for seed in range(6)]
    data, noise = (jnp.stack(side).reshape(2, 3, -1) for side in zip(*lanes, strict=True))
    per_lane = {"log_partition": jnp.arange(3.0), "magnification": jnp.array([[1.0], [9.0]])}
    batch = loss(data, noise, **per_lane)
    for i, j in np.ndindex(2, 3):
        expected = oracles.nce_loss(
            data[i, j], noise[i, j], log_partition=float(j), kappa=[1.0, 9.0][i]
        )
        np.testing.assert_allclose(batch[i, j], expected, rtol=1e-14)


def test_gradient_is_the_clipped_importance_weight(x64):
    """dL/ds = -w(x) / n for data and r w(y) / m for noise, w = kappa / (kappa + r), r = e^u: never
    more than kappa / m.
    """
    data, noise = gaussian_log_ratios()
    for kappa in (0.1, 1.0, 50.0):
        of_data, of_noise = gradient(data, noise, magnification=kappa)
        r_data, r_noise = np.exp(data), np.exp(noise)
        np.testing.assert_allclose(of_data, -kappa / (kappa + r_data) / data.size, rtol=1e-12)
        np.testing.assert_allclose(
            of_noise, r_noise * kappa / (kappa + r_noise) / noise.size, rtol=1e-12
        )


def test_large_kappa_is_maximum_likelihood(x64):
    """L - log kappa -> -E_data[u] + E_noise[e^u], with an error of order 1 / kappa."""
    data, noise = gaussian_log_ratios()
    limit = -np.mean(data) + np.mean(np.exp(noise))
    errors = [
        abs(loss(data, noise, magnification=kappa) - np.log(kappa) - limit) for kappa in (1e4, 1e5)
    ]
    np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)
    assert errors[1] < 1e-3


@pytest.mark.parametrize("kappa", [1e-6, 1.0, 1e6])
def test_finite_at_log_ratios_of_ten_thousand(kappa, float_dtype):
    """Either sign on either side; softplus is then straight or zero, and the gradient a step."""
    for data, noise in ((1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)):
        sides = jnp.full((2,), data, float_dtype), jnp.full((3,), noise, float_dtype)
        value, slopes = loss(*sides, magnification=kappa), gradient(*sides, magnification=kappa)
        np.testing.assert_allclose(value, oracles.nce_loss(*sides, kappa=kappa), rtol=1e-5)
        np.testing.assert_allclose(slopes[0], -0.5 * (data < 0), atol=1e-6)
        np.testing.assert_allclose(slopes[1], kappa / 3 * (noise > 0), rtol=1e-5)


def test_low_precision_inputs_are_computed_in_float32():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    for dtype in (jnp.bfloat16, jnp.float16):
        rounded = data.astype(dtype), noise.astype(dtype)
        value = loss(*rounded)
        assert value.dtype == np.float32
        expected = oracles.nce_loss(*(np.asarray(s, np.float64) for s in rounded))
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert gradient(*rounded)[0].dtype == dtype


def test_one_compilation_for_every_option():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    traced = jax.jit(
        chex.assert_max_traces(
            lambda f, m, nu: nce_jax.nce_loss(
                data, noise, log_partition=f, magnification=m, noise_ratio=nu
            ),
            n=1,
        )
    )
    assert len({float(traced(0.1 * k, 10.0**k, 1.0 + k)) for k in range(4)}) == 4


def test_not_a_number_stays_in_its_lane():
    data = jnp.array([[0.0, 1.0], [np.nan, 1.0], [2.0, 3.0]])
    values = loss(data, jnp.zeros((3, 2)))
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    slopes = jax.vmap(jax.grad(nce_jax.nce_loss))(data, jnp.zeros((3, 2)))
    assert np.all(np.isfinite(slopes[::2]))


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan, np.inf])
def test_a_traced_kappa_out_of_range_gives_no_plausible_number(bad):
    """It cannot raise under jit: the loss must be NaN or infinite."""
    data, noise = gaussian_log_ratios(dtype=np.float32)
    assert not np.isfinite(loss(data, noise, magnification=jnp.float32(bad)))


@pytest.mark.parametrize("magnification", [1e36, 1e38])
def test_no_kappa_is_too_large(magnification):
    """The limit is maximum likelihood (NWJ), in value and gradient, as far as kappa is accepted."""
    data, noise = gaussian_log_ratios(dtype=np.float32)
    sides = data, noise - 5  # 87 below log kappa
    value = loss(*sides, magnification=magnification) - np.log(magnification)
    np.testing.assert_allclose(value, nce_jax.losses.nwj_loss(*sides) + 1, atol=3e-5)
    slopes = gradient(*sides, magnification=magnification)
    np.testing.assert_allclose(slopes[0], -1 / data.shape[-1], rtol=1e-5)
    np.testing.assert_allclose(slopes[1], np.exp(sides[1]) / noise.shape[-1], rtol=1e-4)
