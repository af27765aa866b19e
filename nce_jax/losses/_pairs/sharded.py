"""The sums of `sums.py` with rows and columns spread over the devices of a mesh.

Every row still meets every column. Values and derivatives are written for the whole problem,
outside of the mapped functions: nothing is differentiated through a collective operation, and no
factor of the number of devices can be missing.

For D devices, n rows and n columns of dim d in all, one device sends this many numbers for the
value and for the derivative, and holds this many at once:

| exchange | value | derivative | held |
| --- | --- | --- | --- |
| gather | n d (1 - 1/D) | 2 n d (1 - 1/D) | 2 n d |
| ring | n d | 2 n d | 4 n d / D |

Derivatives of bfloat16 vectors are sent and added up in float32.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from nce_jax._checks import check_instance
from nce_jax.losses._pairs.sums import (
    Pairs,
    Plan,
    Sums,
    backward,
    cast_gradient,
    forward,
    gradient_pairs,
    reduce_pairs,
)

Exchange = Literal["gather", "ring"]

_SPLIT, _REPLICATED = "split", "replicated"


@dataclasses.dataclass(frozen=True)
class Sharded:
    """Splits the samples of a contrastive loss over the devices of a mesh.

    Every x_i still meets the y of all devices: value and gradient are those of one device, and n is
    the number of all samples, on all devices and in all processes. The number of samples has to be
    a multiple of the number of devices along the axis. Instances are hashable and static, as the
    mesh itself is; make one outside of `jax.jit`, or close over it.

    Call the loss on global arrays, never inside `jax.shard_map` or `jax.pmap`: there it sees the
    rows of one device alone, and without `devices` it takes its negatives from these, in silence.

    Attributes:
      mesh: a mesh with axes of type Auto, as `training.make_mesh` makes it.
      axis: the axis of the mesh along which samples are split.
      exchange: how vectors travel. "gather" collects all y on every device. "ring" passes them from
        device to device, so that each of D devices holds 1/D of them at a time.

    Raises:
      TypeError: `mesh` is no mesh.
      ValueError: `axis` is no axis of the mesh, the mesh has axes of another type than Auto, or
        `exchange` is unknown.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> devices = nce_jax.losses.Sharded(nce_jax.training.make_mesh(), exchange="ring")
      >>> x = jnp.eye(jax.device_count(), 16)
      >>> one_device = nce_jax.losses.clip_loss(x, x)
      >>> print(jnp.allclose(nce_jax.losses.clip_loss(x, x, devices=devices), one_device))
      True
    """

    mesh: Mesh
    axis: str = "data"
    exchange: Exchange = "gather"

    def __post_init__(self):
        if not isinstance(self.mesh, AbstractMesh):
            check_instance("mesh", self.mesh, Mesh, "training.make_mesh()")
        if self.axis not in self.mesh.axis_names:
            expected = f"an axis of the mesh, one of {list(self.mesh.axis_names)}"
            raise ValueError(f"axis: expected {expected}, got {self.axis!r}")
        if any(kind != AxisType.Auto for kind in self.mesh.axis_types):
            expected = "axes of type Auto, as training.make_mesh makes them"
            raise ValueError(f"mesh: expected {expected}, got {self.mesh.axis_types}")
        if self.exchange not in get_args(Exchange):
            expected = f"one of {get_args(Exchange)}"
            raise ValueError(f"exchange: expected {expected}, got {self.exchange!r}")


def check_devices(devices: Any) -> None:
    """Raises unless `devices` is None or a `Sharded`, and the call is on global arrays."""
    if isinstance(devices, Mesh | AbstractMesh):
        raise TypeError("devices: expected Sharded(mesh) or None, got a mesh: wrap it in Sharded")
    if devices is None:
        return
    check_instance("devices", devices, Sharded, "Sharded(mesh)")
    # There JAX would refuse the mesh, whichever it is, in words about a context.
    if AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types:
        raise ValueError(
            "devices: expected a call on global arrays, got one inside jax.shard_map or jax.pmap,"
            " which sees the rows of one device alone; call the loss outside of it"
        )


def check_divisible(name: str, samples: jax.Array, devices: Sharded) -> None:
    """Raises ValueError unless the first axis can be split evenly over the devices."""
    num_devices = devices.mesh.shape[devices.axis]
    if samples.shape[0] % num_devices:
        expected = f"a multiple of the {num_devices} devices along {devices.axis!r}"
        cure = "drop the rest" + (", or pad with rows of weight zero" if name == "x" else "")
        raise ValueError(f"{name}: expected {expected}, got {samples.shape[0]} rows; {cure}")


def reduce_pairs_over_devices(plan: Plan, devices: Sharded | None, pairs: Pairs) -> Sums:
    """`reduce_pairs`, spread over the devices of a mesh where one is given."""
    return reduce_pairs(plan, pairs) if devices is None else _reduce_sharded(plan, devices, pairs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reduce_sharded(plan: Plan, devices: Sharded, pairs: Pairs) -> Sums:
    return _shard_map(_VALUE, plan, devices, (_SPLIT, _SPLIT), pairs)


def _reduce_sharded_fwd(plan: Plan, devices: Sharded, pairs: Pairs) -> tuple[Sums, Any]:
    # Calling `_reduce_sharded`, whose rule this is, would stop a second derivative here.
    sums = _shard_map(_VALUE, plan, devices, (_SPLIT, _SPLIT), pairs)
    return sums, (pairs, sums)


def _reduce_sharded_bwd(
    plan: Plan, devices: Sharded, residuals: Any, cotangents: Sums
) -> tuple[Pairs]:
    out = _SPLIT, _SPLIT, _REPLICATED, _SPLIT, _SPLIT
    gradients = _shard_map(_GRADIENT, plan, devices, out, *residuals, cotangents)
    return (cast_gradient(residuals[0], gradient_pairs(*gradients)),)


_reduce_sharded.defvjp(_reduce_sharded_fwd, _reduce_sharded_bwd)


def _gathered_value(plan: Plan, axis: str, pairs: Pairs) -> Sums:
    gathered = _gather(axis, _columns(pairs))
    (row_sums, column_sums), _ = forward(plan, _replace_columns(pairs, gathered))
    size = pairs.y.shape[0]
    if not plan.column_sums:
        return row_sums, column_sums[:size]
    column_sums = plan.reduction.over_devices(column_sums, axis)
    start = jax.lax.axis_index(axis) * size
    return row_sums, jax.lax.dynamic_slice_in_dim(column_sums, start, size)


def _gathered_gradient(
    plan: Plan, axis: str, pairs: Pairs, sums: Sums, cotangents: Sums
) -> tuple[Any, ...]:
    *gathered, column_sums, column_cotangents = _gather(
        axis, (*_columns(pairs), sums[1], cotangents[1])
    )
    gradient = backward(
        plan,
        _replace_columns(pairs, gathered),
        (sums[0], column_sums),
        None,
        (cotangents[0], column_cotangents),
    )
    scatter = functools.partial(jax.lax.psum_scatter, axis_name=axis, tiled=True)
    grad_scale = jax.lax.psum(gradient.scale, axis)
    offsets = scatter(gradient.offset), gradient.row_offset
    return gradient.x, scatter(gradient.y), grad_scale, *offsets


def _ring_value(plan: Plan, axis: str, pairs: Pairs) -> Sums:
    join = plan.reduction.join

    def visit(_, carry):
        row_sums, block, column_sums = carry
        (block_row_sums, block_column_sums), _ = forward(plan, _replace_columns(pairs, block))
        column_sums = join(column_sums, block_column_sums)
        return join(row_sums, block_row_sums), *_send_to_next(axis, (block, column_sums))

    block = _columns(pairs)
    row_sums, column_sums = (
        jnp.full(len(vectors), plan.reduction.empty, pairs.offset.dtype)
        for vectors in (pairs.x, pairs.y)
    )
    row_sums, _, column_sums = jax.lax.fori_loop(
        0, jax.lax.axis_size(axis), visit, (row_sums, block, column_sums)
    )
    return row_sums, column_sums


def _ring_gradient(
    plan: Plan, axis: str, pairs: Pairs, sums: Sums, cotangents: Sums
) -> tuple[Any, ...]:
    # The gradients in the rows and the scale stay on their device; those in y and its offset travel
    # with the columns, and each device adds its part to them.
    def visit(_, carry):
        resident, (block, columns, grad_y, grad_offset) = carry
        gradient = backward(
            plan,
            _replace_columns(pairs, block),
            (sums[0], columns[0]),
            None,
            (cotangents[0], columns[1]),
        )
        traveling = block, columns, grad_y + gradient.y, grad_offset + gradient.offset
        of_rows = gradient.x, gradient.scale, gradient.row_offset
        return jax.tree.map(jnp.add, resident, of_rows), _send_to_next(axis, traveling)

    resident, of_columns = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, pairs.offset.dtype),
        ((pairs.x, pairs.scale, pairs.row_offset), (pairs.y, pairs.offset)),
    )
    start = resident, (_columns(pairs), (sums[1], cotangents[1]), *of_columns)
    (grad_x, grad_scale, grad_row_offset), (_, _, grad_y, grad_offset) = jax.lax.fori_loop(
        0, jax.lax.axis_size(axis), visit, start
    )
    return grad_x, grad_y, jax.lax.psum(grad_scale, axis), grad_offset, grad_row_offset


_VALUE = {"gather": _gathered_value, "ring": _ring_value}
_GRADIENT = {"gather": _gathered_gradient, "ring": _ring_gradient}


def _shard_map(functions: Any, plan: Plan, devices: Sharded, out: Any, *arguments: Any) -> Any:
    """Runs the function of this exchange on every device, with its part of the arguments.

    Arrays are split along their first axis, and numbers are replicated.
    """
    function = functools.partial(functions[devices.exchange], plan, devices.axis)
    return _shard(function, devices, out, *arguments)


def _shard(function: Callable[..., Any], devices: Sharded, out: Any, *arguments: Any) -> Any:
    specs = {_SPLIT: PartitionSpec(devices.axis), _REPLICATED: PartitionSpec()}
    in_specs = jax.tree.map(lambda leaf: specs[_SPLIT if leaf.ndim else _REPLICATED], arguments)
    out_specs = jax.tree.map(specs.get, out)
    return jax.shard_map(
        function, mesh=devices.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )(*arguments)


def map_rows(function: Callable[..., Any], devices: Sharded | None, *arguments: Any) -> Any:
    """Applies a function of rows that needs no other rows, on the device that holds them."""
    return (
        function(*arguments) if devices is None else _shard(function, devices, _SPLIT, *arguments)
    )


def _columns(pairs: Pairs) -> Any:
    """All arrays of the columns, which travel together."""
    return pairs.y, pairs.offset, pairs.ids_y, pairs.labels_y


def _replace_columns(pairs: Pairs, columns: Any) -> Pairs:
    y, offset, ids, labels = columns
    return pairs._replace(y=y, offset=offset, ids_y=ids, labels_y=labels)


def _gather(axis: str, columns: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, axis, tiled=True), columns)


def _send_to_next(axis: str, columns: Any) -> Any:
    """Sends to the next device of the ring; one call per device brings everything home again."""
    size = jax.lax.axis_size(axis)
    ring = [(i, (i + 1) % size) for i in range(size)]
    return jax.tree.map(lambda leaf: jax.lax.ppermute(leaf, axis, ring), columns)
