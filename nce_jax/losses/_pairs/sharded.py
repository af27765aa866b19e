"""The same sums with rows and columns spread over the devices of a mesh: every row still meets
every column.

Values and derivatives are written for the whole problem, outside of the mapped functions, so that
nobody differentiates through a collective operation, and no factor of the number of devices can go
missing.

Per device, with D of them, n rows and columns of dim d in all, in numbers moved between devices and
held at once:

| | value | derivative | held |
| --- | --- | --- | --- |
| gather | n d (1 - 1/D) | 2 n d (1 - 1/D) | 2 n d |
| ring | n d | 2 n d | 4 n d / D |

Derivatives travel, and are added up, in float32 where vectors are in bfloat16.
"""

import functools
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from nce_jax.losses._pairs.sums import Pairs, Plan, Sums, backward, forward, in_dtypes, reduce_pairs

Exchange = Literal["gather", "ring"]
EXCHANGES = get_args(Exchange)


_SPLIT, _WHOLE = "split", "whole"


class Spread(NamedTuple):
    """The mesh, the axis along which samples are split, and how columns get to the rows."""

    mesh: Mesh
    axis: str
    exchange: Exchange


def reduce_everywhere(plan: Plan, spread: Spread | None, pairs: Pairs) -> Sums:
    """`reduce_pairs`, over a mesh where one is given."""
    return reduce_pairs(plan, pairs) if spread is None else _reduce_spread(plan, spread, pairs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reduce_spread(plan: Plan, spread: Spread, pairs: Pairs) -> Sums:
    return _mapped(_VALUE, plan, spread, (_SPLIT, _SPLIT), pairs)


def _spread_fwd(plan: Plan, spread: Spread, pairs: Pairs) -> tuple[Sums, Any]:
    # Not by way of the function whose rule this is: a second derivative would stop at it.
    sums = _mapped(_VALUE, plan, spread, (_SPLIT, _SPLIT), pairs)
    return sums, (pairs, sums)


def _spread_bwd(plan: Plan, spread: Spread, kept: Any, slopes: Sums) -> tuple[Pairs]:
    found = _mapped(_SLOPE, plan, spread, (_SPLIT, _SPLIT, _WHOLE, _SPLIT), *kept, slopes)
    return (in_dtypes(kept[0], *found),)


_reduce_spread.defvjp(_spread_fwd, _spread_bwd)


def _gathered_value(plan: Plan, axis: str, pairs: Pairs) -> Sums:
    whole = _gather(axis, (pairs.y, pairs.offset, pairs.ids_y))
    (rows, columns), _ = forward(plan, _with_columns(pairs, whole))
    return rows, _own(
        axis, plan.reduction.over_devices(columns, axis), pairs
    ) if plan.both else columns[: pairs.y.shape[0]]


def _gathered_slope(
    plan: Plan, axis: str, pairs: Pairs, sums: Sums, slopes: Sums
) -> tuple[jax.Array, ...]:
    *whole, columns, of_columns = _gather(
        axis, (pairs.y, pairs.offset, pairs.ids_y, sums[1], slopes[1])
    )
    found = backward(
        plan, _with_columns(pairs, whole), (sums[0], columns), None, (slopes[0], of_columns)
    )
    scatter = functools.partial(jax.lax.psum_scatter, axis_name=axis, tiled=True)
    return found.x, scatter(found.y), jax.lax.psum(found.scale, axis), scatter(found.offset)


def _ring_value(plan: Plan, axis: str, pairs: Pairs) -> Sums:
    def visit(_, carry):
        rows, block, columns = carry
        (more, of_block), _ = forward(plan, _with_columns(pairs, block))
        rows, columns = plan.reduction.join(rows, more), plan.reduction.join(columns, of_block)
        return rows, *_pass_on(axis, (block, columns))

    block = pairs.y, pairs.offset, pairs.ids_y
    rows, columns = (
        jnp.full(len(side), plan.reduction.empty, pairs.offset.dtype) for side in (pairs.x, pairs.y)
    )
    rows, _, columns = jax.lax.fori_loop(0, jax.lax.axis_size(axis), visit, (rows, block, columns))
    return rows, columns


def _ring_slope(
    plan: Plan, axis: str, pairs: Pairs, sums: Sums, slopes: Sums
) -> tuple[jax.Array, ...]:
    def visit(_, carry):
        (of_x, of_scale), (block, columns, of_y, of_offset) = carry
        here = backward(
            plan, _with_columns(pairs, block), (sums[0], columns[0]), None, (slopes[0], columns[1])
        )
        passed = _pass_on(axis, (block, columns, of_y + here.y, of_offset + here.offset))
        return (of_x + here.x, of_scale + here.scale), passed

    block, columns = (pairs.y, pairs.offset, pairs.ids_y), (sums[1], slopes[1])
    zeros = [
        jnp.zeros(leaf.shape, pairs.offset.dtype)
        for leaf in (pairs.x, pairs.scale, pairs.y, pairs.offset)
    ]
    start = tuple(zeros[:2]), (block, columns, *zeros[2:])
    (of_x, of_scale), (_, _, of_y, of_offset) = jax.lax.fori_loop(
        0, jax.lax.axis_size(axis), visit, start
    )
    return of_x, of_y, jax.lax.psum(of_scale, axis), of_offset


_VALUE = {"gather": _gathered_value, "ring": _ring_value}
_SLOPE = {"gather": _gathered_slope, "ring": _ring_slope}


def _mapped(functions: Any, plan: Plan, spread: Spread, out: Any, *arguments: Any) -> Any:
    """Runs the function of this exchange on every device's part: arrays split along their first
    axis, numbers whole.
    """
    split = PartitionSpec(spread.axis)
    parts = {_SPLIT: split, _WHOLE: PartitionSpec()}
    in_specs = jax.tree.map(lambda leaf: parts[_SPLIT if leaf.ndim else _WHOLE], arguments)
    out_specs = tuple(parts[name] for name in out)
    function = functools.partial(functions[spread.exchange], plan, spread.axis)
    return jax.shard_map(
        function, mesh=spread.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )(*arguments)


def _with_columns(pairs: Pairs, columns: Any) -> Pairs:
    y, offset, ids = columns
    return pairs._replace(y=y, offset=offset, ids_y=ids)


def _gather(axis: str, columns: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, axis, tiled=True), columns)


def _own(axis: str, columns: jax.Array, pairs: Pairs) -> jax.Array:
    size = pairs.y.shape[0]
    return jax.lax.dynamic_slice_in_dim(columns, jax.lax.axis_index(axis) * size, size)


def _pass_on(axis: str, columns: Any) -> Any:
    """To the next device of the ring; after as many calls as there are devices everything is home
    again.
    """
    size = jax.lax.axis_size(axis)
    return jax.tree.map(
        lambda leaf: jax.lax.ppermute(leaf, axis, [(i, (i + 1) % size) for i in range(size)]),
        columns,
    )
