"""Sums over all pairs of rows of two matrices, in blocks of columns and with derivative rules of
their own.

Every loss that compares each of n vectors with each of m others needs nothing else: the logits, n x
m of them, are never stored where `chunk_size` is given, but made again for the derivative.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.numerics import log_sum_exp

LEFT_OUT = int(jnp.iinfo(jnp.int32).min)


class Pairs(NamedTuple):
    """Logits scale <x_i, y_j> + offset_j of all pairs (i, j) but those of equal ids, and of the id
    `LEFT_OUT`.

    Attributes:
      x: the rows, (n, dim).
      y: the columns, (m, dim), of the same dtype.
      scale: a number, the inverse temperature, in the dtype to compute in.
      offset: one number per column, (m,), in the same.
      ids_x: integers of the rows, (n,).
      ids_y: those of the columns, (m,).
    """

    x: jax.Array
    y: jax.Array
    scale: jax.Array
    offset: jax.Array
    ids_x: jax.Array
    ids_y: jax.Array


class Reduction(NamedTuple):
    """How logits (n, m) are summed to one number per row and, where `both`, one per column.

    Attributes:
      total: logits and axis -> the sum over that axis.
      join: two such sums over disjoint sets of pairs -> their sum over all.
      empty: the sum over no pair.
      slope: logits and the sum that they are part of, both (n, m) or broadcasting -> the sum's
        derivative in every logit.
      over_devices: a device's sums and the name of a mesh axis -> the sums over all devices along
        it.
    """

    total: Callable[[jax.Array, int], jax.Array]
    join: Callable[[jax.Array, jax.Array], jax.Array]
    empty: float
    slope: Callable[[jax.Array, jax.Array], jax.Array]
    over_devices: Callable[[jax.Array, str], jax.Array]


class Plan(NamedTuple):
    """What is static: the reduction, whether columns are summed as well as rows, the columns per
    block (None takes all).
    """

    reduction: Reduction
    both: bool = False
    chunk_size: int | None = None


Sums = tuple[jax.Array, jax.Array]
"""One per row and one per column; the latter `empty` where the plan has rows alone."""


def _softmax(logits: jax.Array, total: jax.Array) -> jax.Array:
    """exp(logits - total), zero where nothing was summed."""
    return jnp.exp(logits - jnp.where(jnp.isneginf(total), 0, total))


def _log_sum_exp_over(total: jax.Array, axis: str) -> jax.Array:
    largest = jax.lax.pmax(total, axis)
    finite = jnp.where(jnp.isneginf(largest), 0, largest)
    return jnp.log(jax.lax.psum(jnp.exp(total - finite), axis)) + finite


LOG_SUM_EXP = Reduction(
    total=lambda logits, axis: log_sum_exp(logits, axis=axis),
    join=lambda a, b: log_sum_exp(
        jnp.stack([a, b]), axis=0
    ),  # logaddexp of two sums over nothing has no second derivative
    empty=-jnp.inf,
    slope=_softmax,
    over_devices=_log_sum_exp_over,
)
SOFTPLUS_SUM = Reduction(
    total=lambda logits, axis: jax.nn.softplus(logits).sum(axis=axis),
    join=jnp.add,
    empty=0.0,
    slope=lambda logits, _: jax.nn.sigmoid(logits),
    over_devices=jax.lax.psum,
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def reduce_pairs(plan: Plan, pairs: Pairs) -> Sums:
    """Sums of `plan.reduction` over the columns for every row, (n,), and over the rows for every
    column, (m,).
    """
    return forward(plan, pairs)[0]


def _reduce_fwd(plan: Plan, pairs: Pairs) -> tuple[Sums, Any]:
    sums, logits = forward(plan, pairs)
    return sums, (pairs, sums, logits)


def _reduce_bwd(plan: Plan, kept: Any, slopes: Sums) -> tuple[Pairs]:
    pairs, sums, logits = kept
    found = backward(plan, pairs, sums, logits, slopes)
    return (in_dtypes(pairs, found.x, found.y, found.scale, found.offset),)


reduce_pairs.defvjp(_reduce_fwd, _reduce_bwd)


def forward(plan: Plan, pairs: Pairs) -> tuple[Sums, jax.Array | None]:
    """The sums and, where they are of one block, its logits, which spare the derivative a matrix
    product.
    """
    columns = Columns(pairs.y, pairs.offset, pairs.ids_y)
    size = _block_size(plan, pairs)
    if size is None:
        logits = _logits(pairs, columns)
        return _totals(plan, logits), logits

    blocks, count = _blocks(columns, size)

    def add(rows, number):
        more, of_block = _totals(plan, _logits(pairs, _block(blocks, number)))
        return plan.reduction.join(rows, more), of_block

    start = jnp.full(pairs.x.shape[0], plan.reduction.empty, pairs.offset.dtype)
    rows, found = jax.lax.scan(add, start, jnp.arange(count))
    return (rows, _joined(found.T, columns)), None


def backward(plan: Plan, pairs: Pairs, sums: Sums, logits: jax.Array | None, slopes: Sums) -> Pairs:
    """Derivatives in x, y, scale and offset, from those of the two sums, in the dtype of the
    sums.
    """
    pull = functools.partial(_pull, plan, pairs, (sums[0], slopes[0]))
    columns = Columns(pairs.y, pairs.offset, pairs.ids_y, sums[1], slopes[1])
    size = _block_size(plan, pairs)
    if size is None:
        of_x, of_y, of_offset = pull(columns, _logits(pairs, columns) if logits is None else logits)
    else:
        blocks, count = _blocks(columns, size)

        def add(found, number):
            block, of_x, of_columns = _block(blocks, number), found[0], found[1:]
            more, *of_block = pull(block, _logits(pairs, block))
            return (of_x + more, *map(functools.partial(_put, number), of_columns, of_block)), None

        start = [
            jnp.zeros(leaf.shape, pairs.offset.dtype) for leaf in (pairs.x, blocks.y, blocks.offset)
        ]
        (of_x, *of_columns), _ = jax.lax.scan(add, tuple(start), jnp.arange(count))
        of_y, of_offset = (_joined(leaf, columns) for leaf in of_columns)
    # Logits are products times the scale, so that one sum over x serves the derivative in the
    # scale.
    of_scale = jnp.sum(pairs.x.astype(of_x.dtype) * of_x)
    return _of_arrays(pairs.scale * of_x, pairs.scale * of_y, of_scale, of_offset)


def in_dtypes(
    pairs: Pairs, of_x: jax.Array, of_y: jax.Array, of_scale: jax.Array, of_offset: jax.Array
) -> Pairs:
    """Derivatives in the dtypes of what they are of, once everything is added up."""
    return _of_arrays(of_x.astype(pairs.x.dtype), of_y.astype(pairs.y.dtype), of_scale, of_offset)


def _of_arrays(
    of_x: jax.Array, of_y: jax.Array, of_scale: jax.Array, of_offset: jax.Array
) -> Pairs:
    return Pairs(of_x, of_y, of_scale, of_offset, None, None)  # type: ignore[arg-type]  # ids have no derivative


class Columns(NamedTuple):
    """All that belongs to the columns, each with them on its first axis; sums and their slopes in
    the derivative only.
    """

    y: Any
    offset: Any
    ids: Any
    sums: Any = None
    slopes: Any = None


_FILL = Columns(0, 0, LEFT_OUT, 0, 0)


def _block_size(plan: Plan, pairs: Pairs) -> int | None:
    """Columns per block; None where one block holds them all."""
    return (
        None if plan.chunk_size is None or plan.chunk_size >= pairs.y.shape[0] else plan.chunk_size
    )


def _blocks(columns: Columns, size: int) -> tuple[Columns, int]:
    """Columns on two axes, the second of which counts blocks of at most `size`, as even as they can
    be; and their number.

    A block is every so many-th column, not a run of them: where columns are spread over devices,
    each has its share of every block, and none is sent for.
    """
    count = -(-columns.y.shape[0] // size)

    def split(leaf, fill):
        if leaf is None:
            return None
        missing = [(0, -leaf.shape[0] % count)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, missing, constant_values=fill).reshape(-1, count, *leaf.shape[1:])

    return Columns(*map(split, columns, _FILL)), count


def _block(blocks: Columns, number: jax.Array) -> Columns:
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, number, 1, keepdims=False), blocks
    )


def _put(number: jax.Array, blocks: jax.Array, block: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(blocks, block, number, 1)


def _joined(blocks: jax.Array, columns: Columns) -> jax.Array:
    return blocks.reshape(-1, *blocks.shape[2:])[: columns.y.shape[0]]


def _logits(pairs: Pairs, columns: Columns) -> jax.Array:
    dtype = pairs.offset.dtype
    products = jnp.matmul(pairs.x, columns.y.T, preferred_element_type=dtype)
    row, column = pairs.ids_x[:, None], columns.ids[None, :]
    counts = (row != column) & (row != LEFT_OUT) & (column != LEFT_OUT)
    return jnp.where(counts, pairs.scale * products + columns.offset[None, :], -jnp.inf)


def _totals(plan: Plan, logits: jax.Array) -> Sums:
    rows = plan.reduction.total(logits, 1)
    if plan.both:
        return rows, plan.reduction.total(logits, 0)
    return rows, jnp.full(logits.shape[1], plan.reduction.empty, logits.dtype)


def _pull(
    plan: Plan, pairs: Pairs, rows: Sums, columns: Columns, logits: jax.Array
) -> tuple[jax.Array, ...]:
    """Derivatives of one block: in x and y over the scale, and in the offset; `rows` are sums and
    slopes of the rows.
    """
    total, slope = (leaf[:, None] for leaf in rows)
    weights = slope * plan.reduction.slope(logits, total)
    if plan.both:
        weights = weights + columns.slopes[None, :] * plan.reduction.slope(
            logits, columns.sums[None, :]
        )
    # In float16 weights of the order 1 / n^2 would be zero.
    low = weights if pairs.x.dtype == jnp.float16 else weights.astype(pairs.x.dtype)
    dtype = weights.dtype
    of_x = jnp.matmul(low, columns.y, preferred_element_type=dtype)
    return of_x, jnp.matmul(low.T, pairs.x, preferred_element_type=dtype), weights.sum(axis=0)
