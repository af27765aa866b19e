"""Where a set is published, what its loader expects, and the errors that say so."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.published import VARIABLE, DataError

__all__ = ["VARIABLE", "DataError", "ImageSet", "Origin", "check_labels", "check_option"]


class ImageSet(NamedTuple):
    """Images, uint8 (n, h, w, c), and their labels, int32 (n,), or None if the set has none.

    `is_verified` says whether they were compared with the whole published set, and `check` what was
    compared. Images of a large set are a read-only view of a file.
    """

    images: np.ndarray
    labels: np.ndarray | None
    is_verified: bool
    check: str


class Origin(NamedTuple):
    """A set: its folder below NCE_JAX_DATA, the files in it, their address, and how it is checked.

    Everything but the folder is text for the reader of an error.
    """

    folder: str
    files: str
    address: str
    check: str

    def path(self) -> Path:
        """Returns the set's folder below NCE_JAX_DATA.

        Raises:
            DataError: the variable is not set, or there is no such folder.
        """
        base = os.environ.get(VARIABLE)
        if not base:
            raise self.error(f"{self.folder}: {VARIABLE} is not set")
        path = Path(base).expanduser() / self.folder
        if not path.is_dir():
            raise self.error(f"{path}: no such folder")
        return path

    def error(self, problem: object) -> DataError:
        """The error about a problem, with what is expected and what to do."""
        return DataError(
            f"{problem}. Expected {self.files} ({self.check}), published at {self.address}; put"
            f" them in {self.folder}/ below the folder that {VARIABLE} names"
        )


def check_labels(labels: np.ndarray, num_classes: int, name: object, first: int = 0) -> np.ndarray:
    """Returns labels as int32 from 0 on.

    Raises:
        DataError: a label is outside of `first` to `first + num_classes - 1`, or no integer.
    """
    last = first + num_classes - 1
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name}, labels: expected integers, got {labels.dtype}")
    wrong = np.flatnonzero((labels < first) | (labels > last))
    if wrong.size:
        raise DataError(
            f"{name}, labels: expected {first} to {last}, got {labels[wrong[0]]} at {wrong[0]}"
        )
    return (labels.astype(np.int64) - first).astype(np.int32)


def check_option(name: str, value: object, allowed: object) -> None:
    """Raises ValueError unless the value is one of those allowed."""
    names = list(allowed)  # type: ignore[call-overload]
    if value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, names))}, got {value!r}")
