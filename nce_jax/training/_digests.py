"""Digests of samples, computed where they are, and coarse values of a state."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key

_SAMPLED = 4
"""Entries of an array that stand for it in the comparison of two states."""


def content(tree: Any) -> dict[str, str]:
    """Kind and digest of every array of samples, by path.

    Every bit counts. The sums are of integers modulo 2^32, so that the digest depends neither on
    the number of devices that hold an array nor on the order in which they add.
    """
    return {
        jax.tree_util.keystr(path).lstrip("."): _describe(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _describe(leaf: Any) -> str:
    leaf = jax.random.key_data(leaf) if is_key(leaf) else jnp.asarray(leaf)
    first, second = (int(part) for part in jax.device_get(_digest(leaf)))
    return f"{leaf.dtype}{list(leaf.shape)} {first:08x}{second:08x}"


@jax.jit
def _digest(array: jax.Array) -> tuple[jax.Array, jax.Array]:
    words = _words(array)
    position = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        index = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        position = position * jnp.uint32(size) + index
    first = _mix(words ^ _mix(position + jnp.uint32(1)))
    second = _mix(words + _mix(position ^ jnp.uint32(0x9E3779B9)))
    return jnp.sum(first, dtype=jnp.uint32), jnp.sum(second, dtype=jnp.uint32)


def _words(array: jax.Array) -> jax.Array:
    """The bits of an array as unsigned integers of 32 bits, at the same places."""
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag], axis=-1)
    if array.dtype == bool:
        return array.astype(jnp.uint32)
    bits = jnp.finfo(array.dtype).bits if _is_floating(array) else jnp.iinfo(array.dtype).bits
    if bits < 8:
        return array.astype(jnp.int8).astype(jnp.uint32)
    unsigned = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint32}[bits]
    return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _is_floating(array: jax.Array) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.floating))


def _mix(word: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3: every bit of the word changes half of the result's."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def coarse(state: Any) -> dict[str, list[float]]:
    """Some entries of every array of a state, by path, to be compared up to rounding.

    Initial parameters are computed, and differ in their last places between kinds of processors,
    so that a digest would not do. Arrays that are spread over processes are left out.
    """
    return {
        jax.tree_util.keystr(path): _entries(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if getattr(leaf, "is_fully_addressable", True)
    }


def _entries(leaf: Any) -> list[float]:
    leaf = jax.random.key_data(leaf) if is_key(leaf) else leaf
    flat = np.asarray(leaf).reshape(-1)
    chosen = np.linspace(0, max(flat.size - 1, 0), min(flat.size, _SAMPLED)).astype(int)
    # As text where a number has no place in JSON.
    return [
        float(np.abs(value)) if flat.dtype.kind == "c" else float(value) for value in flat[chosen]
    ]


def different_leaves(first: dict[str, list[float]], second: dict[str, list[float]]) -> list[str]:
    """Paths at which two states differ by more than rounding."""
    return [
        name
        for name in first
        if name in second
        and not (
            len(first[name]) == len(second[name])
            and np.allclose(first[name], second[name], rtol=1e-3, atol=1e-6, equal_nan=True)
        )
    ]
