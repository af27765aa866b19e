"""A pure function over the product of named axes, as one compiled program."""

import functools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax.sweeps._result import SweepResult


def sweep(
    fn: Callable[..., Any],
    *,
    max_lanes: int | None = None,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **axes: Any,
) -> SweepResult:
    """Evaluates `fn(**point)` at every point of a grid, in one compilation.

    The axes are mapped one inside the other, and what does not depend on an axis is not computed along it: with
    `sweep(train, magnification=..., seed=...)` the random draws of a seed are made once and shared by every magnification,
    which compares them on the same samples and saves the time. A grid too large for the memory runs in chunks of its longest
    axis, through the same compiled program.

    Args:
      fn: a pure function of keyword arguments, one per axis, that returns any pytree of arrays. Seeds are an axis like any
        other: `fn` makes its key of the seed.
      max_lanes: the largest number of grid points to run at once; None leaves it to the memory.
      memory_limit: bytes that one chunk may use; None takes the device's memory, or half of what the host has free.
      progress: called as `progress(done, total)` after every chunk.
      **axes: the values of each axis, arrays with the axis first (typed keys too), in the order of the result's axes.

    Returns:
      A `SweepResult`: what `fn` returns, every leaf with one leading axis per named axis. (JAX sorts the keys of
      dictionaries: look leaves up by name, not by position.)

    Raises:
      ValueError: no axis, an axis that is a scalar or empty.
      TypeError: `fn` does not take the axes as keywords.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> def estimate(kappa, seed):
      ...     keys = jax.random.split(jax.random.key(seed))  # drawn once per seed, not once per kappa
      ...     s_data, s_noise = 1 + jax.random.normal(keys[0], (100,)), jax.random.normal(keys[1], (100,))
      ...     return nce_jax.solve_log_partition(s_data, s_noise, magnification=kappa).log_partition
      >>> result = nce_jax.sweep(estimate, kappa=jnp.array([1.0, 10.0, 100.0]), seed=jnp.arange(5))
      >>> result.values.shape, list(result.axes)
      ((3, 5), ['kappa', 'seed'])

    References:
      Bradbury et al., JAX: composable transformations of Python+NumPy programs, 2018 (vmap).
    """
    if max_lanes is not None:
        check_positive_int("max_lanes", max_lanes)
    axes = {name: _check_axis(name, values) for name, values in axes.items()}
    if not axes:
        raise ValueError("axes: expected at least one named axis, got none")
    name, size = _chunk(fn, axes, max_lanes, memory_limit)
    total = axes[name].shape[0]
    position, parts = list(axes).index(name), []
    for start in range(0, total, size):
        # The last chunk overlaps the one before it, so that every chunk has the same shape and program.
        begin = max(0, min(start, total - size))
        part = _run(fn, {**axes, name: axes[name][begin : begin + size]})
        parts.append(
            jax.tree.map(lambda leaf, skip=start - begin: jax.lax.slice_in_dim(leaf, skip, None, axis=position), part)
        )
        if progress is not None:
            progress(min(start + size, total), total)
    values = parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=position), *parts)
    return SweepResult(axes, values, num_chunks=len(parts))


def _check_axis(name: str, values: Any) -> jax.Array:
    values = jnp.asarray(values)
    if values.ndim == 0 or values.shape[0] == 0:
        raise ValueError(f"{name}: expected an array with at least one entry on its first axis, got shape {values.shape}")
    return values


def _run(fn: Callable[..., Any], axes: dict[str, jax.Array]) -> Any:
    return _compile(fn, axes)(*axes.values())


def _compile(fn: Callable[..., Any], axes: dict[str, jax.Array]) -> Any:
    return _compiled(
        fn, tuple((name, values.shape, values.dtype) for name, values in axes.items()), jax.config.read("jax_enable_x64")
    )


@functools.lru_cache(maxsize=64)
def _compiled(fn: Callable[..., Any], axes: tuple, x64: bool) -> Any:
    """The compiled grid; kept, so that a second sweep of the same function and shapes compiles nothing."""
    names = [name for name, _, _ in axes]

    def mapped(*point):
        return fn(**dict(zip(names, point, strict=True)))

    for position in reversed(range(len(names))):
        mapped = jax.vmap(mapped, in_axes=tuple(0 if i == position else None for i in range(len(names))))
    return jax.jit(mapped).lower(*(jax.ShapeDtypeStruct(shape, dtype) for _, shape, dtype in axes)).compile()


def _chunk(
    fn: Callable[..., Any], axes: dict[str, jax.Array], max_lanes: int | None, memory_limit: int | None
) -> tuple[str, int]:
    """The axis to cut and the length of its pieces: the longest axis, halved until one piece fits."""
    name = max(axes, key=lambda axis: axes[axis].shape[0])
    size = axes[name].shape[0]
    others = math.prod(values.shape[0] for values in axes.values()) // size
    if max_lanes is not None:
        size = min(size, max(1, max_lanes // others))
    limit = _free_memory() if memory_limit is None else memory_limit
    while size > 1 and _memory(_compile(fn, {**axes, name: axes[name][:size]})) > limit:
        size = -(-size // 2)
    return name, size


def _memory(compiled: Any) -> int:
    """Bytes that one call of a compiled program needs, as far as the backend tells."""
    analysis = compiled.memory_analysis()
    return 0 if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def _free_memory() -> float:
    statistics = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return math.inf
