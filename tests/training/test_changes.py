"""A resumed run that differs from its beginning is refused by the name of what differs."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import nce_jax
from nce_jax import criteria, losses, noise, training
from nce_jax.training import _program
from nce_jax.training._digests import content, different_leaves, summary
from nce_jax.training._program import fingerprint

ROOT = Path(__file__).parents[2]
X_DATA = 2 + jax.random.normal(jax.random.key(0), (128, 1))
SGD = optax.sgd(0.5)
KEYS = jax.random.split(jax.random.key(0), 2)
BATCHES = [X_DATA[start : start + 32] for start in range(0, 128, 32)]


def model(params, x):
    return params["theta"] * x[:, 0] - x[:, 0] ** 2 / 2


def run(folder, num_steps, batches=X_DATA, *, optimizer=SGD, key=1, **options):
    names = ("allow_changes", "batch_size", "evaluate")
    of_fit = {name: options.pop(name) for name in names if name in options}
    is_array = hasattr(batches, "dtype") or isinstance(batches, training.Batch)
    of_fit = {"batch_size": 32 if is_array else None} | of_fit
    initial = options.pop("initial", 1.0)
    model_, noise_ = options.pop("model", model), options.pop("noise", noise.standard_normal(1))
    step = training.make_train_step(model_, noise_, optimizer, **options)
    return training.fit(
        step,
        step.init({"theta": jnp.array(initial)}),
        batches,
        jax.random.key(key),
        num_steps=num_steps,
        folder=folder,
        resume=True,
        checkpoint_every=2,
        log_every=2,
        progress=False,
        **of_fit,
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "begun"
    with jax.numpy_rank_promotion("allow"):  # as every test here has it
        run(folder, 4)
    return folder


CHANGES = {
    "learning rate": ({"optimizer": optax.sgd(0.001)}, "optimizer: .*number -0.5 .*, got -0.001"),
    "clipping": (
        {"optimizer": optax.chain(optax.clip(1.0), optax.sgd(0.5))},
        "optimizer: expected the operations",
    ),
    "Adam": (
        {"optimizer": optax.adam(0.5)},
        "state: expected no array at .*opt_state.*'optimizer'",
    ),
    "magnification": (
        {"criterion": criteria.nce(magnification=3.0)},
        "criterion: expected the number 1.0 .*, got 3.0",
    ),
    "noise ratio": ({"criterion": criteria.nce(noise_ratio=3.0)}, "criterion: expected the number"),
    "criterion": (
        {"criterion": criteria.exponential_nce()},
        "criterion: expected name nce .*, got exponential_nce",
    ),
    "treatment": (
        {"treatment": training.bar_step()},
        "treatment: expected name solved .*, got bar_step",
    ),
    "steps of the solver": (
        {"treatment": training.solved(fixed_steps=3)},
        "treatment: expected the operations",
    ),
    "a rule for M": (
        {"magnification_rule": nce_jax.adaptive_magnification()},
        "state: expected no array at .*magnification_state",
    ),
    "noise": ({"noise": noise.fitted_gaussian(X_DATA)}, "noise: expected the operations"),
    "number of noise samples": ({"num_noise": 8}, "noise: expected num_noise None .*, got 8"),
    "code of the model": (
        {"model": lambda params, x: params["theta"] * jnp.tanh(x[:, 0])},
        "model: expected the operations",
    ),
    "constant of the model": (
        {"model": lambda params, x: params["theta"] * x[:, 0] - x[:, 0] ** 2 / 4},
        "model: expected the number 2.0 .*, got 4.0",
    ),
    "one number of the data": (
        {"batches": X_DATA.at[77, 0].mul(1.000001)},
        "x_data: expected float",
    ),
    "order of the data": ({"batches": X_DATA[::-1]}, "x_data: expected float"),
    "number of data": ({"batches": X_DATA[:96]}, "num_data, x_data: expected 128 and .*, got 96"),
    "weights": (
        {"batches": training.Batch(X_DATA, weights_data=jnp.ones(128))},
        "weights_data: expected None",
    ),
    "batch size": ({"batch_size": 16}, "batch_size: expected 32 .*, got 16"),
    "key": ({"key": 2}, "key: expected the key .*, got another key"),
    "initial parameters": ({"initial": 1.5}, r"state: expected \[1.0\] at .params.*, got \[1.5\]"),
    "two": (
        {"key": 2, "optimizer": optax.sgd(0.1)},
        r"key, optimizer: .*, got another key and -0.1; .*allow_changes=\('key', 'optimizer'\)",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("num_steps", [4, 6])
def test_what_differs_is_named(begun, name, num_steps):
    """Also where the run is complete: its result would be taken for that of the changed call."""
    options, message = CHANGES[name]
    before = (begun / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        run(begun, num_steps, **options)
    assert str(begun) in str(caught.value)
    assert (begun / "metrics.jsonl").read_bytes() == before


@pytest.mark.costly
def test_what_does_not_matter_is_taken(begun, tmp_path):
    """Names of functions, new objects of equal content, and the state that the run ended with."""
    folder = tmp_path / "copy"
    shutil.copytree(begun, folder)
    state = run(folder, 4).state
    same = training.make_train_step(
        lambda parameters, z: parameters["theta"] * z[:, 0] - z[:, 0] ** 2 / 2,
        noise.standard_normal(1),
        optax.sgd(0.5),
    )
    options = {"batch_size": 32, "folder": folder, "resume": True, "progress": False}
    options |= {"checkpoint_every": 2, "log_every": 2, "num_steps": 6}
    again = training.fit(same, state, X_DATA + 0, jax.random.key(1), **options)
    assert again.state.params["theta"] == run(tmp_path / "whole", 6).state.params["theta"]
    run(folder, 8)  # the initial state is still that of the beginning


@pytest.mark.costly
def test_a_change_that_is_allowed_is_the_run_from_then_on(begun, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(begun, folder)
    adam = optax.adam(0.1)
    start = run(folder, 4).state
    changed = run(folder, 6, optimizer=adam, key=2, allow_changes=("optimizer", "key"))
    step = training.make_train_step(model, noise.standard_normal(1), adam)
    expected = training.fit(
        step,
        step.init(start.params)._replace(log_partition=start.log_partition, step=start.step),
        X_DATA,
        jax.random.key(2),
        num_steps=2,
        batch_size=32,
        progress=False,
    )
    # The same draws of noise, since the state has its step; another shuffle.
    assert changed.state.opt_state.inner_states["params"].inner_state[0].count == 2
    np.testing.assert_allclose(
        changed.state.params["theta"], expected.state.params["theta"], rtol=0.05
    )
    run(folder, 8, optimizer=adam, key=2)
    with pytest.raises(ValueError, match="optimizer"):
        run(folder, 10, optimizer=optax.adam(0.2), key=2)


@pytest.mark.parametrize(
    ("changed", "counts"),
    [(optax.chain(optax.clip(1.0), optax.adam(0.1)), [4]), (optax.sgd(0.1), [])],
)
def test_the_state_of_a_changed_optimizer_goes_where_the_new_one_is(tmp_path, changed, counts):
    """From four devices to two, whatever the place of Adam's state in the old and the new one."""

    def place(state, num_devices):
        return training.shard_state(state, training.make_mesh(devices=jax.devices()[:num_devices]))

    def fit(num_steps, optimizer, num_devices):
        step = training.make_train_step(model, noise.standard_normal(1), optimizer)
        options = {"num_steps": num_steps, "folder": tmp_path, "resume": True, "progress": False}
        options |= {"checkpoint_every": 1, "log_every": 1, "allow_changes": ("optimizer",)}
        state = place(step.init({"theta": jnp.array(1.0)}), num_devices)
        return training.fit(step, state, [X_DATA], jax.random.key(1), **options).state

    fit(2, optax.adam(0.1), 4)
    state = fit(4, changed, 2)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state)} == {2}
    integers = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype == jnp.int32]
    assert [int(count) for count in integers] == counts


def test_an_array_without_entries_is_kept_in_checkpoints(tmp_path):
    params = {"theta": jnp.array(1.0), "none": jnp.zeros((0, 3)), "keys": KEYS[:0]}

    def step(state, batch, key):
        return state | {"theta": state["theta"] + batch.mean()}, {"loss": state["theta"]}

    for num_steps in (2, 4):
        state = _resume(tmp_path, num_steps, step, params, X_DATA).state
    assert state["none"].shape == (0, 3)
    assert state["keys"].dtype == KEYS.dtype
    np.testing.assert_allclose(state["theta"], 1 + 4 * X_DATA.mean(), rtol=1e-5)


@pytest.mark.parametrize("wrong", ["optimizer", ("rate",), True])
def test_names_of_changes_are_checked(tmp_path, wrong):
    with pytest.raises(ValueError, match="allow_changes: expected a tuple of names among bat"):
        run(tmp_path, 2, allow_changes=wrong)


@pytest.mark.costly
def test_a_rate_in_the_state_is_a_change_of_the_optimizer(tmp_path):
    """With `inject_hyperparams` the program is the same, and the old rate would be used."""

    def sgd(rate):
        return optax.inject_hyperparams(optax.sgd)(learning_rate=rate)

    run(tmp_path, 2, optimizer=sgd(0.5))
    with pytest.raises(ValueError, match=r"optimizer: expected \[0.5\] at .*rate.*\[0.25\]"):
        run(tmp_path, 4, optimizer=sgd(0.25))
    state = run(tmp_path, 4, optimizer=sgd(0.25), allow_changes=("optimizer",)).state
    injected = state.opt_state.inner_states["params"].inner_state
    assert injected.hyperparams["learning_rate"] == 0.25
    run(tmp_path, 6, optimizer=sgd(0.25))


@pytest.mark.parametrize("kind", [list, lambda batches: lambda step: batches[step % len(batches)]])
def test_other_batches_of_an_iterable_or_function_are_noticed(tmp_path, kind):
    run(tmp_path, 4, kind(BATCHES))
    run(tmp_path, 6, kind(BATCHES))
    with pytest.raises(ValueError, match="batches: expected the last batch before the checkpoint"):
        run(tmp_path, 8, kind([batch + 1e-6 for batch in BATCHES]))
    run(tmp_path, 8, kind([batch + 1e-6 for batch in BATCHES]), allow_changes=("batches",))


def test_a_step_of_ones_own_is_compared_as_a_whole(tmp_path):
    def fit(rate, num_steps):
        def step(state, batch, key):
            return {"w": state["w"] - rate * batch.x_data.mean()}, {"loss": state["w"]}

        return training.fit(
            step,
            {"w": jnp.array(1.0)},
            X_DATA,
            jax.random.key(1),
            num_steps=num_steps,
            folder=tmp_path,
            resume=True,
            checkpoint_every=1,
            log_every=1,
            progress=False,
        )

    fit(0.5, 2)
    fit(0.5, 3)
    with pytest.raises(ValueError, match=r"step: expected the number 0.5 .*, got 0.25"):
        fit(0.25, 4)


@pytest.mark.parametrize("batch_size", [32, 16])
def test_a_model_is_compared_whatever_the_batch(begun, batch_size):
    """A batch of another size must not hide another model."""

    def other(params, x):
        return params["theta"] * x[:, 0] - x[:, 0] ** 2 / 4

    with pytest.raises(ValueError, match="model: expected the number 2.0 .*, got 4.0"):
        run(begun, 6, model=other, batch_size=batch_size, allow_changes=("batch_size",))


def test_batches_of_another_size_are_no_change_of_the_model(begun, tmp_path):
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path, 6, batch_size=16, allow_changes=("batch_size",))
        run(tmp_path, 8, batch_size=16)


def own_run(folder, num_steps, step, batches, **options):
    """A run of a step that is no `TrainStep`."""
    options |= {"folder": folder, "resume": True, "checkpoint_every": 1, "log_every": 1}
    state, key = {"w": jnp.array(1.0)}, jax.random.key(1)
    return training.fit(step, state, batches, key, num_steps=num_steps, progress=False, **options)


def own_step(rate, most=999):
    def step(state, batch, key):
        x = jax.tree.leaves(batch)[0]
        if len(x) > most:
            raise ValueError("too many")
        return {"w": state["w"] - rate * x.mean()}, {"loss": state["w"]}

    return step


def test_a_step_of_ones_own_is_compared_whatever_the_batch(tmp_path):
    own_run(tmp_path, 1, own_step(0.5), X_DATA, batch_size=32)
    change: dict = {"batch_size": 16, "allow_changes": ("batch_size",)}
    with pytest.raises(ValueError, match=r"step: expected the number 0.5 .*, got 0.25"):
        own_run(tmp_path, 2, own_step(0.25), X_DATA, **change)
    message = r"step: expected one for batches of float32\[32, 1\] .*ValueError \(too many\)"
    with pytest.raises(ValueError, match=message):
        own_run(tmp_path, 2, own_step(0.5, most=16), X_DATA, **change)
    own_run(tmp_path, 2, own_step(0.5), X_DATA, **change)


def test_a_step_for_batches_of_other_arrays_is_warned_of(tmp_path):
    own_run(tmp_path, 1, own_step(0.5), [X_DATA])
    with pytest.warns(training.CheckpointWarning, match="step: expected batches of as many arrays"):
        own_run(tmp_path, 2, own_step(0.5), [(X_DATA, X_DATA)], allow_changes=("batches",))


@pytest.mark.parametrize("folder", ["with a folder", None])
def test_what_does_not_fit_the_step_is_named(tmp_path, folder):
    """By the checks of the step itself, before the run is described."""
    step = training.make_train_step(model, noise.standard_normal(1), SGD)
    other = training.make_train_step(model, noise.standard_normal(1), optax.adam(0.1))
    wide = training.make_train_step(lambda theta, x: x @ theta, noise.standard_normal(2), SGD)
    params = {"theta": jnp.array(1.0)}
    options = {"num_steps": 2, "folder": folder and tmp_path, "progress": False}
    options |= {"checkpoint_every": 1, "log_every": 1}
    for message, state, batches in (
        ("state: expected one from the init .* got another opt_state", other.init(params), X_DATA),
        ("x_data: expected", step.init(params), jnp.ones((8, 3))),
        ("log_density_fn", wide.init(jnp.ones(2)), X_DATA),
        ("state: expected a TrainState such as train.init", params, X_DATA),
    ):
        with pytest.raises((TypeError, ValueError, IndexError)) as caught:
            training.fit(step, state, batches, jax.random.key(1), **options)
        said = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert re.search(message, said), said


def test_a_new_version_of_jax_is_warned_of(tmp_path, monkeypatch):
    """Programs of different versions have different texts."""
    run(tmp_path, 2)
    monkeypatch.setattr(jax, "__version__", "99.0")
    with pytest.warns(training.CheckpointWarning, match="with jax .*, got 99.0; .* cannot be comp"):
        run(tmp_path, 4)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(6, 4),
        np.arange(24, dtype=np.int8),
        np.arange(24, dtype=np.float16),
        np.arange(24) % 2 == 0,
        np.arange(24) * 1j,
        jnp.arange(24, dtype=jnp.bfloat16),
        jax.random.split(jax.random.key(0), 8),
    ],
    ids=lambda array: str(array.dtype),
)
def test_digests_of_samples_see_every_entry_and_its_place(array):
    digests = {str(content(array))}
    for change in range(len(array)):
        index = np.arange(len(array))
        index[change] = index[change - 1]
        digests.add(str(content(array[index])))
    assert len(digests) == len(array) + 1
    assert content(array) == content(array[np.arange(len(array))])


STATE = np.random.default_rng(0).normal(0, 0.1, (300, 70)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16, np.complex64])
def test_every_entry_of_a_state_counts(dtype):
    """Any changed entry is noticed, and so is a small change of all of them; rounding is not."""
    values = STATE.astype(dtype)
    eps = float(jnp.finfo(dtype).eps)
    computed = min(eps, 2.0**-23)
    reference = {"w": summary(values)[""]}

    def is_noticed(changed):
        return bool(different_leaves(reference, {"w": summary(changed.astype(dtype))[""]}))

    rng = np.random.default_rng(1)
    wide = values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
    for row, column in rng.integers(0, (300, 70), (50, 2)):
        changed = wide.copy()
        changed[row, column] += 2e4 * computed + 90 * (eps > computed) * eps  # 0.002 in float32
        assert is_noticed(changed)
    assert is_noticed(wide * (1 + max(1e4 * computed, 40 * eps)))
    assert is_noticed(wide[::-1])
    for _ in range(50):
        assert not is_noticed(wide * (1 + computed * rng.uniform(-8, 8, values.shape)))
        assert not is_noticed(wide + 4 * computed * rng.choice([-1, 1]))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.array([1, 2]), np.array([1, 3])),
        (jax.random.key(0), jax.random.key(1)),
        (np.float32([1, np.nan]), np.float32([1, 3])),
        (np.float32([1, np.inf]), np.float32([1, -np.inf])),
        (np.float32([1, 1]), np.float32([1, 1 + 4e-6])),
        (np.zeros((2, 3)), np.zeros((3, 2))),
    ],
)
def test_integers_keys_and_a_few_numbers_are_compared_one_by_one(first, second):
    assert different_leaves(summary(first), summary(second)) == [""]
    assert different_leaves(summary(first), summary(first)) == []
    assert different_leaves({"": [1.0, 2.0]}, summary(first)) == [""]  # of an earlier version


@pytest.mark.costly
def test_another_entry_of_the_initial_state_is_named(tmp_path):
    def fit(bias, num_steps):
        step = training.make_train_step(
            lambda params, x: x @ params["w"], noise.standard_normal(1), SGD
        )
        state = step.init({"w": jnp.array([bias]), "unused": jnp.zeros(50).at[13].set(bias)})
        options = {"folder": tmp_path, "resume": True, "checkpoint_every": 1, "log_every": 1}
        training.fit(
            step, state, X_DATA, jax.random.key(1), num_steps=num_steps, progress=False, **options
        )

    fit(0.5, 1)
    fit(0.5, 2)
    with pytest.raises(ValueError, match=r"state: expected digest \w+ at .params\['unused'\]"):
        fit(0.500005, 3)


def _both(x):
    return jnp.sin(x), jnp.cos(x)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: x + 1.0, lambda x: x + 2.0),
        (lambda x: x * np.arange(3.0), lambda x: x * np.arange(3.0)[::-1]),
        (jnp.sin, jnp.cos),
        (lambda x: jax.lax.sub(*_both(x)), lambda x: jax.lax.sub(*_both(x)[::-1])),
        (lambda x: x[::1], lambda x: x[::-1]),
        (
            lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x * 2, x),
            lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x * 3, x),
        ),
        (jax.jit(lambda x: x - 1.0), jax.jit(lambda x: x - 3.0)),
        (lambda x: x - x[0] * 0 + x[1], lambda x: x - x[1] * 0 + x[0]),
        (jax.nn.relu, jax.nn.silu),
    ],
)
def test_programs_that_differ_have_other_fingerprints(first, second):
    x = jnp.ones(3)
    assert fingerprint(first, x) != fingerprint(second, x)
    assert fingerprint(first, x) == fingerprint(lambda y: first(y), x)


def test_programs_with_many_numbers_are_compared_too(monkeypatch):
    monkeypatch.setattr(_program, "_MAX_NUMBERS", 1)
    first = fingerprint(lambda x: x + 1.0 + 2.0, jnp.ones(3))
    second = fingerprint(lambda x: x + 1.0 + 3.0, jnp.ones(3))
    assert first["numbers"] == second["numbers"] == []
    assert first != second


FINGERPRINT = """
import json
import jax
import jax.numpy as jnp
import optax
from nce_jax import models, noise, training
from nce_jax.training._digests import content
from nce_jax.training._description import describe_run
params, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=(8,))
adam = optax.adam(optax.cosine_decay_schedule(1e-3, 100))
mesh = training.make_mesh()
train = training.make_train_step(log_density_fn, noise.standard_normal(2), adam, mesh=mesh)
state = training.shard_state(train.init(params), mesh)
x_data = jnp.arange(64.0).reshape(32, 2)
described = describe_run(train, state, x_data, jax.random.key(1)).values
print(json.dumps([described, content(x_data)], sort_keys=True))
"""


@pytest.mark.costly
def test_a_run_is_described_alike_in_every_process():
    """Whatever addresses, the order of sets and the number of devices."""
    texts = set()
    for seed, num_devices in (("1", "1"), ("2", "1"), ("3", "4")):
        variables = {"PYTHONHASHSEED": seed, "JAX_NUM_CPU_DEVICES": num_devices}
        command = [sys.executable, "-c", FINGERPRINT]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        texts.add(done.stdout)
    (text,) = texts
    assert not re.search("0x[0-9a-f]{6}", text)


def test_digests_do_not_depend_on_the_devices():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split = jax.device_put(X_DATA, NamedSharding(mesh, PartitionSpec("data")))
    assert content(split) == content(X_DATA) == content(np.asarray(X_DATA))


def _resume(folder, num_steps, step, params, batch):
    """A run by a step of one's own, with parameters and batch where they are."""
    every = {"checkpoint_every": 1, "log_every": 1}
    options = {"num_steps": num_steps, "folder": folder, "resume": True, "progress": False, **every}
    return training.fit(step, params, lambda _: batch, jax.random.key(1), **options)


def _contrastive_run(folder, num_steps, devices, magnification):
    mesh = training.make_mesh(devices=devices)
    pairs = jax.random.normal(jax.random.key(0), (2, 16, 3))
    split = losses.Sharded(mesh, exchange="ring")

    def step(params, batch, key):
        def loss_fn(params):
            x, y = batch
            return losses.clip_loss(x @ params, y, magnification=magnification, devices=split)

        loss, gradient = jax.value_and_grad(loss_fn)(params)
        return params - 0.1 * gradient, {"loss": loss}

    batch = jax.device_put(tuple(pairs), NamedSharding(mesh, PartitionSpec("data")))
    params = jax.device_put(jnp.eye(3), NamedSharding(mesh, PartitionSpec()))
    return _resume(folder, num_steps, step, params, batch)


@pytest.mark.costly
def test_a_step_of_ones_own_is_compared_on_eight_devices(tmp_path):
    _contrastive_run(tmp_path, 1, jax.devices(), 1.0)
    with pytest.raises(ValueError, match=r"step: expected the number 1.0 .*, got 1000.0"):
        _contrastive_run(tmp_path, 2, jax.devices(), 1000.0)
    # The same step is taken, and on other devices with a warning that names it.
    same = _contrastive_run(tmp_path, 2, jax.devices(), 1.0)
    with pytest.warns(training.CheckpointWarning, match="step: .* devices 8, got devices 2; a ch"):
        other = _contrastive_run(tmp_path, 3, jax.devices()[:2], 1.0)
    assert other.history["loss"][-1] < same.history["loss"][-1]
    with pytest.warns(training.CheckpointWarning, match="step: .* devices 2, got devices 1; a ch"):
        _contrastive_run(tmp_path, 4, jax.devices()[:1], 1.0)
    _contrastive_run(tmp_path, 5, jax.devices()[:1], 1.0)


def test_a_step_that_needs_its_shardings_is_not_compared_and_says_so(tmp_path):
    """With axes of type Explicit, programs may depend on the shardings of the arguments."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    params = jax.device_put(jnp.ones(8), NamedSharding(mesh, PartitionSpec()))

    def step(params, batch, key):
        if jax.typeof(params).sharding.mesh.empty:
            raise TypeError("a step that needs its shardings")
        return params - 0.1 * batch, {"loss": jax.numpy.sum(params)}

    _resume(tmp_path, 1, step, params, jnp.ones(8))
    with pytest.warns(training.CheckpointWarning, match="step: .* got devices 8, untraced; a ch"):
        result = _resume(tmp_path, 2, step, params, jnp.ones(8))
    np.testing.assert_allclose(result.state, 0.8, rtol=1e-6)


def test_a_penalty_that_is_added_or_dropped_is_named(tmp_path):
    def go_on(folder, num_steps, penalty_fn):
        step = training.make_critic_step(lambda p, x: x @ p, SGD, penalty_fn=penalty_fn)
        batch = training.Batch(X_DATA[:32], X_DATA[32:64])
        training.fit(
            step, step.init(jnp.ones(1)), [batch], jax.random.key(0), num_steps=num_steps,
            folder=folder, resume=True, log_every=1, checkpoint_every=1, progress=False,
        )  # fmt: skip

    penalty = lambda params, batch, key: jnp.sum(params**2)
    for name, first, second in (("added", None, penalty), ("dropped", penalty, None)):
        go_on(tmp_path / name, 2, first)
        with pytest.raises(ValueError, match="penalty: expected"):
            go_on(tmp_path / name, 4, second)
