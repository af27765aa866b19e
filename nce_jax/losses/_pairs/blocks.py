"""Arrays with columns on their first axis, in blocks of columns."""

from typing import Any

import jax
import jax.numpy as jnp


def split_into_blocks(columns: Any, padding: Any, size: int) -> tuple[Any, int]:
    """Columns on two axes, the second of which counts the blocks, and the number of blocks.

    Blocks have at most `size` columns and are as even as possible. A block takes every k-th column
    instead of a contiguous run: where columns are spread over devices, each device holds its part
    of every block, and nothing is communicated.

    Args:
      columns: a NamedTuple of arrays of equal length, or None.
      padding: for each of them, the value with which the last column of a block is filled up.
      size: columns per block.
    """
    num_columns = next(leaf.shape[0] for leaf in columns if leaf is not None)
    num_blocks = -(-num_columns // size)

    def split(leaf, fill):
        if leaf is None:
            return None
        widths = [(0, -leaf.shape[0] % num_blocks)] + [(0, 0)] * (leaf.ndim - 1)
        padded = jnp.pad(leaf, widths, constant_values=fill)
        return padded.reshape(-1, num_blocks, *leaf.shape[1:])

    return type(columns)(*map(split, columns, padding)), num_blocks


def select_block(blocks: Any, index: jax.Array) -> Any:
    """The columns of one block."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, 1, keepdims=False), blocks
    )


def store_block(index: jax.Array, blocks: jax.Array, block: jax.Array) -> jax.Array:
    """The blocks of one array with one of them replaced."""
    return jax.lax.dynamic_update_index_in_dim(blocks, block, index, 1)


def merge_blocks(blocks: jax.Array, num_columns: int) -> jax.Array:
    """The inverse of `split_into_blocks`, for one array."""
    return blocks.reshape(-1, *blocks.shape[2:])[:num_columns]
