"""Infinite log ratios: where the equation has a value it is solved, elsewhere the lane fails.

A noise sample without mass of the model (s = -inf) has Q = 0, a data sample that the noise does not
cover (s = +inf) has P = 0. Both count in their mean. The reference is the root of the equation in
float64, with these terms left out of the sums and kept in the counts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

import nce_jax
from nce_jax import Status, log_partition
from tests.log_partition.cases import SOLVERS, solve


def exact_root(data, noise, kappa=1.0, weights=(None, None)) -> float:
    shares = [
        np.full(len(side), 1 / len(side)) if w is None else np.asarray(w, float) / np.sum(w)
        for side, w in zip((data, noise), weights, strict=True)
    ]

    def equation(f):
        p, q = expit(np.log(kappa) - (data - f)), expit((noise - f) - np.log(kappa))
        return shares[0] @ p - kappa * (shares[1] @ q)

    return brentq(equation, -300, 300, xtol=1e-12)


def problem(seed, lost_data, lost_noise, gap=1.5, n=60, m=90):
    rng = np.random.default_rng(seed)
    data, noise = rng.normal(gap, 1.5, n), rng.normal(-gap, 1.5, m)
    data[:lost_data], noise[:lost_noise] = np.inf, -np.inf
    return data, noise


LOST = [(0, 1), (0, 60), (0, 89), (1, 0), (40, 0), (59, 0), (20, 70), (59, 89)]


@pytest.mark.parametrize(("lost_data", "lost_noise"), LOST)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("kappa", [0.01, 1.0, 300.0])
def test_the_root_is_the_one_of_the_equation(name, kappa, lost_data, lost_noise, x64):
    data, noise = problem(3, lost_data, lost_noise)
    solution = solve(data, noise, magnification=kappa, solver=SOLVERS[name], max_steps=5000)
    assert solution.status in (Status.CONVERGED, Status.NO_OVERLAP)
    np.testing.assert_allclose(solution.log_partition, exact_root(data, noise, kappa), atol=1e-9)


@pytest.mark.parametrize("gap", [-60.0, 8.0, 60.0])
def test_far_apart_as_with_a_large_finite_number(gap):
    """In a gap, where the log scale is used, samples at 1e6 nats add as exactly nothing."""
    data, noise = problem(5, 7, 11, gap=gap)
    far = np.where(data == np.inf, 1e6, data), np.where(noise == -np.inf, -1e6, noise)
    solution, wanted = (
        solve(*map(np.float32, pair), magnification=3.0) for pair in ((data, noise), far)
    )
    assert solution.status == wanted.status
    np.testing.assert_allclose(solution.log_partition, wanted.log_partition, rtol=1e-5, atol=1e-4)


def test_weights_count_the_lost_samples(x64):
    data, noise = problem(8, 5, 30)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 2, len(data)), rng.uniform(0, 2, len(noise))
    weights[0][4] = weights[1][3] = 0  # ignored, and not counted
    data[10], noise[50] = np.nan, np.inf
    weights[0][10] = weights[1][50] = 0
    solution = solve(data, noise, weights_data=weights[0], weights_noise=weights[1])
    kept = [side[w != 0] for side, w in zip((data, noise), weights, strict=True)]
    wanted = exact_root(*kept, weights=[w[w != 0] for w in weights])
    np.testing.assert_allclose(solution.log_partition, wanted, atol=1e-9)


def test_a_random_campaign(x64):
    """300 problems of random sizes, shares, kappa and separation; the seed is 0."""
    rng = np.random.default_rng(0)
    lanes = []
    for _ in range(300):
        data, noise = rng.normal(rng.uniform(-4, 4), 2, 24), rng.normal(0, 2, 24)
        data[: rng.integers(0, 24)], noise[: rng.integers(0, 24)] = np.inf, -np.inf
        lanes.append((data, noise, np.exp(rng.uniform(-8, 8))))
    data, noise, kappa = (np.array(column) for column in zip(*lanes, strict=True))
    for name in ("newton", "bisection"):
        solution = solve(data, noise, magnification=kappa, solver=SOLVERS[name])
        wanted = [exact_root(*lane) for lane in lanes]
        np.testing.assert_allclose(solution.log_partition, wanted, atol=1e-8)


@pytest.mark.costly
def test_the_gradient_is_that_of_the_equation_and_zero_at_lost_samples(x64):
    data, noise = problem(4, 6, 33)
    far = np.where(data == np.inf, 1e3, data), np.where(noise == -np.inf, -1e3, noise)

    def root(data, noise):
        return nce_jax.solve_log_partition(data, noise, magnification=2.0).log_partition

    first = jax.jit(jax.grad(root, (0, 1)))
    second = jax.jit(jax.grad(lambda *sides: sum(jax.grad(root)(*sides) ** 2), (0,)))
    for order in (first, second):
        for grad, wanted in zip(order(data, noise), order(*far), strict=True):
            np.testing.assert_allclose(grad, wanted, atol=1e-10)
    grads = first(data, noise)
    assert (grads[0][:6] == 0).all()
    assert (grads[1][:33] == 0).all()


def test_a_bounded_model_has_its_gradient():
    """No NaN through the `where` of a bounded support."""
    key_data, key_noise = jax.random.split(jax.random.key(0))
    x_data, x_noise = jax.random.uniform(key_data, (99,)), jax.random.normal(key_noise, (99,))

    def root(theta):
        def log_ratio(x):
            log_density = jnp.where(jnp.abs(x) <= 1, -theta * x**2, -jnp.inf)
            return log_density + 0.5 * x**2

        return nce_jax.solve_log_partition(log_ratio(x_data), log_ratio(x_noise)).log_partition

    step, program = 1e-2, jax.jit(jax.value_and_grad(root))
    slope = (program(2.0 + step)[0] - program(2.0 - step)[0]) / (2 * step)
    np.testing.assert_allclose(program(2.0)[1], slope, rtol=5e-3)


def test_a_side_without_any_other_sample_fails():
    lanes = (
        ([np.inf] * 3, [0.0, 1.0, 2.0]),
        ([0.0, 1.0, 2.0], [-np.inf] * 3),
        ([np.inf] * 3, [-np.inf] * 3),
        ([np.inf, np.nan, 1.0], [0.0, 1.0, 2.0]),
        ([np.inf, -np.inf, 1.0], [0.0, 1.0, 2.0]),
        ([0.0, 1.0, 2.0], [-np.inf, np.inf, 0.0]),
    )
    data, noise = (np.float32(column) for column in zip(*lanes, strict=True))
    solution = solve(data, noise)
    np.testing.assert_array_equal(solution.status, Status.NONFINITE)
    assert np.isnan(solution.log_partition).all()


def test_the_bracket_holds_the_root_and_is_the_usual_one_without_them(x64):
    data, noise = problem(2, 50, 0)
    lower, upper = log_partition.bracket(log_partition.make_problem(data, noise))
    assert lower < exact_root(data, noise) < upper
    assert upper > data[np.isfinite(data)].max()
    plain = log_partition.bracket(log_partition.make_problem(data[50:], noise))
    both = np.concatenate([data[50:], noise])
    np.testing.assert_array_equal(plain, [both.min(), both.max()])


def test_no_overlap_counts_the_lost_samples():
    """The overlap is a mean over all samples: with 999 of 1,000 lost it is a thousandth."""
    data, noise = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    data[1:] = np.inf
    noise[1:] = -np.inf
    solution = solve(data, noise)
    assert solution.status == Status.CONVERGED
    np.testing.assert_allclose(nce_jax.overlap(data, noise), 1e-3, rtol=1e-5)
    # Three pairs, of which one of either side is left, and far apart.
    data, noise = np.float32([40, np.inf, np.inf]), np.float32([-40, -np.inf, -np.inf])
    assert solve(data, noise).status == Status.NO_OVERLAP


MESSAGES = [
    ([0.0, np.nan, np.nan], [0.0, 1.0], {}, "log_ratio_data is NaN at 2 of 3 samples (rows 1, 2)"),
    ([0.0, -np.inf, 1.0], [0.0, 1.0], {}, "log_ratio_data is -inf at 1 of 3 samples (rows 1)"),
    ([0.0, 1.0, 2.0], [0.0, np.inf], {}, "log_ratio_noise is +inf at 1 of 2 samples (rows 1)"),
    ([np.inf] * 3, [0.0, 1.0], {}, "the noise covers none of the 3 data samples"),
    ([0.0, 1.0, 2.0], [-np.inf] * 2, {}, "the model has no mass at any of the 2 noise samples"),
    ([0.0, 1.0, 2.0], [0.0, 1.0], {"weights_noise": jnp.zeros(2)}, "weights_noise are all zero"),
    (
        [0.0, 1.0, 2.0],
        [0.0, 1.0],
        {"weights_data": jnp.array([1.0, np.nan, 1.0])},
        "weights_data are negative, infinite or NaN at 1 of 3 samples (rows 1)",
    ),
    ([0.0, 1.0, 2.0], [0.0, 1.0], {"magnification": 1e38}, "noise_ratio * magnification is 1e+38"),
]


@pytest.mark.parametrize(("data", "noise", "options", "message"), MESSAGES)
def test_check_solution_says_why(data, noise, options, message):
    sides = jnp.array(data), jnp.array(noise)
    solution = nce_jax.solve_log_partition(*sides, **options)
    problem = log_partition.make_problem(*sides, **options)
    with pytest.raises(FloatingPointError) as caught:
        nce_jax.check_solution(solution, problem=problem)
    assert message in str(caught.value)


def test_check_solution_takes_the_result_of_bar_and_one_lane_of_several():
    forward, reverse = np.ones((2, 4), np.float32), np.ones((2, 3), np.float32)
    forward[1, 2] = np.nan
    result = nce_jax.bar(forward, reverse)
    problem = log_partition.make_problem(reverse, -forward)
    message = r"1 of 2 solves failed or .* NONFINITE: log_ratio_noise is NaN .*rows 2\)$"
    with pytest.raises(FloatingPointError, match=message):
        nce_jax.check_solution(result, problem=problem)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("lost_weight", [1e3, 1e4, 1e6])
def test_the_root_is_right_where_little_weight_is_left(solver, lost_weight):
    """Data at 0 and noise at 0, but for a weight of noise that the model gives no mass.

    With a share b of the noise left, 1 / (1 + e^-F) = b / (1 + e^F), so that F = log b.
    """
    data, noise = np.zeros(40, np.float32), np.float32([0, -np.inf])
    weights = np.float32([1, lost_weight])
    solution = nce_jax.solve_log_partition(
        data, noise, weights_noise=weights, solver=solver, max_steps=2000
    )
    if solution.status == Status.MAX_STEPS:
        assert solver is SOLVERS["fixed_point"]  # the only one that may be too slow
        return
    assert solution.status in (Status.CONVERGED, Status.NO_OVERLAP)
    wanted = -np.log1p(np.float64(weights[1]))
    np.testing.assert_allclose(solution.log_partition, wanted, atol=1e-5)
