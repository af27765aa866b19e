"""Pieces of a long run on disk, so that an interrupted run computes only what is missing.

They lie below `RUNS` until the result is written: an experiment names their folder in its result
(`Result.pieces`), and the command removes it after that.
"""

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nce_jax._archives import read_arrays, write_arrays
from nce_jax._disk import DamagedFileError, FolderLock, errors_name, remove_temporary_files

RUNS = Path("build/runs")
LABEL = "name of the piece"
_locks: dict[Path, FolderLock] = {}


class PieceWarning(UserWarning):
    """A piece of an interrupted run is damaged; it is computed again."""


def folder(topic: str, config: Any, sources: Iterable[Path]) -> Path:
    """Returns the folder of a run's pieces, named by a digest of settings and source code.

    A run with other settings or other code therefore never reads these pieces. The folder belongs
    to this process until `remove`, or until the process ends.

    Raises:
        BlockingIOError: another process computes the same run.
        OSError: the folder cannot be written to.
    """
    text = json.dumps(dataclasses.asdict(config), sort_keys=True) + "".join(
        path.read_text() for path in sources
    )
    path = RUNS / topic / hashlib.sha256(text.encode()).hexdigest()[:16]
    if path.absolute() not in _locks:
        _locks[path.absolute()] = FolderLock(path, "folder of the pieces")
        remove_temporary_files(path)
    return path


def load_or_compute(path: Path, compute: Callable[[], Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Returns the arrays stored at `path`; computes and stores them if there are none.

    A damaged piece, or one that was stored under another name, is named in a warning and computed
    again.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except DamagedFileError as error:
        warnings.warn(f"{error}; this piece is computed again", PieceWarning, stacklevel=2)
    arrays = {name: np.asarray(value) for name, value in compute().items()}
    with errors_name(path.parent, "folder of the pieces"):
        write_arrays(path, {**arrays, LABEL: np.array(path.name)})
    return arrays


def _read(path: Path) -> dict[str, np.ndarray]:
    with errors_name(path.parent, "folder of the pieces"):
        arrays = read_arrays(path)
    name = str(arrays.pop(LABEL, "none"))
    if name != path.name:
        raise DamagedFileError(f"{path}: expected a piece of this name, got {name}")
    return arrays


def remove(folders: Iterable[Path]) -> None:
    """Removes pieces that are needed no more, since the result that they are for is written."""
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
        if lock := _locks.pop(path.absolute(), None):
            lock.close()
