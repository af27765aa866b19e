"""The compiled grid: the function mapped over every axis, and split over devices along one of
them.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nce_jax._checks import is_key

RANDOM_AXES = ("seed", "key")
"""Names of axes that random draws belong to: cut and split first, so that the draws stay shared by
all other axes."""


class Layout(NamedTuple):
    """Where a grid runs.

    Attributes:
      lanes: a mesh of one axis over all devices, or None for the default device.
      split: the axis whose entries are dealt out to the devices.
    """

    lanes: Mesh | None
    split: str

    @property
    def num_devices(self) -> int:
        return len(self.devices)

    @property
    def devices(self) -> list[jax.Device]:
        return jax.devices()[:1] if self.lanes is None else list(self.lanes.devices.flat)

    def unit(self, name: str) -> int:
        """The entries of an axis that belong together: one, or one per device."""
        return self.num_devices if name == self.split else 1


def make_layout(lengths: Mapping[str, int], mesh: Mesh | None) -> Layout:
    """One grid axis over all devices of the mesh: that of the draws if it is long enough, or else
    the longest.
    """
    longest = max(lengths, key=lambda name: lengths[name])
    if mesh is None:
        return Layout(None, longest)
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh, got {type(mesh).__name__}")
    if mesh.devices.size == 0:
        raise ValueError("mesh: expected at least one device, got none")
    process = jax.process_index()
    if others := [device for device in mesh.devices.flat if device.process_index != process]:
        raise ValueError(
            f"mesh: expected devices of this process ({process}), got {others[0]} among"
            f" {mesh.devices.size}"
        )
    enough = [name for name in RANDOM_AXES if lengths.get(name, 0) >= mesh.devices.size]
    # Lanes have no use for a second axis of the mesh: its devices take lanes as well.
    return Layout(Mesh(mesh.devices.ravel(), ("lane",)), (enough or [longest])[0])


def run(fn: Callable[..., Any], axes: Mapping[str, jax.Array], layout: Layout) -> Any:
    """What `fn` returns on the product of the axes, with one leading axis per named axis."""
    values = list(axes.values())
    if layout.lanes is not None:
        values = [
            jax.device_put(v, s)
            for v, s in zip(values, _shardings(tuple(axes), layout), strict=True)
        ]
    return compiled(fn, axes, layout)(*values)


def compiled(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    """The compiled program for axes of these shapes; the same function and shapes a second time
    compile nothing.

    It is JAX that keeps traces and programs: it knows which of its settings they hang on (x64, the
    precision of products, how random bits are made, the devices, ...), and a cache in front of it
    would have to know them all.
    """
    return _lowered(fn, axes, layout).compile()


def shapes(axes: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, jax.ShapeDtypeStruct]:
    """The axes cut or padded to these sizes, as descriptions."""
    return {
        name: jax.ShapeDtypeStruct((sizes[name], *v.shape[1:]), v.dtype) for name, v in axes.items()
    }


def digest(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> str:
    """SHA-256 of the program's text before compilation: the function, its constants, the shapes and
    the devices.
    """
    return hashlib.sha256(_lowered(fn, axes, layout).as_text().encode()).hexdigest()


def _lowered(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    described = [jax.ShapeDtypeStruct(values.shape, values.dtype) for values in axes.values()]
    # The one setting of a traced value that JAX's own caches leave out: which generator a new key
    # is of.
    generator = jax.config.jax_default_prng_impl  # type: ignore[attr-defined]
    return _jitted(fn, tuple(axes), layout, generator).lower(*described)


@functools.lru_cache(maxsize=64)
def _jitted(fn: Callable[..., Any], names: tuple[str, ...], layout: Layout, generator: str) -> Any:
    """Kept, since JAX keeps what it has traced and compiled by this very object."""

    def mapped(*point):
        return fn(**dict(zip(names, point, strict=True)))

    for position in reversed(range(len(names))):
        mapped = jax.vmap(
            mapped, in_axes=tuple(0 if i == position else None for i in range(len(names)))
        )
    if layout.lanes is None:
        return jax.jit(mapped)
    spec = PartitionSpec(*(["lane" if name == layout.split else None for name in names]))
    inputs = tuple(
        PartitionSpec("lane") if name == layout.split else PartitionSpec() for name in names
    )
    # Each device runs its own loops to its own end. Nothing is exchanged, so there is nothing for
    # the check to find.
    mapped = jax.shard_map(
        mapped, mesh=layout.lanes, in_specs=inputs, out_specs=spec, check_vma=False
    )
    return jax.jit(mapped, in_shardings=_shardings(names, layout))


def _shardings(names: tuple[str, ...], layout: Layout) -> tuple[NamedSharding, ...]:
    assert layout.lanes is not None
    specs = (PartitionSpec("lane") if name == layout.split else PartitionSpec() for name in names)
    return tuple(NamedSharding(layout.lanes, spec) for spec in specs)


def on_host(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """A leaf as NumPy has it; keys as their words."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def host_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype that a described leaf has on the host."""
    described = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return jax.eval_shape(jax.random.key_data, described) if is_key(leaf) else described


def as_described(array: np.ndarray, leaf: Any) -> Any:
    """A leaf from the host as `fn` gave it: words as typed keys again."""
    if not is_key(leaf):
        return array
    implementations: list[Any] = []  # only a tracer tells which one a dtype stands for
    described = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    jax.eval_shape(lambda keys: implementations.append(jax.random.key_impl(keys)), described)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=implementations[0])
