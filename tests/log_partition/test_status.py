"""A failed solve is data: its lane says so, holds no number, and leaves its neighbors as they
were.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status
from tests.log_partition.cases import SOLVERS, gaussian_log_ratios, solve, status_names

BAD = [(0, np.nan), (0, -np.inf), (1, np.nan), (1, np.inf)]
"""Sides and log ratios at which the loss has no minimum; test_infinite_log_ratios has the rest."""


def four_lanes(dtype=np.float32):
    problems = [gaussian_log_ratios(1 + seed / 4, seed=seed, dtype=dtype) for seed in range(4)]
    return tuple(jnp.stack(side) for side in zip(*problems, strict=True))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("side", "bad"), BAD)
def test_a_lane_that_is_not_finite(bad, side, solver):
    samples = list(four_lanes())
    clean = solve(*samples, solver=SOLVERS[solver])
    samples[side] = samples[side].at[1, 3].set(bad)
    solution = solve(*samples, solver=SOLVERS[solver])
    assert status_names(solution) == ["CONVERGED", "NONFINITE", "CONVERGED", "CONVERGED"]
    assert np.isnan(solution.log_partition[1])
    assert np.isnan(solution.residual[1])
    for name in ("log_partition", "residual", "num_evaluations"):
        actual, expected = (np.delete(getattr(s, name), 1) for s in (solution, clean))
        np.testing.assert_array_equal(actual, expected)  # to the last bit


@pytest.mark.costly
def test_weights_and_noise_weight_out_of_range():
    """Traced values cannot raise: negative, NaN or all-zero weights and kappa outside (0, inf) are
    NONFINITE.
    """
    data, noise = four_lanes()
    weights = jnp.ones_like(data)
    for bad in (
        weights.at[1, 0].set(-1),
        weights.at[1].set(0),
        weights.at[1, 0].set(np.nan),
        weights.at[1, 0].set(np.inf),
    ):
        solution = solve(data, noise, weights_data=bad, weights_noise=jnp.ones_like(noise))
        assert status_names(solution) == ["CONVERGED", "NONFINITE", "CONVERGED", "CONVERGED"]
        assert np.isnan(solution.log_partition[1])
    for bad in (-1.0, 0.0, np.inf, np.nan):
        solution = solve(data, noise, magnification=jnp.array([1, bad, 2, 3]))
        assert status_names(solution) == ["CONVERGED", "NONFINITE", "CONVERGED", "CONVERGED"]
        solution = solve(data, noise, noise_ratio=jnp.array([1, bad, 2, 3]))
        assert status_names(solution) == ["CONVERGED", "NONFINITE", "CONVERGED", "CONVERGED"]


def test_negative_weights_on_both_sides_do_not_cancel():
    """Two negative magnifications have a positive product, and all-negative weights a positive
    mean: still refused.
    """
    data, noise = four_lanes()
    assert (
        status_names(solve(data, noise, magnification=-1.0, noise_ratio=-2.0)) == ["NONFINITE"] * 4
    )
    solution = solve(
        data, noise, weights_data=-jnp.ones_like(data), weights_noise=-jnp.ones_like(noise)
    )
    assert status_names(solution) == ["NONFINITE"] * 4


@pytest.mark.parametrize("max_steps", [1, 3])
def test_the_step_limit(max_steps):
    """No number without a certificate; the residual says how far it came."""
    data, noise = four_lanes()
    solution = solve(data, noise, solver=SOLVERS["bisection"], max_steps=max_steps)
    assert status_names(solution) == ["MAX_STEPS"] * 4
    assert np.all(np.isnan(solution.log_partition))
    assert np.all(np.isfinite(solution.residual))
    assert np.all(solution.num_evaluations == max_steps)


def test_an_easy_lane_does_not_pay_for_a_hard_one():
    """A finished lane stands still: the steps it reports are its own."""
    easy = gaussian_log_ratios(0.1, seed=0, dtype=np.float32)
    hard = gaussian_log_ratios(-20.0, seed=1, dtype=np.float32)
    both = [jnp.stack(side) for side in zip(easy, hard, strict=True)]
    alone = [solve(*problem, solver=SOLVERS["newton"]) for problem in (easy, hard)]
    together = solve(*both, solver=SOLVERS["newton"])
    np.testing.assert_array_equal(
        together.num_evaluations, [solution.num_evaluations for solution in alone]
    )
    np.testing.assert_allclose(
        together.log_partition, [solution.log_partition for solution in alone], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("solver", ["newton", "bisection"])
def test_a_failed_warm_start_begins_afresh(solver):
    data, noise = four_lanes()
    cold = solve(data, noise, solver=SOLVERS[solver])
    initial = jnp.array([np.nan, np.inf, -np.inf, 0], jnp.float32)
    warm = solve(data, noise, solver=SOLVERS[solver], initial=initial)
    assert status_names(warm) == ["CONVERGED"] * 4
    np.testing.assert_allclose(warm.log_partition, cold.log_partition, rtol=0, atol=2e-5)


def test_check_solution_returns_nothing_where_all_is_well():
    assert nce_jax.check_solution(solve(*four_lanes())) is None


def test_check_solution_names_the_lanes():
    data, noise = four_lanes()
    data = data.at[2, 0].set(np.nan).reshape(2, 2, -1)
    solution = solve(data, noise.reshape(2, 2, -1))
    with pytest.raises(FloatingPointError) as caught:
        nce_jax.check_solution(solution)
    lane = "lane (1, 0) NONFINITE (residual nan after 0 evaluations)"
    expected = f"log_partition: 1 of 4 solves failed: {lane}"
    assert str(caught.value) == expected


def test_check_solution_of_many_failures_is_short():
    lanes = 25
    solution = nce_jax.Solution(
        *(jnp.full((lanes,), value) for value in (np.nan, 0.5, 7, int(Status.MAX_STEPS)))
    )
    with pytest.raises(FloatingPointError) as caught:
        nce_jax.check_solution(solution)
    message = str(caught.value)
    assert message.startswith(
        "log_partition: 25 of 25 solves failed: lane (0,) MAX_STEPS (residual 0.5 after 7"
        " evaluations); "
    )
    assert message.endswith("; and 15 more")
    assert len(message) < 800


def test_no_overlap_is_no_failure_unless_the_caller_says_so():
    """F is a number then, and the train step does not count it as a failed solve either."""
    solution = solve(*gaussian_log_ratios(16.0, dtype=np.float32))
    assert np.isfinite(solution.log_partition)
    nce_jax.check_solution(solution)
    message = r"1 of 1 solves failed or have no overlap: lane \(0,\) NO_OVERLAP"
    with pytest.raises(FloatingPointError, match=message):
        nce_jax.check_solution(solution, allow_no_overlap=False)


def test_a_free_energy_without_an_estimate_is_a_failure_whatever_the_caller_allows():
    """It is NaN there; the message has the name of its first field."""
    work = np.array([[1.0, 2.0, 3.0], [600.0, 601.0, 602.0]], np.float32)
    result = nce_jax.bar(work, -work[::-1] + 1200)
    assert set(result.status.tolist()) == {Status.NO_OVERLAP}
    with pytest.raises(FloatingPointError, match=r"^delta_f: 2 of 2 solves failed or have no"):
        nce_jax.check_solution(result)
    with pytest.raises(FloatingPointError, match="NONFINITE: NaN, or an infinity on the wrong"):
        nce_jax.check_solution(nce_jax.bar(np.array([np.nan, 1.0]), np.array([1.0, 2.0])))
    # LOW_OVERLAP has one.
    low = nce_jax.bar(np.array([3.0, 5.0]), np.array([1.0, -1.0]))
    assert low.status == Status.LOW_OVERLAP
    nce_jax.check_solution(low)


@pytest.mark.parametrize("status", Status)
def test_a_solve_failed_where_its_log_partition_is_not_a_number(status):
    log_partition = np.nan if status in (Status.MAX_STEPS, Status.NONFINITE) else 1.5
    solution = nce_jax.Solution(log_partition, np.float32(0), np.int32(3), np.int32(status))
    if np.isfinite(log_partition):
        nce_jax.check_solution(solution)
    else:
        with pytest.raises(FloatingPointError, match=status.name):
            nce_jax.check_solution(solution)
    if status != Status.CONVERGED:
        with pytest.raises(FloatingPointError, match=status.name):
            nce_jax.check_solution(solution, allow_no_overlap=False)


@pytest.mark.bad_input
def test_check_solution_names_what_is_no_solution():
    with pytest.raises(TypeError, match="solution: expected a Solution such as .*, got an array"):
        nce_jax.check_solution(jnp.zeros(3))
    with pytest.raises(TypeError, match="solution: expected values, got traced arrays"):
        jax.jit(nce_jax.check_solution)(solve(*four_lanes()))


def test_status_survives_transformations():
    data, noise = four_lanes()
    data = data.at[1, 0].set(np.nan)
    solution = jax.vmap(lambda d, n: solve(d, n))(data, noise)
    assert status_names(solution) == ["CONVERGED", "NONFINITE", "CONVERGED", "CONVERGED"]
