"""The family: every loss bound to its way to profile F, and what a train step makes of each
pair.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import training
from tests import oracles
from tests.log_partition.cases import SOLVERS, gaussian_log_ratios

CLOSED_FORMS = {
    "exponential_nce": (oracles.exponential_nce_loss, oracles.exponential_log_partition),
    "nwj": (oracles.nwj_loss, lambda data, noise: oracles.importance_log_partition(noise)),
    "donsker_varadhan": (
        lambda data, noise, log_partition: oracles.donsker_varadhan_loss(data, noise),
        lambda data, noise: oracles.importance_log_partition(noise),
    ),
    "least_squares": (oracles.least_squares_loss, oracles.least_squares_log_partition),
}


def test_the_criterion_of_nce_binds_its_kappa_to_both_parts(x64):
    data, noise = gaussian_log_ratios()
    criterion = nce_jax.criteria.nce(magnification=50.0, noise_ratio=0.5)
    solution = criterion.profile(
        data, noise, weights_data=None, weights_noise=None, solver=SOLVERS["bisection"]
    )
    np.testing.assert_allclose(
        solution.log_partition, oracles.root(data, noise, kappa=25), atol=1e-11
    )
    value = criterion.loss(data, noise, log_partition=0.3, weights_data=None, weights_noise=None)
    np.testing.assert_allclose(
        value, oracles.nce_loss(data, noise, log_partition=0.3, kappa=25), rtol=1e-14
    )


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_are_converged_or_not_finite(name):
    """The value at the root, no steps taken, options of solvers ignored; a NaN is a failed lane,
    beside a good one.
    """
    data, noise = gaussian_log_ratios(dtype=np.float32)
    criterion = getattr(nce_jax.criteria, name)()
    loss, root = CLOSED_FORMS[name]
    assert criterion.name == name
    both = jnp.stack([data, data]), jnp.stack([noise, noise.at[0].set(np.nan)])
    solution = criterion.profile(*both, weights_data=None, weights_noise=None, max_steps=3)
    np.testing.assert_allclose(solution.log_partition, [root(data, noise), np.nan], rtol=1e-5)
    np.testing.assert_array_equal(solution.residual, [0, np.nan])
    np.testing.assert_array_equal(
        solution.status, [nce_jax.Status.CONVERGED, nce_jax.Status.NONFINITE]
    )
    np.testing.assert_array_equal(solution.num_evaluations, [0, 0])
    value = criterion.loss(data, noise, log_partition=0.2, weights_data=None, weights_noise=None)
    np.testing.assert_allclose(value, loss(data, noise, log_partition=0.2), rtol=1e-5)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_say_where_there_is_no_overlap(name):
    """Gaussians 1 and 30 apart with their true ratio; samples of weight zero are none."""
    x, y = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
    data, noise = jnp.stack([x + 1, 30 * (x + 30)]), jnp.stack([y, 30 * y])
    profile = jax.jit(getattr(nce_jax.criteria, name)().profile)
    solution = profile(data, noise)
    np.testing.assert_array_equal(
        solution.status, [nce_jax.Status.CONVERGED, nce_jax.Status.NO_OVERLAP]
    )
    assert np.isfinite(solution.log_partition).all()
    mask = jnp.where(jnp.arange(500) < 250, 1.0, 0.0)
    hidden = jnp.where(mask > 0, data, jnp.nan)
    weighted = profile(hidden, noise, weights_data=mask)
    np.testing.assert_array_equal(weighted.status, solution.status)


@pytest.mark.parametrize("name", ["nce", *CLOSED_FORMS])
def test_options_that_no_solver_has_are_refused_by_name(name):
    data, noise = gaussian_log_ratios(dtype=np.float32)
    with pytest.raises(TypeError, match="num_iterations"):
        getattr(nce_jax.criteria, name)().profile(data, noise, num_iterations=3)


THETA, START, STEP = 0.6, 0.3, 1e-6
TREATMENTS = {
    "held": training.held(),
    "joint": training.joint_gradient(),
    "solved": training.solved(),
}
BATCH = training.Batch(
    1 + np.random.default_rng(1).normal(size=200), np.random.default_rng(2).normal(size=300)
)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_every_treatment_takes_the_slope_of_the_formula(name, x64):
    """s = theta x, one step of plain descent at rate 1, against differences of the oracle in theta
    and in F.
    """
    loss, root = CLOSED_FORMS[name]

    def value(theta, log_partition):
        return loss(theta * BATCH.x_data, theta * BATCH.x_noise, log_partition=log_partition)

    for treatment, (new, metrics) in step_of_every_treatment(
        getattr(nce_jax.criteria, name)()
    ).items():
        used = root(THETA * BATCH.x_data, THETA * BATCH.x_noise) if treatment == "solved" else START
        np.testing.assert_allclose(
            [metrics.loss, metrics.log_partition], [value(THETA, used), used], rtol=1e-12
        )
        slopes = [
            (value(THETA + a * STEP, used + b * STEP) - value(THETA - a * STEP, used - b * STEP))
            / (2 * STEP)
            for a, b in ((1, 0), (0, 1))
        ]
        np.testing.assert_allclose(THETA - new.params, slopes[0], rtol=1e-7)
        expected_partition = START - slopes[1] if treatment == "joint" else used
        np.testing.assert_allclose(new.log_partition, expected_partition, rtol=1e-7)


def step_of_every_treatment(criterion):
    """State and metrics after one step, by treatment, in one compilation."""

    def run(params):
        results = {}
        for name, treatment in TREATMENTS.items():
            step = training.make_train_step(
                optimizer=optax.sgd(1.0),
                log_ratio_fn=lambda theta, x: theta * x,
                criterion=criterion,
                treatment=treatment,
            )
            state = step.init(params, log_partition=START)
            results[name] = step(state, BATCH, jax.random.key(0))
        return results

    return jax.jit(run)(jnp.asarray(THETA))


def test_donsker_varadhan_is_nwj_at_a_solved_normalizer(x64):
    """The same value and slope; what F is held at makes no difference to it."""
    nwj = step_of_every_treatment(nce_jax.criteria.nwj())["solved"]
    other = step_of_every_treatment(nce_jax.criteria.donsker_varadhan())
    for new, metrics in other.values():
        np.testing.assert_allclose(
            [metrics.loss, new.params], [nwj[1].loss, nwj[0].params], rtol=1e-12
        )
    np.testing.assert_allclose(other["solved"][1].log_partition, nwj[1].log_partition, rtol=1e-13)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_bennetts_step_is_refused_by_name(name):
    with pytest.raises(
        ValueError,
        match=f"treatment: expected .* criterion {name}, got bar_step: its normalizer is not",
    ):
        training.make_train_step(
            optimizer=optax.sgd(1.0),
            log_ratio_fn=lambda theta, x: theta * x,
            criterion=getattr(nce_jax.criteria, name)(),
            treatment=training.bar_step(),
        )
