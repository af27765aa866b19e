"""Lanes that failed are seen, counted and left out, never averaged in."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import sweeps


def lane(a, seed):
    """Fails where a = 1 and seed >= 3, in one leaf only."""
    value = a + seed
    return {
        "value": value,
        "root": jnp.stack([value, jnp.where((a == 1) & (seed >= 3), jnp.nan, value)]),
        "count": seed.astype(jnp.int32),
    }


A, SEED = jnp.arange(3.0), jnp.arange(5.0)


@pytest.fixture
def result():
    return nce_jax.sweep(lane, axes={"a": A, "seed": SEED})


def test_a_lane_fails_where_any_number_of_it_is_not_finite(result):
    expected = np.zeros((3, 5), bool)
    expected[1, 3:] = True
    np.testing.assert_array_equal(result.failed, expected)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_every_number_that_is_not_finite_counts(bad):
    result = nce_jax.sweep(lambda a: jnp.where(a == 1, bad, a), axes={"a": A})
    assert result.failed.tolist() == [False, True, False]


def test_complex_bfloat16_and_integers():
    result = nce_jax.sweep(
        lambda a: (a + 1j / a, (1 / a).astype(jnp.bfloat16), a.astype(jnp.int32)), axes={"a": A}
    )
    assert result.failed.tolist() == [True, False, False]
    assert (
        nce_jax.sweep(
            lambda a: (a.astype(jnp.int32), jax.random.key(0)), axes={"a": A}
        ).failed.tolist()
        == [False] * 3
    )


def test_an_unsolved_problem_is_a_failed_lane():
    def solve(scale):
        s = scale * jnp.array([1.0, 2.0, 3.0])
        return nce_jax.solve_log_partition(s, s)

    result = nce_jax.sweep(solve, axes={"scale": jnp.array([1.0, jnp.inf])})
    assert result.failed.tolist() == [False, True]


def test_the_mean_is_of_the_lanes_that_did_not_fail(result):
    with pytest.warns(
        sweeps.FailedLanesWarning, match="2 of 15 lanes failed .* mean over 'seed', at most 2 of 5"
    ):
        average = result.mean("seed")
    finite = [np.arange(5.0), np.arange(3.0) + 1, np.arange(5.0) + 2]
    np.testing.assert_allclose(average.mean["value"], [k.mean() for k in finite])
    np.testing.assert_allclose(average.mean["root"], [[k.mean()] * 2 for k in finite])
    np.testing.assert_allclose(average.mean["count"], [2, 1, 2])
    np.testing.assert_allclose(
        average.standard_error["value"],
        [k.std(ddof=1) / np.sqrt(k.size) for k in finite],
        rtol=1e-6,
    )
    assert average.num_lanes.tolist() == [5, 3, 5]
    assert average.num_failed.tolist() == [0, 2, 0]
    assert average.mean["value"].dtype == np.float32


def test_without_failures_there_is_no_warning(result):
    fine = sweeps.SweepResult(result.axes, {"value": result.values["value"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average = fine.mean("a")
    np.testing.assert_allclose(average.mean["value"], np.arange(5.0) + 1)
    assert average.num_failed.tolist() == [0] * 5


def test_no_lane_and_one_lane_have_no_error():
    result = nce_jax.sweep(
        lambda a, seed: jnp.where(seed < a, seed, jnp.nan), axes={"a": A, "seed": jnp.arange(4.0)}
    )
    with pytest.warns(sweeps.FailedLanesWarning):
        average = result.mean("seed")
    assert average.num_lanes.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(average.mean, [np.nan, 0, 0.5])
    np.testing.assert_allclose(average.standard_error, [np.nan, np.nan, 0.5])


def test_complex_means():
    result = nce_jax.sweep(lambda a: a + 2j * a, axes={"a": A})
    average = result.mean("a")
    assert average.mean.tolist() == 1 + 2j
    assert average.standard_error == pytest.approx(np.sqrt(5 / 3))
    assert average.standard_error.dtype == np.float32


def test_what_has_no_mean_is_refused(result):
    with pytest.raises(ValueError, match="axis: expected one of a, seed, got 'sed'"):
        result.mean("sed")
    keys = nce_jax.sweep(lambda a: {"k": jax.random.key(0)}, axes={"a": A})
    with pytest.raises(TypeError, match=r"expected numbers at \['k'\], got typed keys"):
        keys.mean("a")


def test_xarray_has_the_mask(result):
    pytest.importorskip("xarray")
    dataset = result.to_xarray()
    assert dataset["failed"].dtype == bool
    np.testing.assert_array_equal(dataset["failed"].sel(a=1.0), [False, False, False, True, True])
    assert float(dataset["value"].where(~dataset["failed"]).mean("seed").sel(a=1.0)) == 2


@pytest.mark.parametrize("name", ["failed", "a"])
def test_a_taken_name_is_refused(name):
    pytest.importorskip("xarray")
    with pytest.raises(ValueError, match=f"than the axes and 'failed', got '{name}'"):
        nce_jax.sweep(lambda a: {name: a}, axes={"a": A}).to_xarray()
