"""A train step on a mesh: the numbers of one device, one collective for the log-ratios, none in the
solver's loop.
"""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import nce_jax
from experiments.scaling.collectives import Collective, collectives
from nce_jax import models, noise, training
from tests.training.problems import assert_trees_equal

KEY = jax.random.key(5)
SPLIT = PartitionSpec(None, "data")


def parts(mesh, *, rules=(), num_data=64, weights=None, distribution=None, **options):
    """Step, state and batch of a perceptron in two dimensions."""
    distribution = noise.standard_normal(2) if distribution is None else distribution
    params, log_density_fn = models.mlp_energy(
        jax.random.key(0), 2, hidden=(16, 8), param_dtype=float
    )
    # Adam divides what is zero but for rounding by its size.
    optimizer = optax.sgd(1e-2, momentum=0.9)
    step = training.make_train_step(log_density_fn, distribution, optimizer, mesh=mesh, **options)
    state = step.init(params)
    state = state if mesh is None else training.shard_state(state, mesh, rules)
    x_data = 1 + 0.5 * jax.random.normal(jax.random.key(1), (num_data, 2))
    return step, state, training.Batch(x_data, weights_data=weights)


def two_steps(mesh, **options):
    step, state, batch = parts(mesh, **options)
    step = training.jit_train_step(step, state)
    for _ in range(2):
        state, metrics = step(state, batch, KEY)
    # On several devices log density and log noise are not told apart.
    return state, metrics._replace(faults=None)


def assert_close(first, second, rtol=1e-10):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            np.asarray(a), np.asarray(b), rtol=rtol, atol=1e-12
        ),
        first,
        second,
    )


def test_the_mesh_has_lanes_and_data():
    assert dict(training.make_mesh(devices=jax.devices()).shape) == {"lane": 1, "data": 8}
    assert dict(training.make_mesh(2).shape) == {"lane": 2, "data": 4}
    with pytest.raises(ValueError, match="num_lanes: expected a divisor of the 8 devices, got 3"):
        training.make_mesh(3)
    with pytest.raises(ValueError, match="num_lanes: expected a divisor of the 0 devices, got 1"):
        training.make_mesh(devices=[])


@pytest.mark.parametrize("num_devices", [pytest.param(2, marks=pytest.mark.costly), 8])
def test_steps_are_those_of_one_device(num_devices, x64):
    """Weights, the noise's own draws and its own number: all of them over the devices."""
    options = {"weights": jnp.ones(64).at[::5].set(0.0), "num_noise": 48}
    alone = two_steps(None, **options)
    assert_close(
        two_steps(training.make_mesh(devices=jax.devices()[:num_devices]), **options), alone
    )


@pytest.mark.costly
def test_an_adaptive_m_is_that_of_one_device(x64):
    def run(mesh):
        rule = nce_jax.adaptive_magnification()
        params, log_density_fn = models.mlp_energy(
            jax.random.key(0), 2, hidden=(8,), param_dtype=float
        )
        optimizer = optax.sgd(0.1)
        options = {"mesh": mesh, "magnification_rule": rule}
        step = training.make_train_step(
            log_density_fn, noise.standard_normal(2), optimizer, **options
        )
        state = step.init(params)
        state = state if mesh is None else training.shard_state(state, mesh)
        step = training.jit_train_step(step, state)
        for _ in range(5):
            state, metrics = step(state, 1 + jax.random.normal(jax.random.key(1), (64, 2)), KEY)
        return state.params, metrics._replace(faults=None)

    assert_close(run(training.make_mesh()), run(None), rtol=1e-9)


@pytest.mark.costly
def test_one_gather_one_reduction_and_none_in_the_loop():
    """The claim of docs/scaling.md: log-ratios are gathered once, gradients are summed once, the
    solver asks nobody.
    """
    mesh = training.make_mesh()
    for treatment in (training.solved(nce_jax.bisection()), training.joint_gradient()):
        step, state, batch = parts(mesh, treatment=treatment)
        compiled = training.jit_train_step(step, state).lower(state, batch, KEY).compile()
        operations = collectives(compiled)
        assert sorted(operation.kind for operation in operations) == ["all-gather", "all-reduce"]
        assert not any(operation.is_in_loop for operation in operations)
        assert (
            next(operation.num_bytes for operation in operations if operation.kind == "all-gather")
            == 128 * 4
        )


@pytest.mark.costly
@pytest.mark.parametrize("name", ["fitted_gaussian", "product_of_marginals", "uniform_box_around"])
def test_the_noise_density_gathers_no_samples(name):
    """A batched triangular solve, as in a Gaussian's density, would gather them all if the compiler
    had its way.
    """
    distribution = getattr(noise, name)(jax.random.normal(jax.random.key(3), (100, 2)))
    mesh = training.make_mesh()
    step, state, batch = parts(mesh, distribution=distribution)
    batch = batch._replace(x_noise=batch.x_data)
    operations = collectives(
        training.jit_train_step(step, state).lower(state, batch, KEY).compile()
    )
    assert sorted((one.kind, one.num_bytes) for one in operations if one.kind != "all-reduce") == [
        ("all-gather", 128 * 4)
    ]


def test_a_reduction_in_the_loop_would_be_seen():
    """What the test above would find if log-ratios stayed where they are."""
    data = NamedSharding(training.make_mesh(), PartitionSpec("data"))
    log_ratios = jax.device_put(jnp.linspace(-1.0, 1.0, 64), data)
    solve = jax.jit(
        lambda s: nce_jax.solve_log_partition(s, s - 1, solver=nce_jax.bisection()).log_partition
    )
    operations = collectives(solve.lower(log_ratios).compile())
    assert any(operation.is_in_loop and operation.kind == "all-reduce" for operation in operations)


@pytest.mark.costly
def test_parameters_are_split_by_rule_and_stay_so(x64):
    mesh = training.make_mesh()
    state, _ = two_steps(mesh, rules=[("hidden_0/kernel", SPLIT)])
    split = {name for name, leaf in named_leaves(state) if not leaf.sharding.is_fully_replicated}
    assert {name.split("/")[-2:][0] for name in split} == {"hidden_0"}
    assert len(split) == 2  # the kernel, and the optimizer's average of it
    assert_close(state, two_steps(None)[0])


def named_leaves(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [("hiden", SPLIT)],
            "rules: expected a pattern found in a path such as params/hidden_0/bias, got 'hiden'",
        ),
        (
            [("kernel", PartitionSpec("model"))],
            r"rules: expected axes of the mesh, \['lane', 'data'\], got \['model'\]",
        ),
        (
            [("hidden_0/kernel", PartitionSpec("data"))],
            "rules: expected a split that fits params/hidden_0/kernel of shape",
        ),
        ([("hidden_0/bias", SPLIT)], "rules: expected a split that fits params/hidden_0/bias"),
        ([("hidden_(", SPLIT)], r"rules: expected a regular expression, got 'hidden_\('"),
        (
            [("hidden_0/bias", ("data",))],
            "rules: expected pairs of a pattern and a PartitionSpec, got",
        ),
        ("hidden_0", "rules: expected pairs of a pattern and a PartitionSpec, got 'hidden_0'"),
    ],
)
@pytest.mark.bad_input
def test_rules_that_do_not_fit_are_named(rules, message):
    with pytest.raises((TypeError, ValueError), match=message):
        parts(training.make_mesh(), rules=rules)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (8, "mesh: expected a Mesh such as .*, got int 8"),
        ((("batch",), (AxisType.Auto,)), "mesh: expected an axis 'data' and axes of type Auto"),
        ((("data",), (AxisType.Explicit,)), "mesh: expected an axis 'data' and axes of type Auto"),
    ],
)
def test_what_is_no_mesh_is_named(mesh, message):
    mesh = jax.make_mesh((8,), *mesh) if isinstance(mesh, tuple) else mesh
    for make in (lambda: parts(mesh), lambda: training.shard_state(jnp.ones(8), mesh)):
        with pytest.raises((TypeError, ValueError), match=message):
            make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_data": 60},
            "x_data: expected a multiple of the 8 devices of the data axis, got 60 samples",
        ),
        ({"num_noise": 50}, "num_noise: expected a multiple of the 8 devices"),
        (
            {"weights": jnp.ones(())},
            "weights_data: expected samples on the first axis, got a number",
        ),
    ],
)
def test_batches_that_do_not_divide_are_named(options, message):
    step, state, batch = parts(training.make_mesh(), **options)
    with pytest.raises(ValueError, match=message):
        jax.jit(step)(state, batch, KEY)


def test_a_donated_state_leaves_the_callers_arrays_alone():
    params = jnp.ones(3)
    state = training.shard_state(params, training.make_mesh())
    training.jit_train_step(lambda state, batch, key: (state + 1, batch), state)(
        state, jnp.ones(8), KEY
    )
    assert state.is_deleted()
    np.testing.assert_array_equal(params, 1)


def test_a_donated_state_leaves_the_callers_parameters_alone():
    params = {"theta": jnp.ones(3)}
    train = training.make_train_step(
        lambda params, x: x @ params["theta"], noise.standard_normal(3), optax.sgd(1.0)
    )
    state = train.init(params)
    training.jit_train_step(lambda state, batch, key: (state, batch), state)(
        state, jnp.ones(8), KEY
    )
    train.init(params)


@pytest.mark.costly
def test_a_checkpoint_of_eight_devices_resumes_on_fewer(tmp_path, x64):
    """On 1, 4 and 8, split by rule or not, the run ends where an uninterrupted one does."""
    data = 1 + 0.5 * jax.random.normal(jax.random.key(1), (256, 2))

    def run(mesh, num_steps, folder, rules=()):
        step, state, _ = parts(mesh, rules=rules)
        options = {
            "num_steps": num_steps,
            "batch_size": 64,
            "checkpoint_every": 10,
            "log_every": 10,
            "progress": False,
        }
        options |= {"folder": folder, "resume": folder is not None}
        return training.fit(step, state, data, KEY, **options).state

    whole = run(None, 40, None)
    run(training.make_mesh(), 20, tmp_path / "0", rules=[("hidden_1/kernel", SPLIT)])
    for number, num_devices in enumerate([8, 4, 1], 1):
        mesh = training.make_mesh(devices=jax.devices()[:num_devices])
        shutil.copytree(tmp_path / "0", tmp_path / str(number))
        state = run(mesh, 40, tmp_path / str(number))
        assert all(leaf.sharding.mesh.size == num_devices for leaf in jax.tree.leaves(state))
        assert_close(state, whole)


@pytest.mark.costly
def test_fit_keeps_the_state_on_its_mesh():
    mesh = training.make_mesh()
    step, state, batch = parts(mesh, rules=[("hidden_1/kernel", SPLIT)])
    result = training.fit(
        step, state, batch.x_data, KEY, num_steps=3, batch_size=16, progress=False
    )
    places = [jax.tree.map(lambda leaf: leaf.sharding, tree) for tree in (result.state, state)]
    assert_trees_equal(
        *(jax.tree.map(lambda sharding: str(sharding.spec), shardings) for shardings in places)
    )
    assert np.isfinite(result.history["loss"]).all()


class Program:
    def as_text(self):
        return """HloModule jit_f
%body (p: f32[]) -> f32[] {
  %inner = f32[] call(%p), to_apply=%deep
}
%deep (p: f32[]) -> f32[] {
  %r = (f32[4,2]{1,0}, s32[]) all-reduce(%p, %q), to_apply=%add
}
%cond (p: f32[]) -> pred[] {
  %x = pred[] compare(%p, %p)
}
ENTRY %main (p: f32[8]) -> f32[8] {
  %g = (bf16[8]{0}, bf16[64]{0}) all-gather-start(%p), dimensions={0}
  %d = bf16[64]{0} all-gather-done(%g)
  %w = f32[] while(%t), condition=%cond, body=%body
}
"""


def test_collectives_are_read_from_the_program():
    operations = {operation.kind: operation for operation in collectives(Program())}
    assert operations["all-gather"] == Collective("all-gather", 128, False)
    assert operations["all-reduce"] == Collective("all-reduce", 36, True)
    with pytest.raises(TypeError, match="compiled: expected a compiled program"):
        collectives(jnp.ones(2))
