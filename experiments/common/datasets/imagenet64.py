"""ImageNet at 64 x 64 pixels: two different sets, which have different statistics.

The *box* version averages boxes of pixels of the whole image and is published as npz batches. The
*cropped* version takes the center square first and is a zip of PNG images; published FID statistics
of diffusion models belong to this one.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from experiments.common.datasets import npy, prepared, squares
from experiments.common.datasets.members import Members, first_of, open_members
from experiments.common.datasets.origin import (
    DataError,
    ImageSet,
    Origin,
    check_labels,
    check_option,
)
from experiments.common.progress import track
from nce_jax._disk import DamagedFileError, parse_json

__all__ = ["NUM_IMAGES", "DataError", "load_imagenet64_box", "load_imagenet64_cropped"]

NUM_IMAGES = {"train": 1_281_167, "val": 50_000}
NUM_CLASSES, SIDE = 1000, 64
BATCH_LIMIT = 2**31
BATCHES = {
    "train": tuple(f"train_data_batch_{number}.npz" for number in range(1, 11)),
    "val": ("val_data.npz",),
}
BOX = Origin(
    "imagenet64-box",
    "train_data_batch_1.npz to train_data_batch_10.npz and val_data.npz (data, uint8 (n, 12288);"
    " labels from 1)",
    "https://image-net.org/download-images.php (the npz format, not the pickles)",
    "shapes and numbers, not their content",
)
CROPPED = Origin(
    "imagenet64-cropped",
    f"imagenet-64x64.zip, or its members in train/, with {NUM_IMAGES['train']:,} PNG images of"
    " 64 x 64 pixels and dataset.json",
    "https://github.com/NVlabs/edm (made by its dataset_tool.py with --resolution=64x64"
    " --transform=center-crop)",
    "shapes and numbers, not their content",
)


def load_imagenet64_box(split: Literal["train", "val"] = "train") -> ImageSet:
    """Returns the box-downsampled version: images, uint8 (n, 64, 64, 3), and classes from 0 on.

    The first call reads one batch (1.6 GB) at a time and stores the images in the cache; later ones
    return a view of that file.

    Raises:
        ValueError: there is no such split.
        DataError: a batch is missing or damaged, or a label is out of range.

    References:
        Chrabaszcz, Loshchilov and Hutter, A downsampled variant of ImageNet as an alternative to
          the CIFAR datasets, 2017.
    """
    check_option("split", split, BATCHES)
    path = BOX.path()
    paths = [path / name for name in BATCHES[split]]
    if missing := [item for item in paths if not item.exists()]:
        raise BOX.error(f"{missing[0]}: no such file")
    # Read at every start: they are small, and they say how many images each batch has.
    labels = [check_labels(_member(item, "labels"), NUM_CLASSES, item, first=1) for item in paths]
    made_from = [[_identity(item) for item in paths], [len(part) for part in labels]]

    def rows() -> Iterator[np.ndarray]:
        for item, part in zip(
            track(paths, f"preparing ImageNet 64 ({split})"), labels, strict=True
        ):
            yield from _blocks(_member(item, "data"), item, len(part))

    shape = (NUM_IMAGES[split], SIDE, SIDE, 3)
    images = prepared.load_or_make(f"imagenet64-box-{split}", made_from, shape, rows)
    return ImageSet(images, np.concatenate(labels), False, "box-downsampled; shapes and numbers")


def load_imagenet64_cropped() -> ImageSet:
    """Returns the center-cropped training images, uint8 (n, 64, 64, 3), and classes from 0 on.

    Files come in the order of their names. Labels are those of dataset.json, or None without it.

    Raises:
        DataError: there is another number of images, one is damaged or of another size, or
            dataset.json does not name every image once with a label in range.

    References:
        Karras, Aittala, Aila and Laine, Elucidating the design space of diffusion-based generative
          models, 2022.
    """
    path = CROPPED.path()
    where = first_of(path, "imagenet-64x64.zip", "train") or path / "imagenet-64x64.zip"
    if not where.exists():
        raise CROPPED.error(f"{where}: no such file")
    with open_members(where) as members:
        names = sorted(filter(squares.is_picture, members.names), key=squares.in_numeric_order)
        if len(names) != NUM_IMAGES["train"]:
            raise CROPPED.error(
                f"{where}: expected {NUM_IMAGES['train']:,} images, got {len(names):,}"
            )
        labels = _labels(members, names)
        images = squares.load_squares("imagenet64-cropped", members, names, SIDE, (SIDE, SIDE))
    return ImageSet(images, labels, False, "center-cropped; shapes and numbers")


def _identity(path: Path) -> list:
    with open_members(path) as members:
        return [path.name, [members.identity(name) for name in members.names]]


def _member(path: Path, name: str) -> np.ndarray:
    with open_members(path) as members:
        file = f"{name}.npy"
        if file not in members.names:
            raise BOX.error(f"{path}: expected an array {name}, got {members.names}")
        array = npy.parse(members.read(file, BATCH_LIMIT), f"{path}, {name}")
    if array.ndim != (2 if name == "data" else 1):
        raise DataError(f"{path}, {name}: expected another number of axes, got {array.shape}")
    return array


def _blocks(data: np.ndarray, path: Path, count: int) -> Iterator[np.ndarray]:
    """Yields the images of a batch, (k, h, w, c), some at a time."""
    if data.dtype != np.uint8 or data.shape != (count, 3 * SIDE * SIDE):
        raise DataError(
            f"{path}, data: expected uint8{(count, 3 * SIDE * SIDE)}, got {data.dtype}{data.shape}"
        )
    for start in range(0, count, 1024):
        planes = data[start : start + 1024].reshape(-1, 3, SIDE, SIDE)
        yield planes.transpose(0, 2, 3, 1)


def _labels(members: Members, names: list[str]) -> np.ndarray | None:
    """Returns the labels of dataset.json, {"labels": [[name, class], ...]}, if there is one."""
    found = [name for name in members.names if re.search(r"(?:^|/)dataset\.json$", name)]
    if not found:
        return None
    where, root = f"{members.path}, {found[0]}", found[0].removesuffix("dataset.json")
    try:
        content = parse_json(members.read(found[0]), where)
        by_name = {f"{root}{name}": label for name, label in content["labels"]}
        labels = np.array([by_name[name] for name in names])
    except (DamagedFileError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected a name and a class for every image, got {error!r}"
        ) from error
    if labels.ndim != 1:
        raise DataError(f"{where}: expected a class for every image, got {labels.shape}")
    return check_labels(labels, NUM_CLASSES, where)
