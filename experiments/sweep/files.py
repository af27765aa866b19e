"""Result of a sweep on disk: one netCDF file, and a manifest with its digest, written last."""

import json
from pathlib import Path
from typing import Any

import xarray

from experiments.common import results

FILE, ENGINE = "sweep.nc", "scipy"


def save(folder: Path, dataset: xarray.Dataset, **context: Any) -> dict[str, Any]:
    """Writes the result and returns its manifest, extended by `context`.

    The bytes of the result depend on its numbers alone.
    """
    # Until the new manifest is written, the folder counts as missing.
    (folder / results.MANIFEST).unlink(missing_ok=True)
    with results.atomic(folder / FILE) as temporary:
        dataset.to_netcdf(temporary, engine=ENGINE)
    manifest = {**context, **results.provenance(), "sha256": results.digest(folder / FILE)}
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
        if results.digest(path) != manifest.get("sha256"):
            raise results.ResultError(
                f"{path}: not the file of its manifest. Make it again with: {command}"
            )
        return xarray.load_dataset(path, engine=ENGINE)
    except FileNotFoundError:
        raise results.ResultError(f"{path}: no such file. Make it with: {command}") from None


def settings(dataset: xarray.Dataset) -> dict[str, Any]:
    """Settings that a result was computed with."""
    return json.loads(dataset.attrs["settings"])
