"""Finished chunks on disk, each with a digest, and a manifest of the sweep they belong to."""

import dataclasses
import hashlib
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from nce_jax._checks import is_key
from nce_jax._disk import sha256, write_atomic
from nce_jax.sweeps._chunks import Chunking
from nce_jax.sweeps._program import Layout, digest, on_host, shapes

MANIFEST, FORMAT = "manifest.json", 1


class ChunkWarning(UserWarning):
    """A stored chunk of a sweep is damaged; it is computed again."""


class StoreError(ValueError):
    """The folder of a sweep holds another sweep, or its manifest is damaged."""


class Store:
    """The chunks of one sweep, `<folder>/chunk-<i>.npz`, and their digests, `chunk-<i>.sha256`.

    Both files are written atomically, the digest last, so that a chunk with a digest is complete
    however the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds_a_sweep(self) -> bool:
        return (self.folder / MANIFEST).exists() or any(self.folder.glob("chunk-*"))

    def begin(self, identity: Mapping[str, Any], chunking: Chunking) -> None:
        """Writes the manifest; called before the first chunk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        limit = chunking.bytes_limit if math.isfinite(chunking.bytes_limit) else None
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "chunking": {**dataclasses.asdict(chunking), "bytes_limit": limit},
        }
        text = json.dumps(manifest, indent=1) + "\n"
        write_atomic(self.folder / MANIFEST, text)

    def recorded(self) -> tuple[dict[str, Any], Chunking]:
        """Reads the manifest: the identity of the stored sweep, and its chunking."""
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            limit = manifest["chunking"]["bytes_limit"]
            chunking = Chunking(
                **{**manifest["chunking"], "bytes_limit": math.inf if limit is None else limit}
            )
            identity = dict(manifest["identity"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"folder: expected a stored sweep, got a missing or damaged {path} ({error!r});"
                f" remove {self.folder} to start again"
            ) from error
        return identity, chunking

    def remove_temporary_files(self) -> None:
        """Removes the files that a killed process did not finish writing."""
        for path in [*self.folder.glob(".chunk-*"), *self.folder.glob(f".{MANIFEST}.*")]:
            path.unlink()

    def save(self, number: int, leaves: list[np.ndarray]) -> None:
        """Writes a chunk, then its digest."""
        path, seal = self._paths(number)
        seal.unlink(missing_ok=True)
        named: dict[str, Any] = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        write_atomic(path, lambda file: np.savez(file, **named))
        # In the format of the command sha256sum, which can check the folder.
        write_atomic(seal, f"{sha256(path)}  {path.name}\n")

    def load(self, number: int, dtypes: list[np.dtype]) -> list[np.ndarray] | None:
        """Reads the leaves of a chunk, or returns None if it is not finished or damaged.

        A warning names a damaged chunk.
        """
        path, seal = self._paths(number)
        if not seal.exists():
            return None
        try:
            if seal.read_text().split()[:1] != [sha256(path)]:
                raise ValueError("the digest differs")
            with np.load(path, allow_pickle=False) as stored:
                # NumPy's format has no bfloat16: such leaves are read as bytes of the same size.
                return [stored[f"leaf_{i}"].view(dtype) for i, dtype in enumerate(dtypes)]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            warnings.warn(
                f"chunk {path}: damaged ({error}); computed again", ChunkWarning, stacklevel=4
            )
            return None

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"chunk-{number}.npz", self.folder / f"chunk-{number}.sha256"


def identity(
    fn: Callable[..., Any], axes: Mapping[str, jax.Array], layout: Layout, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Returns everything that the bytes of a result depend on, as far as it can be compared."""
    # An axis without a size is not among those of the stored sweep, which is then refused by the
    # name of this axis, whatever the program.
    sizes = {name: sizes.get(name, values.shape[0]) for name, values in axes.items()}
    device = layout.devices[0]
    return {
        **{f"axis {name}": _describe(values) for name, values in axes.items()},
        "order of the axes": ", ".join(axes),
        "devices": f"{layout.num_devices} x {device.platform} ({device.device_kind})",
        "jax": f"{jax.__version__}, jaxlib {jaxlib.__version__}",
        "jax_enable_x64": bool(jax.config.read("jax_enable_x64")),
        "fn": f"program {digest(fn, shapes(axes, sizes), layout)}",
    }


def check_identity(saved: Mapping[str, Any], current: Mapping[str, Any], folder: Path) -> None:
    """Raises a StoreError that names everything in which two sweeps differ."""
    names = [name for name in {**saved, **current} if saved.get(name) != current.get(name)]
    # Where an axis or the devices differ, the program differs too, and need not be named.
    names = [name for name in names if name != "fn"] or names
    if names:
        differences = "; ".join(
            f"{name}: expected {saved.get(name)}, got {current.get(name)}" for name in names
        )
        raise StoreError(
            f"folder: expected one with this sweep, got {folder}, which holds another sweep"
            f" ({differences}); choose another folder, or remove this one"
        )


def _describe(values: jax.Array) -> str:
    text = hashlib.sha256(np.ascontiguousarray(on_host(values)).tobytes()).hexdigest()
    kind = f"{values.dtype}{list(values.shape)}"
    return (
        f"{kind} {text}"
        if is_key(values) or values.size > 8
        else f"{kind} {on_host(values).tolist()}"
    )
