"""Offline design: the tasks of Design-Bench as published shards, and TFBind8 as a whole."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.datasets import npy
from experiments.common.datasets.origin import DataError, Origin
from experiments.common.published import PublishedFile, read
from nce_jax._disk import DamagedFileError, read_bytes

__all__ = ["TFBIND8", "DataError", "Designs", "load_task", "load_tfbind8"]

SHARD_LIMIT = 2**30
ORIGIN = Origin(
    "design-bench",
    "<task>/<task>-x-<i>.npy and <task>/<task>-y-<i>.npy for i = 0, 1, ...",
    # The bucket that the Design-Bench package downloads from no longer exists.
    "https://huggingface.co/datasets/beckhamc/design_bench_data",
    "shapes, and that all values are finite",
)
_MIRRORS = (
    "https://raw.githubusercontent.com/kaist-silab/bootgen/main/design_bench_data/"
    "tf_bind_8-SIX6_REF_R1/",
)
TFBIND8 = (
    PublishedFile(
        "tfbind8",
        "tf_bind_8-x-0.npy",
        2_105_472,
        "8957a728704d2e6c5dbba921dd9e16cbd76797489b081c5dc7f39ca23582d95d",
        _MIRRORS,
    ),
    PublishedFile(
        "tfbind8",
        "tf_bind_8-y-0.npy",
        263_296,
        "a61dd97796a4173d3a2a3d016db44e5d42e1f1d6a39d9f1ad2465d2c6b94fcb7",
        _MIRRORS,
    ),
)


class Designs(NamedTuple):
    """Designs (n, ...) and their scores (n, 1), in the published order and types."""

    x: np.ndarray
    y: np.ndarray


def load_task(task: str) -> Designs:
    """Returns all shards of a task in design-bench/ below NCE_JAX_DATA, in numeric order.

    Args:
        task: name of the folder, whose files begin with the same name (`"utr"`), or with its part
            before the first hyphen (`"tf_bind_8-SIX6_REF_R1"`).

    Raises:
        DataError: shards are missing or damaged, do not fit together, or hold values that are not
            finite.

    References:
        Trabucco, Geng, Kumar and Levine, Design-Bench: benchmarks for data-driven offline
          model-based optimization, 2022.
    """
    folder = ORIGIN.path() / task
    if Path(task).name != task or not folder.is_dir():
        raise ORIGIN.error(f"{folder}: no such folder")
    return read_shards(folder, task)


def load_tfbind8() -> Designs:
    """Returns the whole landscape of TFBind8 (SIX6_REF_R1), verified by digest.

    It has 65,792 rows of 8 bases from 0 to 3 and scores from 0 to 1; 256 rows repeat another. It is
    read from tfbind8/ below NCE_JAX_DATA, or downloaded into the cache.

    Raises:
        DataError: a file is missing, or is not the published one.
    """
    return check(*(npy.parse(read(file), f"{file.folder}/{file.name}") for file in TFBIND8))


def read_shards(folder: Path, task: str) -> Designs:
    """Joins the shards in a folder; raises DataError."""
    x, y = (_shards(folder, task, axis) for axis in "xy")
    if x.keys() != y.keys():
        wrong = min(x.keys() ^ y.keys())
        raise ORIGIN.error(f"{folder}: expected shards x and y of every number, got one of {wrong}")
    parts = []
    for number in sorted(x):
        parts.append(check(_load(x[number]), _load(y[number]), str(x[number])))
        for array, first in zip(parts[-1], parts[0], strict=True):
            if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
                raise DataError(
                    f"{x[number]}, with y: expected {first.dtype} and {first.shape[1:]} as in the"
                    f" first shard, got {array.dtype} and {array.shape[1:]}"
                )
    xs, ys = zip(*parts, strict=True)
    return Designs(np.concatenate(xs), np.concatenate(ys))


def check(x: np.ndarray, y: np.ndarray, name: str = "tfbind8") -> Designs:
    """Returns designs and scores that fit together and are finite; raises DataError."""
    if x.ndim < 2 or y.shape != (len(x), 1) or not len(x):
        raise DataError(f"{name}: expected x (n, ...) and y (n, 1), got {x.shape} and {y.shape}")
    for axis, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise DataError(f"{name}, {axis}: expected finite numbers, got others ({array.dtype})")
    return Designs(x, y)


def _shards(folder: Path, task: str, axis: str) -> dict[int, Path]:
    """Returns the shards of x or y by number, which have to be 0, 1, ... without a gap."""
    stem = "|".join(map(re.escape, {task, task.split("-")[0]}))
    name = re.compile(rf"(?:{stem})-{axis}-(\d+)\.npy")
    found = {
        int(match[1]): path for path in folder.iterdir() if (match := name.fullmatch(path.name))
    }
    if not found or sorted(found) != list(range(len(found))):
        raise ORIGIN.error(f"{folder}, {axis}: expected shards 0, 1, ..., got {sorted(found)}")
    return found


def _load(path: Path) -> np.ndarray:
    try:
        return npy.parse(read_bytes(path, SHARD_LIMIT), path)
    except (DamagedFileError, OSError) as error:
        raise DataError(str(error)) from error
