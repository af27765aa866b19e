"""D_kappa: its formula, known divergences, the standard error, and what becomes of bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, random_weights

KAPPAS = [1e-3, 1.0, 1e3, 1e6]
_compiled = jax.jit(nce_jax.divergence, static_argnames="block_size")


def estimate(data, noise, kappa=1.0, **options):
    """`divergence`, compiled once per shape: kappa is an array always."""
    return _compiled(
        data,
        noise,
        magnification=jnp.asarray(kappa, jnp.promote_types(data.dtype, jnp.float32)),
        **options,
    )


@pytest.fixture(scope="module")
def unit_gaussians():
    """p = N(1, 1), q = N(0, 1) on a grid: both log-ratios and the densities as weights."""
    with jax.enable_x64(True):
        x = np.linspace(-12, 13, 4001)
        p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (1, 0))
        yield (
            x,
            p,
            q,
            (jnp.asarray(x - 0.5),) * 2,
            {"weights_data": jnp.asarray(p), "weights_noise": jnp.asarray(q)},
        )


@pytest.mark.parametrize("kappa", KAPPAS)
def test_equals_its_formula(kappa, float_dtype):
    """With F solved for, and at a given F where it is another one's."""
    data, noise = gaussian_log_ratios(dtype=float_dtype)
    tolerances = (
        {"rtol": 2e-4, "atol": 2e-6 * min(1, kappa)}
        if float_dtype == np.float32
        else {"rtol": 1e-9}
    )
    weights = {"weights_data": random_weights(data, 1), "weights_noise": random_weights(noise, 2)}
    best = oracles.root(data, noise, kappa=kappa, **weights)
    for options, point in (({}, best), ({"log_partition": 0.3}, 0.3)):
        expected = oracles.divergence(data, noise, point, kappa, **weights, block_size=7)
        result = estimate(data, noise, kappa, **options, **weights, block_size=7)
        np.testing.assert_allclose(result.value, expected[0], **tolerances)
        np.testing.assert_allclose(result.standard_error, expected[1], rtol=tolerances["rtol"])
        assert result.status in (Status.CONVERGED, Status.LOW_OVERLAP)


@pytest.mark.parametrize("kappa", [1e-3, 0.1, 1.0, 30.0, 1e4])
def test_at_the_true_ratio_it_is_the_divergence(kappa, unit_gaussians, x64):
    """KL(p || m) + kappa KL(q || m), m = (p + kappa q) / (1 + kappa), by the same quadrature; and
    F* = 0.
    """
    x, p, q, ratios, weights = unit_gaussians
    m = (p + kappa * q) / (1 + kappa)
    expected = np.sum(p * np.log(p / m) + kappa * q * np.log(q / m)) * (x[1] - x[0])
    np.testing.assert_allclose(estimate(*ratios, kappa, **weights).value, expected, rtol=1e-9)


def test_named_divergences_of_unit_gaussians(unit_gaussians, x64):
    """Twice Jensen-Shannon's at kappa = 1; KL(p || q) = 1/2 as kappa -> infinity, KL(q || p) = 1/2
    per kappa towards 0.
    """
    x, p, q, ratios, weights = unit_gaussians
    halves = [np.sum(side * np.log(2 * side / (p + q))) * (x[1] - x[0]) / 2 for side in (p, q)]
    np.testing.assert_allclose(estimate(*ratios, **weights).value, 2 * sum(halves), atol=1e-6)
    np.testing.assert_allclose(estimate(*ratios, 1e7, **weights).value, 0.5, atol=1e-6)
    np.testing.assert_allclose(estimate(*ratios, 1e-7, **weights).value / 1e-7, 0.5, atol=1e-6)


def test_exchanging_the_sides(x64):
    """D_kappa(p, q) = kappa D_(1 / kappa)(q, p), sample by sample; the errors and minus F with
    it.
    """
    data, noise = gaussian_log_ratios(num_noise=40)
    for kappa in (0.03, 7.0):
        one, other = estimate(data, noise, kappa), estimate(-noise, -data, 1 / kappa)
        np.testing.assert_allclose(one.value, kappa * other.value, rtol=1e-11)
        np.testing.assert_allclose(one.standard_error, kappa * other.standard_error, rtol=1e-9)


def test_named_divergences_from_samples(unit_gaussians, x64):
    """50,000 + 50,000 samples of N(1, 1) and N(0, 1), seed 5: within 4 standard errors."""
    _, _, _, ratios, weights = unit_gaussians
    data, noise = gaussian_log_ratios(1.0, 50_000, 50_000, seed=5)
    for kappa, largest_error in ((1.0, 0.005), (1e3, 0.01), (1e5, 0.02)):
        result = estimate(data, noise, kappa)
        assert result.standard_error < largest_error
        assert (
            abs(result.value - estimate(*ratios, kappa, **weights).value)
            < 4 * result.standard_error
        )


def test_another_ratio_gives_less(unit_gaussians, x64):
    """A lower bound: at a scaled ratio, and at the true one with another F."""
    *_, ratios, weights = unit_gaussians
    for kappa in (0.1, 1.0, 100.0):
        best = float(estimate(*ratios, kappa, **weights).value)
        for scale in (0.5, 1.5, -1.0):
            assert (
                estimate(*(scale * side for side in ratios), kappa, **weights).value < 0.99 * best
            )
        assert estimate(*ratios, kappa, log_partition=0.5, **weights).value < 0.99 * best


@pytest.mark.parametrize("block_size", [1, pytest.param(10, marks=pytest.mark.costly)])
def test_the_standard_error_is_the_spread(block_size, x64):
    """300 replicates (seed 4) of 300 + 400 samples, in lanes: the spread of 300 is known to 4 %;
    within 10 %.
    """
    generator = np.random.default_rng(4)
    shapes = (300, 300), (300, 400)
    draws = [
        np.repeat(generator.normal(size=(lanes, n // block_size)), block_size, axis=-1)
        for lanes, n in shapes
    ]
    data, noise = jnp.asarray(1 + draws[0]), jnp.asarray(draws[1])
    for kappa in (0.1, 1.0, 10.0):
        result = estimate(data, noise, kappa, block_size=block_size)
        np.testing.assert_allclose(
            np.mean(result.standard_error), np.std(result.value, ddof=1), rtol=0.1
        )
    single = estimate(data[0], noise[0], 1.0, block_size=300)
    assert single.standard_error == np.inf
    assert np.isfinite(single.value)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_no_overlap_is_the_ceiling(kappa, float_dtype):
    """log(1 + kappa) + kappa log(1 + 1 / kappa), and no failure: the status says why it is the
    largest value.
    """
    data, noise = jnp.array([900.0, 1000.0], float_dtype), jnp.array([-1000.0, -900.0], float_dtype)
    result = estimate(data, noise, kappa)
    ceiling = np.log1p(kappa) + kappa * np.log1p(1 / kappa)
    np.testing.assert_allclose(
        result.value, ceiling, rtol=4 * jnp.finfo(float_dtype).eps * (1 + abs(np.log(kappa)))
    )
    assert result.standard_error <= jnp.finfo(float_dtype).eps
    assert result.status == Status.NO_OVERLAP
    level = jnp.full(2, 5.0, float_dtype)  # and a ratio that tells nothing gives nothing
    np.testing.assert_allclose(estimate(level, level, kappa).value, 0, atol=1e-6 * min(1, kappa))


@pytest.mark.costly
def test_bad_lanes_are_nan_and_leave_their_neighbors_untouched():
    data, noise = (jnp.stack([side] * 4) for side in gaussian_log_ratios(dtype=np.float32))
    kappa = jnp.array([1.0, 1.0, jnp.inf, 1.0])
    dirty = data.at[1, 0].set(np.nan)
    for options in ({}, {"log_partition": jnp.array([0.2, 0.2, 0.2, np.nan])}):
        result = estimate(dirty, noise, kappa, **options)
        bad = [False, True, True, bool(options)]
        np.testing.assert_array_equal(np.isnan(result.value), bad)
        np.testing.assert_array_equal(np.isnan(result.standard_error), bad)
        np.testing.assert_array_equal(result.status == Status.NONFINITE, bad)
        clean = estimate(data, noise, jnp.ones(4), **options)
        np.testing.assert_array_equal(result.value[0], clean.value[0])


@pytest.mark.costly
def test_padding_is_dropping_and_weights_need_no_scale(x64):
    data, noise = gaussian_log_ratios()
    weights = {
        "weights_data": random_weights(data, 1, 5),
        "weights_noise": random_weights(noise, 2, 5),
    }
    hidden = data.at[:5].set(np.nan), noise.at[:5].set(np.inf)
    best = oracles.root(data, noise, **weights)
    expected = oracles.divergence(data, noise, best, **weights)
    for scale in (1.0, 1e6):
        result = estimate(*hidden, **{name: scale * w for name, w in weights.items()})
        np.testing.assert_allclose(result.value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(result.standard_error, expected[1], rtol=1e-9)


def test_low_precision_inputs_are_computed_in_float32():
    data, noise = gaussian_log_ratios(dtype=jnp.bfloat16)
    result, best = estimate(data, noise), oracles.root(data, noise)
    assert result.value.dtype == result.standard_error.dtype == np.float32
    np.testing.assert_allclose(
        [result.value, result.standard_error], oracles.divergence(data, noise, best), rtol=1e-5
    )


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    good = jnp.ones(3)
    with pytest.raises(TypeError, match="log_ratio_noise: expected a floating array"):
        nce_jax.divergence(good, jnp.arange(3))
    with pytest.raises(
        ValueError, match="magnification: expected a finite positive number, got -1"
    ):
        nce_jax.divergence(good, good, magnification=-1.0)
    with pytest.raises(ValueError, match="block_size: expected at least 1"):
        nce_jax.divergence(good, good, block_size=0)


def test_a_given_normalizer_does_not_hide_an_infinite_log_ratio():
    """-inf among the data, to which the model gives no mass."""
    estimate = nce_jax.divergence(
        jnp.array([-jnp.inf, 1.0, 2.0]), jnp.array([0.0, 1.0]), log_partition=0.0
    )
    assert np.isnan(estimate.value)
    assert estimate.status == nce_jax.Status.NONFINITE
