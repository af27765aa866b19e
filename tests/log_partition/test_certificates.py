"""What the solvers' certificates rest on: bounds on the error, and the lemma behind Bennett's
step.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nce_jax.log_partition import (
    bennett_residual,
    error_bound,
    evaluate_equation,
    make_problem,
    newton_error_bound,
)
from tests.log_partition.cases import gaussian_log_ratios
from tests.oracles import mean, probabilities, root

NUM_PROBLEMS = 60
STEPS = np.concatenate([-np.logspace(2, -8, 20), [0], np.logspace(-8, 2, 20)])
ROUNDING = 1e-12


@jax.jit
def evaluate_at(data, noise, kappa, points):
    """Residual, both bounds, Newton's and Bennett's next point, at every point of every problem:
    (problems, points).
    """
    problem = make_problem(data, noise, None, None, kappa, 1.0)

    def evaluate_point(point):
        evaluation = evaluate_equation(problem, point)
        bounds = error_bound(evaluation.residual), newton_error_bound(evaluation.residual)
        return (
            evaluation.residual,
            *bounds,
            point + evaluation.newton_step,
            point - bennett_residual(problem, point),
        )

    return jax.vmap(evaluate_point, in_axes=1, out_axes=1)(points)


@pytest.fixture(scope="module")
def table():
    """Random problems, inverted and apart; points at the root, close to it and all over the range
    of the samples.
    """
    with jax.enable_x64(True):
        return tabulate(np.random.default_rng(0))


def tabulate(generator) -> dict[str, np.ndarray]:
    separations = generator.uniform(0, 6, NUM_PROBLEMS)
    signs = generator.choice([-1, 1], NUM_PROBLEMS)  # -1: data score below noise
    problems = [gaussian_log_ratios(d, 12, 9, seed=seed) for seed, d in enumerate(separations)]
    data, noise = (signs[:, None] * np.stack(side) for side in zip(*problems, strict=True))
    kappa = 10 ** generator.uniform(-3, 3, NUM_PROBLEMS)
    exact = np.array([root(d, y, kappa=k) for d, y, k in zip(data, noise, kappa, strict=True)])[
        :, None
    ]
    points = exact + STEPS
    values = [np.asarray(v) for v in evaluate_at(*map(jnp.asarray, (data, noise, kappa, points)))]
    b = points + np.log(kappa)[:, None]
    pool = np.concatenate([data, noise], axis=-1)
    inside = (b >= pool.min(-1, keepdims=True)) & (b <= pool.max(-1, keepdims=True))
    names = ("residual", "bound", "newton_bound", "newton", "bennett")
    return {
        "error": np.abs(points - exact),
        "exact": exact,
        "inside": inside,
        **dict(zip(names, values, strict=True)),
    }


def test_the_residual_bounds_the_error(table):
    """|F - F*| <= the bound wherever there is one; there is one near the root, and no more than a
    few times too large.
    """
    finite = np.isfinite(table["bound"])
    assert np.all(table["error"][finite] <= table["bound"][finite] + ROUNDING)
    near = table["error"] < 0.05
    assert np.all(finite[near])
    assert np.all(table["bound"][near] <= 6 * table["error"][near] + ROUNDING)


def test_the_residual_bounds_the_error_from_below_too(table):
    """A large residual is a large error: log(1 + |r|) near the root, |r| / 2 far from it, where the
    samples are.

    From above there is no such bound far from the root: the log difference drops wherever b passes
    a sample.
    """
    size = np.abs(table["residual"])
    lowest = np.where(size <= 0.5, np.log1p(size), size / 2)
    assert np.all(table["error"][table["inside"]] >= lowest[table["inside"]] - ROUNDING)
    assert np.count_nonzero(table["inside"] & (size > 0.5)) > 50


def test_the_residual_has_the_sign_of_the_error(table):
    """Which is what bisection, and every bracket, lives on."""
    outside = table["error"] > 1e-10
    signs = np.broadcast_to(np.sign(STEPS), outside.shape)
    np.testing.assert_array_equal(np.sign(table["residual"])[outside], signs[outside])


def test_a_newton_step_goes_towards_the_root(table):
    """From anywhere among the samples: the bracket would hide a step that does not, at the price of
    time.
    """
    outside = table["inside"] & (table["error"] > 1e-8)
    direction = np.sign(table["newton"] - (table["exact"] + STEPS))
    np.testing.assert_array_equal(
        direction[outside], -np.broadcast_to(np.sign(STEPS), outside.shape)[outside]
    )


def test_a_newton_step_is_as_good_as_certified(table):
    finite = np.isfinite(table["newton_bound"])
    after = np.abs(table["newton"] - table["exact"])
    assert np.all(after[finite] <= table["newton_bound"][finite] + ROUNDING)
    near = table["error"] < 1e-3  # quadratic convergence
    assert np.all(table["newton_bound"][near] <= 8 * table["error"][near] ** 2 + ROUNDING)


def test_a_bennett_step_never_moves_away(table):
    """Lemma B.1: |F - rho(F) - F*| <= |F - F*|."""
    after = np.abs(table["bennett"] - table["exact"])
    assert np.all(after <= table["error"] * (1 + 1e-12) + ROUNDING)


def test_bennetts_residual_is_its_formula(x64):
    data, noise = gaussian_log_ratios()
    for kappa, point in ((1.0, 0.0), (30.0, 1.2), (0.01, -3.0)):
        p, q = probabilities(data, noise, point, kappa)
        problem = make_problem(data, noise, None, None, kappa, 1.0)
        expected = np.log(mean(p)) - np.log(kappa * mean(q))
        np.testing.assert_allclose(
            bennett_residual(problem, jnp.asarray(point)), expected, rtol=1e-12, atol=1e-13
        )
