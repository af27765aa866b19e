"""CIFAR-10 as PNG images: a folder or a zip archive by class, or many files in one array."""

import re
from pathlib import Path

import numpy as np

from experiments.common.datasets import pictures
from experiments.common.datasets.members import open_members
from experiments.common.datasets.origin import DataError, Origin
from experiments.common.progress import track
from nce_jax._archives import read_arrays
from nce_jax._disk import DamagedFileError

SHAPE = (32, 32)
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
ORIGIN = Origin(
    "cifar10",
    "images <split>/<class>/<name>.png of 32 x 32 pixels",
    "https://github.com/cyizhuo/CIFAR-10-dataset",
    "a digest over all images that does not depend on their order",
)
PACKED_LIMIT = 2**28
_NAME = re.compile(r"(?:^|/)(train|test)/([^/]+)/[^/]+\.png$")


def read_by_class(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a split and their labels, sorted by class and name.

    Raises:
        DataError: there are none, one is damaged or of another size, or in a folder of no class.
    """
    with open_members(path) as members:
        found = [(match[2], name) for name in members.names if (match := _NAME.search(name))
                 and match[1] == split]  # fmt: skip
        if not found:
            raise ORIGIN.error(f"{path}: no images {split}/<class>/<name>.png")
        if wrong := sorted({folder for folder, _ in found} - set(CLASSES)):
            raise ORIGIN.error(f"{path}, {split}: expected folders {CLASSES}, got {wrong[0]!r}")
        images = np.empty((len(found), *SHAPE, 3), np.uint8)
        for index, (_, name) in enumerate(track(found, f"reading CIFAR-10 ({split})")):
            images[index] = pictures.decode(members.read(name), path / name, SHAPE)
    return images, np.array([CLASSES.index(folder) for folder, _ in found], np.int32)


def read_packed(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels from an npz: `png` (all files in one), `offsets`, `labels`.

    Raises:
        DataError: the archive is damaged, lacks an array, or its arrays do not fit together.
    """
    try:
        arrays = read_arrays(path, PACKED_LIMIT)
    except (DamagedFileError, OSError) as error:
        raise DataError(str(error)) from error
    if missing := {"png", "offsets", "labels"} - arrays.keys():
        raise DataError(f"{path}: expected arrays png, offsets and labels, got no {min(missing)}")
    png, offsets, labels = (arrays[name] for name in ("png", "offsets", "labels"))
    _check_offsets(path, png, offsets, labels)
    images = np.empty((len(labels), *SHAPE, 3), np.uint8)
    for index in track(range(len(labels)), f"reading {path.name}"):
        content = png[offsets[index] : offsets[index + 1]].tobytes()
        images[index] = pictures.decode(content, f"{path}, image {index}", SHAPE)
    return images, labels


def _check_offsets(path: Path, png: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> None:
    is_fine = (
        (png.dtype, png.ndim, offsets.dtype.kind, labels.ndim) == (np.uint8, 1, "i", 1)
        and offsets.shape == (len(labels) + 1,)
        and (offsets[0], offsets[-1]) == (0, len(png))
        and bool(np.all(np.diff(offsets) > 0))
    )
    if not is_fine:
        raise DataError(
            f"{path}, offsets: expected {len(labels) + 1} rising numbers from 0 to {len(png)}, one"
            f" more than labels, got {offsets.dtype}{offsets.shape}"
        )
