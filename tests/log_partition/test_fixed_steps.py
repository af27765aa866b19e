"""The mode without decisions: the same root where the steps suffice, MAX_STEPS where they do
not.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, log_partition
from tests import oracles
from tests.log_partition.cases import solve_tolerance


def problem(separation=2.0, count=512, seed=0):
    keys = jax.random.split(jax.random.key(seed))
    x_data = separation + jax.random.normal(keys[0], (count,))
    x_noise = jax.random.normal(keys[1], (count,))
    return separation * x_data, separation * x_noise


@pytest.mark.parametrize(
    "solver",
    [
        nce_jax.newton(),
        pytest.param(nce_jax.bisection(), marks=pytest.mark.costly),
        pytest.param(nce_jax.fixed_point(), marks=pytest.mark.costly),
    ],
    ids=["newton", "bisection", "bar"],
)
def test_enough_steps_give_the_root_of_the_loop(solver, x64):
    ratios = problem()
    wanted = nce_jax.solve_log_partition(*ratios, solver=solver)
    fixed = nce_jax.solve_log_partition(
        *ratios, solver=solver, fixed_steps=int(wanted.num_evaluations)
    )
    np.testing.assert_allclose(fixed.log_partition, wanted.log_partition, rtol=1e-12)
    assert (fixed.status, fixed.num_evaluations) == (wanted.status, wanted.num_evaluations)
    short = nce_jax.solve_log_partition(
        *ratios, solver=solver, fixed_steps=int(wanted.num_evaluations) - 1
    )
    assert short.status == Status.MAX_STEPS
    assert jnp.isnan(short.log_partition)


@pytest.mark.parametrize("separation", [0.5, 4.0, 12.0, -6.0])
def test_many_steps_give_the_root_at_any_separation(separation, x64):
    ratios = problem(separation) if separation > 0 else tuple(-s for s in problem(-separation))
    wanted = nce_jax.solve_log_partition(*ratios, tolerance=1e-9)
    fixed = nce_jax.solve_log_partition(*ratios, tolerance=1e-9, fixed_steps=60)
    np.testing.assert_allclose(fixed.log_partition, wanted.log_partition, atol=3e-9)
    assert fixed.status == wanted.status


@pytest.mark.parametrize("bad", [jnp.nan, -jnp.inf])
def test_what_is_not_finite_says_so(bad):
    data, noise = problem()
    assert (
        nce_jax.solve_log_partition(data.at[0].set(bad), noise, fixed_steps=4).status
        == Status.NONFINITE
    )


def test_the_program_has_no_loop_and_no_branch():
    def text(**options):
        solve = jax.jit(
            lambda *ratios: nce_jax.solve_log_partition(*ratios, initial=1.0, **options)
        )
        return solve.lower(*problem()).as_text()

    for word in ("stablehlo.while", "stablehlo.case", "stablehlo.if"):
        assert word not in text(fixed_steps=3)
    assert "stablehlo.while" in text()


@pytest.mark.costly
def test_lanes_and_derivatives_are_those_of_the_loop(x64):
    ratios = [
        jnp.stack(side) for side in zip(problem(1.0, 64), problem(3.0, 64, seed=1), strict=True)
    ]

    def solve(data, noise, **options):
        return nce_jax.solve_log_partition(data, noise, **options).log_partition.sum()

    gradients = [
        jax.grad(solve, (0, 1))(*ratios, **options) for options in ({}, {"fixed_steps": 12})
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), *gradients)
    vmapped = jax.vmap(
        lambda d, n: nce_jax.solve_log_partition(d, n, fixed_steps=12).log_partition
    )(*ratios)
    np.testing.assert_allclose(
        vmapped, nce_jax.solve_log_partition(*ratios).log_partition, rtol=1e-10
    )


@pytest.mark.parametrize("steps", [0, -1])
def test_a_number_of_steps_below_one_is_named(steps):
    with pytest.raises(ValueError, match="fixed_steps: expected at least 1"):
        nce_jax.solve_log_partition(*problem(), fixed_steps=steps)


@pytest.mark.parametrize("solver", [nce_jax.newton(), nce_jax.bisection()], ids=["newton", "half"])
@pytest.mark.parametrize(("gap", "kappa"), [(1, 1.0), (1, 30.0), (-1, 1.0), (-1, 0.02)])
@pytest.mark.parametrize("float_dtype", ["float32", "float64"], indirect=True)
def test_gaps_in_which_all_tails_underflow(solver, gap, kappa, float_dtype):
    """Up to 2,000 nats in float32 and 6,000 in float64, data above the noise and below it."""
    generator = np.random.default_rng(3)
    widths = np.geomspace(30, 2000 if float_dtype == jnp.float32 else 6000, 12)[:, None] * gap
    data = (widths / 2 + generator.normal(size=(12, 9))).astype(float_dtype)
    noise = (-widths / 2 + generator.normal(size=(12, 7))).astype(float_dtype)
    solution = nce_jax.solve_log_partition(
        data, noise, magnification=kappa, solver=solver, fixed_steps=70
    )
    wanted = [oracles.root(*pair, kappa=kappa) for pair in zip(data, noise, strict=True)]
    tolerance = solve_tolerance(float_dtype, np.abs(widths).max())
    np.testing.assert_allclose(solution.log_partition, wanted, atol=tolerance)
    looped = nce_jax.solve_log_partition(data, noise, magnification=kappa, solver=solver)
    np.testing.assert_array_equal(solution.status, looped.status)


@pytest.mark.costly
def test_both_forms_of_an_evaluation_agree_at_any_distance(x64):
    """Residual, step and overlap at 200 points in and beyond a gap of 4,000 nats, with weights and
    with a pull.
    """
    generator = np.random.default_rng(0)
    sides = [offset + generator.normal(size=(200, 30)) for offset in (-2000, 2000)]
    weights = [np.exp(3 * generator.normal(size=side.shape)) for side in sides]
    plain = log_partition.make_problem(*sides, *weights, 3.0)
    points = jnp.linspace(-3000, 3000, 200)
    for slope in (None, 1e-3, 1e-250):
        pull = slope and log_partition.Pull(jnp.full(200, slope), jnp.full(200, 7.0))
        problem = plain._replace(pull=pull)
        looped, fused = (
            log_partition.evaluate_equation(problem, points, is_branchless=is_branchless)
            for is_branchless in (False, True)
        )
        assert np.isfinite(looped.residual).all()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), looped, fused)
