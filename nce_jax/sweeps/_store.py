"""Finished chunks on disk, each with a digest, and a manifest of the sweep they belong to."""

import dataclasses
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._archives import read_arrays, write_arrays
from nce_jax._disk import (
    DamagedFileError,
    FolderLock,
    errors_name,
    memory_bytes,
    parse_json,
    read_bytes,
    read_json,
    remove_temporary_files,
    sha256,
    sha256_of_json,
    write_atomic,
)
from nce_jax.sweeps._chunks import Chunking
from nce_jax.sweeps._identity import StoreError

MANIFEST, FORMAT, RECORD = "manifest.json", 2, "record"
_SEAL = re.compile(r"chunk-(\d+)\.sha256")


class ChunkWarning(UserWarning):
    """A stored chunk of a sweep is damaged; it is computed again."""


class ManifestWarning(UserWarning):
    """The manifest of a stored sweep is damaged; it is made again from the chunks."""


class Recorded(NamedTuple):
    """What a folder holds: the identity of the sweep, and the sizes of its chunks.

    The chunking is None where the manifest was damaged, and this comes from a chunk.
    """

    identity: dict[str, Any]
    sizes: dict[str, int]
    chunking: Chunking | None


class Store:
    """The chunks of one sweep, `<folder>/chunk-<i>.npz`, and their digests, `chunk-<i>.sha256`.

    Both files are written atomically, the digest last, so that a chunk with a digest is complete
    however the process ends. Under its digest a chunk also holds its number, the sweep's identity
    and the sizes of the chunks: it counts only where it belongs, and any chunk is enough to make
    the manifest again, which has a digest of its own.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        """Takes the folder for this process alone, until `close`.

        Raises:
          FileExistsError: the folder holds a sweep, and `resume` is False.
          BlockingIOError: another run uses the folder.
          OSError: the folder cannot be written to.
        """
        self.folder = folder
        self._record: dict[str, Any] = {}
        self._lock: FolderLock | None = None
        self._refusal: OSError | None = None
        if not resume and self._holds_files():
            raise FileExistsError(
                f"folder: expected one without a sweep, got {folder}, which holds one; resume=True"
                " continues it"
            )
        try:
            self._lock = FolderLock(folder)
        except BlockingIOError:
            raise
        except OSError as error:
            # A finished sweep can be read from a disk that cannot be written to.
            if not self._holds_files():
                raise
            self._refusal = error
        else:
            remove_temporary_files(folder)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def check_writable(self) -> None:
        """Raises the error with which the folder was refused, before anything is computed."""
        if self._refusal is not None:
            raise self._refusal

    def _holds_files(self) -> bool:
        return (self.folder / MANIFEST).exists() or any(self.folder.glob("chunk-*"))

    def recorded(self) -> Recorded | None:
        """Returns what the manifest says, or else a chunk; None if there is nothing to go on with.

        A warning names a damaged manifest.
        """
        if not self._holds_files():
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
        cure = (
            "no chunk is finished, and" if recorded is None else "made again from the chunks, and"
        )
        warnings.warn(
            f"manifest {path}: damaged ({reason}); {cure} the sweep goes on",
            ManifestWarning,
            stacklevel=4,
        )
        return recorded

    def begin(self, identity: Mapping[str, Any], chunking: Chunking, is_new: bool) -> None:
        """Says which sweep the chunks belong to; a new one also gets its manifest."""
        self._record = {"identity": dict(identity), "sizes": dict(chunking.sizes)}
        if not is_new:
            return
        self.check_writable()
        limit = chunking.bytes_limit if math.isfinite(chunking.bytes_limit) else None
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "chunking": {**dataclasses.asdict(chunking), "bytes_limit": limit},
        }
        text = json.dumps({**manifest, "sha256": sha256_of_json(manifest)}, indent=1) + "\n"
        with errors_name(self.folder):
            write_atomic(self.folder / MANIFEST, text)

    def save(self, number: int, leaves: Sequence[np.ndarray]) -> None:
        """Writes a chunk, then its digest."""
        path, seal = self._paths(number)
        record = json.dumps({"chunk": number, **self._record})
        named = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        with errors_name(self.folder):
            seal.unlink(missing_ok=True)
            write_arrays(path, {RECORD: np.frombuffer(record.encode(), np.uint8), **named})
            # In the format of the command sha256sum, which can check the folder.
            write_atomic(seal, f"{sha256(path)}  {path.name}\n")

    def load(
        self, number: int, expected: Sequence[jax.ShapeDtypeStruct]
    ) -> list[np.ndarray] | None:
        """Reads the leaves of a chunk, or returns None if it is not finished or damaged.

        A warning names a damaged chunk, and one that is not the chunk of this number and sweep.
        """
        path, seal = self._paths(number)
        if not seal.exists():
            return None
        try:
            # With room for the record and the headers.
            most = sum(math.prod(leaf.shape) * leaf.dtype.itemsize + 2**14 for leaf in expected)
            arrays = self._sealed(number, most + 2**20)
            if _record(arrays, path) != {"chunk": number, **self._record}:
                raise DamagedFileError(f"{path}: expected this chunk, got one of another place")
            if len(arrays) != len(expected):
                raise DamagedFileError(
                    f"{path}: expected {len(expected)} leaves, got {len(arrays)}"
                )
            return [_as(arrays[f"leaf_{i}"], leaf) for i, leaf in enumerate(expected)]
        except (OSError, ValueError, KeyError) as error:
            warnings.warn(
                f"chunk {path}: damaged ({_reason(error, path)}); computed again",
                ChunkWarning,
                stacklevel=4,
            )
            return None

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
