"""Finished chunks on disk: each vouched for by its digest, all by a manifest that says which sweep
they belong to.
"""

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


class Store:
    """The chunks of one sweep: `<folder>/chunk-<i>.npz`, and `<folder>/chunk-<i>.sha256`, which is
    written last.

    Both are written under another name first, so that a chunk that has a digest is whole, whatever
    ends the process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds_a_sweep(self) -> bool:
        return (self.folder / MANIFEST).exists() or any(self.folder.glob("chunk-*"))

    def begin(self, identity: Mapping[str, Any], chunking: Chunking) -> None:
        """Writes the manifest, before any chunk."""
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
        """What the manifest says: whose chunks these are, and how they were cut."""
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_text())
            limit = manifest["chunking"]["bytes_limit"]
            chunking = Chunking(
                **{**manifest["chunking"], "bytes_limit": math.inf if limit is None else limit}
            )
            identity = dict(manifest["identity"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = (
                f"folder: {path} is missing or damaged ({error!r}); remove {self.folder} to begin"
                " anew"
            )
            raise ValueError(message) from error
        return identity, chunking

    def sweep_out(self) -> None:
        """Removes what a killed process had half written."""
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
        """The leaves of a chunk, or None if it is not finished. A damaged one is named in a warning
        and counts as that.
        """
        path, seal = self._paths(number)
        if not seal.exists():
            return None
        try:
            if seal.read_text().split()[:1] != [sha256(path)]:
                raise ValueError("not the file of its digest")
            with np.load(path, allow_pickle=False) as stored:
                # NumPy's format knows no bfloat16: such leaves come back as bytes of the same size.
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
    """Everything that the bytes of a result hang on, as far as a program can tell."""
    # An axis that the sizes do not know is one more than the store's sweep has: refused by name,
    # whatever its program.
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


def check_identity(saved: Mapping[str, Any], found: Mapping[str, Any], folder: Path) -> None:
    """Raises a ValueError that names everything in which two sweeps differ."""
    names = [name for name in {**saved, **found} if saved.get(name) != found.get(name)]
    # Where an axis or the devices differ, the program does too, which says nothing more.
    telling = [name for name in names if name != "fn"] or names
    if telling:
        listed = "; ".join(
            f"{name}: expected {saved.get(name)}, got {found.get(name)}" for name in telling
        )
        raise ValueError(
            f"folder: {folder} holds another sweep ({listed}); choose another folder, or remove"
            " this one"
        )


def _describe(values: jax.Array) -> str:
    text = hashlib.sha256(np.ascontiguousarray(on_host(values)).tobytes()).hexdigest()
    kind = f"{values.dtype}{list(values.shape)}"
    return (
        f"{kind} {text}"
        if is_key(values) or values.size > 8
        else f"{kind} {on_host(values).tolist()}"
    )
