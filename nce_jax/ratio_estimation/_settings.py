"""The settings of a run with a folder, which a resumed run must repeat."""

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from nce_jax._disk import DamagedFileError, errors_name, read_json, write_atomic

_NAME = "fit_log_ratio.json"
_MAX_BYTES = 100_000
"""A larger file was not written here."""


def digest(values: Any) -> str | None:
    """A short digest of an array's shape, dtype and content; of labels, of their text."""
    if values is None:
        return None
    array = np.asarray(values)
    content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    head = f"{array.shape} {array.dtype}".encode()
    return hashlib.sha256(head + content).hexdigest()[:16]


def remember(folder: str | PathLike[str] | None, settings: dict[str, Any]) -> None:
    """Stores the settings next to the checkpoints, or compares them with those stored before.

    The learning rate, the folds and the choice of the model depend on them.
    """
    if folder is None:
        return
    path = Path(folder) / _NAME
    with errors_name(path.parent):
        if not path.exists():
            write_atomic(path, json.dumps(settings))
            return
    stored = _read(path)
    for name, value in settings.items():
        if stored.get(name) != value:
            raise ValueError(
                f"{name}: expected {stored.get(name)} as in the run in {folder}, got {value}; pass"
                " what that run had, or another folder"
            )


def _read(path: Path) -> dict[str, Any]:
    """The stored settings; raises on a file that holds none."""
    try:
        stored = read_json(path, _MAX_BYTES)
        if isinstance(stored, dict):
            return stored
        damage = f"JSON of type {type(stored).__name__}"
    except DamagedFileError as error:
        damage = str(error)
    raise ValueError(
        f"folder: expected readable settings in {path}, got a damaged file ({damage}); move the"
        " file away to resume without their check, or use another folder"
    )
