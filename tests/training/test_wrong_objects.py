"""Wrong objects in a train step or a loop: a sentence with argument, expected, got and the cure."""

import re
import types

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import nce_jax
from nce_jax import noise, training
from tests.training.problems import samples

KEY = jax.random.key(0)
NORMAL = noise.standard_normal(1)


def model(params, x):
    return params["theta"] * x[:, 0] - 0.5 * x[:, 0] ** 2


def make(log_density_fn=model, source=NORMAL, optimizer=None, **options):
    optimizer = optax.sgd(0.1) if optimizer is None else optimizer
    return training.make_train_step(log_density_fn, source, optimizer, **options)


def run(train, params=None, batch=None, key=KEY):
    state = train.init({"theta": jnp.ones(())} if params is None else params)
    return train(state, samples(1.0, 8) if batch is None else batch, key)


def table(x):
    """What a pandas DataFrame looks like from outside."""
    kind = types.new_class("DataFrame")
    kind.__module__ = "pandas.core.frame"
    kind.to_numpy = lambda self: x
    kind.shape, kind.__iter__ = x.shape, lambda self: iter(["a"])
    return kind()


AT_MAKE = {
    "a loss as criterion": (
        {"criterion": nce_jax.nce_loss},
        r"criterion: expected a Criterion such as nce_jax.criteria.nce\(\), got .* nce_loss",
    ),
    "an uncalled criterion": (
        {"criterion": nce_jax.criteria.nce},
        "criterion: expected a Criterion .* got the function nce: call it",
    ),
    "an uncalled treatment": (
        {"treatment": training.solved},
        "treatment: expected a Treatment .* got the function solved: call it",
    ),
    "no treatment": ({"treatment": None}, "treatment: expected a Treatment .* got None"),
    "a rate as optimizer": (
        {"optimizer": 0.1},
        "optimizer: expected an optax transformation .* got float 0.1; .*optax.sgd",
    ),
    "a schedule as optimizer": (
        {"optimizer": optax.linear_schedule(0.0, 1.0, 3)},
        "optimizer: expected an optax transformation .* schedule goes into one",
    ),
    "an uncalled optimizer": (
        {"optimizer": optax.adam},
        r"optimizer: expected an optax transformation .* got the function adam; call it, .*adam\(",
    ),
    "no noise": ({"source": None}, "noise: expected a distribution .* got None"),
    "a class as noise": (
        {"source": distrax.Normal},
        "noise: expected a distribution .* got the class Normal.*call the class",
    ),
    "samples as noise": (
        {"source": jnp.ones((3, 1))},
        r"noise: expected a distribution .* got an array of shape \(3, 1\)",
    ),
    "one value per dimension": (
        {"source": distrax.Normal(jnp.zeros(2), jnp.ones(2))},
        "noise: expected one distribution .*Independent",
    ),
    "a pair as model": (
        {"log_density_fn": ({}, model)},
        "log_density_fn: expected a function .* got a tuple of length 2; unpack the pair",
    ),
    "two models": ({"log_ratio_fn": model}, "expected one of the two, got both"),
    "no model": ({"log_density_fn": None}, "expected one of the two, got neither"),
    "a number as rule": (
        {"magnification_rule": 10.0},
        r"magnification_rule: expected a rule .* got 10.0; .*nce\(magnification=10.0\)",
    ),
    "a device as mesh": ({"mesh": jax.devices()[0]}, "mesh: expected"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", AT_MAKE)
def test_refused_when_the_step_is_made(name):
    options, message = AT_MAKE[name]
    with pytest.raises((TypeError, ValueError), match=message):
        make(**options)


@pytest.mark.bad_input
def test_wrong_arguments_of_treatments():
    with pytest.raises(TypeError, match="solver: expected a Solver .* function newton: call it"):
        training.solved(nce_jax.newton)
    with pytest.raises(TypeError, match="optimizer: expected an optax transformation"):
        training.joint_gradient(0.1)


VALUES = {
    "None": (lambda params, x: None, "got None; does the function return its result"),
    "a tuple": (lambda params, x: (model(params, x), x), "got a tuple of length 2"),
    "a scalar": (lambda params, x: model(params, x).sum(), r"got shape \(\)"),
    "a column": (lambda params, x: model(params, x)[:, None], r"got shape \(8, 1\).*\[:, 0\]"),
    "integers": (lambda params, x: jnp.arange(len(x)), "expected floating values, got dtype int"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", VALUES)
def test_a_model_of_wrong_values(name):
    wrong, message = VALUES[name]
    with pytest.raises((TypeError, ValueError), match=f"log_density_fn: .*{message}"):
        run(make(wrong))
    ratio = training.make_train_step(noise=NORMAL, optimizer=optax.sgd(0.1), log_ratio_fn=wrong)
    with pytest.raises((TypeError, ValueError), match=f"log_ratio_fn: .*{message}"):
        run(ratio)


def test_exchanged_arguments_of_a_model_are_named_in_a_note():
    with pytest.raises((TypeError, IndexError, AttributeError)) as error:
        run(make(lambda x, params: model(params, x)))
    assert "is it a function of these, in this order" in "".join(error.value.__notes__)


PARAMS = {
    "integers": ({"theta": jnp.ones((), int)}, r"params: .* got dtype int.* at params\['theta'\]"),
    "nothing": ({}, "params: expected a pytree of floating arrays"),
    "the pair": (({"theta": jnp.ones(())}, model), "params: .*unpack the pair"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", PARAMS)
def test_wrong_parameters(name):
    params, message = PARAMS[name]
    with pytest.raises(TypeError, match=message):
        make().init(params)


KEYS = {
    "legacy": (jax.random.PRNGKey(0), "key: expected a typed key, got .*wrap_key_data"),
    "an integer": (0, r"key: expected a typed key, got .*jax.random.key\(seed\)"),
    "a batch": (jax.random.split(KEY), r"key: expected a single key, got shape \(2,\)"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", KEYS)
def test_wrong_keys(name):
    key, message = KEYS[name]
    with pytest.raises((TypeError, ValueError), match=message):
        run(make(), key=key)
    train = make()
    state = train.init({"theta": jnp.ones(())})
    with pytest.raises((TypeError, ValueError), match=message):
        training.fit(train, state, samples(1.0, 8), key, num_steps=1, progress=False)


DATA = {
    "a table": (table(np.ones((8, 1))), ".*got a pandas DataFrame; .*to_numpy"),
    "text": (np.array([["a"]]), "expected numbers"),
    "one axis": (jnp.ones(8), r"expected shape \(samples, 1\).*got shape \(8,\).*reshape"),
    "two dimensions": (jnp.ones((8, 2)), r"expected shape \(samples, 1\).*got shape \(8, 2\)"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", DATA)
def test_wrong_data(name):
    x_data, message = DATA[name]
    with pytest.raises((TypeError, ValueError), match=f"x_data: {message}"):
        run(make(), batch=training.Batch(x_data))
    with pytest.raises((TypeError, ValueError), match=f"x_noise: {message}"):
        run(make(), batch=training.Batch(samples(1.0, 8), x_data))
    train = make()
    state = train.init({"theta": jnp.ones(())})
    with pytest.raises((TypeError, ValueError), match=message):
        training.fit(train, state, x_data, KEY, num_steps=1, progress=False)


def test_the_state_of_another_step_is_named():
    params = {"theta": jnp.ones(())}
    other_steps = {
        "treatment": make(treatment=training.joint_gradient()),
        "optimizer": make(optimizer=optax.adam(0.1)),
    }
    for other in other_steps.values():
        with pytest.raises(ValueError, match="state: .*the init of this train step.*opt_state"):
            make()(other.init(params), samples(1.0, 8), KEY)
    for state in (params, None):
        with pytest.raises(TypeError, match=re.escape("a TrainState such as train.init(params)")):
            make()(state, samples(1.0, 8), KEY)


@pytest.mark.bad_input
def test_what_is_no_step_is_refused_by_the_loop():
    for step in (None, training.make_train_step, training.TrainStep):
        with pytest.raises(TypeError, match="step: expected a train step"):
            training.fit(step, {}, samples(1.0, 8), KEY, num_steps=1)


def test_the_step_is_frozen_hashable_and_jitted_as_it_is():
    train = make()
    step = jax.jit(train, donate_argnums=0)
    params = {"theta": jnp.ones(())}
    state, _ = step(train.init(params), samples(1.0, 8), KEY)
    assert int(state.step) == 1
    assert not params["theta"].is_deleted()
    assert {train: 1}[train] == 1
    with pytest.raises(AttributeError):
        train.criterion = nce_jax.criteria.nce()


@pytest.mark.bad_input
def test_meshes_and_steps_that_are_none():
    params = {"theta": jnp.ones(())}
    with pytest.raises(TypeError, match="mesh: expected a Mesh such as .*, got None"):
        training.shard_state(params, None)
    with pytest.raises(TypeError, match="step: expected a train step"):
        training.jit_train_step(params, make())


class Flat(nnx.Module):
    def __call__(self, x):
        return x


class FlatLinen(linen.Module):
    def __call__(self, x):
        return x


class SamplesOnly:
    log_prob = staticmethod(NORMAL.log_prob)

    def sample_and_log_prob(self, *, seed, sample_shape):
        return NORMAL.sample(seed=seed, sample_shape=sample_shape)


def per_sample(log_ratio_data, log_ratio_noise, *, log_partition=0.0, **weights):
    return log_ratio_data - log_partition


PER_SAMPLE = nce_jax.criteria.Criterion("per_sample", per_sample)
BATCH_OF_TWO = (np.ones((8, 1), np.float32),) * 2
CALLS = {
    "an nnx module": (lambda: make(Flat()), r"log_density_fn: .*models.split_module\(module\)"),
    "a linen module": (lambda: make(FlatLinen()), r"log_density_fn: .*module.apply\(params, x\)"),
    "a criterion without F": (
        lambda: make(criterion=PER_SAMPLE),
        r"treatment: expected one that supports criterion per_sample, got solved: .*held\(\) do",
    ),
    "a loss per sample": (
        lambda: run(make(criterion=PER_SAMPLE, treatment=training.held())),
        r"criterion per_sample: expected loss to return one number, got shape \(8,\)",
    ),
    "a treatment that returns F": (
        lambda: run(make(treatment=training.Treatment("mine", lambda c, ratios, f: f))),
        "treatment mine: expected update to return a LogPartitionUpdate, got an array",
    ),
    "a noise of samples only": (
        lambda: run(make(source=SamplesOnly())),
        r"noise: expected sample_and_log_prob to return \(samples, log densities\)",
    ),
    "a pair as batch": (
        lambda: run(make(), batch=BATCH_OF_TWO),
        r"x_data: expected one array .* got a tuple of length 2; training.Batch\(x_data, x_noise\)",
    ),
    "key before batch": (
        lambda: run(make(), batch=KEY, key=samples(1.0, 8)),
        "key: expected a typed key, .*; the batch comes before the key",
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", CALLS)
def test_parts_that_do_not_keep_their_contract(name):
    call, message = CALLS[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.bad_input
def test_a_loop_with_wrong_arguments():
    train = make()
    state, x = train.init({"theta": jnp.ones(())}), samples(1.0, 8)
    options = {"num_steps": 1, "progress": False}
    with pytest.raises(TypeError, match="state: expected a pytree .* got the function init"):
        training.fit(train, train.init, x, KEY, **options)
    with pytest.raises(ValueError, match="resume: expected a folder to continue from"):
        training.fit(train, state, x, KEY, resume=True, **options)
    with pytest.raises(ValueError, match=r"evaluate: expected numbers, got shape \(3,\) at 'a'"):
        training.fit(train, state, x, KEY, evaluate=lambda _: {"a": jnp.zeros(3)}, **options)


OPTIONS = {
    "resume": ("yes", TypeError, "True or False, got str 'yes'"),
    "progress": (1, TypeError, "True or False, got int 1"),
    "folder": (3, TypeError, "a path such as 'runs/first', got int 3"),
    "checkpoint_every": (2.5, TypeError, "an integer, got 2.5"),
    "low_overlap": (float("nan"), ValueError, "a number from 0 to 1, got nan"),
    "evaluate": ("loss", TypeError, "a function of the state, got str 'loss'"),
    "allow_changes": (np.zeros(0), ValueError, "a tuple of names"),
    "state": ({"theta": "one"}, TypeError, r"a pytree of arrays .* at state\['theta'\]"),
    "step": (len, TypeError, r"a function of state, batch and key, .* parameters \(obj\)"),
    "batches": (lambda step, key: step, TypeError, "a function of the number of a step, got"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_the_loop_is_refused_without_a_folder_too(name):
    value, error, words = OPTIONS[name]
    train = make()
    state = train.init({"theta": jnp.ones(())})
    right = {"step": train, "state": state, "batches": jnp.ones((4, 1))}
    arguments = right | {"key": KEY, "num_steps": 1, "progress": False} | {name: value}
    with pytest.raises(error, match=f"^{name}: expected {words}"):
        training.fit(**arguments)


def test_an_error_in_a_function_of_batches_says_how_it_was_called():
    train = make()
    state = train.init({"theta": jnp.ones(())})
    with pytest.raises(TypeError) as caught:
        training.fit(train, state, len, KEY, num_steps=1, progress=False)
    assert caught.value.__notes__[0].startswith("batches: called as batches(0)")


@pytest.mark.bad_input
def test_what_a_checkpoint_is_read_into_is_checked():
    with pytest.raises(TypeError, match="folder: expected a path"):
        training.load_checkpoint(3, {})
    with pytest.raises(TypeError, match="state: expected a pytree of arrays"):
        training.load_checkpoint("runs", "state")
    with pytest.raises(TypeError, match="step: expected an integer, got 2.0"):
        training.load_checkpoint("runs", jnp.zeros(2), step=2.0)
    with pytest.raises(TypeError, match="devices: expected devices such as"):
        training.make_mesh(devices=["cpu"])
    with pytest.raises(TypeError, match="rules: expected pairs"):
        training.state_shardings(jnp.zeros(2), training.make_mesh(), dict)
