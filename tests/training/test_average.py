"""The exponential average of the parameters: NumPy's numbers, and the same bits after a resume."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nce_jax import noise, telescoping, training
from tests.training.problems import assert_trees_equal

X_DATA = 2 + jax.random.normal(jax.random.key(0), (128, 1))
KEY = jax.random.key(1)
DECAY = 0.9


def model(params, x):
    return params["theta"] * x[:, 0] - x[:, 0] ** 2 / 2


def train_step(optimizer, **options):
    return training.make_train_step(model, noise.standard_normal(1), optimizer, **options)


def fit(step, num_steps, folder=None, **options):
    state = step.init({"theta": jnp.array(1.0)})
    return training.fit(
        step,
        state,
        X_DATA,
        KEY,
        num_steps=num_steps,
        batch_size=32,
        folder=folder,
        resume=folder is not None,
        checkpoint_every=4,
        log_every=2,
        progress=False,
        **options,
    )


def debiased(values):
    """Sum of d^(t - i) theta_i over that of the factors, in float64."""
    factors = DECAY ** np.arange(len(values))[::-1]
    return np.tensordot(factors, np.asarray(values, np.float64), 1) / factors.sum()


@pytest.mark.parametrize(
    "treatment", [training.solved(), training.joint_gradient(), training.bar_step()], ids=repr
)
def test_the_average_is_that_of_numpy(treatment):
    """Within 16 roundings of float32, whatever else the optimizer sees; training is unchanged."""
    averaged = train_step(training.with_average(optax.adam(0.1), DECAY), treatment=treatment)
    plain = train_step(optax.adam(0.1), treatment=treatment)
    seen, expected = [], []
    callback = lambda step, record, state: seen.append(np.asarray(state.params["theta"]))
    every = {"log_every": 1, "checkpoint_every": 1, "num_steps": 7, "progress": False}
    result = training.fit(
        averaged, averaged.init({"theta": jnp.array(1.0)}), X_DATA, KEY, callbacks=[callback],
        **every,
    )  # fmt: skip
    other = training.fit(plain, plain.init({"theta": jnp.array(1.0)}), X_DATA, KEY, **every)
    assert_trees_equal(result.state.params, other.state.params)
    expected = debiased(seen)
    average = training.averaged_params(result.state)["theta"]
    np.testing.assert_allclose(average, expected, rtol=16 * np.finfo(np.float32).eps)
    assert abs(average - result.state.params["theta"]) > 1e-4  # it lags


@pytest.mark.parametrize(
    "optimizer", [optax.scale(-0.1), optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05))],
    ids=["scale", "sam"],
)  # fmt: skip
def test_an_optimizer_gets_the_keywords_that_it_takes(optimizer):
    train, plain = train_step(training.with_average(optimizer, DECAY)), train_step(optimizer)
    first, second = (
        step(step.init({"theta": jnp.array(1.0)}), X_DATA, KEY)[0] for step in (train, plain)
    )
    assert_trees_equal(first.params, second.params)
    np.testing.assert_allclose(
        training.averaged_params(first)["theta"], first.params["theta"], rtol=1e-6
    )


def test_before_the_first_step_it_is_the_parameters():
    state = train_step(training.with_average(optax.sgd(0.1), DECAY)).init({"theta": jnp.array(3.0)})
    assert training.averaged_params(state)["theta"] == 3.0


@pytest.mark.costly
def test_a_killed_run_ends_in_the_same_average(tmp_path):
    step = train_step(training.with_average(optax.sgd(0.1), DECAY))
    whole = fit(step, 10)

    def kill(number, record, state):
        if number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(step, 10, tmp_path, callbacks=[kill])
    resumed = fit(step, 10, tmp_path)
    assert_trees_equal(resumed.state, whole.state)
    assert_trees_equal(
        training.averaged_params(resumed.state), training.averaged_params(whole.state)
    )


def test_another_decay_is_refused_by_name_and_can_be_allowed(tmp_path):
    fit(train_step(training.with_average(optax.sgd(0.1), DECAY)), 4, tmp_path)
    other = train_step(training.with_average(optax.sgd(0.1), 0.5))
    with pytest.raises(ValueError, match=r"optimizer: expected the number 0.9.*, got 0.5"):
        fit(other, 8, tmp_path)
    assert int(fit(other, 8, tmp_path, allow_changes=("optimizer",)).state.step) == 8


@pytest.mark.costly
@pytest.mark.filterwarnings("ignore::nce_jax.training.CheckpointWarning")
def test_a_run_can_take_up_an_average_and_keeps_the_state_of_its_optimizer(tmp_path):
    """The average begins with the steps to come; the moments of Adam go on."""
    before = fit(train_step(optax.adam(0.1)), 4, tmp_path)
    step = train_step(training.with_average(optax.adam(0.1), DECAY))
    state = training.load_checkpoint(tmp_path, step.init({"theta": jnp.array(1.0)}))
    counts = optax.tree.get_all_with_path(state.opt_state, "count")
    assert [int(count) for _, count in counts] == [4]
    np.testing.assert_array_equal(
        training.averaged_params(state)["theta"], before.state.params["theta"]
    )
    after = fit(step, 8, tmp_path, allow_changes=("optimizer",))
    assert_trees_equal(after.state.params, fit(train_step(optax.adam(0.1)), 8).state.params)


def test_low_precision_is_summed_in_float32_and_given_back_as_it_was():
    """In bfloat16 a change of 2^-10 would be lost in the sum, which a decay of 0.999 makes."""
    optimizer = training.with_average(optax.sgd(1.0), 0.999)
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    state = optimizer.init(params)
    for _ in range(3):
        _, state = optimizer.update({"w": jnp.zeros(2, jnp.bfloat16)}, state, params)
    assert state[1].average["w"].dtype == state[1].weight.dtype == jnp.float32
    np.testing.assert_allclose(state[1].average["w"], 1 - 0.999**3, rtol=1e-4)
    train_state = training.TrainState(params, jnp.float32(0), state, jnp.int32(3))
    average = training.averaged_params(train_state)["w"]
    assert average.dtype == jnp.bfloat16
    assert (average == 1).all()


@pytest.mark.costly
def test_a_chain_of_stages_and_a_mesh_keep_an_average():
    stages_fn = telescoping.separate(lambda theta, x: x @ theta[0] + x**2 @ theta[1])
    optimizer = training.with_average(optax.sgd(0.1), DECAY)
    options = {"noise_levels": [0.0, 0.8, 1.0]}
    mesh = training.make_mesh(devices=jax.devices()[:2])
    averages = []
    for devices in (None, mesh):
        step = training.make_stage_step(
            stages_fn, noise.standard_normal(1), optimizer, mesh=devices, **options
        )
        state = step.init(jnp.zeros((2, 2, 1)))
        if devices is not None:
            state = training.shard_state(state, mesh)
        state = training.fit(step, state, X_DATA, KEY, num_steps=3, progress=False).state
        averages.append(training.averaged_params(state))
    assert averages[1].sharding.device_set == set(mesh.devices.flat)
    np.testing.assert_allclose(averages[0], np.asarray(averages[1]), rtol=1e-4, atol=1e-6)


@pytest.mark.bad_input
def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="optimizer: expected an optax transformation"):
        training.with_average(0.1, 0.9)
    for decay in (0.0, 1.0, -0.5, np.nan):
        with pytest.raises(ValueError, match="decay: expected a number between 0 and 1"):
            training.with_average(optax.sgd(0.1), decay)
    with pytest.raises(TypeError, match="state: expected a train state with params"):
        training.averaged_params({"theta": jnp.ones(2)})
    without = train_step(optax.sgd(0.1)).init({"theta": jnp.array(1.0)})
    message = re.escape("got 0; training.with_average(optimizer, 0.999) makes an optimizer")
    with pytest.raises(ValueError, match=message):
        training.averaged_params(without)
    twice = training.with_average(training.with_average(optax.sgd(0.1), 0.9), 0.99)
    with pytest.raises(ValueError, match="expected one average .* got 2"):
        training.averaged_params(train_step(twice).init({"theta": jnp.array(1.0)}))
    optimizer = training.with_average(optax.sgd(0.1), 0.9)
    with pytest.raises(ValueError, match="params: expected the parameters"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
