"""Inverted ratios, wide gaps and no overlap: where double-precision sums are blind and the answer
is still exact.
"""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax import Status, bisection, newton
from tests.log_partition.cases import (
    SOLVERS,
    gaussian_log_ratios,
    solve,
    solve_tolerance,
    status_names,
)
from tests.oracles import root

GAPS = {
    "two far pairs": ([-60.0, 60.0], [-50.0, 50.0]),
    "balance at two of three": ([-80.0, 60.0, 61.0], [-50.0, -40.0, 50.0]),
    "inverted, four each": ([-62.0, -60.5, -60.0, -59.0], [58.0, 60.0, 60.25, 61.0]),
    "a thousand nats": ([-1000.0, 900.0], [-950.0, 1000.0]),
    "plain separation": ([400.0, 450.0], [-500.0, -300.0]),
}


@pytest.mark.parametrize("solver", ["newton", "bisection"])
@pytest.mark.parametrize("name", GAPS)
def test_counts_that_balance_over_a_gap(name, solver, float_dtype):
    """Equal counts of data and noise below a gap: the residual of the textbook equation is zero all
    along the gap.

    F hangs on samples as far away as the gap is wide: hence the rounding of those in the tolerance.
    """
    data, noise = (np.asarray(side, float_dtype) for side in GAPS[name])
    pad = {"weights_data": np.zeros(4, float_dtype), "weights_noise": np.zeros(4, float_dtype)}
    pad["weights_data"][: data.size], pad["weights_noise"][: noise.size] = 1, 1
    padded = [jnp.asarray(np.pad(side, (0, 4 - side.size))) for side in (data, noise)]
    solution = solve(
        *padded, **{key: jnp.asarray(value) for key, value in pad.items()}, solver=SOLVERS[solver]
    )
    eps = np.finfo(float_dtype).eps
    allowed = eps**0.75 + 4 * eps * max(np.abs(data).max(), np.abs(noise).max())
    np.testing.assert_allclose(solution.log_partition, root(data, noise), rtol=0, atol=allowed)


@pytest.mark.parametrize("solver", ["newton", "bisection"])
def test_where_bennetts_residual_is_blind(solver, float_dtype):
    """Data near -60, noise near +60: rho is exactly 0.0 in float32 for every F in [-30, 30]; the
    root is one point.
    """
    generator = np.random.default_rng(0)
    data, noise = (jnp.asarray(generator.normal(mean, 3, 200), float_dtype) for mean in (-60, 60))
    solution = solve(data, noise, solver=SOLVERS[solver], initial=jnp.asarray(25, float_dtype))
    eps = np.finfo(float_dtype).eps
    np.testing.assert_allclose(
        solution.log_partition, root(data, noise), rtol=0, atol=eps**0.75 + 300 * eps
    )
    assert status_names(solution) == ["CONVERGED"]  # O > 1: nothing is missing, the model is wrong


def test_bennetts_iteration_does_not_claim_what_it_cannot_see(float_dtype):
    generator = np.random.default_rng(0)
    data, noise = (jnp.asarray(generator.normal(mean, 3, 200), float_dtype) for mean in (-60, 60))
    solution = solve(
        data, noise, solver=SOLVERS["fixed_point"], initial=jnp.asarray(25, float_dtype)
    )
    assert status_names(solution) == ["MAX_STEPS"]
    assert np.isnan(solution.log_partition)


@pytest.mark.parametrize("seed", range(6))
def test_bennetts_iteration_at_sixteen_apart(seed, float_dtype):
    """It crawls or oscillates there: it may end without an answer, but not with a wrong one."""
    data, noise = gaussian_log_ratios(16.0, 512, 512, offset=3.0, seed=seed, dtype=float_dtype)
    solution = solve(data, noise, solver=SOLVERS["fixed_point"])
    if status_names(solution) == ["MAX_STEPS"]:
        assert np.isnan(solution.log_partition)
    else:
        np.testing.assert_allclose(solution.log_partition, root(data, noise), rtol=0, atol=1e-4)


def test_bennetts_iteration_converges_at_good_overlap(x64):
    """Means 1 and 4 apart, the setting of figure 7: a few steps of the order measured there."""
    for separation, most in ((1.0, 12), (4.0, 12)):
        data, noise = gaussian_log_ratios(separation, 512, 512, offset=3.0)
        solution = solve(data, noise, solver=SOLVERS["fixed_point"], tolerance=1e-6)
        assert status_names(solution) == ["CONVERGED"]
        assert solution.num_evaluations <= most


@pytest.mark.parametrize("kappa", [1 / 3, 0.1 * 3, 2 / 3, 1 / 7])
def test_a_kappa_that_is_a_fraction_but_for_rounding(kappa, x64):
    """1 / 3 is not a third: the root of the rounded kappa hangs on 2e-17; that of the fraction, or
    between, is right too.
    """
    data, noise = np.array([-60.0, 50.0, 60.0]), np.array([-50.0])
    value = float(solve(jnp.asarray(data), jnp.asarray(noise), magnification=kappa).log_partition)
    ends = sorted(
        root(data, noise, kappa=kappa * (1 + sign * 8 * np.finfo(float).eps)) for sign in (-1, 1)
    )
    assert ends[0] - 1e-11 <= value <= ends[1] + 1e-11


def test_counts_that_agree_but_for_rounding_balance(x64):
    """Some tenths of the data are below the gap and all noise above it; kappa is as many tenths, or
    the next number, which shall not decide: with the latter the roots are 10 nats away.
    """
    tenths = np.arange(1, 10)
    data = np.where(np.arange(10) < tenths[:, None], -60.0, 50.0)
    expected = [
        root(row, [50.0], kappa=Fraction(int(i), 10)) for row, i in zip(data, tenths, strict=True)
    ]
    for end in (0, 1):
        kappa = np.nextafter(tenths / 10, end)
        solution = solve(jnp.asarray(data), jnp.full((9, 1), 50.0), magnification=kappa)
        np.testing.assert_allclose(solution.log_partition, expected, rtol=0, atol=1e-10)
        exact = [root(row, [50.0], kappa=k) for row, k in zip(data, kappa, strict=True)]
        assert np.abs(np.subtract(exact, expected)).min() > 10


@pytest.mark.parametrize(("gap", "name"), [(1.09, "CONVERGED"), (1.11, "NO_OVERLAP")])
def test_overlap_ends_where_it_is_one_over_the_samples(gap, name):
    """A sample each at +-gap has F = 0 and O = 2 sigma(-gap): O (n + m) < 1 from log 3 on."""
    solution = solve(jnp.full(1, gap, jnp.float32), jnp.full(1, -gap, jnp.float32))
    assert status_names(solution) == [name]


def test_no_overlap_is_said_and_the_value_is_still_the_minimizer(float_dtype):
    data, noise = gaussian_log_ratios(16.0, 40, 60, dtype=float_dtype)
    solution = solve(data, noise)
    assert status_names(solution) == ["NO_OVERLAP"]
    eps = np.finfo(float_dtype).eps
    np.testing.assert_allclose(
        solution.log_partition, root(data, noise), rtol=0, atol=eps**0.75 + 500 * eps
    )


def test_no_overlap_counts_samples_that_count(x64):
    """Padding must not raise n + m in the rule O (n + m) < 1, nor must it lower the overlap."""
    data, noise = gaussian_log_ratios(7.0, 40, 60)
    one = solve(data, noise)
    padded = [jnp.tile(side, 10) for side in (data, noise)]
    weights = [
        jnp.where(jnp.arange(s.shape[-1]) < n, 1.0, 0.0)
        for s, n in zip(padded, (40, 60), strict=True)
    ]
    padded_solution = solve(*padded, weights_data=weights[0], weights_noise=weights[1])
    assert padded_solution.status == one.status == Status.NO_OVERLAP


@pytest.mark.parametrize("scale", [1e4, 1e8, 1e30])
def test_huge_log_ratios_have_a_root(scale, float_dtype):
    """Heavy tails to the end of float32: no overflow, and F to a few units in its last place."""
    data, noise = gaussian_log_ratios(1.5, 40, 60, dtype=float_dtype)
    data, noise = scale * data, scale * noise
    solution = solve(data, noise)
    eps = np.finfo(float_dtype).eps
    atol = eps**0.75 + 8 * eps * float(jnp.abs(jnp.concatenate([data, noise])).max())
    np.testing.assert_allclose(solution.log_partition, root(data, noise), rtol=0, atol=atol)


@pytest.mark.parametrize("kappa", [1e-31, 1e-25, 1e-20, 1e20, 1e30, 8e37])
def test_noise_weights_to_the_end_of_float32(kappa):
    """Losses are finite there, and the root is that of exact arithmetic."""
    data, noise = gaussian_log_ratios(dtype=np.float32)
    kappa = np.float32(kappa)
    for solver in (newton(), bisection()):
        solution = solve(data, noise, magnification=kappa, solver=solver)
        # log kappa is rounded, to 8e-6 at 8e37.
        expected = root(data, noise, kappa=Fraction(float(kappa)))
        np.testing.assert_allclose(solution.log_partition, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kappa", [1e15, 1e18, 1e30])
def test_acceptances_that_underflow_at_a_large_noise_weight(kappa):
    """The noise is 84 nats from the step at the root, with acceptances of which float32 holds few
    digits or none; times kappa they are as large as those of the data. Four seeds of the noise.
    """
    data = np.zeros(1, np.float32)
    for seed in range(4):
        gap = 2 * 84 - np.log(kappa)
        noise = np.float32(2 * np.random.default_rng(seed).normal(size=200) - gap)
        solution = solve(data, noise, magnification=np.float32(kappa), solver=bisection())
        expected = root(data, noise, kappa=Fraction(float(np.float32(kappa))))
        np.testing.assert_allclose(solution.log_partition, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("factor", [1e-30, 1e-20, 1e-15, 1e15, 1e18, 1e30])
def test_a_noise_weight_at_the_end_of_the_dtype(factor, solver):
    """kappa = factor^2 over- or underflows float32, its logarithm does not: solved, or refused, but
    never solved wrongly.
    """
    data, noise = gaussian_log_ratios(dtype=np.float32)
    solution = solve(data, noise, magnification=factor, noise_ratio=factor, solver=SOLVERS[solver])
    if status_names(solution)[0] in ("CONVERGED", "NO_OVERLAP"):
        expected = root(data, noise, kappa=Fraction(float(np.float32(factor))) ** 2)
        np.testing.assert_allclose(
            solution.log_partition, expected, rtol=0, atol=solve_tolerance(np.float32, 1)
        )
    else:
        assert np.isnan(solution.log_partition)
