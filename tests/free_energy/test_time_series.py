"""Statistical inefficiency and subsampling: the sums over lags written out, and pymbar."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import free_energy
from tests import oracles
from tests.free_energy.states import autoregressive

ROOT = Path(__file__).parents[2]

# Arrays of the host, which the annotations do not have.
pytestmark = pytest.mark.bad_input

inefficiency = jax.jit(free_energy.statistical_inefficiency, static_argnames="min_lag")


@pytest.mark.parametrize("is_traced", [True, False])
def test_equals_the_sum_over_lags(is_traced, x64):
    function = inefficiency if is_traced else free_energy.statistical_inefficiency
    series = np.stack([autoregressive(300, c, seed=1) for c in (-0.5, 0.0, 0.6, 0.95)])
    expected = [oracles.statistical_inefficiency(row) for row in series]
    assert expected[0] == 1
    assert expected[3] > 10
    np.testing.assert_allclose(function(series), expected, rtol=1e-10)
    other = series[::-1] + series
    pairs = [oracles.statistical_inefficiency(*rows) for rows in zip(series, other, strict=True)]
    np.testing.assert_allclose(function(series, other), pairs, rtol=1e-10)
    later = [oracles.statistical_inefficiency(row, min_lag=9) for row in series]
    np.testing.assert_allclose(function(series, min_lag=9), later, rtol=1e-10)
    assert not np.allclose(later, expected)


def test_the_process_has_the_value_of_theory():
    """C_t = 0.9^t: g = 1.9 / 0.1; 100,000 values, seed 2, to 10 % (four times its error)."""
    series = autoregressive(100_000, 0.9, seed=2)
    np.testing.assert_allclose(
        free_energy.statistical_inefficiency(series.astype(np.float32)), 19, rtol=0.1
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_short_series(size, x64):
    series = np.random.default_rng(size).normal(size=size)
    expected = 1 if size == 1 else oracles.statistical_inefficiency(series)
    for function in (inefficiency, free_energy.statistical_inefficiency):
        np.testing.assert_allclose(function(series), expected, rtol=1e-9)


def test_series_that_do_not_vary_or_are_not_finite(float_dtype):
    """A mean of equal values is rounded, and may differ from all of them."""
    series = np.stack(
        [np.full(100, 0.1), np.zeros(100), *np.random.default_rng(0).normal(size=(4, 100))]
    )
    series[2:5, 50] = np.nan, np.inf, 1e30
    series = series.astype(float_dtype)
    expected = [1, 1, np.nan, np.nan, 1, oracles.statistical_inefficiency(series[5])]
    for function in (inefficiency, free_energy.statistical_inefficiency):
        np.testing.assert_allclose(function(series), expected, rtol=1e-5)


def test_missing_values_keep_their_place(x64):
    series = autoregressive(300, 0.9, seed=4)
    mask = np.arange(300) < 250
    expected = oracles.statistical_inefficiency(series[:250])
    padded = np.where(mask, series, np.nan)
    np.testing.assert_allclose(inefficiency(padded, weights=mask), expected, rtol=1e-10)
    np.testing.assert_allclose(
        free_energy.statistical_inefficiency(padded, padded, weights=mask), expected, rtol=1e-10
    )
    # Every second value: twice as far apart, and no pairs at odd lags.
    is_even = np.arange(300) % 2 == 0
    halved = oracles.statistical_inefficiency(series[::2], min_lag=1)
    np.testing.assert_allclose(inefficiency(series, weights=is_even), halved, rtol=1e-10)
    # Random gaps: the variance of the mean of the values that are there, pair by pair.
    kept = np.flatnonzero(np.random.default_rng(5).uniform(size=300) < 0.7)
    deviations = series[kept] - series[kept].mean()
    lags = np.abs(kept[:, None] - kept)
    products = deviations[:, None] * deviations / (deviations @ deviations)
    sums = np.bincount(lags.ravel(), products.ravel())
    end = next(lag for lag, value in enumerate(sums) if lag > 3 and value <= 0)
    actual = inefficiency(series, weights=np.isin(np.arange(300), kept))
    np.testing.assert_allclose(actual, sums[:end].sum(), rtol=1e-10)
    assert np.isnan(inefficiency(series, weights=np.zeros(300, bool)))


def test_a_large_constant_is_no_fluctuation():
    """float64 series in a float32 program, which alone would not hold them."""
    series = np.stack([autoregressive(300, c, seed=1) for c in (0.6, 0.95)])
    expected = [oracles.statistical_inefficiency(row) for row in series]
    moved = series + np.array([[1e9], [-3e8]])
    np.testing.assert_allclose(free_energy.statistical_inefficiency(moved), expected, rtol=1e-4)
    pair = oracles.statistical_inefficiency(*series)
    np.testing.assert_allclose(free_energy.statistical_inefficiency(*moved), pair, rtol=1e-4)


@pytest.mark.parametrize("g", [1.0, 1.5, 2.5, 7.3, 50.0])
def test_one_sample_of_every_g_is_kept(g):
    expected = np.unique([round(g * i) for i in range(100) if round(g * i) < 100])
    mask = free_energy.decorrelated_mask(g, num_samples=100)
    np.testing.assert_array_equal(np.flatnonzero(mask), expected)
    traced = jax.jit(lambda g: free_energy.decorrelated_mask(g, num_samples=100))(g)
    np.testing.assert_array_equal(traced, mask)


@pytest.mark.parametrize(("times", "expected"), [(1, np.sqrt(1.125 / 0.875)), (2, 1.016)])
def test_errors_of_samples_that_are_kept(times, expected, x64):
    """C_t = 0.5^t, g = 3: of those kept C_t is 1/8, or 1/64 for 2 g. The scatter over the error,
    2,000 repetitions, seed 0, is what follows from it within k = 4 of its standard errors.
    """
    noise = np.random.default_rng(0).normal(size=(2, 2000, 600))
    x = noise.copy()
    for place in range(1, 600):
        x[..., place] = 0.5 * x[..., place - 1] + np.sqrt(0.75) * noise[..., place]
    mask = free_energy.decorrelated_mask(3.0 * times, num_samples=600)
    # Work between N(0, 1) and N(1, 1), from either side.
    result = free_energy.bar(*(x + 0.5), weights_forward=mask, weights_reverse=mask)
    ratio = np.std(result.delta_f) / np.sqrt(np.mean(result.standard_error**2))
    assert abs(ratio / expected - 1) < 4 / np.sqrt(2 * 2000)


def test_masks_of_a_batch_serve_as_weights(x64):
    g = np.array([1.0, 3.0])
    mask = free_energy.decorrelated_mask(g, num_samples=90)
    np.testing.assert_array_equal(mask.sum(axis=-1), [90, 30])
    forward, reverse = np.random.default_rng(0).normal(0.5, 1, (2, 2, 90))
    result = free_energy.bar(forward, reverse, weights_forward=mask, weights_reverse=mask)
    kept = free_energy.bar(forward[1, ::3], reverse[1, ::3])
    np.testing.assert_allclose(result.delta_f[1], kept.delta_f, rtol=1e-9)
    np.testing.assert_allclose(result.standard_error[1], kept.standard_error, rtol=1e-9)
    none = jax.jit(lambda g: free_energy.decorrelated_mask(g, num_samples=5))(0.5)
    assert not none.any()


@pytest.mark.costly
def test_errors_of_correlated_samples_cover(x64):
    """Two oscillators with g = 9, 1,000 samples a state, 200 repetitions, seed 6: with g of the
    energy difference the 95 % interval contains the truth in 90 to 99 %, without it in less than
    60 %.
    """
    x = autoregressive(1000, 0.8, seed=6, lanes=(200, 2)) + np.array([0.0, 1.5])[:, None]
    work = (x - 1.5) ** 2 / 2 - x**2 / 2
    forward, reverse = work[:, 0], -work[:, 1]
    g = [free_energy.statistical_inefficiency(side) for side in (forward, reverse)]
    result = free_energy.bar(forward, reverse, statistical_inefficiency=jnp.maximum(*g))
    covered = np.mean(np.abs(result.delta_f) < 1.96 * result.standard_error)
    assert 0.90 <= covered <= 0.99
    naive = free_energy.bar(forward, reverse)
    assert np.mean(np.abs(naive.delta_f) < 1.96 * naive.standard_error) < 0.6


PYMBAR_PROGRAM = """
import itertools, numpy as np, jax
from pymbar import timeseries
from nce_jax import free_energy
from tests.free_energy.states import autoregressive
jax.config.update("jax_enable_x64", True)
for size, correlation in itertools.product((2, 40, 3000), (-0.5, 0.6, 0.99)):
    one, other = (autoregressive(size, correlation, seed=seed) for seed in (0, 1))
    for pair in ((one,), (one, one + other)):
        ours = free_energy.statistical_inefficiency(*pair)
        theirs = timeseries.statistical_inefficiency(*pair)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        single = [series.astype(np.float32) for series in pair]
        short = free_energy.statistical_inefficiency(*single)
        np.testing.assert_allclose(short, theirs, rtol=1e-4)
    g = max(1.0, float(free_energy.statistical_inefficiency(one)))
    kept = np.flatnonzero(free_energy.decorrelated_mask(g, num_samples=size))
    np.testing.assert_array_equal(kept, timeseries.subsample_correlated_data(one, g=g))
"""


@pytest.mark.costly
@pytest.mark.skipif(importlib.util.find_spec("pymbar") is None, reason="needs pymbar")
def test_agrees_with_pymbar():
    """In a process of its own: pymbar switches x64 on for good."""
    subprocess.run([sys.executable, "-c", PYMBAR_PROGRAM], check=True, cwd=ROOT)


def test_bad_arguments_are_named():
    series = np.zeros(5)
    for call, error, words in (
        (lambda: free_energy.statistical_inefficiency(3.0), ValueError, ["values", "scalar"]),
        (lambda: free_energy.statistical_inefficiency(np.arange(5)), TypeError, ["values", "int"]),
        (
            lambda: free_energy.statistical_inefficiency(series, series[:4]),
            ValueError,
            ["other", "(5,)", "(4,)"],
        ),
        (
            lambda: free_energy.statistical_inefficiency(series, min_lag=-1),
            ValueError,
            ["min_lag", "-1"],
        ),
        (
            lambda: free_energy.decorrelated_mask(0.5, num_samples=5),
            ValueError,
            ["statistical_inefficiency", "at least 1", "0.5"],
        ),
        (
            lambda: free_energy.decorrelated_mask(2.0, num_samples=0),
            ValueError,
            ["num_samples", "0"],
        ),
    ):
        with pytest.raises(error) as caught:
            call()
        assert all(word in str(caught.value) for word in words), str(caught.value)


def relaxing(num_samples=1000, correlation=0.8, seed=0):
    series = autoregressive(num_samples, correlation, seed=seed)
    return series + 6 * np.exp(-np.arange(num_samples) / 60)


@pytest.mark.parametrize("is_traced", [True, False])
def test_the_cut_leaves_the_most_effective_samples(is_traced, x64):
    series = relaxing()
    function = free_energy.detect_equilibration
    result = (jax.jit(function) if is_traced else function)(series)
    tails = {start: series[start:] for start in range(0, 1000, 10)}
    effective = {t: len(tail) / oracles.statistical_inefficiency(tail) for t, tail in tails.items()}
    start = max(effective, key=effective.get)
    assert result.start == start
    assert 50 < start < 300
    np.testing.assert_allclose(result.effective_samples, effective[start], rtol=1e-9)
    np.testing.assert_allclose(
        result.statistical_inefficiency, oracles.statistical_inefficiency(tails[start]), rtol=1e-9
    )


def test_cuts_of_batches_padding_and_short_series(x64):
    series = relaxing()
    single = free_energy.detect_equilibration(series)
    batch = free_energy.detect_equilibration(np.stack([series, 1e6 + 3 * series]))
    padded = free_energy.detect_equilibration(
        np.append(series, np.full(200, np.nan)), weights=np.repeat([1.0, 0.0], [1000, 200])
    )
    for field in single._fields:
        for other in (*getattr(batch, field), getattr(padded, field)):
            np.testing.assert_allclose(other, getattr(single, field), rtol=1e-6)
    for short in (np.ones(1), np.ones(50), np.array([1.0, 2.0])):
        assert free_energy.detect_equilibration(short).start == 0
    with jax.enable_x64(False):
        assert free_energy.detect_equilibration(series).start == single.start


def test_a_series_that_is_not_finite_has_no_cut():
    result = free_energy.detect_equilibration(np.append(relaxing(), np.nan))
    assert result.start == -1
    assert np.isnan(result.statistical_inefficiency)
    assert np.isnan(result.effective_samples)


def test_cuts_that_are_no_number():
    with pytest.raises(ValueError, match="num_starts"):
        free_energy.detect_equilibration(np.ones(5), num_starts=0)


def test_a_series_that_is_stuck_is_worth_one_sample(x64):
    moving = np.concatenate([relaxing(), np.full(400, 1.0)])
    result = free_energy.detect_equilibration(moving)
    assert result.start < 1000
    stuck = free_energy.detect_equilibration(np.ones(50))
    assert (stuck.start, stuck.effective_samples) == (0, 1)


def test_cuts_with_missing_values(x64):
    """Every second value is missing; cuts are by place."""
    late = np.concatenate([np.linspace(50, 0, 700), np.random.default_rng(0).normal(size=300)])
    weights = np.arange(1000.0) % 2 == 0
    result = free_energy.detect_equilibration(late, weights=weights.astype(float))
    assert 600 < result.start < 800
    nothing = free_energy.detect_equilibration(late, weights=np.zeros(1000))
    assert nothing.start == -1
    assert np.isnan(nothing.effective_samples)
