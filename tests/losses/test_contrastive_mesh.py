"""Losses of embeddings over a mesh, gathered or around a ring, equal those of one device."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import nce_jax
from nce_jax import training
from nce_jax.losses import Sharded
from tests.losses import dense

IDS = np.arange(16) % 11
LOSSES = {
    "info_nce": functools.partial(
        nce_jax.losses.info_nce_loss, magnification=3.0, log_noise=np.linspace(-2, -1, 16)
    ),
    "explicit": functools.partial(
        nce_jax.losses.info_nce_loss, negatives=np.random.default_rng(0).normal(size=(8, 3))
    ),
    "clip": functools.partial(nce_jax.losses.clip_loss, ids=IDS, weights=jnp.arange(16.0)),
    "nt_xent": nce_jax.losses.nt_xent_loss,
    "siglip": functools.partial(nce_jax.losses.siglip_loss, bias=-1.0),
}


def mesh_of(num_lanes=1):
    return training.make_mesh(num_lanes, devices=jax.devices()[:8])


def shard(mesh, *arrays):
    return [jax.device_put(array, NamedSharding(mesh, PartitionSpec("data"))) for array in arrays]


def value_and_gradients(loss, x, y):
    """Of x, y and the temperature."""
    function = jax.value_and_grad(
        lambda x, y, temperature: loss(x, y, temperature=temperature), (0, 1, 2)
    )
    return jax.jit(function)(x, y, jnp.asarray(0.4, x.dtype))


@pytest.mark.parametrize("exchange", [pytest.param("gather", marks=pytest.mark.costly), "ring"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("num_lanes", [pytest.param(1, marks=pytest.mark.costly), 2])
def test_the_same_as_on_one_device(name, exchange, num_lanes, float_dtype):
    x, y = dense.batch(n=16, dtype=float_dtype)
    one_device = value_and_gradients(LOSSES[name], x, y)
    mesh = mesh_of(num_lanes)
    loss = functools.partial(
        LOSSES[name],
        devices=Sharded(mesh, exchange=exchange),
        chunk_size=3 if num_lanes == 2 else None,
    )
    tolerance = 1e-5 if float_dtype == jnp.float32 else 1e-10
    for ours, theirs in zip(
        jax.tree.leaves(value_and_gradients(loss, *shard(mesh, x, y))),
        jax.tree.leaves(one_device),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=tolerance * np.linalg.norm(theirs))


def test_left_to_the_compiler_it_is_the_same_too(x64):
    """Without `devices` the arrays are global all the same, so that no loss of local samples can
    be computed by mistake.
    """
    x, y = dense.batch(n=16)
    one_device, sharded = (
        value_and_gradients(LOSSES["clip"], *sides) for sides in ((x, y), shard(mesh_of(), x, y))
    )
    for ours, theirs in zip(jax.tree.leaves(sharded), jax.tree.leaves(one_device), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10 * np.linalg.norm(theirs))


def test_a_ring_gathers_nothing_and_holds_less():
    """n = 1,024 of dim 256 on 8 devices: 1 MiB of all y, 128 KiB on each."""
    mesh = mesh_of()
    x, y = shard(mesh, *dense.batch(n=1024, dim=256, dtype=jnp.float32))
    programs = {}
    for exchange in ("gather", "ring"):
        loss = functools.partial(
            nce_jax.losses.info_nce_loss, devices=Sharded(mesh, exchange=exchange), chunk_size=16
        )
        programs[exchange] = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(x, y).compile()
    assert "all-gather" in programs["gather"].as_text()
    assert "all-gather" not in programs["ring"].as_text()
    assert "collective-permute" in programs["ring"].as_text()
    held = {
        exchange: program.memory_analysis().temp_size_in_bytes
        for exchange, program in programs.items()
    }
    assert held["ring"] < held["gather"] / 2, held


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_second_derivatives_of_sums_over_columns(exchange):
    x, y = dense.batch(n=16, dtype=jnp.float32)
    devices = Sharded(mesh_of(), exchange=exchange)
    second = [
        jax.jit(jax.hessian(functools.partial(nce_jax.losses.clip_loss, x, devices=d)))(y)
        for d in (None, devices)
    ]
    np.testing.assert_allclose(*second, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_second_derivatives_and_bfloat16(exchange):
    """The derivatives of all devices are added up in float32: as close to float32's as on one
    device.
    """
    mesh, (x, y) = mesh_of(), dense.batch(n=64, dtype=jnp.float32)
    one_device, sharded = (
        functools.partial(nce_jax.losses.siglip_loss, **options)
        for options in ({}, {"devices": Sharded(mesh, exchange=exchange)})
    )
    second = [
        jax.jit(jax.hessian(lambda t, loss=loss: loss(x, y, temperature=t)))(0.5)
        for loss in (one_device, sharded)
    ]
    np.testing.assert_allclose(*second, rtol=1e-4)
    exact = jax.jit(jax.grad(one_device))(x, y)
    low = [side.astype(jnp.bfloat16) for side in (x, y)]
    errors = [
        np.linalg.norm(jax.jit(jax.grad(loss))(*low).astype(jnp.float32) - exact)
        for loss in (one_device, sharded)
    ]
    assert errors[1] < 1.1 * errors[0]


@pytest.mark.bad_input
@pytest.mark.parametrize("name", LOSSES)
def test_a_call_on_the_rows_of_one_device_is_refused(name):
    """Without `devices` it is taken there, as in a sweep whose lanes are spread over a mesh."""
    x, y = dense.batch(n=16, dtype=jnp.float32)
    mesh = mesh_of()
    rows = PartitionSpec("data")

    def mapped(**options):
        loss = functools.partial(nce_jax.losses.nt_xent_loss, **options)
        return jax.shard_map(
            lambda x, y: loss(x, y)[None], mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False
        )(x, y)

    loss = functools.partial(LOSSES[name], devices=Sharded(mesh))
    inside = jax.jit(jax.value_and_grad(lambda x: loss(x, x)))
    message = "devices: expected a call on global arrays, got one inside jax.shard_map or jax.pmap"
    for around in (
        jax.shard_map(inside, mesh=mesh, in_specs=rows, out_specs=rows),
        lambda x: jax.pmap(inside)(x[:, None]),
    ):
        with pytest.raises(ValueError, match=message):
            around(x[:8])
    if name == "nt_xent":
        pairs = zip(jnp.split(x, 8), jnp.split(y, 8), strict=True)
        alone = jnp.stack([nce_jax.losses.nt_xent_loss(*pair) for pair in pairs])
        np.testing.assert_allclose(mapped(), alone, rtol=1e-5)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mesh": None}, TypeError, "mesh: expected a Mesh such as training.make_mesh(), got None"),
        (
            {"axis": "batch"},
            ValueError,
            "axis: expected an axis of the mesh, one of ['lane', 'data'], got 'batch'",
        ),
        (
            {"exchange": "send"},
            ValueError,
            "exchange: expected one of ('gather', 'ring'), got 'send'",
        ),
        (
            {"mesh": jax.make_mesh((8,), ("data",), devices=jax.devices()[:8])},
            ValueError,
            "mesh: expected axes of type Auto, as training.make_mesh makes them, got",
        ),
    ],
)
def test_a_wrong_sharding_is_named_when_it_is_made(options, error, message):
    with pytest.raises(error) as caught:
        Sharded(**{"mesh": mesh_of(), **options})
    assert str(caught.value).startswith(message)


@pytest.mark.bad_input
def test_samples_that_cannot_be_split_evenly_are_named():
    devices, (x, y) = Sharded(mesh_of()), dense.batch(n=12, dtype=jnp.float32)
    with pytest.raises(
        ValueError,
        match=r"x: expected a multiple of the 8 devices .* got 12 rows; drop .* weight zero\n",
    ):
        nce_jax.losses.clip_loss(x, y, devices=devices)
    x, y = dense.batch(n=16, dtype=jnp.float32)
    with pytest.raises(
        ValueError,
        match="negatives: expected a multiple of the 8 devices .* got 5 rows; drop the rest\n",
    ):
        nce_jax.losses.info_nce_loss(x, y, negatives=x[:5], devices=devices)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make_devices", "message"),
    [
        (mesh_of, "Sharded(mesh) or None, got a mesh: wrap it in Sharded"),
        (lambda: Sharded, "a Sharded such as Sharded(mesh), got the class Sharded: call it"),
        (lambda: [1], "a Sharded such as Sharded(mesh), got a list of length 1"),
    ],
)
def test_devices_of_another_type_are_named(make_devices, message):
    x, y = dense.batch(n=16, dtype=jnp.float32)
    functions = (getattr(nce_jax.losses, name) for name in nce_jax.losses.__all__)
    functions = [loss for loss in functions if "devices" in inspect.signature(loss).parameters]
    assert len(functions) >= 10
    for loss in functions:
        partners = {"y": y} if "y" in inspect.signature(loss).parameters else {"labels": IDS}
        with pytest.raises(TypeError) as caught:
            loss(x, **partners, devices=make_devices())
        assert str(caught.value) == f"devices: expected {message}"


def test_a_sharding_is_a_value():
    """It may be an argument that is static under jit, and equal ones are compiled once."""
    first, second = Sharded(mesh_of()), Sharded(mesh_of())
    assert first == second
    assert hash(first) == hash(second)
    loss = jax.jit(nce_jax.losses.clip_loss, static_argnames="devices")
    x, y = dense.batch(n=16, dtype=jnp.float32)
    loss(x, y, devices=first)
    loss(x, y, devices=second)
    assert loss._cache_size() == 1


def test_an_abstract_mesh_serves_where_the_mesh_is_set():
    mesh, (x, y) = mesh_of(), dense.batch(n=16, dtype=jnp.float32)
    loss = jax.jit(functools.partial(nce_jax.losses.clip_loss, devices=Sharded(mesh.abstract_mesh)))
    with jax.set_mesh(mesh):
        value = loss(x, y)
    np.testing.assert_allclose(value, nce_jax.losses.clip_loss(x, y), rtol=1e-6)
