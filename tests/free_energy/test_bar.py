"""`bar` on work values: Bennett's equation and error, signs, closed forms, and honesty where the
states do not overlap.
"""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status
from tests import oracles
from tests.log_partition.cases import SOLVERS, solve_tolerance

bar = jax.jit(nce_jax.bar, static_argnames=("solver", "max_steps"))


def gaussian_work(
    num_forward, num_reverse, *, delta_f=1.0, sigma=2.0, seed=0, lanes=(), dtype=np.float64
):
    """Gaussian work obeys the fluctuation theorem if its mean is +-delta_f + sigma^2 / 2."""
    generator = np.random.default_rng(seed)
    forward = delta_f + sigma**2 / 2 + sigma * generator.normal(size=(*lanes, num_forward))
    reverse = -delta_f + sigma**2 / 2 + sigma * generator.normal(size=(*lanes, num_reverse))
    return jnp.asarray(forward, dtype), jnp.asarray(reverse, dtype)


@pytest.mark.parametrize(("num_forward", "num_reverse"), [(300, 40), (1, 70)])
def test_equals_bennetts_equation(num_forward, num_reverse, float_dtype):
    work = gaussian_work(num_forward, num_reverse, dtype=float_dtype)
    expected = oracles.bar(*work)
    np.testing.assert_allclose(
        bar(*work).delta_f, expected, rtol=0, atol=solve_tolerance(float_dtype, expected)
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_serves(solver, x64):
    work = gaussian_work(300, 40)
    np.testing.assert_allclose(
        bar(*work, solver=SOLVERS[solver]).delta_f, oracles.bar(*work), rtol=0, atol=1e-11
    )


def test_standard_error_is_bennetts(x64):
    work = gaussian_work(300, 40)
    result = bar(*work)
    expected = oracles.bar_standard_error(*work, oracles.bar(*work))
    np.testing.assert_allclose(result.standard_error, expected, rtol=1e-9)
    correlated = bar(*work, statistical_inefficiency=4.0)
    np.testing.assert_allclose(correlated.standard_error, 2 * expected, rtol=1e-9)
    np.testing.assert_allclose(correlated.delta_f, result.delta_f, rtol=1e-13)


def test_overlap_is_that_of_the_ratios(x64):
    work = gaussian_work(300, 40)
    kappa = 300 / 40
    expected = oracles.overlap(work[1], -work[0], -oracles.bar(*work), kappa)
    np.testing.assert_allclose(bar(*work).overlap, expected, rtol=1e-9)


def test_exchanging_the_states_changes_the_sign(x64):
    forward, reverse = gaussian_work(300, 40)
    result, exchanged = bar(forward, reverse), bar(reverse, forward)
    np.testing.assert_allclose(exchanged.delta_f, -result.delta_f, rtol=0, atol=1e-11)
    np.testing.assert_allclose(exchanged.standard_error, result.standard_error, rtol=1e-9)
    np.testing.assert_allclose(exchanged.overlap, result.overlap, rtol=1e-9)


def test_a_constant_added_to_the_work_is_added_to_the_answer(x64):
    forward, reverse = gaussian_work(300, 40)
    np.testing.assert_allclose(
        bar(forward + 30, reverse - 30).delta_f, bar(forward, reverse).delta_f + 30, rtol=1e-12
    )


def test_reversible_work_is_the_answer(float_dtype):
    """Work without fluctuation: delta_f is that work, and it is sure."""
    result = bar(jnp.full((5,), 2.5, float_dtype), jnp.full((8,), -2.5, float_dtype))
    np.testing.assert_allclose(result.delta_f, 2.5, rtol=1e-6)
    np.testing.assert_allclose(result.standard_error, 0, atol=1e-3)
    np.testing.assert_allclose(result.overlap, 1, rtol=1e-5)


@pytest.mark.parametrize("sigma", [1e-2, 1e-3])
def test_nearly_reversible_work_keeps_its_error(sigma):
    """In float32, where 1 / ESS - 1 / n is a difference of almost equal numbers: to 3 % of the
    reference, and never NaN.
    """
    work = gaussian_work(300, 40, sigma=sigma, dtype=np.float32)
    expected = oracles.bar_standard_error(*work, oracles.bar(*work))
    np.testing.assert_allclose(bar(*work).standard_error, expected, rtol=0.03)


@pytest.mark.costly
@pytest.mark.parametrize(("num_forward", "num_reverse"), [(200, 200), (600, 60)])
def test_gaussian_work_mean_error_and_coverage(num_forward, num_reverse, x64):
    """500 replicates, seed 2: unbiased within 4 errors of the mean, stated error within 12 %,
    coverage 95 +- 3 %.
    """
    result = bar(*gaussian_work(num_forward, num_reverse, seed=2, lanes=(500,)))
    deviation = result.delta_f - 1.0
    spread = np.std(deviation, ddof=1)
    # The bias of a ratio estimator is of order 1 / n; the term 0.01 allows for it.
    assert abs(np.mean(deviation)) < 4 * spread / np.sqrt(500) + 0.01
    np.testing.assert_allclose(np.mean(result.standard_error), spread, rtol=0.12)
    covered = np.mean(np.abs(deviation) < 1.96 * result.standard_error)
    assert 0.92 < covered < 0.98


def test_harmonic_oscillators_have_their_closed_form(x64):
    """u = k x^2 / 2: delta_f = log(k1 / k0) / 2; 100,000 + 50,000 samples, seed 4, within 4
    standard errors.
    """
    generator = np.random.default_rng(4)
    x_initial, x_final = generator.normal(size=100_000), generator.normal(size=50_000) / 2
    result = bar(jnp.asarray(1.5 * x_initial**2), jnp.asarray(-1.5 * x_final**2))  # k from 1 to 4
    assert abs(result.delta_f - np.log(4) / 2) < 4 * result.standard_error < 0.03


def test_no_overlap_is_no_number(float_dtype):
    forward, reverse = gaussian_work(300, 40, sigma=20.0, dtype=float_dtype)
    result = bar(forward, reverse)
    assert result.status == Status.NO_OVERLAP
    assert np.isnan(result.delta_f)
    assert np.isnan(result.standard_error)


def test_bad_work_is_no_number_and_stays_in_its_lane():
    forward, reverse = gaussian_work(50, 60, lanes=(3,), dtype=np.float32)
    clean = bar(forward, reverse)
    for bad in (np.nan, -np.inf):
        result = bar(forward.at[1, 4].set(bad), reverse)
        np.testing.assert_array_equal(
            result.status, [Status.CONVERGED, Status.NONFINITE, Status.CONVERGED]
        )
        for field, expected in zip(result[:3], clean[:3], strict=True):
            np.testing.assert_array_equal(field[::2], expected[::2])
            assert np.isnan(field[1])


def test_a_single_value_supports_no_error():
    forward, reverse = gaussian_work(1, 70, dtype=np.float32)
    result = bar(forward, reverse)
    assert result.status == Status.LOW_OVERLAP
    assert result.effective_samples == 1
    assert np.isinf(result.standard_error)


def test_an_unfinished_solve_is_no_number():
    result = bar(*gaussian_work(50, 50, dtype=np.float32), max_steps=1, solver=SOLVERS["bisection"])
    assert result.status == Status.MAX_STEPS
    assert np.isnan(result.delta_f)
    assert np.isnan(result.standard_error)


@pytest.mark.bad_input
def test_bad_arguments_are_named():
    work = gaussian_work(5, 6, dtype=np.float32)
    for arguments, options, error, words in (
        ((work[0][:0], work[1]), {}, ValueError, ["work_forward", "at least 1", "(0,)"]),
        ((work[0], work[1].astype(int)), {}, TypeError, ["work_reverse", "floating", "int32"]),
        ((work[0], work[1][None]), {}, ValueError, ["work_reverse", "()", "(1, 6)"]),
        (
            work,
            {"statistical_inefficiency": 0.0},
            ValueError,
            ["statistical_inefficiency", "positive", "0"],
        ),
        (work, {"tolerance": -1.0}, ValueError, ["tolerance", "-1"]),
        (work, {"max_steps": 0}, ValueError, ["max_steps", "0"]),
    ):
        with pytest.raises(error) as caught:
            nce_jax.bar(*arguments, **options)
        assert all(word in str(caught.value) for word in words), str(caught.value)


PYMBAR_PROGRAM = """
import jax, numpy as np, pymbar, nce_jax
jax.config.update("jax_enable_x64", True)
generator = np.random.default_rng(0)
for num_forward, num_reverse in ((200, 200), (600, 60)):
    forward = 3 + 2 * generator.normal(size=num_forward)
    reverse = 1 + 2 * generator.normal(size=num_reverse)
    ours = nce_jax.bar(jax.numpy.asarray(forward), jax.numpy.asarray(reverse))
    theirs = pymbar.bar(forward, reverse, relative_tolerance=1e-14)
    np.testing.assert_allclose(ours.delta_f, theirs["Delta_f"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(ours.standard_error, theirs["dDelta_f"], rtol=1e-6)
    np.testing.assert_allclose(ours.overlap, pymbar.bar_overlap(forward, reverse), rtol=0.05)
"""


@pytest.mark.costly
@pytest.mark.skipif(importlib.util.find_spec("pymbar") is None, reason="needs pymbar")
def test_agrees_with_pymbar():
    """delta f and error; the overlap only as two estimates of one number, since pymbar pools both
    sides for it.

    In a process of its own: pymbar switches x64 on for good.
    """
    subprocess.run([sys.executable, "-c", PYMBAR_PROGRAM], check=True)
