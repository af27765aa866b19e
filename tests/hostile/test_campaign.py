"""The judge of the campaign against an independent root, and the campaign in short."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

import nce_jax
from nce_jax import criteria
from tests.hostile import calls, solves
from tests.hostile.judge import is_root
from tests.hostile.problems import draw_problems
from tests.oracles import root

EPS = float(np.finfo(np.float64).eps)
NUM_CONFIGURATIONS = 16


@pytest.mark.parametrize("weighting", ["none", "padded", "random"])
def test_the_judge_accepts_the_root_and_nothing_beside_it(weighting):
    generator = np.random.default_rng(5)
    problems = draw_problems(generator, 12, 9, 7, dtype="float64", weighting=weighting)
    roots = []
    for lane in range(12):
        weights = [None if w is None else w[lane] for w in problems[2:4]]
        given = {"weights_data": weights[0], "weights_noise": weights[1]}
        sides = problems.data[lane], problems.noise[lane]
        roots.append(root(*sides, kappa=problems.kappa[lane], **given))
    roots = np.array(roots)
    assert is_root(problems, roots, eps=EPS).all()
    for distance in (-1e-3, 1e-3, 1.0):
        assert not is_root(problems, roots + distance, eps=EPS).any()
    assert not is_root(problems, np.full(12, np.nan), eps=EPS).any()


def test_the_judge_knows_the_errors_of_this_library():
    own = TypeError("key: expected a typed key, got int 0")
    assert calls.is_named("key", own)
    assert not calls.is_named("x", own)
    assert not calls.is_named("key", TypeError("key must be a typed key"))
    of_the_caller = ValueError("Incompatible shapes for broadcasting: shapes=[(4, 2), (0,)]")
    assert not calls.is_named("params", of_the_caller)
    of_the_caller.add_note("log_density_fn: called as log_density_fn(params, x), with ...")
    assert calls.is_named("params", of_the_caller)


@pytest.mark.costly
def test_every_hostile_call_is_refused_by_name_or_passed_through():
    assert calls.num_calls() > 5000
    assert list(calls.run()) == []


@pytest.mark.costly
def test_no_answer_of_a_solver_is_wrong_and_called_solved():
    """Four thousand solves of 16 random configurations; `make hostile` tries all of them."""
    tallies = list(solves.run(1, seed=3, limit=NUM_CONFIGURATIONS))
    assert sum(tally.num_lanes for tally in tallies) == NUM_CONFIGURATIONS * solves.LANES
    wrong = {tally.configuration: tally.example for tally in tallies if tally.num_wrong}
    assert wrong == {}


@pytest.mark.costly
def test_newton_and_bisection_solve_every_problem():
    chosen = [
        solves.Configuration(solver, dtype, None, weighting, None)
        for solver in ("newton", "bisection")
        for dtype, weighting in (
            ("float32", "scaled"),
            ("float64", "outside"),
            ("float32", "wide"),
            ("float32", "lost"),
            ("float64", "unused"),
        )
    ]
    failed = [tally.configuration for tally in solves.run(1, seed=4, chosen=chosen) if tally[2]]
    assert failed == []


@pytest.mark.parametrize("weighting", ["lost", "unused"])
def test_the_judge_sees_a_thousandth_of_a_nat_beside_infinities(weighting):
    generator = np.random.default_rng(1)
    problems = draw_problems(generator, 256, 40, 60, dtype="float64", weighting=weighting)
    chosen = solves.Configuration("newton", "float64", None, weighting, None)
    with jax.enable_x64(True):
        roots, status = solves._solve(chosen, problems)
    assert (status != nce_jax.Status.NONFINITE).all()
    assert is_root(problems, roots, eps=EPS).all()
    for distance in (-1e-3, 1e-3):
        assert not is_root(problems, roots + distance, eps=EPS).any()


def _log_mean(values, weights, factor):
    """log E[exp(factor * values)] of every lane, in float64; unweighted values may be anything."""
    weights = np.ones(values.shape) if weights is None else np.asarray(weights, np.float64)
    values = np.where(weights > 0, factor * values.astype(np.float64), -np.inf)
    with np.errstate(divide="ignore"):
        return logsumexp(values + np.log(weights / weights.sum(axis=1, keepdims=True)), axis=1)


def _exponential(data, noise):
    return _log_mean(*noise, 0.5) - _log_mean(*data, -0.5)


CLOSED_FORMS = {
    "exponential": (criteria.exponential_nce, _exponential),
    "nwj": (criteria.nwj, lambda data, noise: _log_mean(*noise, 1.0)),
    "donsker_varadhan": (criteria.donsker_varadhan, lambda data, noise: _log_mean(*noise, 1.0)),
    "least_squares": (
        criteria.least_squares,
        lambda data, noise: _log_mean(*noise, 2.0) - _log_mean(*data, 1.0),
    ),
}


@pytest.mark.costly
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighting", solves.WEIGHTINGS)
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_closed_form_is_the_minimizer_or_says_that_it_is_none(name, weighting, dtype):
    """Within 64 roundings of the largest log ratio, wherever the status says that it is solved."""
    make, formula = CLOSED_FORMS[name]
    generator = np.random.default_rng(11)
    problems = draw_problems(generator, 512, 40, 60, dtype=dtype, weighting=weighting)
    sides = [(problems.data, problems.weights_data), (problems.noise, problems.weights_noise)]
    with jax.enable_x64(dtype == "float64"):
        solution = make().profile(
            problems.data,
            problems.noise,
            weights_data=problems.weights_data,
            weights_noise=problems.weights_noise,
        )
    actual, status = np.asarray(solution.log_partition, np.float64), np.asarray(solution.status)
    is_solved = status != nce_jax.Status.NONFINITE
    exact = formula(*sides)
    assert (np.isfinite(actual) == is_solved).all()
    counted = [np.where((w == 0) if w is not None else False, 0, x) for x, w in sides]
    # +inf on a side that the minimizer depends on leaves none.
    largest = [np.max(np.where(np.isfinite(x), np.abs(x), 0), axis=1) for x in counted]
    limit = 64 * np.finfo(dtype).eps * (1 + np.maximum(*largest))
    assert (np.abs(actual - exact)[is_solved] <= limit[is_solved]).all()
    assert not np.isfinite(exact[~is_solved & ~np.isinf(counted[0]).any(1)]).any()


@pytest.mark.parametrize("hostile", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("side", ["weights_data", "weights_noise"])
def test_hostile_weights_are_no_solution(side, hostile):
    generator = np.random.default_rng(12)
    problems = draw_problems(generator, 64, 40, 60, dtype="float32", weighting="random")
    weights = {"weights_data": problems.weights_data, "weights_noise": problems.weights_noise}
    weights[side] = weights[side].copy()
    weights[side][np.arange(64), generator.integers(0, 40, 64)] = hostile
    solve = jax.jit(nce_jax.solve_log_partition)  # outside jit a negative number is refused
    solution = solve(problems.data, problems.noise, **weights)
    assert (solution.status == nce_jax.Status.NONFINITE).all()
    assert np.isnan(solution.log_partition).all()
