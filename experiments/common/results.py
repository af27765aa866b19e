"""Results on disk: a folder with arrays, headline numbers and a manifest of their origin.

The manifest is written last and holds the digest of the arrays, so that an incomplete folder is
detected when it is read.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import nce_jax

ROOT = Path(__file__).parents[2]
ARRAYS, HEADLINE, MANIFEST = "arrays.npz", "headline.json", "manifest.json"


class Result(NamedTuple):
    """Result of an experiment: arrays, headline numbers, and failed lanes by method."""

    arrays: Mapping[str, Any]
    headline: Mapping[str, float] = {}
    failed_lanes: Mapping[str, Any] = {}


class Stored(NamedTuple):
    """A result read by `load`: arrays, headline numbers and manifest."""

    arrays: dict[str, np.ndarray]
    headline: dict[str, float]
    manifest: dict[str, Any]


class ResultError(Exception):
    """A result file is missing or damaged."""


def default_folder(topic: str, preset: str) -> Path:
    """Default folder for the results of a topic and preset, relative to the checkout."""
    return Path("build/results") / topic / preset


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` on success and is removed on failure.

    >>> with atomic(target) as temporary:  # doctest: +SKIP
    ...     temporary.write_text("all or nothing")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes files private
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(folder: Path, result: Result, **context: Any) -> dict[str, Any]:
    """Writes a result and returns its manifest, which includes `context` (topic, preset, ...)."""
    # Until the new manifest is written, the folder counts as missing.
    (folder / MANIFEST).unlink(missing_ok=True)
    arrays = {name: np.asarray(value) for name, value in result.arrays.items()}
    with atomic(folder / ARRAYS) as temporary:
        np.savez_compressed(temporary, **arrays)
    headline = {name: float(value) for name, value in result.headline.items()}
    write_json(folder / HEADLINE, headline)
    manifest = {
        **context,
        **provenance(),
        "failed_lanes": _plain(result.failed_lanes),
        "arrays": {name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()},
        "arrays_sha256": digest(folder / ARRAYS),
    }
    write_json(folder / MANIFEST, manifest)
    return manifest


def load(folder: Path, command: str) -> Stored:
    """Reads a result; an error names the damaged file and the `command` that makes it."""
    manifest = load_json(folder / MANIFEST, command)
    headline = load_json(folder / HEADLINE, command)
    path = folder / ARRAYS
    try:
        if digest(path) != manifest.get("arrays_sha256"):
            raise ResultError(
                f"{path}: not the file of its manifest. Make it again with: {command}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return Stored(dict(arrays), headline, manifest)
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file. Make it with: {command}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ResultError(f"{path}: damaged ({error}). Make it again with: {command}") from error


def load_json(path: Path, command: str) -> dict[str, Any]:
    """Reads a JSON object with the same errors as `load`."""
    try:
        value = json.loads(path.read_text())
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


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(_plain(value), indent=2) + "\n")


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
