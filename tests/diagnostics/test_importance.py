"""Importance sampling from the noise: log Z of a model, its error, and the effective sample
size.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights, solve, standard_error

estimate = jax.jit(nce_jax.diagnostics.importance_log_partition)
effective_sample_size = jax.jit(nce_jax.diagnostics.effective_sample_size)


def test_equals_its_formulas(float_dtype):
    _, noise = gaussian_log_ratios(dtype=float_dtype)
    result = estimate(noise)
    rtol = 1e-4 if float_dtype == np.float32 else 1e-12
    np.testing.assert_allclose(
        result.log_partition, oracles.importance_log_partition(noise), rtol=rtol
    )
    np.testing.assert_allclose(
        result.standard_error, oracles.importance_standard_error(noise), rtol=rtol
    )
    np.testing.assert_allclose(result.effective_sample_size, oracles.kish(noise), rtol=rtol)
    assert all(field.dtype == float_dtype for field in result._replace(status=noise))


def test_is_the_limit_of_the_profiled_normalizer_and_of_its_error(x64):
    data, noise = gaussian_log_ratios(1.0)
    result = estimate(noise)
    profiled = solve(data, noise, magnification=1e9)
    np.testing.assert_allclose(result.log_partition, profiled.log_partition, rtol=0, atol=1e-6)
    limit = standard_error(data, noise, magnification=1e9)
    np.testing.assert_allclose(result.standard_error, limit, rtol=1e-5)


def test_weights(x64):
    _, noise = gaussian_log_ratios()
    weights = random_weights(noise, num_zeros=6)
    result = estimate(noise.at[:6].set(np.nan), weights_noise=weights)
    np.testing.assert_allclose(
        result.log_partition, oracles.importance_log_partition(noise, weights), rtol=1e-13
    )
    expected_result = estimate(noise[6:], weights_noise=7 * weights[6:])
    for actual, expected in zip(result, expected_result, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-11)
    twice = estimate(noise, weights_noise=jnp.ones_like(noise).at[:3].set(2.0))
    duplicated = estimate(jnp.concatenate([noise, noise[:3]]))
    np.testing.assert_allclose(twice.log_partition, duplicated.log_partition, rtol=1e-13)


def test_a_gaussian_tilt_has_its_closed_form_and_coverage(x64):
    """s = y / 2 under N(0, 1): log Z = 1/8, ESS = m e^(-1/4); 500 replicates of 400, seed 9."""
    noise = jnp.asarray(np.random.default_rng(9).normal(size=(500, 400))) / 2
    result = estimate(noise)
    deviation = result.log_partition - 1 / 8
    spread = np.std(deviation, ddof=1)
    assert abs(np.mean(deviation)) < 4 * spread / np.sqrt(500) + 0.002
    np.testing.assert_allclose(np.mean(result.standard_error), spread, rtol=0.12)
    assert 0.92 < np.mean(np.abs(deviation) < 1.96 * result.standard_error) < 0.98
    np.testing.assert_allclose(
        np.mean(result.effective_sample_size), 400 * np.exp(-1 / 4), rtol=0.02
    )


@pytest.mark.parametrize("offset", [-1e6, 1e6])
def test_large_offsets(offset, float_dtype):
    _, noise = gaussian_log_ratios(offset=offset, dtype=float_dtype)
    result = estimate(noise)
    rtol = 1e-6 if float_dtype == np.float32 else 1e-12
    np.testing.assert_allclose(
        result.log_partition, oracles.importance_log_partition(noise), rtol=rtol
    )
    assert np.isfinite(result.standard_error)
    np.testing.assert_allclose(
        result.effective_sample_size, oracles.kish(noise), rtol=0.1 if rtol == 1e-6 else 1e-8
    )


def test_one_sample_that_carries_all_says_so(float_dtype):
    """The formula's error would be near one, for any truth: ESS is what tells."""
    result = estimate(jnp.array([900.0, 0.0, 1.0, -5.0], float_dtype))
    np.testing.assert_allclose(result.log_partition, 900 - np.log(4), rtol=1e-6)
    np.testing.assert_allclose(result.effective_sample_size, 1, rtol=1e-6)


def test_a_single_sample_supports_no_error():
    assert np.isinf(estimate(jnp.array([1.5])).standard_error)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_no_number_and_stays_in_its_lane(bad):
    noise = jnp.stack([gaussian_log_ratios(dtype=np.float32)[1]] * 3)
    clean, dirty = estimate(noise), estimate(noise.at[1, 0].set(bad))
    assert dirty.status[1] == nce_jax.Status.NONFINITE
    for name, actual, expected in zip(dirty._fields, dirty, clean, strict=True):
        np.testing.assert_array_equal(np.isfinite(actual), [True, name == "status", True])
        np.testing.assert_array_equal(actual[::2], expected[::2])


@pytest.mark.parametrize("scale", [0.0, 1e5, -1e5])
def test_kish_on_its_own(scale, float_dtype):
    weights = jnp.asarray([[0.0, 0.0, 0.0, -np.inf], [1.0, 2.0, -3.0, 0.5]], float_dtype)
    expected = [oracles.kish(row) for row in np.asarray(weights)]
    np.testing.assert_allclose(
        effective_sample_size(weights + scale), expected, rtol=1e-2 if scale else 1e-5
    )


def test_kish_of_nothing_is_no_number():
    rows = jnp.array([[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf], [0.0, 0.0]])
    np.testing.assert_array_equal(np.isnan(effective_sample_size(rows)), [True, True, True, False])


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    names = {
        nce_jax.diagnostics.importance_log_partition: "log_ratio_noise",
        nce_jax.diagnostics.effective_sample_size: "log_weights",
    }
    for function, name in names.items():
        with pytest.raises(ValueError, match=f"{name}.*at least 1.*\\(0,\\)"):
            function(jnp.zeros((0,)))
        with pytest.raises(TypeError, match=f"{name}.*floating.*int32"):
            function(jnp.zeros((3,), int))
        with pytest.raises(ValueError, match=f"{name}.*scalar"):
            function(jnp.float32(1))
    with pytest.raises(ValueError, match="weights_noise.*(3,)"):
        nce_jax.diagnostics.importance_log_partition(jnp.zeros(3), weights_noise=jnp.ones(4))
