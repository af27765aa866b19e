"""The solvers find the root: against the reference, at every kappa, with weights, at offsets and at
uneven sizes.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from tests.log_partition.cases import (
    SOLVERS,
    gaussian_log_ratios,
    random_weights,
    solve,
    solve_tolerance,
    status_names,
)
from tests.oracles import root

KAPPAS = np.array([1e-6, 1e-3, 0.1, 1.0, 7.5, 1e2, 1e4, 1e6])


def one_lane_per_kappa(dtype, **options):
    data, noise = gaussian_log_ratios(dtype=dtype, **options)
    shape = (len(KAPPAS),)
    return jnp.broadcast_to(data, shape + data.shape), jnp.broadcast_to(noise, shape + noise.shape)


@pytest.mark.parametrize("solver", SOLVERS)
def test_equals_the_reference_at_every_kappa(solver, float_dtype):
    data, noise = one_lane_per_kappa(float_dtype)
    solution = solve(
        data, noise, magnification=jnp.asarray(KAPPAS, float_dtype), solver=SOLVERS[solver]
    )
    expected = [root(data[0], noise[0], kappa=float(float_dtype.type(kappa))) for kappa in KAPPAS]
    np.testing.assert_allclose(
        solution.log_partition, expected, rtol=0, atol=solve_tolerance(float_dtype, 3)
    )
    assert status_names(solution) == ["CONVERGED"] * len(KAPPAS)


def test_equals_the_reference_with_weights(x64):
    data, noise = one_lane_per_kappa(np.float64)
    weights_data = random_weights(data[0], 1)
    weights_noise = random_weights(noise[0], 2, num_zeros=7)
    weights = {"weights_data": weights_data, "weights_noise": weights_noise}
    solution = solve(data, noise, magnification=KAPPAS, **weights)
    expected = [root(data[0], noise[0], kappa=float(kappa), **weights) for kappa in KAPPAS]
    np.testing.assert_allclose(
        solution.log_partition, expected, rtol=0, atol=solve_tolerance(np.float64, 3)
    )


@pytest.mark.parametrize("offset", [-1e6, 1e3, 1e6])
def test_right_to_the_dtype_at_large_offsets(offset, float_dtype):
    """The log-ratios as rounded are the problem; F is then known to its own rounding, 0.06 nats in
    float32 at 1e6.
    """
    data, noise = gaussian_log_ratios(offset=offset, dtype=float_dtype)
    solution = solve(data, noise)
    exact = root(data, noise)
    np.testing.assert_allclose(
        solution.log_partition, exact, rtol=0, atol=solve_tolerance(float_dtype, offset)
    )
    assert status_names(solution) == ["CONVERGED"]


@pytest.mark.costly
@pytest.mark.parametrize(("num_data", "num_noise"), [(1, 100_000), (100_000, 1)])
@pytest.mark.parametrize("kappa", [0.01, 1.0, 1000.0])
def test_one_sample_against_very_many(num_data, num_noise, kappa):
    data, noise = gaussian_log_ratios(1.0, num_data, num_noise, dtype=np.float32)
    solution = solve(data, noise, magnification=kappa)
    expected = root(data, noise, kappa=float(np.float32(kappa)))
    np.testing.assert_allclose(
        solution.log_partition, expected, rtol=0, atol=solve_tolerance(np.float32, expected)
    )


@pytest.mark.costly
def test_sums_of_many_samples_keep_the_tolerance():
    """200,000 + 100,000 samples in float32: the sums' rounding stays below the tolerance of 6e-6
    nats.
    """
    data, noise = gaussian_log_ratios(2.0, 200_000, 100_000, dtype=np.float32)
    expected = root(data, noise)
    np.testing.assert_allclose(
        solve(data, noise).log_partition, expected, atol=solve_tolerance(np.float32, expected)
    )


@pytest.mark.parametrize("solver", ["newton", "bisection"])
def test_a_tight_tolerance_is_kept(solver, x64):
    data, noise = gaussian_log_ratios(offset=1.0)
    solution = solve(data, noise, solver=SOLVERS[solver], tolerance=1e-14)
    np.testing.assert_allclose(solution.log_partition, root(data, noise), rtol=0, atol=1e-14)


def test_a_loose_tolerance_is_kept_and_saves_steps(x64):
    data, noise = gaussian_log_ratios()
    loose, tight = (
        solve(data, noise, solver=SOLVERS["bisection"], tolerance=t) for t in (1e-2, 1e-10)
    )
    assert abs(loose.log_partition - root(data, noise)) <= 1e-2
    assert loose.num_evaluations < tight.num_evaluations


def test_newton_needs_a_handful_of_steps(x64):
    """2-6 steps at good overlap, and never many: no lane that all the others must wait for."""
    for separation, most in ((0.5, 6), (2.0, 7), (16.0, 25)):
        for seed in range(5):
            data, noise = gaussian_log_ratios(separation, 512, 512, offset=3.0, seed=seed)
            assert solve(data, noise).num_evaluations <= most, separation


def test_low_precision_inputs_are_solved_in_float32():
    data, noise = gaussian_log_ratios(dtype=np.float32)
    for dtype in (jnp.bfloat16, jnp.float16):
        rounded = data.astype(dtype), noise.astype(dtype)
        solution = solve(*rounded)
        assert solution.log_partition.dtype == solution.residual.dtype == np.float32
        expected = root(*(np.asarray(s, np.float64) for s in rounded))
        np.testing.assert_allclose(
            solution.log_partition, expected, atol=solve_tolerance(np.float32, expected)
        )


def test_mixed_dtypes_take_the_wider_one(x64):
    data, noise = gaussian_log_ratios()
    solution = solve(data.astype(np.float32), noise)
    assert solution.log_partition.dtype == np.float64
    expected = root(np.asarray(data, np.float32), noise)
    np.testing.assert_allclose(
        solution.log_partition, expected, rtol=0, atol=solve_tolerance(np.float64, expected)
    )


def test_counts_and_status_are_integers():
    solution = solve(*gaussian_log_ratios(dtype=np.float32))
    assert solution.num_evaluations.dtype == solution.status.dtype == np.int32
    assert isinstance(solution, nce_jax.Solution)
