"""How a grid is cut into chunks that fit into memory: measured, chosen, recorded."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.sweeps._program import RANDOM_AXES, Layout, compiled, shapes


@dataclasses.dataclass(frozen=True)
class Chunking:
    """How a grid was cut into chunks, and the measurements behind it.

    Attributes:
      sizes: entries of every axis in one chunk.
      num_chunks: chunks in all.
      num_devices: devices that a chunk is spread over.
      bytes_per_chunk: memory of one chunk on one device: arguments, temporaries and results of the
        compiled program.
      bytes_per_lane: what one more lane on a device adds to that, where the grid was cut by memory;
        elsewhere the memory of a chunk over its lanes on a device.
      bytes_limit: the memory that a chunk was allowed on one device.
    """

    sizes: dict[str, int]
    num_chunks: int
    num_devices: int
    bytes_per_chunk: int
    bytes_per_lane: float
    bytes_limit: int | float


class Block(NamedTuple):
    """One chunk: per axis where its program begins, and the entries from `start` to `stop` that it
    answers for.
    """

    begin: dict[str, int]
    start: dict[str, int]
    stop: dict[str, int]

    @property
    def num_lanes(self) -> int:
        return math.prod(self.stop[name] - self.start[name] for name in self.start)


def blocks(lengths: Mapping[str, int], sizes: Mapping[str, int], layout: Layout) -> Iterator[Block]:
    """Every chunk of the grid. The last along an axis overlaps the one before, so that all have one
    shape and program.
    """
    starts = [range(0, lengths[name], sizes[name]) for name in lengths]
    for corner in itertools.product(*starts):
        start = dict(zip(lengths, corner, strict=True))
        begin = {
            name: max(0, min(at, padded(lengths, name, layout) - sizes[name]))
            for name, at in start.items()
        }
        yield Block(
            begin, start, {name: min(at + sizes[name], lengths[name]) for name, at in start.items()}
        )


def cut(
    axes: Mapping[str, jax.Array], block: Block, sizes: Mapping[str, int]
) -> dict[str, jax.Array]:
    """The entries of a chunk. Beyond the end of an axis its last entry is repeated, once per idle
    device.
    """
    return {
        name: values[jnp.minimum(block.begin[name] + jnp.arange(sizes[name]), values.shape[0] - 1)]
        for name, values in axes.items()
    }


def own(block: Block) -> tuple[slice, ...]:
    """The part of a chunk's result that it answers for."""
    return tuple(
        slice(block.start[name] - at, block.stop[name] - at) for name, at in block.begin.items()
    )


def padded(lengths: Mapping[str, int], name: str, layout: Layout) -> int:
    """The entries of an axis with those that fill up the last devices."""
    return -(-lengths[name] // layout.unit(name)) * layout.unit(name)


def choose(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    max_lanes: int | None,
    memory_limit: int | None,
) -> Chunking:
    """The largest chunks within both limits, from two measurements per axis that has to be cut."""
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
        raise ValueError(
            f"memory_limit: expected at least the {used} bytes of one lane on each device, got"
            f" {memory_limit}"
        )
    return _record(lengths, sizes, layout, used, per_lane, limit)


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
    """Cuts axis after axis until a chunk fits; memory is affine in the entries of an axis, or
    nearly so.
    """
    per_lane = None
    for name in order:
        unit, whole = layout.unit(name), measure(sizes)
        if whole <= limit or sizes[name] == unit:
            continue
        least = measure({**sizes, name: unit})
        per_unit = max(whole - least, 1) / (sizes[name] // unit - 1)
        per_lane = per_unit * sizes[name] * layout.num_devices / (math.prod(sizes.values()) * unit)
        fitting = unit * (1 + max(0, math.floor((limit - least) / per_unit)))
        sizes = {**sizes, name: _even(lengths, name, min(fitting, sizes[name] - unit), layout)}
        # The compiler's plans are not quite affine.
        while sizes[name] > unit and (used := measure(sizes)) > limit:
            smaller = min(math.floor(sizes[name] * limit / used), sizes[name] - unit)
            sizes = {**sizes, name: _even(lengths, name, smaller, layout)}
    return sizes, per_lane


def _even(lengths: Mapping[str, int], name: str, most: int, layout: Layout) -> int:
    """The size of chunks of at most `most` entries that are as equal as can be: no small last one
    that costs as much.
    """
    unit = layout.unit(name)
    total, most = padded(lengths, name, layout) // unit, max(1, most // unit)
    return unit * -(-total // -(-total // most))


def memory(program: Any) -> int:
    """Bytes that one call of a compiled program needs on each device, as far as the backend
    tells.
    """
    analysis = program.memory_analysis()
    if analysis is None:
        return 0
    return (
        analysis.temp_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.argument_size_in_bytes
    )


def free_memory(layout: Layout) -> int | float:
    """Bytes that a chunk may use on each device: what is free there, or of the host, half of it in
    equal shares.
    """
    statistics = [device.memory_stats() or {} for device in layout.devices]
    if all("bytes_limit" in each for each in statistics):
        return min(each["bytes_limit"] - each.get("bytes_in_use", 0) for each in statistics)
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 / layout.num_devices
    return math.inf
