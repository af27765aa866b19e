"""A failed lane, NaN by its status, passes no gradient: neither to itself nor to what it shares.

Whoever masks by status masks values; a NaN in the derivative would survive the mask, since zero
times NaN is NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nce_jax
from nce_jax import criteria, diagnostics, likelihood
from nce_jax.log_partition import Status
from tests.slow import slow_but

CRITERIA = {
    "nce": criteria.nce(magnification=3.0),
    "exponential_nce": criteria.exponential_nce(),
    "nwj": criteria.nwj(),
    "donsker_varadhan": criteria.donsker_varadhan(),
    "least_squares": criteria.least_squares(),
    "ranking_nce": criteria.ranking_nce(),
    "ratio_regularized": criteria.ratio_regularized(criteria.nce(), 0.1),
}


def lanes(bad=jnp.nan, side=1):
    keys = jax.random.split(jax.random.key(1))
    sides = [jax.random.normal(keys[0], (3, 50)), jax.random.normal(keys[1], (3, 50)) - 1]
    sides[side] = sides[side].at[1, 0].set(bad)
    return sides


def check(totals, sides, *extra):
    """The failed lane has a gradient of zero, solved lanes theirs, and shared parameters too;
    gradients in what else is given are finite.

    `totals` has one sum over lanes for each estimate, all of which one program differentiates.
    """
    scaled = lambda theta, data, noise, *extra: totals(theta * data, theta * noise, *extra)
    program = jax.jit(jax.jacrev(scaled, tuple(range(3 + len(extra)))))
    for name, (_, *grads) in program(1.0, *sides, *extra).items():
        for grad in grads[2:]:
            assert np.isfinite(grad).all(), name
        grads = grads[:2]
        for grad in grads:
            assert (grad[1] == 0).all(), name
            assert np.isfinite(grad).all(), name
        assert any((grad[0] != 0).any() for grad in grads), name
    # The bad log ratio comes from finite numbers: only their product overflows.
    finite = [jnp.where(jnp.isfinite(side), side, 3e38) for side in sides]
    for name, (slope, *_) in program(2.0, *finite, *extra).items():
        assert np.isfinite(slope), name


@pytest.mark.parametrize("name", slow_but(["nce", "ratio_regularized", "ranking_nce"], CRITERIA))
@pytest.mark.parametrize("with_weights", [pytest.param(False, marks=pytest.mark.costly), True])
def test_profiled_losses(name, with_weights):
    criterion = CRITERIA[name]

    def total(data, noise, weights):
        given = {"weights_data": weights, "weights_noise": weights} if with_weights else {}
        solution = criterion.profile(data, noise, **given)
        loss = criterion.loss(data, noise, log_partition=solution.log_partition, **given)
        is_solved = solution.status == Status.CONVERGED
        return jnp.where(is_solved, loss + solution.log_partition, 0).sum()

    check(lambda *given: {name: total(*given)}, lanes(), jnp.ones((3, 50)))


def estimates(data, noise):
    bar = nce_jax.bar(-noise, data)
    model = likelihood.model_log_partition(data, noise)
    bound = nce_jax.divergence(data, noise)
    importance = diagnostics.importance_log_partition(noise)
    return {
        "solve": nce_jax.solve_log_partition(data, noise).log_partition,
        "fixed_steps": nce_jax.solve_log_partition(data, noise, fixed_steps=6).log_partition,
        "bar": bar.delta_f,
        "bar_error": bar.standard_error,
        "bar_overlap": bar.overlap,
        "model": model.log_partition,
        "model_error": model.standard_error,
        "divergence": bound.value,
        "divergence_error": bound.standard_error,
        "overlap": nce_jax.overlap(data, noise),
        "standard_error": nce_jax.log_partition_standard_error(data, noise),
        "importance": importance.log_partition,
        "importance_error": importance.standard_error,
        "profiled": nce_jax.profiled_nce_loss(data, noise),
    }


@pytest.mark.costly
def test_estimates():
    def totals(data, noise):
        return {
            name: jnp.where(jnp.isfinite(values), values, 0).sum()
            for name, values in estimates(data, noise).items()
        }

    check(totals, lanes(jnp.inf))


def test_noise_weight_of_a_failed_lane():
    def total(log_magnification):
        solution = nce_jax.solve_log_partition(*lanes(), magnification=jnp.exp(log_magnification))
        return jnp.where(jnp.isfinite(solution.log_partition), solution.log_partition, 0).sum()

    gradient = jax.jit(jax.grad(total))(0.3)
    assert np.isfinite(gradient)
    assert gradient != 0
