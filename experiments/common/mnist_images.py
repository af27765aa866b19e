"""MNIST and Fashion-MNIST as published: 28 x 28 images with gray levels from 0 to 255."""

from typing import Literal, NamedTuple

import numpy as np

from experiments.common import idx
from experiments.common.published import VARIABLE, DataError, PublishedFile, read

__all__ = ["SETS", "VARIABLE", "DataError", "Images", "load_images"]

IMAGE_SHAPE = (28, 28)


class Images(NamedTuple):
    """Gray levels, uint8 (n, 28, 28), and class labels, uint8 (n,), in the published order."""

    images: np.ndarray
    labels: np.ndarray


class ImageFiles(NamedTuple):
    """The image file and the label file of a split."""

    images: PublishedFile
    labels: PublishedFile


def _files(
    folder: str, mirrors: tuple[str, ...], *sizes_and_digests: tuple[int, str]
) -> dict[str, ImageFiles]:
    """The four files of a set in MNIST's layout: train before test, images before labels."""
    names = [
        f"{split}-{kind}-ubyte.gz"
        for split in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    files = [
        PublishedFile(folder, name, *item, mirrors)
        for name, item in zip(names, sizes_and_digests, strict=True)
    ]
    return {"train": ImageFiles(*files[:2]), "test": ImageFiles(*files[2:])}


# Sizes and digests are of the compressed files, as published. The digests make mirrors without TLS
# safe to use.
SETS = {
    "mnist": _files(
        "mnist",
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "fashion-mnist": _files(
        "fashion-mnist",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
}


def load_images(
    name: Literal["mnist", "fashion-mnist"], *, split: Literal["train", "test"] = "train"
) -> Images:
    """Returns the verified images and labels of a published set.

    The files are read from `name`/ in the folder NCE_JAX_DATA if it is set, otherwise from the
    user's cache, into which missing files are downloaded.

    Args:
        name: `"mnist"` or `"fashion-mnist"`.
        split: `"train"` (60,000 images) or `"test"` (10,000).

    Returns:
        `Images(images, labels)`, uint8 arrays of shapes (n, 28, 28) and (n,).

    Raises:
        ValueError: there is no such set or split.
        DataError: a file is missing and cannot be downloaded, or is not the published one; the
            message names the expected file, where it is published, and where to put it.

    Examples:
        >>> load_images("mnist").labels[:5]  # doctest: +SKIP
        array([5, 0, 4, 1, 9], dtype=uint8)

    References:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition,
          1998.
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine
          learning algorithms, 2017.
    """
    if name not in SETS:
        raise ValueError(f"name: expected one of {', '.join(map(repr, SETS))}, got {name!r}")
    if split not in SETS[name]:
        raise ValueError(
            f"split: expected one of {', '.join(map(repr, SETS[name]))}, got {split!r}"
        )
    files = SETS[name][split]
    images, labels = _array(files.images, num_axes=3), _array(files.labels, num_axes=1)
    if images.shape != (len(labels), *IMAGE_SHAPE):
        raise DataError(
            f"{name}/{files.images.name}: expected shape {(len(labels), *IMAGE_SHAPE)}, an image"
            f" for every label, got shape {images.shape}"
        )
    return Images(images, labels)


def _array(file: PublishedFile, num_axes: int) -> np.ndarray:
    try:
        return idx.parse_gzip(read(file), num_axes=num_axes)
    except idx.IdxError as error:
        raise DataError(f"{file.folder}/{file.name}: {error}") from error
