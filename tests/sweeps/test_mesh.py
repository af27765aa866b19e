"""Sweeps over a mesh: the values of one device, no collective, whatever the lengths of the axes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import nce_jax
from nce_jax import sweeps
from nce_jax.sweeps import _program

DEVICES = 8
COLLECTIVE = re.compile(
    r"all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute|collective-broadcast"
)


def make_mesh(num_devices=DEVICES):
    return Mesh(np.array(jax.devices()[:num_devices]), ("lane",))


def estimate(kappa, seed):
    """A root by a loop whose length differs between lanes, cheap to compile; the library's own
    solver comes once, below.
    """
    keys = jax.random.split(jax.random.key(seed))
    s_data, s_noise = 1 + jax.random.normal(keys[0], (64,)), jax.random.normal(keys[1], (64,))

    def fixed_point(carry):
        root, _, count = carry
        new = jnp.log(jnp.mean(jax.nn.sigmoid(s_noise - root))) - jnp.log(
            kappa * jnp.mean(jax.nn.sigmoid(root - s_data))
        )
        return root + new, jnp.abs(new), count + 1

    begin = jnp.zeros(()), jnp.ones(()), jnp.int32(0)
    root, _, count = jax.lax.while_loop(
        lambda carry: (carry[1] > 1e-3) & (carry[2] < 40), fixed_point, begin
    )
    return {"root": root, "count": count, "s_noise": s_noise}


def solve(kappa, seed):
    s = jax.random.normal(jax.random.key(seed), (2, 64))
    solution = nce_jax.solve_log_partition(1 + s[0], s[1], magnification=kappa)
    return {"root": solution.log_partition, "count": solution.status, "s_noise": s[1]}


KAPPA = jnp.array([0.1, 1.0, 30.0])


def assert_equal_results(actual, expected):
    np.testing.assert_allclose(actual.values["root"], expected.values["root"], atol=1e-5)
    for name in ("count", "s_noise"):
        np.testing.assert_array_equal(actual.values[name], expected.values[name])


@pytest.mark.parametrize("num_seeds", [8, 11, 3])
def test_a_mesh_changes_no_value(num_seeds):
    axes = {"kappa": KAPPA, "seed": jnp.arange(num_seeds)}
    assert_equal_results(
        nce_jax.sweep(estimate, axes=axes, mesh=make_mesh()), nce_jax.sweep(estimate, axes=axes)
    )


@pytest.mark.costly
def test_a_mesh_changes_no_solution():
    axes = {"kappa": KAPPA, "seed": jnp.arange(16)}
    assert_equal_results(
        nce_jax.sweep(solve, axes=axes, mesh=make_mesh()), nce_jax.sweep(solve, axes=axes)
    )
    layout = _program.make_layout({"kappa": 3, "seed": 16}, make_mesh())
    assert COLLECTIVE.findall(_program.compiled(solve, axes, layout).as_text()) == []


@pytest.mark.parametrize("max_lanes", [1, 30, 60])
def test_chunks_of_a_mesh_change_no_value(max_lanes):
    axes = {"kappa": KAPPA, "seed": jnp.arange(21)}
    actual = nce_jax.sweep(estimate, axes=axes, mesh=make_mesh(), max_lanes=max_lanes)
    sizes = actual.chunking.sizes
    assert sizes["seed"] % DEVICES == 0
    assert sizes["kappa"] * sizes["seed"] <= max(max_lanes, DEVICES)
    assert actual.num_chunks > 1
    assert_equal_results(actual, nce_jax.sweep(estimate, axes=axes))


def test_every_device_takes_its_own_entries_and_exchanges_nothing():
    layout = _program.make_layout({"kappa": 3, "seed": 16}, make_mesh())
    program = _program.compiled(estimate, {"kappa": KAPPA, "seed": jnp.arange(16)}, layout)
    assert "while" in program.as_text()
    assert COLLECTIVE.findall(program.as_text()) == []
    shards = _program.run(estimate, {"kappa": KAPPA, "seed": jnp.arange(16)}, layout)[
        "s_noise"
    ].addressable_shards
    assert {shard.data.shape for shard in shards} == {(3, 2, 64)}
    assert len({shard.device for shard in shards}) == DEVICES


@pytest.mark.parametrize("num_seeds", [16, 11])
def test_the_program_of_a_sweep_can_be_read(num_seeds):
    """It is the one that runs: the sweep compiles no other, and traces nothing."""
    traces = []

    def fn(kappa, seed):
        traces.append(1)
        return estimate(kappa, seed)

    axes = {"kappa": KAPPA, "seed": jnp.arange(num_seeds)}
    alone, shared = (
        sweeps.compiled_sweep(fn, axes=axes, mesh=mesh) for mesh in (None, make_mesh())
    )
    assert shared.out_info["s_noise"].shape == (3, 16, 64)
    assert COLLECTIVE.findall(shared.as_text()) == []
    assert shared.cost_analysis()["flops"] < 0.3 * alone.cost_analysis()["flops"]
    assert len(traces) == 2
    nce_jax.sweep(fn, axes=axes, mesh=make_mesh())
    assert len(traces) == 2


def test_collectives_would_be_seen():
    """The pattern above finds what XLA calls them."""
    sharding = jax.sharding.NamedSharding(make_mesh(), jax.sharding.PartitionSpec("lane"))
    values = jax.device_put(jnp.arange(16.0), sharding)
    assert COLLECTIVE.findall(jax.jit(jnp.sum).lower(values).compile().as_text())


@pytest.mark.parametrize(
    ("lengths", "split"),
    [
        ({"kappa": 100, "seed": 8}, "seed"),
        ({"kappa": 100, "key": 9}, "key"),
        ({"kappa": 100, "seed": 7}, "kappa"),  # five devices would have nothing to do
        ({"rate": 3, "kappa": 4}, "kappa"),
    ],
)
def test_draws_stay_shared_where_every_device_gets_a_seed(lengths, split):
    assert _program.make_layout(lengths, make_mesh()).split == split


def test_all_axes_of_a_mesh_take_lanes():
    mesh = Mesh(np.array(jax.devices()[:DEVICES]).reshape(4, 2), ("lane", "data"))
    actual = nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": jnp.arange(8)}, mesh=mesh)
    assert actual.chunking.num_devices == DEVICES
    assert_equal_results(
        actual, nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": jnp.arange(8)})
    )


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_go_in_and_come_out(impl):
    keys = jax.random.split(jax.random.key(0, impl=impl), 5)
    actual = nce_jax.sweep(
        lambda key: jax.random.split(key)[1], axes={"key": keys}, mesh=make_mesh(4)
    ).values
    expected = nce_jax.sweep(lambda key: jax.random.split(key)[1], axes={"key": keys}).values
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(jax.random.key_data(actual), jax.random.key_data(expected))


@pytest.mark.bad_input
def test_a_mesh_is_a_mesh():
    with pytest.raises(ValueError, match="mesh: expected at least one device, got none"):
        nce_jax.sweep(
            lambda a: a, axes={"a": jnp.arange(3.0)}, mesh=Mesh(np.empty(0, object), ("lane",))
        )
    with pytest.raises(TypeError, match="mesh: expected a jax.sharding.Mesh, got a list"):
        nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": jnp.arange(2)}, mesh=jax.devices())


def test_devices_of_other_processes_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match=r"mesh: expected devices of this process \(1\)"):
        nce_jax.sweep(estimate, axes={"kappa": KAPPA, "seed": jnp.arange(2)}, mesh=make_mesh())
