"""Result of a sweep on disk: one netCDF file, and a manifest with its digest, written last."""

import json
from pathlib import Path
from typing import Any

import xarray

from experiments.common import results
from nce_jax._disk import errors_name, memory_bytes, open_plain, sha256, write_atomic

FILE, ENGINE = "sweep.nc", "scipy"
UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
    RecursionError, AssertionError,
)  # fmt: skip
"""What xarray and SciPy raise for a file that is not theirs."""


def save(folder: Path, dataset: xarray.Dataset, **context: Any) -> dict[str, Any]:
    """Writes the result and returns its manifest, extended by `context`.

    The bytes of the result depend on its numbers alone.
    """
    with errors_name(folder, "output"):
        # Until the new manifest is written, the folder counts as missing.
        (folder / results.MANIFEST).unlink(missing_ok=True)
        content = bytes(dataset.to_netcdf(engine=ENGINE))
        write_atomic(folder / FILE, content)
        seal = {"bytes": len(content), "sha256": sha256(folder / FILE)}
        manifest = {**context, **results.provenance(), **seal}
        results.write_json(folder / results.MANIFEST, manifest)
    return manifest


def load(path: Path) -> xarray.Dataset:
    """Reads a result by its file or folder; a missing or damaged one raises a `ResultError`."""
    command = "python -m experiments.sweep <experiment> --output ..."
    # The error names the requested path, not the manifest that belongs to it.
    if not path.exists():
        raise results.ResultError(f"{path}: no such file or folder. Make it with: {command}")
    path = path / FILE if path.is_dir() else path
    manifest = results.load_json(path.parent / results.MANIFEST, command)
    try:
        num_bytes = manifest.get("bytes")  # earlier results do not have it
        limit = num_bytes if isinstance(num_bytes, int) else memory_bytes()
        # The size is compared before anything is read.
        if sha256(path, limit) != manifest.get("sha256"):
            raise results.ResultError(
                f"{path}: not the file of its manifest. Make it again with: {command}"
            )
        with open_plain(path, limit) as file:
            return xarray.load_dataset(file, engine=ENGINE)
    except FileNotFoundError:
        raise results.ResultError(f"{path}: no such file. Make it with: {command}") from None
    except (OSError, *UNREADABLE) as error:
        raise results.ResultError(
            f"{path}: damaged ({error}). Make it again with: {command}"
        ) from error


def settings(dataset: xarray.Dataset) -> dict[str, Any]:
    """Settings that a result was computed with."""
    return json.loads(dataset.attrs["settings"])
