"""Runs a sweep, one treatment after another, and combines the results."""

import contextlib
import json
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jax.sharding import Mesh

import nce_jax
from experiments.common.endings import end
from experiments.sweep import files, problems
from experiments.sweep.arguments import Sweep
from experiments.sweep.checks import UsageError
from experiments.sweep.settings import store
from experiments.sweep.train import make_lane, recorded_steps
from nce_jax._disk import FolderLock, errors_name, remove_temporary_files

NUM_CHUNKS = 20
"""Number of chunks of a sweep that would fit into memory as a whole; an interruption loses one of
them."""


def run(sweep: Sweep, command: str) -> xarray.Dataset:
    """Computes what is missing, saves the result and its manifest, and prints their path.

    The folder is created, tested and locked before anything is computed.
    """
    with FolderLock(sweep.folder, "output"):
        remove_temporary_files(sweep.folder)
        stored = [path for path in sweep.folder.iterdir() if path.name != ".lock"]
        if stored and not sweep.resume:
            raise UsageError(
                f"output: {sweep.folder} is not empty; --resume goes on with its sweep, or name"
                " another folder"
            )
        with errors_name(sweep.folder, "output"):
            sweep = store(sweep)
        dataset, swept = _compute(sweep, command)
    if failed := [name for name, result in swept.items() if result.failed.all()]:
        end(f"{sweep.name}: every lane failed under the treatment {', '.join(failed)}", 1)
    return dataset


def _compute(
    sweep: Sweep, command: str
) -> tuple[xarray.Dataset, dict[str, nce_jax.sweeps.SweepResult]]:
    mesh, axes, start = make_mesh(sweep.devices), make_axes(sweep), time.perf_counter()
    print(_announcement(sweep, axes), flush=True)
    problem = problems.make(sweep)
    swept = {name: _sweep_treatment(sweep, problem, name, axes, mesh) for name in sweep.treatment}
    dataset = combine(sweep, swept)
    files.save(
        sweep.folder,
        dataset,
        experiment=sweep.name,
        command=command,
        config=sweep,
        wall_time_seconds=round(time.perf_counter() - start, 3),
        chunking={name: result.chunking for name, result in swept.items()},
        failed_lanes={name: int(result.failed.sum()) for name, result in swept.items()},
    )
    print(_summary(sweep, swept), flush=True)
    return dataset, swept


def make_mesh(num_devices: int) -> Mesh | None:
    """Mesh of that many devices: of an accelerator if there is one, otherwise of CPU devices."""
    if num_devices > jax.config.jax_num_cpu_devices:
        # JAX raises a RuntimeError if it was initialized before, with a fixed number of devices.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", num_devices)
    devices = jax.devices()
    if num_devices > len(devices):
        raise UsageError(
            f"devices: expected at most the {len(devices)} of {devices[0].platform}, got"
            f" {num_devices}"
        )
    return None if num_devices == 1 else Mesh(np.array(devices[:num_devices]), ("lane",))


def make_axes(sweep: Sweep) -> dict[str, jax.Array]:
    """All axes except the treatment, including those with one value."""
    return {name: jnp.array(getattr(sweep, name)) for name in sweep.axes} | {
        "seed": jnp.arange(sweep.seeds)
    }


def _sweep_treatment(
    sweep: Sweep,
    problem: problems.Problem,
    name: str,
    axes: dict[str, jax.Array],
    mesh: Mesh | None,
) -> nce_jax.sweeps.SweepResult:
    # A treatment is structure, not a number: each has its own program, on the same draws.
    print(f"  {name}", flush=True)
    try:
        return nce_jax.sweep(
            make_lane(problem, sweep, name),
            axes=axes,
            mesh=mesh,
            folder=sweep.folder / "chunks" / name,
            resume=True,
            max_lanes=sweep.max_lanes or _max_lanes(sweep, axes),
            memory_limit=sweep.memory_limit,
        )
    except (nce_jax.sweeps.StoreError, nce_jax.sweeps.MemoryLimitError) as error:
        raise UsageError(str(error)) from error


def combine(sweep: Sweep, swept: dict[str, nce_jax.sweeps.SweepResult]) -> xarray.Dataset:
    """Returns one dataset with the treatment as an axis and the recorded steps as coordinates."""
    parts = []
    for result in swept.values():
        part = result.to_xarray()
        names = {dim: "step" for dim in part.dims if str(dim).endswith("_dim_0")}
        for old in names:  # every leaf names this axis differently
            part = part.assign(
                {str(old)[: -len("_dim_0")]: part[str(old)[: -len("_dim_0")]].rename({old: "step"})}
            )
        parts.append(part)
    dataset = xarray.concat(
        parts, xarray.DataArray(list(swept), dims="treatment", name="treatment")
    )
    steps = recorded_steps(sweep.num_steps, sweep.num_records)
    settings: dict[str, Any] = {"experiment": sweep.name, **sweep.settings()}
    # Coordinates as written on the command line: no decimal number equals a float32.
    coordinates = {name: list(getattr(sweep, name)) for name in sweep.axes}
    return dataset.assign_coords(step=steps, **coordinates).assign_attrs(
        experiment=sweep.name, settings=json.dumps(settings)
    )


def _announcement(sweep: Sweep, axes: dict[str, jax.Array]) -> str:
    grid = " x ".join(f"{values.shape[0]} {name}" for name, values in axes.items())
    total = len(sweep.treatment) * _num_lanes(axes)
    return f"{sweep.name}: {len(sweep.treatment)} treatment x {grid} = {total:,} lanes"


def _max_lanes(sweep: Sweep, axes: dict[str, jax.Array]) -> int:
    """Lanes of a chunk: a share of the grid, but at least one seed per device.

    Lanes of a seed share their draws.
    """
    total = _num_lanes(axes)
    return max(-(-total // NUM_CHUNKS), total // sweep.seeds * sweep.devices)


def _num_lanes(axes: dict[str, jax.Array]) -> int:
    return math.prod(values.shape[0] for values in axes.values())


def _summary(sweep: Sweep, swept: dict[str, nce_jax.sweeps.SweepResult]) -> str:
    lines = []
    for name, result in swept.items():
        chunking, failed = result.chunking, result.failed
        lines.append(
            f"  {name}: {chunking.num_chunks} chunks of {math.prod(chunking.sizes.values()):,}"
            f" lanes, {chunking.bytes_per_lane / 1e3:.1f} kB per lane; {failed.sum():,} of"
            f" {failed.size:,} lanes failed"
        )
    return "\n".join([*lines, f"{sweep.name}: result in {sweep.folder / files.FILE}"])
