"""Axes and leaves of a stored sweep, by which it can be read without its function.

They are in `contents.npz` beside the chunks. Axes are compared with the identity in the manifest,
leaves with the arrays of every chunk.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._archives import read_arrays, write_arrays
from nce_jax._checks import is_key
from nce_jax._disk import DamagedFileError, errors_name, parse_json
from nce_jax.sweeps._identity import describe_axis
from nce_jax.sweeps._program import host_shape, on_host

CONTENTS, _RECORD = "contents.npz", "record"

Step = tuple[str, Any]
"""One step of a path: the kind of the container, and the key in it."""


class Leaf(NamedTuple):
    """A leaf of the values: where it is, its shape and dtype on the host, and its kind of keys."""

    path: tuple[Step, ...]
    host: jax.ShapeDtypeStruct
    generator: str | None


class Contents(NamedTuple):
    """What a stored sweep consists of."""

    axes: dict[str, Any]
    leaves: list[Leaf]


def write_contents(folder: Path, axes: Mapping[str, jax.Array], values: Any) -> None:
    """Writes axes and leaves, of a chunk given by shape and dtype, unless they are there already.

    The shape of a leaf is that of one lane.
    """
    leaves = [
        {"path": [_step(part) for part in path], **_kind(leaf, len(axes))}
        for path, leaf in jax.tree_util.tree_leaves_with_path(values)
    ]
    record = {"axes": {name: _kind(axis) for name, axis in axes.items()}, "leaves": leaves}
    arrays: dict[str, Any] = {
        f"axis_{i}": _plain(on_host(axis)) for i, axis in enumerate(axes.values())
    }
    arrays[_RECORD] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # equal arrays give equal bytes
    path = folder / CONTENTS
    if not path.is_file() or path.read_bytes() != buffer.getvalue():
        with errors_name(folder):
            write_arrays(path, arrays)


def read_contents(folder: Path, identity: Mapping[str, Any]) -> Contents:
    """Reads axes and leaves; raises a ValueError unless they are of the sweep with this identity.

    Raises an OSError if there are none.
    """
    path = folder / CONTENTS
    arrays = read_arrays(path)
    record = parse_json(arrays.pop(_RECORD).tobytes(), f"{path}, {_RECORD}")
    axes = {
        name: _restored(arrays[f"axis_{i}"], kind)
        for i, (name, kind) in enumerate(record["axes"].items())
    }
    found = {f"axis {name}": describe_axis(values) for name, values in axes.items()}
    expected = {name: value for name, value in identity.items() if name.startswith("axis ")}
    if found != expected or ", ".join(axes) != identity["order of the axes"]:
        raise DamagedFileError(f"{path}: expected the axes of the manifest, got others")
    grid = [values.shape[0] for values in axes.values()]
    leaves = [
        Leaf(
            tuple((kind, key) for kind, key in leaf["path"]),
            jax.ShapeDtypeStruct((*grid, *leaf["shape"]), jnp.dtype(leaf["dtype"])),
            leaf["generator"],
        )
        for leaf in record["leaves"]
    ]
    return Contents(axes, leaves)


def nested(leaves: Sequence[tuple[tuple[Step, ...], Any]]) -> Any:
    """Values by path as dictionaries and tuples."""
    if len(leaves) == 1 and not leaves[0][0]:
        return leaves[0][1]
    children: dict[Any, list[Any]] = {}
    for (step, *rest), value in leaves:
        children.setdefault(step, []).append((tuple(rest), value))
    parts = {step: nested(below) for step, below in children.items()}
    if [*parts] == [("item", index) for index in range(len(parts))]:
        return tuple(parts.values())
    return {key: part for (_, key), part in parts.items()}


def as_keys(array: np.ndarray, generator: str | None) -> Any:
    """An array, or the typed keys of which it has the data."""
    return (
        array if generator is None else jax.random.wrap_key_data(jnp.asarray(array), impl=generator)
    )


def _kind(leaf: Any, num_axes: int = 0) -> dict[str, Any]:
    host = host_shape(leaf)
    generator = None
    if is_key(leaf):
        found: list[Any] = []  # of a dtype of keys only a tracer has it
        described = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), described)
        generator = str(found[0])
    return {"shape": list(host.shape[num_axes:]), "dtype": str(host.dtype), "generator": generator}


def _plain(array: np.ndarray) -> np.ndarray:
    """NumPy's format has no bfloat16: such arrays are stored as bytes of the same size."""
    return array.view(np.dtype(array.dtype.str))


def _restored(array: np.ndarray, kind: Mapping[str, Any]) -> Any:
    """On the host: an array of JAX would have the precision of this process."""
    return as_keys(array.view(jnp.dtype(kind["dtype"])), kind["generator"])


def _step(part: Any) -> list[Any]:
    match part:
        case jax.tree_util.DictKey():
            key = part.key
            return ["key", key if isinstance(key, str | int) else str(key)]
        case jax.tree_util.GetAttrKey():
            return ["attribute", part.name]
        case jax.tree_util.SequenceKey():
            return ["item", part.idx]
        case _:
            return ["item", getattr(part, "key", str(part))]
