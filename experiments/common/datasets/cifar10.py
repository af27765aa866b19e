"""CIFAR-10 in each of its formats: the binary archive, its files, PNG images by class, an npz."""

import hashlib
import os
from pathlib import Path
from typing import Literal

import numpy as np

from experiments.common.datasets import cifar10_binary, cifar10_png
from experiments.common.datasets.members import first_of
from experiments.common.datasets.origin import (
    VARIABLE,
    DataError,
    ImageSet,
    check_labels,
    check_option,
)

__all__ = ["DIGESTS", "NUM_IMAGES", "DataError", "load_cifar10", "order_free_digest"]

FOLDER = "cifar10"
NUM_IMAGES = {"train": 50_000, "test": 10_000}
# Of the pixels alone, and of pixels and label, in any order of the images.
DIGESTS = {
    "train": (
        "6bebf6967ad9d2d12d9cf95f54164bd95a0954d3177f1285fa8dd3673671ca76",
        "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
    ),
    "test": (
        "eb97bdfceb97fec3832a6abdbbf9f16340a510375c77ce1b32c45de1e6d88318",
        "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
    ),
}


def load_cifar10(split: Literal["train", "test"] = "train") -> ImageSet:
    """Returns images, uint8 (n, 32, 32, 3), and labels of CIFAR-10.

    The folder cifar10/ below NCE_JAX_DATA may hold, in order of preference: the published archive
    `cifar-10-binary.tar.gz`; the files unpacked from it; a folder of PNG images
    `<split>/<class>/<name>.png`, or `cifar10.zip` with such members; `cifar10_<split>.npz` with
    part of the set as PNG files. Without any of them the archive is downloaded into the cache.

    PNG images come sorted by class and name: shuffle them. All formats are compared with the
    published set by digests that do not depend on the order.

    Args:
        split: `"train"` (50,000 images) or `"test"` (10,000).

    Returns:
        The images, with `is_verified` true if they are the whole published split, bit by bit.

    Raises:
        ValueError: there is no such split.
        DataError: a file is missing, damaged, or not what it should be.

    References:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    check_option("split", split, NUM_IMAGES)
    images, labels = _read(split)
    labels = check_labels(labels, 10, f"{FOLDER} ({split})")
    return ImageSet(images, labels, *compare(split, images, labels))


def _read(split: str) -> tuple[np.ndarray, np.ndarray]:
    base = os.environ.get(VARIABLE)
    path = Path(base or "").expanduser() / FOLDER
    if base and not (path / cifar10_binary.ARCHIVE.name).exists():
        if bins := first_of(path, "data_batch_1.bin", "test_batch.bin", cifar10_binary.UNPACKED):
            folder = bins if bins.name == cifar10_binary.UNPACKED else path
            return cifar10_binary.read_files(folder, split)
        if pictures := first_of(path, split, "cifar10.zip"):
            where = path if pictures.name == split else pictures
            return cifar10_png.read_by_class(where, split)
        if packed := first_of(path, f"{FOLDER}_{split}.npz"):
            return cifar10_png.read_packed(packed)
    return cifar10_binary.read_archive(split)


def order_free_digest(images: np.ndarray, labels: np.ndarray | None = None) -> str:
    """Returns the digest of a set of images, the same in any order.

    It is the SHA-256 of the images' SHA-256 digests, sorted and joined; each is of the pixels in
    the order (h, w, c), with the label as one more byte if labels are given.
    """
    ends = [b""] * len(images) if labels is None else [bytes([label]) for label in labels]
    digests = (
        hashlib.sha256(image.tobytes() + end).digest()
        for image, end in zip(images, ends, strict=True)
    )
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def compare(split: str, images: np.ndarray, labels: np.ndarray) -> tuple[bool, str]:
    """Whether these are the images and labels of the published split, and what was found."""
    count = f"{len(images):,} of {NUM_IMAGES[split]:,} images"
    if len(images) != NUM_IMAGES[split]:
        return False, f"part of the set: {count}, not compared"
    digest = order_free_digest(images)
    if digest != DIGESTS[split][0]:
        return False, f"not the published pixels: {count}, digest {digest}"
    if order_free_digest(images, labels) != DIGESTS[split][1]:
        return False, f"the published pixels with other labels: {count}, digest {digest}"
    return True, f"the whole lossless set: {count}, digest {digest}"
