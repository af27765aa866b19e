"""Evaluates a pure function on a grid: lays it out, cuts it into chunks, runs and joins them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from nce_jax._checks import check_positive_int
from nce_jax._disk import plain
from nce_jax._options import as_folder, check_resume
from nce_jax.sweeps._axes import as_axis, check_axes, check_progress
from nce_jax.sweeps._chunks import (
    Block,
    Chunking,
    blocks,
    choose_chunking,
    chunking_of,
    cut,
    padded,
    result_part,
)
from nce_jax.sweeps._contents import write_contents
from nce_jax.sweeps._generators import warn_of_dependent_draws
from nce_jax.sweeps._identity import check_identity, identity
from nce_jax.sweeps._program import (
    Layout,
    as_described,
    as_function,
    compiled,
    host_shape,
    jaxpr,
    make_layout,
    on_host,
    run,
    shapes,
)
from nce_jax.sweeps._result import SweepResult
from nce_jax.sweeps._store import Store


def sweep(
    fn: Callable[..., Any],
    axes: Mapping[str, Any],
    *,
    mesh: Mesh | None = None,
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    max_lanes: int | None = None,
    memory_limit: int | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> SweepResult:
    """Evaluates a function at every point of a grid of named axes, in one compilation.

    The axes are mapped one inside the other, and what does not depend on an axis is not computed
    along it: with `axes={"magnification": ..., "seed": ...}` the random draws of a seed are made
    once and shared by all magnifications, which compares them on the same samples and saves time.
    A point of the grid is called a lane.

    A grid that is too large for the memory runs in chunks, through one compiled program. The size
    of a chunk follows from the memory that the compiler reports for a lane, and is recorded in the
    result. The axis named `seed` or `key` is cut first, so that draws stay shared, then the
    longest axis.

    Args:
      fn: a pure function of keyword arguments, one per axis, that returns any pytree of arrays.
        Seeds are an axis like any other: `fn` makes its key from the seed. Draws by keys of `rbg`
        depend under vmap on the lanes that run together: a `DependentDrawsWarning` says so.
      axes: name -> values of each axis, arrays with the axis first (typed keys too), in the order
        of the result's axes. `fn` is called with one entry of each, by name.
      mesh: devices over which the lanes are spread, along the axis `seed` or `key` if it has at
        least one entry per device, else along the longest axis. No device waits for another before
        the end of a chunk. None runs on the default device.
      folder: where finished chunks are stored, each with its digest, for `resume`, and for
        `load_sweep`, which reads the result back; None stores nothing. A folder
        that another process uses, or that cannot be written to, is refused before anything is
        computed.
      resume: whether to continue the sweep in `folder`, or to begin it there. It has to be the
        same sweep: function, axes, devices, versions. Its chunks are those of the folder, whatever
        the limits now say, and on CPU the result has the same bytes as that of an uninterrupted
        run. A chunk that is damaged, or was moved from another place, is named in a `ChunkWarning`
        and computed again; a damaged manifest is made again from the chunks (`ManifestWarning`).
        The function is compared by its compiled program; a change in what it calls back on the
        host goes unnoticed.
      max_lanes: the largest number of lanes to run at once, but not less than one per device; None
        leaves it to the memory.
      memory_limit: bytes that a chunk may use on each device; None takes what is free there, or an
        equal part of half of the host's free memory.
      progress: True shows a progress bar where the grid runs in several chunks, or is stored in a
        folder; a function is called as `progress(done, total)`, in lanes, after every chunk.

    Returns:
      A `SweepResult`: what `fn` returns, every leaf with one leading axis per named axis. (JAX
      sorts the keys of dictionaries: look leaves up by name, not by position.)

    Raises:
      StoreError: `folder` holds another sweep (the message names what differs), or one in the
        format of another version.
      MemoryLimitError: `memory_limit` is less than one lane needs.
      FileExistsError: `folder` holds a sweep and `resume` is False.
      OSError: `folder` is in use by another run (`BlockingIOError`), is a file, or cannot be
        written to; the message is one sentence with the cure.
      ValueError: no axis, an axis that is a scalar or empty, a limit below one, a mesh without
        devices or with devices of other processes, or `resume` without a folder.
      TypeError: `axes` is not a mapping, its names are not the parameters of `fn`, `fn` returns no
        array, `mesh` is not a mesh, or a limit is not an integer.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> def estimate(kappa, seed):
      ...     # Drawn once per seed, not once per kappa.
      ...     key_data, key_noise = jax.random.split(jax.random.key(seed))
      ...     s_data = 1 + jax.random.normal(key_data, (100,))
      ...     s_noise = jax.random.normal(key_noise, (100,))
      ...     return nce_jax.solve_log_partition(s_data, s_noise, magnification=kappa).log_partition
      >>> axes = {"kappa": jnp.array([1.0, 10.0, 100.0]), "seed": jnp.arange(5)}
      >>> result = nce_jax.sweep(estimate, axes)
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
    check_resume(resume, folder)
    check_progress(progress)
    folder = as_folder(folder)
    arrays, layout = _lay_out(fn, axes, mesh)
    fn = as_function(fn)
    with contextlib.ExitStack() as stack:
        store = _open(folder, resume)
        if store is not None:
            stack.callback(store.close)
        limits = plain(max_lanes), plain(memory_limit)
        chunking = _chunking(fn, arrays, layout, store, limits)
        warn_of_dependent_draws(jaxpr(fn, shapes(arrays, chunking.sizes), layout))
        total = math.prod(values.shape[0] for values in arrays.values())
        is_long = chunking.num_chunks > 1 or folder is not None
        report = stack.enter_context(_reporter(progress, is_long, total))
        if store is None and mesh is None and chunking.num_chunks == 1:
            values = run(fn, arrays, layout)  # stays where it was computed
            report(total)
        else:
            values = _gather(fn, arrays, layout, chunking, store, report)
    return SweepResult(arrays, values, chunking)


def compiled_sweep(
    fn: Callable[..., Any], axes: Mapping[str, Any], *, mesh: Mesh | None = None
) -> jax.stages.Compiled:
    """Compiles a grid in one piece, without running it, to read its memory, its work or its text.

    It is the program that `sweep` runs where the grid fits into memory; compiled here, it need not
    be compiled again there.

    Args:
      fn: the function, as for `sweep`.
      axes: name -> values of each axis, as for `sweep`.
      mesh: the devices, as for `sweep`.

    Returns:
      The result of `jax.jit(...).lower(...).compile()`, with `memory_analysis()`,
      `cost_analysis()` (of each device) and `as_text()`.

    Raises:
      ValueError: no axis, an axis that is a scalar or empty, a mesh without devices or with
        devices of other processes.
      TypeError: `axes` is not a mapping, its names are not the parameters of `fn`, `fn` returns no
        array, or `mesh` is not a mesh.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import sweeps
      >>> axes = {"a": jnp.arange(3.0), "b": jnp.arange(4.0)}
      >>> program = sweeps.compiled_sweep(lambda a, b: a * b, axes)
      >>> program.out_info.shape, program.cost_analysis()["flops"]
      ((3, 4), 12.0)
    """
    arrays, layout = _lay_out(fn, axes, mesh)
    fn = as_function(fn)
    lengths = {name: values.shape[0] for name, values in arrays.items()}
    return compiled(
        fn, shapes(arrays, {name: padded(lengths, name, layout) for name in lengths}), layout
    )


def _lay_out(
    fn: Callable[..., Any], axes: Mapping[str, Any], mesh: Mesh | None
) -> tuple[dict[str, jax.Array], Layout]:
    """The axes as arrays, and where they run."""
    check_axes(fn, axes)
    arrays = {name: as_axis(name, values) for name, values in axes.items()}
    return arrays, make_layout({name: values.shape[0] for name, values in arrays.items()}, mesh)


def _open(folder: Path | None, resume: bool) -> Store | None:
    return None if folder is None else Store(folder, resume)


def _chunking(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    store: Store | None,
    limits: tuple[int | None, int | None],
) -> Chunking:
    """Returns the chunking of the stored sweep, or chooses one, and stores it.

    A stored sweep has to be this one.
    """
    recorded = None if store is None else store.recorded()
    if store is None or recorded is None:
        chunking = choose_chunking(fn, axes, layout, *limits)
        if store is not None:
            store.begin(identity(fn, axes, layout, chunking.sizes), chunking, is_new=True)
        return chunking
    current = identity(fn, axes, layout, recorded.sizes)
    check_identity(recorded.identity, current, store.folder)
    chunking = recorded.chunking or chunking_of(fn, axes, layout, recorded.sizes, limits[1])
    store.begin(current, chunking, is_new=recorded.chunking is None)
    return chunking


def _gather(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    chunking: Chunking,
    store: Store | None,
    report: Callable[[int], None],
) -> Any:
    """Returns the whole result on the host.

    Chunks in the store are read; all others are computed and stored.
    """
    lengths = {name: values.shape[0] for name, values in axes.items()}
    described, structure = jax.tree.flatten(
        compiled(fn, shapes(axes, chunking.sizes), layout).out_info
    )
    if store is not None and store.is_writable:
        write_contents(store.folder, axes, jax.tree.unflatten(structure, described))
    hosted = [host_shape(leaf) for leaf in described]
    whole = [np.empty((*lengths.values(), *leaf.shape[len(axes) :]), leaf.dtype) for leaf in hosted]
    done = 0
    for number, block in enumerate(blocks(lengths, chunking.sizes, layout)):
        expected = _shapes_of(block, hosted)
        chunk = None if store is None else store.load(number, expected)
        if chunk is None:
            if store is not None:
                store.check_writable()
            chunk = _compute(fn, axes, layout, chunking, block)
            if store is not None:
                store.save(number, chunk)
        position = tuple(slice(block.start[name], block.stop[name]) for name in axes)
        for leaf, chunk_leaf in zip(whole, chunk, strict=True):
            leaf[position] = chunk_leaf
        done += block.num_lanes
        report(done)
    return jax.tree.unflatten(structure, map(as_described, whole, described))


def _shapes_of(block: Block, leaves: Sequence[jax.ShapeDtypeStruct]) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of a chunk's part of the result."""
    lengths = tuple(block.stop[name] - block.start[name] for name in block.start)
    return [
        jax.ShapeDtypeStruct(lengths + leaf.shape[len(lengths) :], leaf.dtype) for leaf in leaves
    ]


def _compute(
    fn: Callable[..., Any],
    axes: Mapping[str, jax.Array],
    layout: Layout,
    chunking: Chunking,
    block: Block,
) -> list[np.ndarray]:
    values = run(fn, cut(axes, block, chunking.sizes), layout)
    return [on_host(leaf)[result_part(block)] for leaf in jax.tree.leaves(values)]


@contextlib.contextmanager
def _reporter(
    progress: bool | Callable[[int, int], None], is_long: bool, total: int
) -> Iterator[Callable[[int], None]]:
    """Gives a function that is called with the number of finished lanes."""
    if callable(progress):
        yield lambda done: progress(done, total)
        return
    is_shown = progress and is_long
    with tqdm(total=total, disable=not is_shown, unit="lane", dynamic_ncols=True) as bar:
        yield lambda done: bar.update(done - bar.n)
