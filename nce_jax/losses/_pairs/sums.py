"""Sums over all pairs of rows of two matrices, in blocks of columns, with derivative rules.

Every loss that compares each of n vectors with each of m others reduces to these sums. With
`chunk_size` the n x m logits are never stored: a block of them is computed, summed, and computed
again for the derivative. This file holds the sums on one device; `sharded.py` spreads the same sums
over a mesh.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._numerics import log_sum_exp
from nce_jax.losses._pairs.blocks import merge_blocks, select_block, split_into_blocks, store_block

IGNORED_ID = int(jnp.iinfo(jnp.int32).min)
"""The id of a row or column of which no pair is counted."""


class Pairs(NamedTuple):
    """Logits scale <x_i, y_j> + offset_j + row_offset_i of all pairs (i, j) that are counted.

    A pair is counted unless its two ids are equal or one of them is `IGNORED_ID`. A plan may
    restrict the count to positive or to negative pairs: a pair is positive if its labels are equal
    or, where `positives` is given, if `positives[i, labels_y[j]]` is true.

    Attributes:
      x: the rows, (n, dim).
      y: the columns, (m, dim), in the same dtype.
      scale: a number, the inverse temperature, in the dtype of the computation.
      offset: one number per column, (m,), in the dtype of `scale`.
      ids_x: integers of the rows, (n,).
      ids_y: integers of the columns, (m,).
      row_offset: one number per row, (n,), in the dtype of `scale`; None for zeros.
      labels_x: integers of the rows, (n,), or None.
      labels_y: integers of the columns, (m,), or None.
      positives: Booleans, one row per row of `x`, or None.
    """

    x: jax.Array
    y: jax.Array
    scale: jax.Array
    offset: jax.Array
    ids_x: jax.Array
    ids_y: jax.Array
    row_offset: jax.Array | None = None
    labels_x: jax.Array | None = None
    labels_y: jax.Array | None = None
    positives: jax.Array | None = None


Kind = Literal["all", "positives", "negatives"]


class Reduction(NamedTuple):
    """How logits (n, m) are summed to one number per row and, on request, one per column.

    Attributes:
      total: from logits and an axis, the sum over that axis.
      join: from two sums over disjoint sets of pairs, the sum over their union.
      empty: the sum over no pair.
      derivative: from logits and the sums that contain them, both (n, m) or broadcastable to it,
        the derivative of each sum in each of its logits.
      over_devices: from the sums of one device and the name of a mesh axis, the sums over all
        devices along that axis.
    """

    total: Callable[[jax.Array, int], jax.Array]
    join: Callable[[jax.Array, jax.Array], jax.Array]
    empty: float
    derivative: Callable[[jax.Array, jax.Array], jax.Array]
    over_devices: Callable[[jax.Array, str], jax.Array]


class Plan(NamedTuple):
    """The static part of a reduction of pairs.

    Attributes:
      reduction: how logits are summed.
      column_sums: whether columns are summed as well as rows.
      chunk_size: columns per block; None takes all of them at once.
      kind: which of the counted pairs are summed.
    """

    reduction: Reduction
    column_sums: bool = False
    chunk_size: int | None = None
    kind: Kind = "all"


Sums = tuple[jax.Array, jax.Array]
"""One sum per row and one per column; the latter are `Reduction.empty` without `column_sums`."""


def _softmax(logits: jax.Array, total: jax.Array) -> jax.Array:
    """exp(logits - total), and zero where the sum is over no pair."""
    return jnp.exp(logits - jnp.where(jnp.isneginf(total), 0, total))


def _join_log_sums(first: jax.Array, second: jax.Array) -> jax.Array:
    # `logaddexp` of two sums over no pair has no second derivative.
    return log_sum_exp(jnp.stack([first, second]), axis=0)


def _log_sum_exp_over_devices(total: jax.Array, axis: str) -> jax.Array:
    # The maximum cancels in every derivative, and a `pmax` has no rule for one.
    largest = jax.lax.pmax(jax.lax.stop_gradient(total), axis)
    finite = jnp.where(jnp.isneginf(largest), 0, largest)
    return jnp.log(jax.lax.psum(jnp.exp(total - finite), axis)) + finite


LOG_SUM_EXP = Reduction(
    total=lambda logits, axis: log_sum_exp(logits, axis=axis),
    join=_join_log_sums,
    empty=-jnp.inf,
    derivative=_softmax,
    over_devices=_log_sum_exp_over_devices,
)
"""The log of the sum of exp(logit), as softmax losses need it."""

SOFTPLUS_SUM = Reduction(
    total=lambda logits, axis: jax.nn.softplus(logits).sum(axis=axis),
    join=jnp.add,
    empty=0.0,
    derivative=lambda logits, _: jax.nn.sigmoid(logits),
    over_devices=jax.lax.psum,
)
"""The sum of softplus(logit), as sigmoid losses need it."""

LINEAR_SUM = Reduction(
    total=lambda logits, axis: jnp.where(jnp.isneginf(logits), 0, logits).sum(axis=axis),
    join=jnp.add,
    empty=0.0,
    derivative=lambda logits, _: jnp.where(jnp.isneginf(logits), 0.0, 1.0).astype(logits.dtype),
    over_devices=jax.lax.psum,
)
"""The sum of the logits themselves, for means over several positives."""

COUNT = Reduction(
    total=lambda logits, axis: (~jnp.isneginf(logits)).sum(axis=axis).astype(logits.dtype),
    join=jnp.add,
    empty=0.0,
    derivative=lambda logits, _: jnp.zeros_like(logits),
    over_devices=jax.lax.psum,
)
"""The number of pairs."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def reduce_pairs(plan: Plan, pairs: Pairs) -> Sums:
    """Sums over the columns for every row, (n,), and over the rows for every column, (m,)."""
    return forward(plan, pairs)[0]


def _reduce_fwd(plan: Plan, pairs: Pairs) -> tuple[Sums, Any]:
    sums, logits = forward(plan, pairs)
    return sums, (pairs, sums, logits)


def _reduce_bwd(plan: Plan, residuals: Any, cotangents: Sums) -> tuple[Pairs]:
    pairs, sums, logits = residuals
    return (cast_gradient(pairs, backward(plan, pairs, sums, logits, cotangents)),)


reduce_pairs.defvjp(_reduce_fwd, _reduce_bwd)


def forward(plan: Plan, pairs: Pairs) -> tuple[Sums, jax.Array | None]:
    """The sums and, where one block holds all columns, its logits.

    Passed on to `backward`, these logits save a matrix product.
    """
    columns = Columns(pairs.y, pairs.offset, pairs.ids_y, labels=pairs.labels_y)
    size = _block_size(plan, pairs)
    if size is None:
        logits = _logits(plan, pairs, columns)
        return _totals(plan, logits), logits

    blocks, num_blocks = split_into_blocks(columns, _PADDING, size)

    def add_block(row_sums, index):
        logits = _logits(plan, pairs, select_block(blocks, index))
        block_row_sums, column_sums = _totals(plan, logits)
        return plan.reduction.join(row_sums, block_row_sums), column_sums

    start = jnp.full(pairs.x.shape[0], plan.reduction.empty, pairs.offset.dtype)
    row_sums, column_sums = jax.lax.scan(add_block, start, jnp.arange(num_blocks))
    return (row_sums, merge_blocks(column_sums.T, columns.y.shape[0])), None


def backward(
    plan: Plan, pairs: Pairs, sums: Sums, logits: jax.Array | None, cotangents: Sums
) -> Pairs:
    """Gradients in x, y, scale and offsets, in the dtype of the sums; see `cast_gradient`."""
    rows = sums[0], cotangents[0]
    columns = Columns(
        pairs.y, pairs.offset, pairs.ids_y, sums[1], cotangents[1], labels=pairs.labels_y
    )
    size = _block_size(plan, pairs)
    if size is None:
        logits = _logits(plan, pairs, columns) if logits is None else logits
        of_rows, of_columns = _block_gradients(plan, pairs, rows, columns, logits)
    else:
        of_rows, of_columns = _sum_of_block_gradients(plan, pairs, rows, columns, size)
    (grad_x, grad_row_offset), (grad_y, grad_offset) = of_rows, of_columns
    # Logits are products times the scale: one sum over x serves the gradient in the scale.
    grad_scale = jnp.sum(pairs.x.astype(grad_x.dtype) * grad_x)
    grad_x, grad_y = pairs.scale * grad_x, pairs.scale * grad_y
    return gradient_pairs(grad_x, grad_y, grad_scale, grad_offset, grad_row_offset)


def cast_gradient(pairs: Pairs, gradient: Pairs) -> Pairs:
    """Casts gradients, once they are summed up, to the dtypes of what they are gradients in."""
    return gradient._replace(x=gradient.x.astype(pairs.x.dtype), y=gradient.y.astype(pairs.y.dtype))


def gradient_pairs(
    x: jax.Array,
    y: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    row_offset: jax.Array | None = None,
) -> Pairs:
    """Gradients as a `Pairs`; ids, labels and positives have none."""
    return Pairs(x, y, scale, offset, None, None, row_offset)  # type: ignore[arg-type]


class Columns(NamedTuple):
    """All arrays that belong to the columns, with the columns on their first axis.

    Sums and their cotangents are needed for the derivative only.
    """

    y: Any
    offset: Any
    ids: Any
    sums: Any = None
    cotangents: Any = None
    labels: Any = None


_PADDING = Columns(0, 0, IGNORED_ID, 0, 0, 0)
"""The values with which the last column of a block is filled up; the id excludes it."""


def _block_size(plan: Plan, pairs: Pairs) -> int | None:
    """Columns per block; None where one block holds them all."""
    if plan.chunk_size is None or plan.chunk_size >= pairs.y.shape[0]:
        return None
    return plan.chunk_size


def _logits(plan: Plan, pairs: Pairs, columns: Columns) -> jax.Array:
    """The logits of all rows and a block of columns; minus infinity where a pair is not counted."""
    dtype = pairs.offset.dtype
    products = jnp.matmul(pairs.x, columns.y.T, preferred_element_type=dtype)
    ids_x, ids_y = pairs.ids_x[:, None], columns.ids[None, :]
    is_counted = (ids_x != ids_y) & (ids_x != IGNORED_ID) & (ids_y != IGNORED_ID)
    if plan.kind != "all":
        is_counted &= _is_positive(pairs, columns) == (plan.kind == "positives")
    logits = pairs.scale * products + columns.offset[None, :]
    if pairs.row_offset is not None:
        logits = logits + pairs.row_offset[:, None]
    return jnp.where(is_counted, logits, -jnp.inf)


def _is_positive(pairs: Pairs, columns: Columns) -> jax.Array:
    if pairs.positives is not None:
        return jnp.take(pairs.positives, columns.labels, axis=1)
    return pairs.labels_x[:, None] == columns.labels[None, :]  # type: ignore[index]


def _totals(plan: Plan, logits: jax.Array) -> Sums:
    row_sums = plan.reduction.total(logits, 1)
    if plan.column_sums:
        return row_sums, plan.reduction.total(logits, 0)
    return row_sums, jnp.full(logits.shape[1], plan.reduction.empty, logits.dtype)


def _sum_of_block_gradients(
    plan: Plan, pairs: Pairs, rows: Sums, columns: Columns, size: int
) -> tuple[Any, Any]:
    """The gradients of `_block_gradients` for all columns, computed block by block."""
    blocks, num_blocks = split_into_blocks(columns, _PADDING, size)

    def add_block(gradients, index):
        of_rows, of_columns = gradients
        block = select_block(blocks, index)
        logits = _logits(plan, pairs, block)
        block_rows, block_columns = _block_gradients(plan, pairs, rows, block, logits)
        store = functools.partial(store_block, index)
        of_rows = jax.tree.map(jnp.add, of_rows, block_rows)
        return (of_rows, jax.tree.map(store, of_columns, block_columns)), None

    start = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, pairs.offset.dtype),
        ((pairs.x, pairs.row_offset), (blocks.y, blocks.offset)),
    )
    (of_rows, of_columns), _ = jax.lax.scan(add_block, start, jnp.arange(num_blocks))
    return of_rows, tuple(merge_blocks(leaf, columns.y.shape[0]) for leaf in of_columns)


def _block_gradients(
    plan: Plan, pairs: Pairs, rows: Sums, columns: Columns, logits: jax.Array
) -> tuple[Any, Any]:
    """Gradients of one block of columns: in x and y, over the scale, and in their offsets.

    `rows` holds the sums of the rows and their cotangents. Returns the gradients in x and the row
    offset (None without one), which are sums over blocks, and those in y and the offset.
    """
    row_sums, row_cotangents = (leaf[:, None] for leaf in rows)
    grad_logits = row_cotangents * plan.reduction.derivative(logits, row_sums)
    if plan.column_sums:
        derivative = plan.reduction.derivative(logits, columns.sums[None, :])
        grad_logits = grad_logits + columns.cotangents[None, :] * derivative
    dtype = grad_logits.dtype
    # In float16 gradients of the order 1 / n^2 would be rounded to zero.
    factor = grad_logits if pairs.x.dtype == jnp.float16 else grad_logits.astype(pairs.x.dtype)
    grad_x = jnp.matmul(factor, columns.y, preferred_element_type=dtype)
    grad_y = jnp.matmul(factor.T, pairs.x, preferred_element_type=dtype)
    grad_row_offset = None if pairs.row_offset is None else grad_logits.sum(axis=1)
    return (grad_x, grad_row_offset), (grad_y, grad_logits.sum(axis=0))
