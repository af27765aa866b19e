"""A pure function over the product of named axes: laid out, cut, run, put together."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from nce_jax._checks import check_positive_int
from nce_jax.sweeps._chunks import Block, Chunking, blocks, choose, cut, own, padded
from nce_jax.sweeps._program import (
    Layout,
    as_described,
    compiled,
    host_shape,
    make_layout,
    on_host,
    run,
    shapes,
)
from nce_jax.sweeps._result import SweepResult
from nce_jax.sweeps._store import Store, check_identity, identity


def sweep(
    fn: Callable[..., Any],
    *,
    mesh: Mesh | None = None,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    max_lanes: int | None = None,
    memory_limit: int | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
    **axes: Any,
) -> SweepResult:
    """Evaluates `fn(**point)` at every point of a grid, in one compilation.

    The axes are mapped one inside the other, and what does not depend on an axis is not computed
    along it: with `sweep(train, magnification=..., seed=...)` the random draws of a seed are made
    once and shared by every magnification, which compares them on the same samples and saves the
    time. A point of the grid is called a lane.

    A grid too large for the memory runs in chunks, through one compiled program. Their size is
    chosen from the memory that the compiler says a lane takes, and recorded in the result. The axis
    named `seed` or `key` is cut first, so that draws stay shared, then the longest.

    Args:
      fn: a pure function of keyword arguments, one per axis, that returns any pytree of arrays.
        Seeds are an axis like any other: `fn` makes its key of the seed.
      mesh: devices over all of which the lanes are spread, along the axis `seed` or `key` if it has
        an entry for each, or else along the longest. No device waits for another before a chunk
        ends. None runs on the default device.
      folder: where finished chunks are kept, each with its digest; None keeps nothing. One process
        at a time.
      resume: go on with the sweep in `folder`, or begin there. It has to be the same sweep:
        function, axes, devices, versions. Its chunks are those of the folder, whatever the limits
        now say, and the result has, on CPU, the same bytes as one that was never interrupted. A
        damaged chunk is named in a `ChunkWarning` and computed again. The function is compared by
        what is compiled of it; a change in what it calls back on the host goes unseen.
      max_lanes: the largest number of lanes to run at once, but not less than one per device; None
        leaves it to the memory.
      memory_limit: bytes that a chunk may use on each device; None takes what is free there, or an
        equal share of half of what the host has free.
      progress: True shows a bar, which moves with every chunk; a function is called as
        `progress(done, total)`, in lanes, after every chunk.
      **axes: the values of each axis, arrays with the axis first (typed keys too), in the order of
        the result's axes.

    Returns:
      A `SweepResult`: what `fn` returns, every leaf with one leading axis per named axis. (JAX
      sorts the keys of dictionaries: look leaves up by name, not by position.)

    Raises:
      ValueError: no axis, an axis that is a scalar or empty, a limit below one lane, a mesh without
        devices or with those of other processes, `resume` without a folder, or a folder with
        another sweep (what differs is named).
      TypeError: `fn` does not take the axes as keywords, `mesh` is no mesh, or a limit is no
        integer.
      FileExistsError: `folder` holds a sweep and `resume` is False.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> def estimate(kappa, seed):
      ...     keys = jax.random.split(
      ...         jax.random.key(seed)
      ...     )  # drawn once per seed, not once per kappa
      ...     s_data, s_noise = (
      ...         1 + jax.random.normal(keys[0], (100,)),
      ...         jax.random.normal(keys[1], (100,)),
      ...     )
      ...     return nce_jax.solve_log_partition(s_data, s_noise, magnification=kappa).log_partition
      >>> result = nce_jax.sweep(estimate, kappa=jnp.array([1.0, 10.0, 100.0]), seed=jnp.arange(5))
      >>> result.values.shape, list(result.axes)
      ((3, 5), ['kappa', 'seed'])
      >>> result.mean("seed").mean.shape, result.failed.any().item()
      ((3,), False)

    References:
      Bradbury et al., JAX: composable transformations of Python+NumPy programs, 2018 (vmap).
    """
    for name, limit in (("max_lanes", max_lanes), ("memory_limit", memory_limit)):
        if limit is not None:
            check_positive_int(name, limit)
    axes, layout = _laid_out(axes, mesh)
    store = _open(folder, resume)
    chunking = _chunking(fn, axes, layout, store, (max_lanes, memory_limit))
    total = math.prod(values.shape[0] for values in axes.values())
    with _reporter(progress, total) as report:
        if store is None and mesh is None and chunking.num_chunks == 1:
            values = run(fn, axes, layout)  # stays where it was computed
            report(total)
        else:
            values = _gather(fn, axes, layout, chunking, store, report)
    return SweepResult(axes, values, chunking)


def compiled_sweep(
    fn: Callable[..., Any], *, mesh: Mesh | None = None, **axes: Any
) -> jax.stages.Compiled:
    """The compiled program of a grid in one piece, to be read and not to be run: its memory, its
    work, its text.

    It is the one that `sweep` runs where the grid fits into memory, and compiling it here spares
    the sweep that.

    Args:
      fn: the function, as for `sweep`.
      mesh: the devices, as for `sweep`.
      **axes: the values of each axis, as for `sweep`.

    Returns:
      What `jax.jit(...).lower(...).compile()` gives, with `memory_analysis()`, `cost_analysis()`
      (of each device) and `as_text()`.

    Raises:
      ValueError: no axis, an axis that is a scalar or empty, a mesh without devices or with those
        of other processes.
      TypeError: `fn` does not take the axes as keywords, or `mesh` is no mesh.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import sweeps
      >>> program = sweeps.compiled_sweep(lambda a, b: a * b, a=jnp.arange(3.0), b=jnp.arange(4.0))
      >>> program.out_info.shape, program.cost_analysis()["flops"]
      ((3, 4), 12.0)
    """
    axes, layout = _laid_out(axes, mesh)
    lengths = {name: values.shape[0] for name, values in axes.items()}
    return compiled(
        fn, shapes(axes, {name: padded(lengths, name, layout) for name in lengths}), layout
    )


def _laid_out(axes: Mapping[str, Any], mesh: Mesh | None) -> tuple[dict[str, jax.Array], Layout]:
    """The axes as arrays, and where they run."""
    if not axes:
        raise ValueError("axes: expected at least one named axis, got none")
    arrays = {name: _as_axis(name, values) for name, values in axes.items()}
    return arrays, make_layout({name: values.shape[0] for name, values in arrays.items()}, mesh)


def _as_axis(name: str, values: Any) -> jax.Array:
    values = jnp.asarray(values)
    if values.ndim == 0 or values.shape[0] == 0:
        raise ValueError(
            f"{name}: expected an array with at least one entry on its first axis, got shape"
            f" {values.shape}"
        )
    return values


def _open(folder: str | PathLike[str] | None, resume: bool) -> Store | None:
    if folder is None:
        if resume:
            raise ValueError("resume: expected a folder to go on with, got folder=None")
        return None
    store = Store(Path(folder))
    if not resume and store.holds_a_sweep():
        raise FileExistsError(
            f"folder: {folder} holds a sweep already; resume=True goes on with it"
        )
    store.sweep_out()
    return store


def _chunking(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    store: Store | None,
    limits: tuple[int | None, int | None],
) -> Chunking:
    """That of the sweep in the store, which has to be this one; or a new one, which is recorded
    there.
    """
    if store is not None and store.holds_a_sweep():
        saved, chunking = store.recorded()
        check_identity(saved, identity(fn, axes, layout, chunking.sizes), store.folder)
        return chunking
    chunking = choose(fn, axes, layout, *limits)
    if store is not None:
        store.begin(identity(fn, axes, layout, chunking.sizes), chunking)
    return chunking


def _gather(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    chunking: Chunking,
    store: Store | None,
    report: Callable[[int], None],
) -> Any:
    """The whole result on the host, chunk after chunk; those that the store has are read, the
    others computed and kept.
    """
    lengths = {name: values.shape[0] for name, values in axes.items()}
    described, structure = jax.tree.flatten(
        compiled(fn, shapes(axes, chunking.sizes), layout).out_info
    )
    hosted = [host_shape(leaf) for leaf in described]
    whole = [np.empty((*lengths.values(), *leaf.shape[len(axes) :]), leaf.dtype) for leaf in hosted]
    done = 0
    for number, block in enumerate(blocks(lengths, chunking.sizes, layout)):
        part = None if store is None else store.load(number, [leaf.dtype for leaf in hosted])
        if part is None:
            part = _compute(fn, axes, layout, chunking, block)
            if store is not None:
                store.save(number, part)
        where = tuple(slice(block.start[name], block.stop[name]) for name in axes)
        for leaf, piece in zip(whole, part, strict=True):
            leaf[where] = piece
        done += block.num_lanes
        report(done)
    return jax.tree.unflatten(structure, map(as_described, whole, described))


def _compute(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    chunking: Chunking,
    block: Block,
) -> list[np.ndarray]:
    values = run(fn, cut(axes, block, chunking.sizes), layout)
    return [on_host(leaf)[own(block)] for leaf in jax.tree.leaves(values)]


@contextlib.contextmanager
def _reporter(
    progress: bool | Callable[[int, int], None] | None, total: int
) -> Iterator[Callable[[int], None]]:
    """A function of the lanes that are done."""
    if callable(progress):
        yield lambda done: progress(done, total)
        return
    with tqdm(total=total, disable=not progress, unit="lane", dynamic_ncols=True) as bar:
        yield lambda done: bar.update(done - bar.n)
