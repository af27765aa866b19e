"""The other player's loss: its formula, its slope, its limit, an identity, and hostile samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax.losses import generator_loss, nce_loss_terms

S = np.array([-30.0, -2.0, -0.1, 0.0, 0.7, 3.0, 40.0])


@pytest.mark.parametrize("kappa", [0.1, 1.0, 50.0, 1e12])
def test_equals_its_formula_and_has_its_slope(kappa, x64):
    """Against NumPy in float64; kappa is M times the noise ratio."""
    u = S - 0.3
    expected = np.logaddexp(0, np.log(kappa) - u) - np.log(kappa)
    options = {"log_partition": 0.3, "magnification": kappa / 4, "noise_ratio": 4.0}
    actual, slope = jax.vmap(jax.value_and_grad(lambda s: generator_loss(s[None], **options)))(
        jnp.asarray(S)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(slope, -kappa / (kappa + np.exp(u)), rtol=1e-12)


def test_the_mean_is_weighted(x64):
    weights = np.arange(7.0)
    actual = generator_loss(jnp.asarray(S), weights=jnp.asarray(weights))
    expected = np.average(np.logaddexp(0, -S), weights=weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    for form, terms in (("non_saturating", np.logaddexp(0, -S[1:])), ("reverse_kl", -S[1:])):
        masked = jnp.asarray(S).at[0].set(np.nan)
        actual = generator_loss(masked, weights=jnp.asarray(weights > 0), form=form)
        np.testing.assert_allclose(actual, terms.mean(), rtol=1e-12)


def test_it_is_the_critics_loss_of_calling_the_samples_data():
    """Less log kappa: an identity with the data side of `nce_loss`."""
    s, options = jnp.asarray(S, jnp.float32), {"log_partition": 0.5, "magnification": 20.0}
    as_data, _ = nce_loss_terms(s, s, **options)
    expected = as_data.mean() - np.log(20.0)
    np.testing.assert_allclose(generator_loss(s, **options), expected, rtol=1e-6)


def test_the_limit_of_a_large_magnification_is_the_reverse_kl():
    s = jnp.asarray(S, jnp.float32)
    limit = generator_loss(s, log_partition=0.5, form="reverse_kl")
    found = generator_loss(s, log_partition=0.5, magnification=jnp.float32(1e30))
    np.testing.assert_allclose(found, limit, rtol=1e-6)
    # Its gradient is the same at every F and M, where that of the other form differs.
    for form, is_same in (("reverse_kl", True), ("non_saturating", False)):
        slope = jax.grad(lambda s, f, m, form=form: generator_loss(
            s, log_partition=f, magnification=m, form=form))  # fmt: skip
        slopes = [slope(s, f, m) for f, m in ((0.5, 1.0), (-3.0, 1.0), (0.5, 50.0))]
        for other in slopes[1:]:
            assert np.allclose(slopes[0], other, rtol=1e-6, atol=0) == is_same
    other = generator_loss(s, magnification=jnp.float32(3.0), form="reverse_kl")
    np.testing.assert_allclose(other, -s.mean(), rtol=1e-6)


def test_at_the_true_ratio_it_is_the_reverse_divergence():
    """Gaussians a distance of 1 apart: KL is 1/2, within 4 standard errors of 100,000 draws."""
    y = jax.random.normal(jax.random.key(0), (100_000,))
    found = generator_loss(y - 0.5, form="reverse_kl")
    assert abs(found - 0.5) < 4 / np.sqrt(100_000)


def test_infinite_log_ratios_have_values_and_slopes():
    s = jnp.array([np.inf, 0.0])
    value, slope = jax.value_and_grad(generator_loss)(s)
    assert value == pytest.approx(np.log(2) / 2)
    np.testing.assert_allclose(slope, [0, -0.25])
    excluded, slope = jax.value_and_grad(generator_loss)(jnp.array([-np.inf, 0.0]))
    assert excluded == np.inf
    np.testing.assert_allclose(slope, [-0.5, -0.25])


def test_no_weight_and_a_failed_solve_pass_no_gradient():
    for form in ("non_saturating", "reverse_kl"):
        call = lambda s, form=form, **options: generator_loss(s, form=form, **options)
        empty = jax.value_and_grad(call)(jnp.array([np.nan, 1.0]), weights=jnp.zeros(2))
        assert empty[0] == 0
        np.testing.assert_array_equal(empty[1], 0)
        failed = jax.value_and_grad(call)(jnp.array([0.5, 1.0]), log_partition=np.nan)
        assert np.isnan(failed[0])
        np.testing.assert_array_equal(failed[1], 0)


def test_magnifications_are_a_batch_of_one_program():
    s = jnp.broadcast_to(jnp.asarray(S, jnp.float32), (3, 7))
    found = generator_loss(s, magnification=jnp.array([1.0, 10.0, 100.0]))
    expected = [generator_loss(s[0], magnification=m) for m in (1.0, 10.0, 100.0)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.all(np.diff(found) < 0)  # less is added to -u


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="form: expected one of non_saturating, reverse_kl"):
        generator_loss(jnp.zeros(3), form="saturating")
    with pytest.raises(ValueError, match="magnification"):
        generator_loss(jnp.zeros(3), magnification=0.0)
    with pytest.raises(TypeError, match="log_ratio"):
        generator_loss(jnp.zeros(3, int))
