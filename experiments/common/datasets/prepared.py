"""Large sets of images, prepared once, row by row, and kept in the user's cache.

A prepared file is written as a whole or not at all, with its digest beside it, under a name that
contains a digest of what it was made from: other images, another size or another version of the
decoder give another file. It is read as a view of the file, so that a set may be larger than the
memory.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from experiments.common.published import DataError, cache_folder
from nce_jax._disk import DamagedFileError, read_bytes, sha256, sha256_of_json, write_atomic

VERSION = 1
"""Version of how sets are prepared; a change of it prepares them again."""


def load_or_make(
    name: str, made_from: Any, shape: tuple[int, ...], rows: Callable[[], Iterable[np.ndarray]]
) -> np.ndarray:
    """Returns a read-only uint8 array from the cache; makes and stores it if it is not there.

    Where the cache cannot be written, the array is made in memory, with a warning.

    Args:
        name: of the set, which the file's name begins with.
        made_from: JSON value that says what the array is made from.
        shape: of the array.
        rows: returns the array's rows in order, one or several at a time.

    Raises:
        DataError: `rows` raises it, or gives another number of rows.
    """
    key = sha256_of_json([VERSION, made_from, list(shape)])[:16]
    path = cache_folder() / "prepared" / f"{name}-{key}.npy"
    try:
        return _stored(path, shape)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (DamagedFileError, OSError) as error:
        warnings.warn(f"{error}; it is prepared again", stacklevel=3)
    try:
        return _make(path, shape, rows())
    except OSError as error:  # of the cache: what is wrong with the set is a DataError
        warnings.warn(
            f"{path}: cannot be cached ({error}), the set is prepared in memory. Set"
            " XDG_CACHE_HOME to move the cache",
            stacklevel=3,
        )
    return _in_memory(name, shape, rows())


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _stored(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    digest = read_bytes(_digest_path(path), 100).decode(errors="replace")
    if (actual := sha256(path)) != digest:
        raise DamagedFileError(f"{path}: expected sha256 {digest}, got {actual}")
    array = np.lib.format.open_memmap(path, mode="r")
    if array.shape != shape or array.dtype != np.uint8:
        raise DamagedFileError(f"{path}: expected uint8{shape}, got {array.dtype}{array.shape}")
    return array


def _make(path: Path, shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> np.ndarray:
    digest = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(_Both(file, digest), header)  # type: ignore[arg-type]
        for block in _counted(path.stem, shape, rows):
            _Both(file, digest).write(block.tobytes())

    write_atomic(path, write)
    write_atomic(_digest_path(path), digest.hexdigest())
    return np.lib.format.open_memmap(path, mode="r")


class _Both:
    """A file whose content goes into a digest as well."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file, self._digest = file, digest

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)


def _in_memory(name: str, shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> np.ndarray:
    array, start = np.empty(shape, np.uint8), 0
    for block in _counted(name, shape, rows):
        array[start : start + len(block)] = block
        start += len(block)
    array.flags.writeable = False
    return array


def _counted(name: str, shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the rows in blocks, (k, ...), and checks that there are as many as expected."""
    count = 0
    for row in rows:
        block = np.ascontiguousarray(row, np.uint8).reshape(-1, *shape[1:])
        count += len(block)
        if count > shape[0]:
            break
        yield block
    if count != shape[0]:
        more = " or more" * (count > shape[0])
        raise DataError(f"{name}: expected {shape[0]} images, got {count}{more}")
