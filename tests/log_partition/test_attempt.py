"""Plain sums of powers, by which Newton's method solves sets that overlap without a bracket."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax.log_partition import Pull, Status, make_problem, solve_problem
from nce_jax.log_partition import _attempt as attempts
from tests.log_partition.cases import gaussian_log_ratios, random_weights, solve
from tests.oracles import root

BRACKETED = nce_jax.newton()._replace(attempt=None)
LARGE = 2 * attempts._THINNED_SIZE + 1
ROUNDING = 1e-13


@functools.partial(jax.jit, static_argnames="order")
def step_from(data, noise, kappa, points, order):
    """The estimate after one step from every point of every problem, with its certificate."""
    problem = make_problem(data, noise, None, None, kappa, 1.0)

    def from_point(point):
        state = attempts._move(problem, attempts._state_at(point), order, point.dtype)
        return state.estimate, state.error

    return jax.vmap(from_point, in_axes=1, out_axes=1)(points)


@pytest.fixture(scope="module")
def problems():
    """Forty random problems, half of them inverted, kappa from 1e-3 to 1e3, with exact roots."""
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        separations = generator.uniform(-4, 4, 40)
        pairs = [gaussian_log_ratios(d, 12, 9, seed=seed) for seed, d in enumerate(separations)]
        data, noise = (
            np.sign(separations)[:, None] * np.stack(side) for side in zip(*pairs, strict=True)
        )
        kappa = 10 ** generator.uniform(-3, 3, 40)
        roots = [root(d, y, kappa=k) for d, y, k in zip(data, noise, kappa, strict=True)]
        return data, noise, kappa, np.array(roots)[:, None]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_certificate_of_a_step_bounds_its_error(problems, order):
    data, noise, kappa, exact = problems
    distances = np.concatenate([-np.logspace(0.5, -4, 30), [0], np.logspace(-4, 0.5, 30)])
    with jax.enable_x64(True):
        estimates, bounds = map(
            np.asarray, step_from(*map(jnp.asarray, (data, noise, kappa, exact + distances)), order)
        )
    errors = np.abs(estimates - exact)
    # The certificate holds 4 eps of the sums over the slope, which this adds to what F rounds to.
    assert np.all(errors <= bounds + ROUNDING * (1 + np.abs(exact)))
    # It exists near the root, and is at most the remainder of the Taylor series, and a rounding.
    near = np.abs(distances) <= 0.1
    factorial = (1, 1, 2, 6, 24)[order]
    assert np.all(bounds[:, near] <= 1.6 * np.abs(distances[near]) ** order / factorial + 1e-10)


def test_a_step_from_afar_never_goes_beyond_the_root(problems):
    data, noise, kappa, exact = problems
    distances = np.array([-30.0, -3, 3, 30])
    with jax.enable_x64(True):
        estimates, bounds = map(
            np.asarray, step_from(*map(jnp.asarray, (data, noise, kappa, exact + distances)), 4)
        )
    is_far = np.isinf(bounds) & np.isfinite(estimates)
    assert is_far.sum() > 100
    beyond = np.sign(distances) * (exact - estimates) > 1e-9
    assert not np.any(beyond & is_far)


def overlapping(size, dtype, separation=1.0, seed=0, **options):
    return gaussian_log_ratios(separation, size, size, dtype=dtype, seed=seed, **options)


@pytest.mark.parametrize(("dtype", "count"), [(np.float32, 1), (np.float64, 2)])
@pytest.mark.parametrize("options", [{}, {"offset": 1e3}, {"separation": 2.0}])
def test_large_sets_that_overlap_take_one_pass_per_precision(dtype, count, options):
    with jax.enable_x64(True):
        data, noise = overlapping(LARGE, dtype, **options)
        solution, bracketed = solve(data, noise), solve(data, noise, solver=BRACKETED)
        assert solution.num_evaluations == count
        assert solution.status == Status.CONVERGED
        exact = float(solve(data.astype(np.float64), noise.astype(np.float64)).log_partition)
        tolerance = max(np.finfo(dtype).eps ** 0.75, 2 * np.finfo(dtype).eps * abs(exact))
        assert abs(float(solution.log_partition) - exact) <= tolerance
        assert abs(float(solution.log_partition - bracketed.log_partition)) <= 2 * tolerance


def test_weights_and_a_pull_are_part_of_the_sums():
    with jax.enable_x64(True):
        data, noise = overlapping(LARGE, np.float64)
        weights = random_weights(data, num_zeros=9), random_weights(noise, seed=1)
        problem = make_problem(data, noise, *weights, 3.0, 1.0)
        pulled = problem._replace(pull=Pull(jnp.asarray(0.3), jnp.asarray(0.2)))
        for case in (problem, pulled):
            short, long = solve_problem(case), solve_problem(case, solver=BRACKETED)
            assert short.num_evaluations == 2
            assert abs(short.log_partition - long.log_partition) < 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_warm_start_near_the_root_takes_one_evaluation(dtype):
    with jax.enable_x64(True):
        data, noise = overlapping(512, dtype)
        first = solve(data, noise)
        near = first.log_partition + (0.05 if dtype == np.float32 else 0.001)
        again = solve(data, noise, initial=near.astype(dtype))
        assert again.num_evaluations == 1
        assert abs(again.log_partition - first.log_partition) < np.finfo(dtype).eps ** 0.75


def test_lanes_that_are_left_over_do_not_change_the_others():
    data, noise = overlapping(LARGE, np.float32)
    alone = solve(data, noise)
    hard = [jnp.full_like(data, jnp.nan), data.at[3].set(-jnp.inf), data + 60, -data]
    many = solve(jnp.stack([data, *hard]), jnp.stack([noise, noise, noise, noise, -noise]))
    assert abs(many.log_partition[0] - alone.log_partition) < 1e-6
    assert many.status.tolist()[:4] == [0, Status.NONFINITE, Status.NONFINITE, Status.NO_OVERLAP]
    for lane in (3, 4):
        single = solve(
            jnp.stack([data, *hard])[lane], noise if lane == 3 else -noise, solver=BRACKETED
        )
        np.testing.assert_allclose(many.log_partition[lane], single.log_partition, atol=1e-5)


@pytest.mark.parametrize("side", ["data", "noise"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_seen_in_large_sets(side, value):
    """It counts for nothing or makes the equation one without a root, as in small sets."""
    data, noise = overlapping(LARGE, np.float32)
    sides = {"data": data, "noise": noise}
    sides[side] = sides[side].at[-1].set(value)
    initial = solve(data, noise).log_partition
    for start in ({}, {"initial": initial}):
        solution = solve(sides["data"], sides["noise"], **start)
        is_harmless = value == (np.inf if side == "data" else -np.inf)
        assert solution.status == (Status.CONVERGED if is_harmless else Status.NONFINITE)
        if is_harmless:
            expected = solve(sides["data"], sides["noise"], solver=BRACKETED).log_partition
            assert abs(solution.log_partition - expected) < 1e-5


def test_negative_weights_are_no_equation_of_large_sets():
    data, noise = overlapping(LARGE, np.float32)
    weights = jnp.ones_like(data).at[5].set(-0.5)
    assert solve(data, noise, weights_data=weights).status == Status.NONFINITE


def test_sums_that_rounding_spoils_are_left_to_the_bracketed_form():
    """Inverted sets, where all acceptances are near one: in float32 the sums decide nothing."""
    data, noise = (-side for side in overlapping(LARGE, np.float32, separation=7.0))
    solution = solve(data, noise)
    with jax.enable_x64(True):
        exact = solve(data.astype(np.float64), noise.astype(np.float64), solver=BRACKETED)
        assert abs(float(solution.log_partition) - float(exact.log_partition)) < 1e-5


def test_the_limit_of_evaluations_holds_for_the_attempt():
    with jax.enable_x64(True):
        data, noise = overlapping(LARGE, np.float64)
        assert solve(data, noise, max_steps=1).status == Status.MAX_STEPS
        assert solve(data, noise, max_steps=2).status == Status.CONVERGED


def test_acceptances_that_come_near_underflow_are_left_to_the_bracketed_form():
    """One sample a side, 170 nats apart: F + log kappa is between them, less half of log kappa."""
    kappa = 2.7480955
    solution = solve(
        jnp.full(1, 84.5, jnp.float32), jnp.full(1, -86.5, jnp.float32), magnification=kappa
    )
    assert solution.status == Status.NO_OVERLAP
    assert abs(solution.log_partition - (-1 - np.log(kappa) / 2)) < 1e-5


def test_constant_log_ratios_have_an_exact_root():
    for noise_ratio in (1.0, 100 / 57):
        solution = solve(jnp.full(57, -3.0), jnp.full(100, -3.0), noise_ratio=noise_ratio)
        assert solution.log_partition == -3.0
