"""The files of a stored sweep, as they are read: chunks with their digests, and the manifest."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._archives import read_arrays
from nce_jax._disk import (
    DamagedFileError,
    memory_bytes,
    parse_json,
    read_bytes,
    read_json,
    sha256,
    sha256_of_json,
)
from nce_jax.sweeps._chunks import Chunking
from nce_jax.sweeps._identity import StoreError

MANIFEST, FORMAT, RECORD = "manifest.json", 2, "record"
_SEAL = re.compile(r"chunk-(\d+)\.sha256")


class ManifestWarning(UserWarning):
    """The manifest of a stored sweep is damaged; it is made again from the chunks."""


class Recorded(NamedTuple):
    """What a folder holds: the identity of the sweep, and the sizes of its chunks.

    The chunking is None where the manifest was damaged, and this comes from a chunk.
    """

    identity: dict[str, Any]
    sizes: dict[str, int]
    chunking: Chunking | None


class ChunkFiles:
    """The chunks of one sweep, `<folder>/chunk-<i>.npz`, and their digests, `chunk-<i>.sha256`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds_files(self) -> bool:
        return (self.folder / MANIFEST).exists() or any(self.folder.glob("chunk-*"))

    def recorded(self, ending: str = "the sweep goes on") -> Recorded | None:
        """Returns what the manifest says, or else a chunk; None if there is nothing to go on with.

        A warning names a damaged manifest; `ending` is its end.
        """
        if not self.holds_files():
            return None
        path = self.folder / MANIFEST
        try:
            return _from_manifest(path)
        except StoreError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = (
                "no such file" if isinstance(error, FileNotFoundError) else _reason(error, path)
            )
        recorded = self._from_chunks()
        cure = "no chunk is finished" if recorded is None else "made again from the chunks"
        warnings.warn(
            f"manifest {path}: damaged ({reason}); {cure}, and {ending}",
            ManifestWarning,
            stacklevel=4,
        )
        return recorded

    def is_finished(self, number: int) -> bool:
        """Whether the digest of a chunk, which is written last, is there."""
        return self._paths(number)[1].exists()

    def read(
        self, number: int, record: Mapping[str, Any], expected: Sequence[jax.ShapeDtypeStruct]
    ) -> list[np.ndarray]:
        """Reads the leaves of a finished chunk.

        Raises an OSError, ValueError or KeyError if it is damaged, or not the one of this number
        and sweep, which `record` describes.
        """
        path, _ = self._paths(number)
        # With room for the record and the headers.
        most = sum(math.prod(leaf.shape) * leaf.dtype.itemsize + 2**14 for leaf in expected)
        arrays = self._sealed(number, most + 2**20)
        if _record(arrays, path) != {"chunk": number, **record}:
            raise DamagedFileError(f"{path}: expected this chunk, got one of another place")
        if len(arrays) != len(expected):
            raise DamagedFileError(f"{path}: expected {len(expected)} leaves, got {len(arrays)}")
        return [_as(arrays[f"leaf_{i}"], leaf) for i, leaf in enumerate(expected)]

    def reason(self, number: int, error: Exception) -> str:
        """Which chunk is damaged, and why."""
        path, _ = self._paths(number)
        return f"chunk {path}: damaged ({_reason(error, path)})"

    def _from_chunks(self) -> Recorded | None:
        """Returns what the first whole chunk says; None if there is none."""
        seals = [_SEAL.fullmatch(path.name) for path in self.folder.glob("chunk-*.sha256")]
        for number in sorted(int(seal[1]) for seal in seals if seal):
            path, _ = self._paths(number)
            try:
                arrays = self._sealed(number, memory_bytes())  # where it was made
            except (OSError, ValueError):
                continue
            if RECORD not in arrays:
                raise _other_format(self.folder, 1)
            record = _record(arrays, path)
            if record.get("chunk") == number:
                return Recorded(record["identity"], _as_sizes(record["sizes"]), None)
        return None

    def _sealed(self, number: int, limit: int | float) -> dict[str, np.ndarray]:
        """Reads a chunk of at most `limit` bytes whose digest, and the name by it, are right."""
        path, seal = self._paths(number)
        digest = sha256(path, limit).encode()  # the size is compared before anything is read
        if read_bytes(seal, 1000).split() != [digest, path.name.encode()]:
            raise DamagedFileError(f"{path}: expected its own digest beside it, got another")
        return read_arrays(path)

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"chunk-{number}.npz", self.folder / f"chunk-{number}.sha256"


def _reason(error: Exception, path: Path) -> str:
    """Returns the text of an error without the name of the file, which the warning begins with."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error).removeprefix(f"{path}: ")


def _from_manifest(path: Path) -> Recorded:
    manifest = read_json(path)
    if not isinstance(manifest, dict):
        raise DamagedFileError(f"{path}: expected a JSON object, got {type(manifest).__name__}")
    if manifest.get("format") == 1 and "sha256" not in manifest:
        raise _other_format(path.parent, 1)
    if manifest.pop("sha256", None) != sha256_of_json(manifest):
        raise DamagedFileError(f"{path}: expected its own digest, got another")
    if manifest["format"] != FORMAT:
        raise _other_format(path.parent, manifest["format"])
    limit = manifest["chunking"]["bytes_limit"]
    chunking = Chunking(
        **{**manifest["chunking"], "bytes_limit": math.inf if limit is None else limit}
    )
    return Recorded(dict(manifest["identity"]), _as_sizes(chunking.sizes), chunking)


def _other_format(folder: Path, number: Any) -> StoreError:
    return StoreError(
        f"folder: expected a sweep in format {FORMAT} of the store, got {folder} in format"
        f" {number}; finish it with the version of nce_jax that began it, or choose another folder"
    )


def _record(arrays: dict[str, np.ndarray], path: Path) -> dict[str, Any]:
    """Takes the record out of a chunk's arrays."""
    record = parse_json(arrays.pop(RECORD).tobytes(), f"{path}, {RECORD}")
    if not isinstance(record, dict):
        raise DamagedFileError(f"{path}: expected a record by name, got {record}")
    return record


def _as_sizes(sizes: Any) -> dict[str, int]:
    if not isinstance(sizes, dict) or not all(type(s) is int and s > 0 for s in sizes.values()):
        raise DamagedFileError(f"sizes: expected positive integers by axis, got {sizes}")
    return sizes


def _as(array: np.ndarray, expected: jax.ShapeDtypeStruct) -> np.ndarray:
    """Returns a leaf in its dtype; raises unless it was stored in this shape and dtype."""
    # NumPy's format has no bfloat16: such leaves are stored as bytes of the same size.
    if array.shape != expected.shape or array.dtype != np.dtype(expected.dtype.str):
        raise DamagedFileError(
            f"leaf: expected {expected.dtype}{expected.shape}, got {array.dtype}{array.shape}"
        )
    return array.view(expected.dtype)
