"""Vocabulary losses of tokens or a table sharded over devices equal those of one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import nce_jax
from experiments.scaling.collectives import collectives
from nce_jax import training

N, V, DIM, K = 16, 24, 3, 5


def problem(per_token):
    generator = np.random.default_rng(0)
    log_q = np.log(generator.dirichlet(np.full(V, 3.0)))
    targets = generator.integers(0, V, N)
    noise_ids = generator.integers(0, V, (N, K) if per_token else K)
    return {
        "hidden": generator.normal(size=(N, DIM)),
        "targets": targets,
        "noise_ids": noise_ids,
        "embedding": generator.normal(size=(V, DIM)),
        "bias": generator.normal(size=V),
        "log_noise_targets": log_q[targets],
        "log_noise_ids": log_q[noise_ids],
        "weights": generator.uniform(size=N),
    }


def nce(arrays):
    return nce_jax.losses.vocabulary_nce_loss(**arrays, log_partition=0.3, magnification=2.0)


def sampled(arrays):
    return nce_jax.losses.sampled_softmax_loss(
        **{name: leaf for name, leaf in arrays.items() if name != "log_noise_targets"}
    )


def full(arrays):
    return nce_jax.losses.full_softmax_loss(
        **{name: leaf for name, leaf in arrays.items() if "noise" not in name}
    )


@pytest.mark.parametrize("per_token", [pytest.param(False, marks=pytest.mark.costly), True])
@pytest.mark.parametrize("spread", ["tokens", "table", "both"])
@pytest.mark.parametrize("loss", [nce, sampled, full])
def test_value_and_gradient_are_those_of_one_device(loss, spread, per_token, x64):
    mesh, arrays = training.make_mesh(), problem(per_token)

    def shard(name, leaf):
        of_table = name in ("embedding", "bias")
        is_split = len(leaf) in (N, V) and spread in ("both", "table" if of_table else "tokens")
        return jax.device_put(
            jnp.asarray(leaf), NamedSharding(mesh, PartitionSpec("data" if is_split else None))
        )

    def run(arrays):
        learned = {name: arrays.pop(name) for name in ("hidden", "embedding", "bias")}
        return jax.jit(jax.value_and_grad(lambda learned: loss({**arrays, **learned})))(learned)

    one_device = run({name: jnp.asarray(leaf) for name, leaf in arrays.items()})
    sharded = run({name: shard(name, leaf) for name, leaf in arrays.items()})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12, atol=1e-14),
        sharded,
        one_device,
    )


def test_blocks_of_a_table_over_devices_send_for_none_of_it():
    """Each device has its part of every block; only sums per token, and the gradient in the
    states, are exchanged.
    """
    mesh = training.make_mesh()
    table = jax.ShapeDtypeStruct(
        (4096, 16), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )
    hidden, targets = jnp.zeros((8, 16)), jnp.zeros(8, jnp.int32)

    def loss(hidden, embedding):
        return nce_jax.losses.full_softmax_loss(
            hidden, targets, embedding=embedding, chunk_size=256
        )

    compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(hidden, table).compile()
    assert {operation.kind for operation in collectives(compiled)} == {"all-reduce"}
    assert max(operation.num_bytes for operation in collectives(compiled)) <= 2 * hidden.nbytes
    assert compiled.output_shardings[1][1].spec == PartitionSpec("data")
