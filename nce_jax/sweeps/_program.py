"""The compiled grid: a function mapped over all axes, and split over devices along one axis."""

import functools
import hashlib
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nce_jax._checks import describe, is_key
from nce_jax._eager import default_device
from nce_jax.sweeps._axes import check_returned

RANDOM_AXES = ("seed", "key")
"""Names of the axes that random draws depend on. They are cut and split first, so that the draws
stay shared by all other axes."""


class Layout(NamedTuple):
    """The devices that a grid runs on.

    Attributes:
      lanes: a mesh of one axis over all devices, or None for the default device.
      split: the axis whose entries are distributed over the devices.
    """

    lanes: Mesh | None
    split: str

    @property
    def num_devices(self) -> int:
        return len(self.devices)

    @property
    def devices(self) -> list[jax.Device]:
        return [default_device()] if self.lanes is None else list(self.lanes.devices.flat)

    def unit(self, name: str) -> int:
        """The smallest number of entries of an axis in a chunk: one, or one per device."""
        return self.num_devices if name == self.split else 1


def make_layout(lengths: Mapping[str, int], mesh: Mesh | None) -> Layout:
    """Splits one axis over all devices of the mesh.

    It is `seed` or `key` if that has an entry for each device, else the longest axis.
    """
    longest = max(lengths, key=lambda name: lengths[name])
    if mesh is None:
        return Layout(None, longest)
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh, got {describe(mesh)}")
    if mesh.devices.size == 0:
        raise ValueError("mesh: expected at least one device, got none")
    process = jax.process_index()
    if foreign := [device for device in mesh.devices.flat if device.process_index != process]:
        raise ValueError(
            f"mesh: expected devices of this process ({process}), got {foreign[0]} among"
            f" {mesh.devices.size}"
        )
    long_enough = [name for name in RANDOM_AXES if lengths.get(name, 0) >= mesh.devices.size]
    # A second axis of the mesh would only repeat the lanes: all devices take lanes instead.
    return Layout(Mesh(mesh.devices.ravel(), ("lane",)), (long_enough or [longest])[0])


def run(fn: Callable[..., Any], axes: Mapping[str, jax.Array], layout: Layout) -> Any:
    """Evaluates `fn` on the product of the axes; results have one leading axis per named axis."""
    if layout.lanes is None:
        values = [_on_device(values, layout.devices[0]) for values in axes.values()]
    else:
        shardings = zip(axes.values(), _shardings(tuple(axes), layout), strict=True)
        values = [jax.device_put(values, sharding) for values, sharding in shardings]
    return compiled(fn, axes, layout)(*values)


def _on_device(values: jax.Array, device: jax.Device) -> jax.Array:
    """The values on one device. Those that are there already stay free to be moved by JAX."""
    return values if values.devices() == {device} else jax.device_put(values, device)


def compiled(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    """Returns the program for axes of these shapes.

    A second call with the same function and shapes compiles nothing. The cache is that of JAX,
    which takes account of all settings that a program depends on (x64, the precision of products,
    how random bits are made, the devices, ...). A second cache would have to list them all.
    """
    return _lowered(fn, axes, layout).compile()


def shapes(axes: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes of the axes, cut or padded to these sizes."""
    return {
        name: jax.ShapeDtypeStruct((sizes[name], *v.shape[1:]), v.dtype) for name, v in axes.items()
    }


def digest(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> str:
    """Returns the SHA-256 of the program's text before compilation.

    The text contains the function with its constants, the shapes and the devices.
    """
    return hashlib.sha256(_lowered(fn, axes, layout).as_text().encode()).hexdigest()


def _lowered(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    return _traced(fn, axes, layout).lower()


def jaxpr(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    """Returns the jaxpr of the program, which is traced once for both."""
    return _traced(fn, axes, layout).jaxpr.jaxpr


def _traced(fn: Callable[..., Any], axes: Mapping[str, Any], layout: Layout) -> Any:
    described = [jax.ShapeDtypeStruct(values.shape, values.dtype) for values in axes.values()]
    # The one setting of a trace that JAX's caches leave out: the generator of new keys.
    generator = jax.config.jax_default_prng_impl  # type: ignore[attr-defined]
    return _jitted(fn, tuple(axes), layout, generator).trace(*described)


_PROGRAMS: dict[int, dict[Any, Any]] = {}
"""The jitted functions of every function that was swept, by its identity: callables that are equal
may differ, as 1 and True do. They are dropped with the function, and the data that it refers to
with them."""


def _jitted(fn: Callable[..., Any], names: tuple[str, ...], layout: Layout, generator: str) -> Any:
    """Returns the jitted function of the whole grid.

    It is kept, since JAX finds traces and programs by the identity of the jitted function.
    """
    try:
        reference = weakref.ref(fn)
    except TypeError:  # a tuple that can be called, for example
        return _jitted_strongly(_Same(fn), names, layout, generator)
    if id(fn) not in _PROGRAMS:
        _PROGRAMS[id(fn)] = {}
        weakref.finalize(fn, _PROGRAMS.pop, id(fn), None)
    programs = _PROGRAMS[id(fn)]
    if (names, layout, generator) not in programs:
        # What is kept must not keep the function.
        programs[names, layout, generator] = _mapped(reference, names, layout)
    return programs[names, layout, generator]


class _Same:
    """A callable that is equal to itself alone."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.fn is other.fn

    def __hash__(self) -> int:
        return id(self.fn)


@functools.lru_cache(maxsize=4)
def _jitted_strongly(same: _Same, names: tuple[str, ...], layout: Layout, generator: str) -> Any:
    """The same for a callable without weak references, of which the last few are kept."""
    del generator
    return _mapped(lambda: same.fn, names, layout)


def as_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose programs may be kept.

    What is not hashable may change, as a dataclass may: its programs serve a single sweep.
    """
    return fn if isinstance(fn, Hashable) else functools.partial(fn)


def _mapped(reference: Callable[[], Any], names: tuple[str, ...], layout: Layout) -> Any:
    """The jitted function of the grid, for a reference to the function of one point."""

    def mapped(*point):
        returned = reference()(**dict(zip(names, point, strict=True)))
        check_returned(returned)
        return returned

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
    # Every device runs its loops to their end by itself. The check is about values that devices
    # exchange, and here they exchange none.
    mapped = jax.shard_map(
        mapped, mesh=layout.lanes, in_specs=inputs, out_specs=spec, check_vma=False
    )
    return jax.jit(mapped, in_shardings=_shardings(names, layout))


def _shardings(names: tuple[str, ...], layout: Layout) -> tuple[NamedSharding, ...]:
    assert layout.lanes is not None
    specs = (PartitionSpec("lane") if name == layout.split else PartitionSpec() for name in names)
    return tuple(NamedSharding(layout.lanes, spec) for spec in specs)


def on_host(leaf: jax.Array | np.ndarray) -> np.ndarray:
    """Returns a leaf as a NumPy array; typed keys as their data."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def host_shape(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns the shape and dtype of `on_host` of a leaf that is given by shape and dtype."""
    described = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return jax.eval_shape(jax.random.key_data, described) if is_key(leaf) else described


def as_described(array: np.ndarray, leaf: Any) -> Any:
    """Returns a leaf from the host as `fn` gave it: the data of keys as typed keys again."""
    if not is_key(leaf):
        return array
    implementations: list[Any] = []  # of a dtype of keys only a tracer has it
    described = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    jax.eval_shape(lambda keys: implementations.append(jax.random.key_impl(keys)), described)
    return jax.random.wrap_key_data(jnp.asarray(array), impl=implementations[0])
