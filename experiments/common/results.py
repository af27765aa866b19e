"""Results on disk: a folder with arrays, headline numbers and a manifest of their origin.

The manifest is written last and holds the digest of the arrays, so that an incomplete folder is
detected when it is read.
"""

import contextlib
import dataclasses
import datetime
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import nce_jax
from experiments.common.endings import CommandError
from nce_jax._archives import read_arrays, write_arrays
from nce_jax._disk import errors_name, read_json, sha256, write_atomic

ROOT = Path(__file__).parents[2]
ARRAYS, HEADLINE, MANIFEST = "arrays.npz", "headline.json", "manifest.json"
ARRAYS_LIMIT = 2**30
"""Largest size in bytes of a result's arrays; compressed files can unpack to a thousand times their
size."""


HEADER_BYTES = 2**14
"""Upper bound on the size of an array's header."""
PACKED_LIMIT = 1.01  # largest compressed size relative to the arrays': some parts are only stored


class Result(NamedTuple):
    """Result of an experiment.

    Attributes:
        arrays: arrays by name.
        headline: headline numbers by name.
        failed_lanes: indices of failed lanes by method.
        pieces: folders of pieces, which are removed once the result is written.
    """

    arrays: Mapping[str, Any]
    headline: Mapping[str, float] = {}
    failed_lanes: Mapping[str, Any] = {}
    pieces: tuple[Path, ...] = ()

    def is_all_failed(self) -> bool:
        """Whether there are headline numbers, and none of them is finite."""
        numbers = [float(value) for value in self.headline.values()]
        return bool(numbers) and not any(map(math.isfinite, numbers))


class Stored(NamedTuple):
    """A result read by `load`: arrays, headline numbers and manifest."""

    arrays: dict[str, np.ndarray]
    headline: dict[str, float]
    manifest: dict[str, Any]


class ResultError(CommandError):
    """A result file is missing or damaged."""


def default_folder(topic: str, preset: str) -> Path:
    """Default folder for the results of a topic and preset, relative to the checkout."""
    return Path("build/results") / topic / preset


def save(folder: Path, result: Result, **context: Any) -> dict[str, Any]:
    """Writes a result and returns its manifest, which includes `context` (topic, preset, ...).

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    with errors_name(folder, "output"):
        # Until the new manifest is written, the folder counts as missing.
        (folder / MANIFEST).unlink(missing_ok=True)
        arrays = {name: np.asarray(value) for name, value in result.arrays.items()}
        headline = {name: float(value) for name, value in result.headline.items()}
        write_arrays(folder / ARRAYS, arrays, is_compressed=True)
        write_json(folder / HEADLINE, headline)
        manifest = {
            **context,
            **provenance(),
            "failed_lanes": _plain(result.failed_lanes),
            "arrays": {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()},
            "arrays_sha256": sha256(folder / ARRAYS),
        }
        write_json(folder / MANIFEST, manifest)
    return manifest


def load(folder: Path, command: str) -> Stored:
    """Reads a result; an error names the damaged file and the `command` that makes it."""
    manifest = load_json(folder / MANIFEST, command)
    headline = load_json(folder / HEADLINE, command)
    path = folder / ARRAYS
    try:
        declared = manifest.get("arrays")
        limit = min(ARRAYS_LIMIT, _declared_bytes(declared))
        if sha256(path, PACKED_LIMIT * limit) != manifest.get("arrays_sha256"):
            raise ResultError(
                f"{path}: not the file of its manifest. Make it again with: {command}"
            )
        arrays = read_arrays(path, limit)
        if {n: f"{a.dtype}{list(a.shape)}" for n, a in arrays.items()} != declared:
            raise ResultError(
                f"{path}: not the arrays of its manifest. Make it again with: {command}"
            )
        return Stored(arrays, headline, manifest)
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file. Make it with: {command}") from None
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: damaged ({error}). Make it again with: {command}") from error


def _declared_bytes(declared: Any) -> int:
    """Returns an upper bound on the bytes of arrays that a manifest describes."""
    try:
        described = [text.partition("[") for text in declared.values()]
        return HEADER_BYTES + sum(
            np.dtype(kind).itemsize * math.prod(json.loads(f"[{shape}")) + HEADER_BYTES
            for kind, _, shape in described
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"its manifest describes no arrays: {error}") from error


def load_json(path: Path, command: str) -> dict[str, Any]:
    """Reads a JSON object with the same errors as `load`."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file. Make it with: {command}") from None
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: damaged ({error}). Make it again with: {command}") from error
    if not isinstance(value, dict):
        raise ResultError(f"{path}: damaged (not a JSON object). Make it again with: {command}")
    return value


def provenance() -> dict[str, Any]:
    """Describes the code, the packages and the machine behind a result."""
    devices = jax.devices()
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": is_dirty(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "nce_jax": nce_jax.__version__,
            **{name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
        },
        "device": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
        },
    }


def is_dirty() -> bool | None:
    """Whether the checkout has uncommitted changes; None if there is no git."""
    return None if (status := _git("status", "--porcelain")) is None else bool(status)


def _git(*arguments: str) -> str | None:
    """Output of git about this checkout; None without git or without a commit."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(_plain(value), indent=2) + "\n")


def _plain(value: Any) -> Any:
    """Converts `value` to JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return np.asarray(value).tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
