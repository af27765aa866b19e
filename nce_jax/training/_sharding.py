"""A train step over several devices: samples are split, and their log-ratios gathered once.

F is solved on the global batch. Its log-ratios, one number per sample, are gathered by one
collective operation per pass of the model, after which every device solves the same equation on the
same numbers: no solver iteration waits for another device, and F, loss and status agree on all.
docs/scaling.md compares this with reducing sums at every iteration.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nce_jax.training._mesh import DATA_AXIS


def split(tree: Any, mesh: Mesh | None, name: str) -> Any:
    """Splits samples, on the first axis of every leaf, over the data axis of the mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec(DATA_AXIS))

    def split_leaf(leaf: jax.Array) -> jax.Array:
        num_devices = mesh.shape[DATA_AXIS]
        if not jnp.ndim(leaf):
            raise ValueError(f"{name}: expected samples on the first axis, got a number")
        if leaf.shape[0] % num_devices:
            raise ValueError(
                f"{name}: expected a multiple of the {num_devices} devices of the data axis, got"
                f" {leaf.shape[0]} samples (weights of zero make padding)"
            )
        return jax.lax.with_sharding_constraint(leaf, sharding)

    return jax.tree.map(split_leaf, tree)


def map_over_devices(
    function: Callable[[Any], jax.Array], mesh: Mesh | None
) -> Callable[[Any], jax.Array]:
    """Maps a function of samples over the devices, each for its own samples.

    Left to the compiler, a batched triangular solve would gather all samples on every device.
    """
    if mesh is None:
        return function
    spec = PartitionSpec(DATA_AXIS)
    return jax.shard_map(
        function, mesh=mesh, in_specs=spec, out_specs=spec, axis_names={DATA_AXIS}, check_vma=False
    )


def gather(arrays: dict[str, Any], mesh: Mesh | None) -> dict[str, Any]:
    """Gathers arrays of one number per sample on every device, in one collective operation.

    Samples are on the last axis.
    """
    present = {name: values for name, values in arrays.items() if values is not None}
    if mesh is None or not present:
        return arrays
    rows = mesh.shape[DATA_AXIS]
    # A row per device: what is joined here lies on one device already.
    blocks = [jnp.moveaxis(values, -1, 0).reshape(rows, -1) for values in present.values()]
    joined = _constrain(
        _constrain(jnp.concatenate(blocks, axis=1), mesh, PartitionSpec(DATA_AXIS)),
        mesh,
        PartitionSpec(),
    )
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    parts = jnp.split(joined, ends, axis=1)
    return arrays | {
        name: _like(part, values)
        for (name, values), part in zip(present.items(), parts, strict=True)
    }


def _like(part: jax.Array, values: jax.Array) -> jax.Array:
    """The gathered numbers in the shape and dtype that they had."""
    samples_first = part.reshape(values.shape[-1], *values.shape[:-1])
    return jnp.moveaxis(samples_first, 0, -1).astype(values.dtype)


def _constrain(values: jax.Array, mesh: Mesh, spec: PartitionSpec) -> jax.Array:
    return jax.lax.with_sharding_constraint(values, NamedSharding(mesh, spec))
