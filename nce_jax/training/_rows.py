"""Train steps that update a few rows of large tables: gather, update, scatter.

The derivative of a look-up is a table of zeros with a few rows in it, and an optimizer goes through
all of it. Here the loss sees the rows of its batch alone, as a small table of its own, and so does
the optimizer.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import as_array, check_instance, check_positive_int
from nce_jax._contracts import check_arrays, check_optimizer
from nce_jax._promotion import standard_promotion
from nce_jax._ranges import saturated
from nce_jax._types import Array, Int, Params
from nce_jax._updates import refuse_arguments
from nce_jax.training._average import ParamsAverage


class Rows(NamedTuple):
    """The rows of tables that a batch uses.

    Attributes:
      ids: their numbers, each once and in order, (U,), filled up with the number of rows, which is
        none of them.
      positions: for every array of ids that was given, where in `ids` they are: its ids among the
        gathered rows.
    """

    ids: Int[Array, " U"]
    positions: tuple[Int[Array, "..."], ...]


def touched_rows(*ids: Int[Array, "..."], num_rows: int) -> Rows:
    """Finds the rows that a batch uses, and the positions of its ids among them.

    U, how many there may be, is the number of ids, or V + 1 where that is less: a static bound,
    whatever the ids. What is no row, such as padding of -1, is `num_rows` in `ids`.

    Args:
      ids: arrays of integers 0 .. num_rows - 1 of any shape: targets and noise.
      num_rows: V, rows of the tables.

    Returns:
      A `Rows`.

    Raises:
      TypeError: ids that are no integers, or no array of them.
      ValueError: `num_rows` is less than one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import training
      >>> rows = training.touched_rows(jnp.array([7, 3, 7]), jnp.array([3, 0]), num_rows=10)
      >>> print(rows.ids, *rows.positions)
      [ 0  3  7 10 10] [2 1 2] [1 0]
    """
    check_positive_int("num_rows", num_rows)
    arrays = [jnp.asarray(saturated(as_array("ids", leaf, "an array of integers"))) for leaf in ids]
    if not arrays or not all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in arrays):
        raise TypeError(
            f"ids: expected arrays of integers, got dtypes {[str(leaf.dtype) for leaf in arrays]}"
        )
    flat = jnp.concatenate([leaf.reshape(-1) for leaf in arrays])
    # Bytes do not hold the number of rows.
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.int32))
    flat = jnp.where((flat < 0) | (flat >= num_rows), num_rows, flat)
    size = min(flat.size, num_rows + 1)
    unique, inverse = jnp.unique(flat, return_inverse=True, size=size, fill_value=num_rows)
    ends = [math.prod(leaf.shape) for leaf in arrays]
    starts = [sum(ends[:i]) for i in range(len(ends))]
    positions = (
        inverse[a : a + n].reshape(leaf.shape)
        for a, n, leaf in zip(starts, ends, arrays, strict=True)
    )
    return Rows(unique, tuple(positions))


def gather_rows(tables: Params, rows: Rows) -> Params:
    """Gathers the rows that a batch uses as small tables, indexed by `rows.positions`.

    Args:
      tables: a pytree of arrays (V, ...).
      rows: what `touched_rows` returns.

    Returns:
      The same tree of arrays (U, ...), NaN where `rows.ids` is no row.

    Raises:
      TypeError: `tables` holds something else than arrays, or `rows` is no `Rows`.
      ValueError: arrays of different numbers of rows.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import training
      >>> rows = training.touched_rows(jnp.array([3, 1]), num_rows=4)
      >>> print(training.gather_rows({"bias": jnp.array([0.1, 0.2, 0.3, 0.4])}, rows)["bias"])
      [0.2 0.4]
    """
    _check_tables(tables, rows)
    return jax.tree.map(lambda leaf: _take(jnp.asarray(leaf), rows.ids, jnp.nan), tables)


def update_rows(
    optimizer: optax.GradientTransformation,
    gradient: Params,
    opt_state: Any,
    tables: Params,
    rows: Rows,
) -> tuple[Params, Any]:
    """Takes one optimizer step on the gathered rows, at a cost independent of the table size.

    The rows of `tables`, and those of every array (V, ...) in the optimizer's state, are gathered,
    updated as a small problem of their own, and scattered back. Other leaves of the state, such as
    a count of steps, are one for all rows.

    Untouched rows stay as they are, with their moments (*lazy* updates). For an optimizer without
    memory (SGD), that is the dense step exactly. Adam differs: dense, a row that is not in the
    batch still moves by its old momentum, and its moments decay; here both wait until it comes
    again. Its correction for a start from zero counts all steps, not the row's own: a row that
    comes for the first time after many steps moves by (1 - b1) / sqrt(1 - b2) learning rates, 3.2
    at Adam's defaults, as it does in the dense step. Weight decay acts on a row only when it is
    touched. A transformation that mixes rows, such as clipping by the global norm, sees those of
    the batch.

    Donate `tables` and `opt_state` to the jitted step, or all of them are copied.

    Args:
      optimizer: an optax transformation that treats every element by itself.
      gradient: of the loss in the gathered rows, (U, ...), a tree like `tables`.
      opt_state: `optimizer.init(tables)`, or what the last step returned.
      tables: a pytree of arrays (V, ...).
      rows: what `touched_rows` returned for the batch.

    Returns:
      The tables and the optimizer's state after the step.

    Raises:
      TypeError: an argument of the wrong kind.
      ValueError: arrays of different numbers of rows; a gradient that is not one of the gathered
        rows; an optimizer that factors its averages (Adafactor), gathers the gradients of several
        steps (`optax.MultiSteps`), averages the parameters (`with_average`) or needs the loss
        (`optax.lbfgs`).

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import training
      >>> table, optimizer = {"bias": jnp.zeros(6)}, optax.adam(0.1)
      >>> state = optimizer.init(table)
      >>> rows = training.touched_rows(jnp.array([4, 1, 4]), num_rows=6)
      >>> loss = lambda small: jnp.sum(small["bias"][rows.positions[0]])
      >>> gradient = jax.grad(loss)(training.gather_rows(table, rows))
      >>> table, state = training.update_rows(optimizer, gradient, state, table, rows)
      >>> with jnp.printoptions(precision=4):
      ...     print(table["bias"])
      [ 0.  -0.1  0.   0.  -0.1  0. ]
    """
    check_optimizer(optimizer)
    _check_tables(tables, rows)
    refuse_arguments(optimizer, tables, "a step of rows has a gradient, and no loss of the tables")
    _check_gradient(gradient, tables, rows)
    check_arrays("opt_state", opt_state, "optimizer.init(tables)")
    is_table = _tables_of(optimizer, opt_state, tables)
    # Zero where there is no row: an optimizer that looks for NaN must find none that is not its
    # own.
    small = jax.tree.map(lambda leaf: _take(leaf, rows.ids), tables)
    small_state = jax.tree.map(
        lambda leaf, table: _take(leaf, rows.ids) if table else leaf, opt_state, is_table
    )
    with standard_promotion():
        updates, new_state = optimizer.update(gradient, small_state, small)
        new = optax.apply_updates(small, updates)
    put_back = jax.tree.map(
        lambda old, leaf, table: _put(old, rows.ids, leaf) if table else leaf,
        opt_state,
        new_state,
        is_table,
    )
    return jax.tree.map(lambda old, leaf: _put(old, rows.ids, leaf), tables, new), put_back


def _tables_of(optimizer: optax.GradientTransformation, opt_state: Any, tables: Params) -> Any:
    """Marks the leaves of the state that are tables, with the shape of parameters."""
    shapes = {jnp.shape(leaf) for leaf in jax.tree.leaves(tables)}

    def is_table(leaf: Any) -> bool:
        if jnp.ndim(leaf) and leaf.shape not in shapes:
            expected = (
                f"one that treats every element by itself, of arrays of shapes {sorted(shapes)}"
            )
            raise ValueError(f"optimizer: expected {expected}, got one that keeps {leaf.shape}")
        return jnp.ndim(leaf) > 0

    def is_average(leaf: Any) -> bool:
        return isinstance(leaf, ParamsAverage)

    if any(map(is_average, jax.tree.leaves(opt_state, is_leaf=is_average))):
        raise ValueError(
            "optimizer: expected one that moves rows when they come, got one of with_average, which"
            " averages all rows at every step"
        )

    def adds_up(leaf: Any) -> bool:
        return isinstance(leaf, optax.MultiStepsState)

    if any(map(adds_up, jax.tree.leaves(opt_state, is_leaf=adds_up))):
        raise ValueError(
            "optimizer: expected one that moves rows when they come, got one that adds up gradients"
            " of steps"
        )
    with standard_promotion():
        structure: Any = jax.tree.structure(jax.eval_shape(optimizer.init, tables))
    if jax.tree.structure(opt_state) != structure:
        raise ValueError(
            "opt_state: expected that of this optimizer, as optimizer.init(tables) makes it, got"
            " another structure"
        )
    return optax.tree_utils.tree_map_params(
        optimizer, is_table, opt_state, transform_non_params=lambda leaf: False
    )


def _take(table: jax.Array, ids: jax.Array, fill_value: float = 0) -> jax.Array:
    return table.at[ids].get(mode="fill", fill_value=fill_value, indices_are_sorted=True)


def _put(table: jax.Array, ids: jax.Array, rows: jax.Array) -> jax.Array:
    """Writes rows back; ids outside the table are dropped."""
    return table.at[ids].set(rows.astype(table.dtype), mode="drop", indices_are_sorted=True)


def _check_tables(tables: Params, rows: Rows) -> None:
    check_instance("rows", rows, Rows, "touched_rows(...) returns")
    check_arrays("tables", tables, '{"words": embedding}')
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tables)]
    if not shapes or any(not shape or 0 in shape or shape[0] != shapes[0][0] for shape in shapes):
        raise ValueError(f"tables: expected arrays of one number of rows, got shapes {shapes}")


def _check_gradient(gradient: Params, tables: Params, rows: Rows) -> None:
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tables)]
    check_arrays("gradient", gradient, "gather_rows(tables, rows)")
    expected = [(*rows.ids.shape, *shape[1:]) for shape in shapes]
    actual = [jnp.shape(leaf) for leaf in jax.tree.leaves(gradient)]
    if actual != expected:
        raise ValueError(
            f"gradient: expected that of the gathered rows of tables, shapes {expected}, got shapes"
            f" {actual}"
        )
