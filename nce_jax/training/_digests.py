"""Digests of samples, computed where they are, and summaries of a state."""

import hashlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key

_NUM_SHOWN = 4
"""Entries of an array that are shown where two states differ."""

_NUM_SUMS, _CHUNK = 16, 2**20
_RELATIVE, _ABSOLUTE = 16, 8
"""Errors of an entry, in units of its dtype's rounding, that count as those of another processor:
relative to the entry, and to one, since small entries may be differences of larger numbers."""


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


def _mix(word: Any, numpy: Any = jnp) -> Any:
    """The finalizer of MurmurHash3: every bit of the word changes half of the result's."""
    word = (word ^ (word >> 16)) * numpy.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * numpy.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def summary(state: Any) -> dict[str, dict[str, Any]]:
    """What stands for every array of a state, by path, as JSON values.

    Initial parameters are computed, and differ in their last places between kinds of processors,
    so that a digest alone would not do. Beside it are sums of the entries, `_NUM_SUMS` of them with
    every entry in one, whose signs are random and fixed: rounding does not add up in them, and
    changes do not cancel. Arrays that are spread over processes are left out.
    """
    return {
        jax.tree_util.keystr(path): _summary(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if getattr(leaf, "is_fully_addressable", True)
    }


def _summary(leaf: Any) -> dict[str, Any]:
    flat = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf).reshape(-1)
    kind = f"{flat.dtype}{list(np.shape(leaf))}"
    digest = hashlib.sha256(kind.encode() + flat.tobytes()).hexdigest()[:16]
    chosen = np.linspace(0, max(flat.size - 1, 0), min(flat.size, _NUM_SHOWN)).astype(int)
    shown = [
        float(np.abs(value)) if flat.dtype.kind == "c" else float(value) for value in flat[chosen]
    ]
    sums, rounding = _signed_sums(flat) if jnp.issubdtype(flat.dtype, jnp.inexact) else ([], [])
    return {"kind": kind, "digest": digest, "entries": shown, "sums": sums, "rounding": rounding}


def _signed_sums(flat: np.ndarray) -> tuple[list[float], list[float]]:
    """Sums of the entries with random signs, and how much of their difference may be rounding.

    If no entry v is off by more than r = `_RELATIVE` eps |v| + `_ABSOLUTE` eps, a sum of n of them
    is off by at most sqrt(n) |r|, and by 8 |r| but for one set of signs in 10^13 (Hoeffding).
    """
    eps = float(jnp.finfo(flat.dtype).eps)
    # Narrow dtypes hold what was computed in float32, rounded once.
    computed = min(eps, float(np.finfo(np.float32).eps))
    relative, absolute = max(_RELATIVE * computed, 2 * eps), _ABSOLUTE * computed
    if flat.dtype.kind == "c":
        flat = flat.view(flat.real.dtype)
    sums, squares = np.zeros((2, _NUM_SUMS))
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        # A number in the place of what would spoil the sum.
        part = np.nan_to_num(part, nan=np.pi, posinf=np.e, neginf=-np.e)
        index = np.arange(start, start + part.size) % 2**32
        with np.errstate(over="ignore"):
            signs = 1.0 - 2.0 * (_mix(index.astype(np.uint32), np) & 1)
            padding = (0, -part.size % _NUM_SUMS)
            sums += np.pad(signs * part, padding).reshape(-1, _NUM_SUMS).sum(0)
            bounds = np.square(relative * np.abs(part) + absolute)
            squares += np.pad(bounds, padding).reshape(-1, _NUM_SUMS).sum(0)
    count = min(flat.size, _NUM_SUMS)
    factor = min(8.0, math.sqrt(-(-flat.size // _NUM_SUMS)))
    return sums[:count].tolist(), (factor * np.sqrt(squares[:count])).tolist()


def different_leaves(
    first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> list[str]:
    """Paths at which the summaries of two states differ by more than rounding."""
    return [name for name in first if name in second and not _is_alike(first[name], second[name])]


def _is_alike(first: Any, second: dict[str, Any]) -> bool:
    if not isinstance(first, dict) or first["digest"] == second["digest"]:
        return isinstance(first, dict)  # checkpoints of earlier versions have a list
    if first["kind"] != second["kind"] or not first["sums"]:
        return False
    error = np.abs(np.subtract(first["sums"], second["sums"]))
    return bool((error <= np.asarray(second["rounding"])).all())
