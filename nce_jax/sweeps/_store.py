"""Finished chunks on disk, each with a digest, and a manifest of the sweep they belong to."""

import dataclasses
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nce_jax._archives import write_arrays
from nce_jax._disk import (
    FolderLock,
    errors_name,
    remove_temporary_files,
    sha256,
    sha256_of_json,
    write_atomic,
)
from nce_jax.sweeps._chunk_files import FORMAT, MANIFEST, RECORD, ChunkFiles
from nce_jax.sweeps._chunks import Chunking


class ChunkWarning(UserWarning):
    """A stored chunk of a sweep is damaged; it is computed again."""


class Store(ChunkFiles):
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
        super().__init__(folder)
        self._record: dict[str, Any] = {}
        self._lock: FolderLock | None = None
        self._refusal: OSError | None = None
        if not resume and self.holds_files():
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
            if not self.holds_files():
                raise
            self._refusal = error
        else:
            remove_temporary_files(folder)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @property
    def is_writable(self) -> bool:
        return self._refusal is None

    def check_writable(self) -> None:
        """Raises the error with which the folder was refused, before anything is computed."""
        if self._refusal is not None:
            raise self._refusal

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
        if not self.is_finished(number):
            return None
        try:
            return self.read(number, self._record, expected)
        except (OSError, ValueError, KeyError) as error:
            text = f"{self.reason(number, error)}; computed again"
            warnings.warn(text, ChunkWarning, stacklevel=4)
            return None
