"""Cuts a grid into chunks that fit into the memory, which is measured on compiled programs."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.sweeps._program import RANDOM_AXES, Layout, compiled, shapes


class MemoryLimitError(ValueError):
    """A memory limit of a sweep is less than one lane needs."""


@dataclasses.dataclass(frozen=True)
class Chunking:
    """The chunks that a grid was cut into, and the measured memory behind that choice.

    Attributes:
      sizes: number of entries of every axis in one chunk.
      num_chunks: number of chunks.
      num_devices: number of devices that a chunk is spread over.
      bytes_per_chunk: memory of one chunk on one device: arguments, temporaries and results of the
        compiled program.
      bytes_per_lane: memory that one more lane on a device adds, where the grid was cut by memory;
        elsewhere the memory of a chunk divided by its number of lanes on a device.
      bytes_limit: memory that a chunk may use on one device.
    """

    sizes: dict[str, int]
    num_chunks: int
    num_devices: int
    bytes_per_chunk: int
    bytes_per_lane: float
    bytes_limit: int | float


class Block(NamedTuple):
    """One chunk of a grid, by ranges of entries per axis.

    Its program begins at `begin`; the result takes the entries from `start` to `stop` from it.
    """

    begin: dict[str, int]
    start: dict[str, int]
    stop: dict[str, int]

    @property
    def num_lanes(self) -> int:
        return math.prod(self.stop[name] - self.start[name] for name in self.start)


def blocks(lengths: Mapping[str, int], sizes: Mapping[str, int], layout: Layout) -> Iterator[Block]:
    """Yields every chunk of the grid.

    The last one along an axis overlaps the one before, so that all have the same shape and program.
    """
    starts = [range(0, lengths[name], sizes[name]) for name in lengths]
    for corner in itertools.product(*starts):
        start = dict(zip(lengths, corner, strict=True))
        begin = {
            name: max(0, min(first, padded(lengths, name, layout) - sizes[name]))
            for name, first in start.items()
        }
        stop = {name: min(first + sizes[name], lengths[name]) for name, first in start.items()}
        yield Block(begin, start, stop)


def cut(
    axes: Mapping[str, jax.Array], block: Block, sizes: Mapping[str, int]
) -> dict[str, jax.Array]:
    """Returns the entries of a chunk.

    Beyond the end of an axis its last entry is repeated, once per idle device.
    """
    return {
        name: values[jnp.minimum(block.begin[name] + jnp.arange(sizes[name]), values.shape[0] - 1)]
        for name, values in axes.items()
    }


def result_part(block: Block) -> tuple[slice, ...]:
    """Returns the part of a chunk's values that enters the result."""
    return tuple(
        slice(block.start[name] - begin, block.stop[name] - begin)
        for name, begin in block.begin.items()
    )


def padded(lengths: Mapping[str, int], name: str, layout: Layout) -> int:
    """Returns the length of an axis, rounded up to a multiple of the devices along it."""
    return -(-lengths[name] // layout.unit(name)) * layout.unit(name)


def choose_chunking(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    max_lanes: int | None,
    memory_limit: int | None,
) -> Chunking:
    """Chooses the largest chunks within both limits, by two measurements per axis that is cut."""
    lengths = {name: values.shape[0] for name, values in axes.items()}
    sizes = {name: padded(lengths, name, layout) for name in lengths}
    order = sorted(lengths, key=lambda name: (name not in RANDOM_AXES, -lengths[name]))
    for name in order:
        if max_lanes is not None and (lanes := math.prod(sizes.values())) > max_lanes:
            sizes[name] = _even(lengths, name, max_lanes * sizes[name] // lanes, layout)
    limit = free_memory(layout) if memory_limit is None else memory_limit

    def measure(sizes: Mapping[str, int]) -> int:
        return memory(compiled(fn, shapes(axes, sizes), layout))

    sizes, per_lane = _fit(measure, lengths, sizes, order, layout, limit)
    used = measure(sizes)
    if used > limit and memory_limit is not None:
        raise MemoryLimitError(
            f"memory_limit: expected at least the {used} bytes of one lane on each device, got"
            f" {memory_limit}"
        )
    return _record(lengths, sizes, layout, used, per_lane, limit)


def chunking_of(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    sizes: Mapping[str, int],
    memory_limit: int | None,
) -> Chunking:
    """Returns the chunking of given sizes, with its memory measured."""
    lengths = {name: values.shape[0] for name, values in axes.items()}
    limit = free_memory(layout) if memory_limit is None else memory_limit
    used = memory(compiled(fn, shapes(axes, sizes), layout))
    return _record(lengths, sizes, layout, used, None, limit)


def _record(
    lengths: Mapping[str, int],
    sizes: Mapping[str, int],
    layout: Layout,
    used: int,
    per_lane: float | None,
    limit: int | float,
) -> Chunking:
    count = math.prod(-(-lengths[name] // sizes[name]) for name in lengths)
    lanes = math.prod(sizes.values()) / layout.num_devices
    return Chunking(
        dict(sizes),
        count,
        layout.num_devices,
        used,
        used / lanes if per_lane is None else per_lane,
        limit,
    )


def _fit(
    measure: Callable[[Mapping[str, int]], int],
    lengths: Mapping[str, int],
    sizes: dict[str, int],
    order: list[str],
    layout: Layout,
    limit: int | float,
) -> tuple[dict[str, int], float | None]:
    """Cuts one axis after another until a chunk fits.

    The memory is nearly affine in the number of entries of an axis.
    """
    per_lane = None
    for name in order:
        unit, whole = layout.unit(name), measure(sizes)
        if whole <= limit or sizes[name] == unit:
            continue
        smallest = measure({**sizes, name: unit})
        per_unit = max(whole - smallest, 1) / (sizes[name] // unit - 1)
        per_lane = per_unit * sizes[name] * layout.num_devices / (math.prod(sizes.values()) * unit)
        fitting = unit * (1 + max(0, math.floor((limit - smallest) / per_unit)))
        sizes = {**sizes, name: _even(lengths, name, min(fitting, sizes[name] - unit), layout)}
        # The memory that the compiler plans is not exactly affine.
        while sizes[name] > unit and (used := measure(sizes)) > limit:
            smaller = min(math.floor(sizes[name] * limit / used), sizes[name] - unit)
            sizes = {**sizes, name: _even(lengths, name, smaller, layout)}
    return sizes, per_lane


def _even(lengths: Mapping[str, int], name: str, max_size: int, layout: Layout) -> int:
    """Returns the smallest size with as few chunks as `max_size` gives.

    A small last chunk would cost as much as any other.
    """
    unit = layout.unit(name)
    total, max_units = padded(lengths, name, layout) // unit, max(1, max_size // unit)
    return unit * -(-total // -(-total // max_units))


def memory(program: Any) -> int:
    """Returns the bytes that a call of a program needs on each device; 0 if they are unknown."""
    analysis = program.memory_analysis()
    if analysis is None:
        return 0
    return (
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.argument_size_in_bytes
    )


def free_memory(layout: Layout) -> int | float:
    """Returns the bytes that a chunk may use on each device.

    It is the free memory of the device, or an equal part of half of the host's free memory.
    """
    statistics = [device.memory_stats() or {} for device in layout.devices]
    if all("bytes_limit" in stats for stats in statistics):
        return min(stats["bytes_limit"] - stats.get("bytes_in_use", 0) for stats in statistics)
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 / layout.num_devices
    return math.inf
