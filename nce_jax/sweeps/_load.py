"""`load_sweep`: what `sweep(folder=...)` has stored, as its result."""

import warnings
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from nce_jax._options import as_folder, check_flag
from nce_jax.sweeps._chunk_files import ChunkFiles, Recorded
from nce_jax.sweeps._chunks import Block, blocks
from nce_jax.sweeps._contents import Contents, as_keys, nested, read_contents
from nce_jax.sweeps._identity import StoreError
from nce_jax.sweeps._program import Layout
from nce_jax.sweeps._result import SweepResult
from nce_jax.sweeps._store import ChunkWarning


def load_sweep(folder: str | PathLike[str], *, allow_missing: bool = False) -> SweepResult:
    """Reads the result of a sweep from its folder, without its function and without computing.

    The folder is only read, also while a sweep is writing to it. Every chunk is compared with its
    digest, and with the sweep that the manifest describes.

    Args:
      folder: the folder, as given to `sweep`.
      allow_missing: whether chunks may be missing or damaged. Their lanes are then NaN (zero where
        a leaf holds no floating numbers), and count as failed.

    Returns:
      A `SweepResult` with the same numbers in the same dtypes, in NumPy arrays. Dictionaries, lists
      and tuples of the values come back as dictionaries and tuples, and what has attributes, such
      as NamedTuples, as dictionaries by their names: the names in `to_xarray` are the same. Its
      `attrs` say on which devices and with which versions it was computed, and its `missing` which
      lanes have not been computed.

    Raises:
      TypeError: `folder` is no path, or `allow_missing` no truth value.
      FileNotFoundError: the folder does not exist, or holds no sweep.
      StoreError: chunks are missing or damaged (the message has their number), the description of
        the sweep is damaged, or an earlier version has stored it.

    Examples:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> axes = {"a": jnp.arange(2.0), "seed": jnp.arange(3.0)}
      >>> folder = tempfile.mkdtemp()
      >>> result = nce_jax.sweep(
      ...     lambda a, seed: {"total": a + seed}, axes, folder=folder, progress=False
      ... )
      >>> loaded = nce_jax.sweeps.load_sweep(folder)
      >>> loaded.to_xarray()["total"].sel(a=1.0).values.tolist()
      [1.0, 2.0, 3.0]

    References:
      Hoyer and Hamman, xarray: N-D labeled arrays and datasets in Python, 2017.
    """
    path = as_folder(folder)
    if path is None:
        raise TypeError("folder: expected the folder of a sweep, got None")
    check_flag("allow_missing", allow_missing)
    files = ChunkFiles(path)
    recorded = files.recorded("the sweep is read") if path.is_dir() else None
    if recorded is None:
        raise FileNotFoundError(
            f"folder: expected one that sweep(folder=...) has written, got {path},"
            f" {'which holds no chunk of a sweep' if path.is_dir() else 'which is no folder'}"
        )
    return _read(files, recorded, _contents(path, recorded), allow_missing)


def _contents(path: Path, recorded: Recorded) -> Contents:
    try:
        return read_contents(path, recorded.identity)
    except (OSError, ValueError, KeyError, TypeError) as error:
        is_absent = isinstance(error, FileNotFoundError)
        reason = "is not there, as in sweeps of earlier versions" if is_absent else str(error)
        raise StoreError(
            f"folder: expected a description of the sweep in {path}, got none: contents.npz"
            f" {reason}; sweep(..., folder=..., resume=True) writes it"
        ) from error


def _read(
    files: ChunkFiles, recorded: Recorded, contents: Contents, allow_missing: bool
) -> SweepResult:
    lengths = {name: values.shape[0] for name, values in contents.axes.items()}
    whole = [_empty(leaf.host) for leaf in contents.leaves]
    missing, absent, damaged = np.zeros(tuple(lengths.values()), bool), [], []
    parts = list(_blocks(lengths, recorded.sizes))
    record = {"identity": recorded.identity, "sizes": recorded.sizes}
    for number, block in enumerate(parts):
        position = tuple(slice(block.start[name], block.stop[name]) for name in lengths)
        expected = [_part(leaf.host, missing[position].shape) for leaf in contents.leaves]
        if not files.is_finished(number):
            absent.append(number)
            missing[position] = True
            continue
        try:
            chunk = files.read(number, record, expected)
        except (OSError, ValueError, KeyError) as error:
            damaged.append(files.reason(number, error))
            missing[position] = True
            continue
        for leaf, values in zip(whole, chunk, strict=True):
            leaf[position] = values
    _report(files.folder, len(parts), absent, damaged, allow_missing)
    values = nested(
        [
            (leaf.path, as_keys(array, leaf.generator))
            for leaf, array in zip(contents.leaves, whole, strict=True)
        ]
    )
    attrs = {name: str(recorded.identity[name]) for name in ("devices", "jax", "jax_enable_x64")}
    is_missing = missing if missing.any() else None
    return SweepResult(contents.axes, values, recorded.chunking, is_missing, attrs)


def _report(
    folder: Path, count: int, absent: list[int], damaged: list[str], allow_missing: bool
) -> None:
    """Raises, or warns of damage, where the sweep is not complete."""
    if allow_missing:
        if damaged:
            warnings.warn(f"{'; '.join(damaged)}; left out", ChunkWarning, stacklevel=4)
        return
    if not absent and not damaged:
        return
    shown = ", ".join(map(str, absent[:5])) + (", ..." if len(absent) > 5 else "")
    texts = [f"{len(absent)} missing ({shown})"] if absent else []
    texts += [f"{len(damaged)} damaged ({damaged[0]})"] if damaged else []
    raise StoreError(
        f"folder: expected a complete sweep, got {folder} with {' and '.join(texts)} of"
        f" {count} chunks; sweep(..., folder=..., resume=True) completes it, and"
        " allow_missing=True reads the others"
    )


def _blocks(lengths: dict[str, int], sizes: dict[str, int]) -> Iterator[Block]:
    """The chunks, of which the ranges in the result alone are used, whatever the devices were."""
    return blocks(lengths, sizes, Layout(None, next(iter(lengths))))


def _part(leaf: Any, grid: tuple[int, ...]) -> Any:
    return type(leaf)((*grid, *leaf.shape[len(grid) :]), leaf.dtype)


def _empty(leaf: Any) -> np.ndarray:
    """NaN for what can be, and zeros, until chunks are filled in."""
    is_inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return np.full(leaf.shape, np.nan if is_inexact else 0, leaf.dtype)
