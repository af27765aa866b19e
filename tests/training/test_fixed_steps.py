"""Training with a fixed number of evaluations: as with the loop once F is near, and F alone moves
until then.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nce_jax
from nce_jax import Status, training
from tests.training.problems import assert_trees_equal, samples, tilted_normal

KEY = jax.random.key(3)


def train(treatment, num_steps, log_partition=0.0, **options):
    params, log_density_fn, noise = tilted_normal(1.0)
    optimizer = optax.adam(0.05)
    train = training.make_train_step(
        log_density_fn, noise, optimizer, treatment=treatment, **options
    )
    step = jax.jit(train)
    state = train.init(params, log_partition=log_partition)
    states, history = [state], []
    for index in range(num_steps):
        state, metrics = step(state, samples(2.0, seed=index), KEY)
        states.append(state)
        history.append(metrics)
    return states, history


@pytest.mark.costly
def test_steps_from_the_f_before_are_those_of_the_loop(x64):
    """The default tolerance admits an error of F, which is of second order in the loss's gradient
    of theta.
    """
    start = {"num_steps": 30, "log_partition": 0.9}
    states, history = train(training.solved(fixed_steps=5), **start)
    wanted, looped = train(training.solved(), **start)
    assert [int(metrics.status) for metrics in history] == [Status.CONVERGED] * 30
    np.testing.assert_allclose(states[-1].params, wanted[-1].params, rtol=1e-9)
    np.testing.assert_allclose(
        [m.log_partition for m in history], [m.log_partition for m in looped], rtol=1e-9
    )


@pytest.mark.costly
def test_parameters_wait_until_f_is_found():
    """From 3 nats off two evaluations are too few: F comes nearer, theta and Adam stand still, then
    all move.
    """
    states, history = train(training.solved(fixed_steps=2), 30, log_partition=4.0)
    waiting = [int(metrics.status) == Status.MAX_STEPS for metrics in history]
    count = waiting.index(False)
    assert count > 0
    assert_trees_equal(
        (states[count].params, states[count].opt_state), (states[0].params, states[0].opt_state)
    )
    assert [int(state.step) for state in states] == list(range(31))
    assert sum(waiting) < 15
    assert all(np.isfinite(metrics.loss) for metrics in history)
    assert states[-1].params[0] > 1.2


@pytest.mark.costly
def test_a_batch_with_nan_does_not_wait():
    """Its status is NONFINITE, and the loss NaN, as with the loop."""
    params, log_density_fn, noise = tilted_normal(1.0)
    treatment, optimizer = training.solved(fixed_steps=3), optax.sgd(0.1)
    step = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
    state = step.init(params)
    _, metrics = jax.jit(step)(state, samples(2.0).at[0].set(jnp.nan), KEY)
    assert metrics.status == Status.NONFINITE
    assert jnp.isnan(metrics.loss)


def test_the_step_has_no_loop_to_ask_the_host_about():
    """But for the branch that keeps shared draws apart, which accelerators do without."""

    def text(treatment):
        params, log_density_fn, noise = tilted_normal(1.0)
        optimizer = optax.sgd(0.1)
        step = training.make_train_step(log_density_fn, noise, optimizer, treatment=treatment)
        state = step.init(params)
        batch = training.Batch(samples(2.0), samples(0.0))
        return jax.jit(step).lower(state, batch, KEY).as_text()

    fixed, looped = text(training.solved(fixed_steps=3)), text(training.solved())
    assert "stablehlo.while" in looped
    assert "stablehlo.while" not in fixed
    assert "stablehlo.case" not in fixed


@pytest.mark.costly
def test_closed_forms_take_no_steps():
    states, history = train(
        training.solved(fixed_steps=1), 3, criterion=nce_jax.criteria.exponential_nce()
    )
    assert all(int(metrics.num_evaluations) == 0 for metrics in history)
    assert np.isfinite(states[-1].params).all()


@pytest.mark.bad_input
def test_wrong_numbers_of_steps_are_named():
    with pytest.raises(TypeError, match="fixed_steps: expected an integer"):
        training.solved(fixed_steps=2.0)


@pytest.mark.parametrize(
    "fixed_steps",
    [2, pytest.param(4, marks=pytest.mark.costly), pytest.param(8, marks=pytest.mark.costly)],
)
@pytest.mark.parametrize("slope", [240.0, 3000.0])
def test_a_training_that_starts_with_inverted_ratios_far_apart_goes_on(slope, fixed_steps):
    """Data and noise 240 or 3,000 nats apart the wrong way round, in float32: as with the loop."""
    x = 0.05 * np.random.default_rng(0).normal(size=(2, 256)).astype(np.float32)
    batch = training.Batch(x[0] - 0.5, x[1] + 0.5)

    def descend(**options):
        train = training.make_train_step(
            log_ratio_fn=lambda theta, x: theta * x,
            optimizer=optax.sgd(1.0),
            treatment=training.solved(**options),
        )
        state, step = train.init(jnp.float32(slope)), jax.jit(train)
        for _ in range(20):
            state, metrics = step(state, batch, KEY)
        return state.params, metrics

    (theta, metrics), (looped, _) = descend(fixed_steps=fixed_steps), descend()
    assert metrics.status == Status.CONVERGED
    assert slope - 21 < looped < slope - 15
    assert abs(theta - looped) < 4.5
