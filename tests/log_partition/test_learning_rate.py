"""Bennett's iteration at any learning rate: the root, MAX_STEPS, or a refusal by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import Status, training
from tests import oracles
from tests.log_partition.cases import gaussian_log_ratios, solve_tolerance, status_names

RATES = [-1.0, 0.0, 0.3, 1.0, 1.9, 2.5, 5.0, 1e3, 1e30, np.nan, np.inf]
SEPARATIONS = [-30.0, -2.0, 0.5, 4.0, 30.0]


@pytest.fixture(scope="module")
def lanes():
    """Sets at every separation, inverted and apart, once for each learning rate."""
    problems = [
        [sign * side for side in gaussian_log_ratios(abs(d), dtype=np.float32, seed=seed)]
        for seed, (d, sign) in enumerate((d, np.sign(d)) for d in SEPARATIONS)
    ]
    data, noise = (np.stack(side) for side in zip(*problems, strict=True))
    exact = [oracles.root(*pair) for pair in zip(data, noise, strict=True)]
    count = len(RATES)
    return np.tile(data, (count, 1)), np.tile(noise, (count, 1)), np.tile(exact, count)


@pytest.mark.parametrize("fixed_steps", [None, 30])
@pytest.mark.parametrize(
    "start", ["cold", "root", pytest.param("outside", marks=pytest.mark.costly)]
)
def test_rates_in_arrays_converge_to_the_root_or_not_at_all(lanes, fixed_steps, start):
    """Traced rates cannot be refused: what is not the root is MAX_STEPS, from any start."""
    data, noise, exact = lanes
    rates = jnp.repeat(jnp.array(RATES, jnp.float32), len(SEPARATIONS))
    initial = {"cold": None, "root": jnp.float32(exact), "outside": jnp.float32(exact) + 1e4}
    options = {"initial": initial[start], "fixed_steps": fixed_steps}
    solve = jax.jit(
        lambda rates: nce_jax.solve_log_partition(
            data, noise, solver=nce_jax.fixed_point(rates), **options
        )
    )
    solution = solve(rates)
    assert set(status_names(solution)) <= {"CONVERGED", "NO_OVERLAP", "MAX_STEPS"}
    solved = np.asarray(solution.status) != Status.MAX_STEPS
    assert np.isfinite(solution.log_partition)[solved].all()
    tolerance = solve_tolerance(jnp.float32, 900)
    np.testing.assert_allclose(solution.log_partition[solved], exact[solved], atol=tolerance)
    if start != "outside":
        usual = np.isclose(rates, 1.0) & np.isclose(np.tile(SEPARATIONS, len(RATES)), 0.5)
        assert solved[usual].all()


@pytest.mark.parametrize("rate", [-1.0, 0.0, np.nan, np.inf, np.float32(-2)])
@pytest.mark.parametrize("factory", [nce_jax.fixed_point, training.bar_step])
def test_plain_rates_out_of_range_are_named(rate, factory):
    with pytest.raises(ValueError, match="learning_rate: expected a finite positive number"):
        factory(rate)


def test_bar_reports_a_rate_that_diverges():
    work = [jnp.asarray(side) for side in gaussian_log_ratios(0.5, dtype=np.float32)]
    result = nce_jax.bar(-work[1], work[0], solver=nce_jax.fixed_point(5.0))
    assert result.status == Status.MAX_STEPS
    assert np.isnan(result.delta_f)
