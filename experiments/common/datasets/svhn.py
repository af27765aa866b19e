"""SVHN, cropped digits of house numbers: the published MATLAB files."""

import io
from typing import Literal

import numpy as np
import scipy.io

from experiments.common.datasets.origin import DataError, ImageSet, check_labels, check_option
from experiments.common.published import PublishedFile, read

__all__ = ["FILES", "NUM_IMAGES", "DataError", "load_svhn"]

_MIRRORS = ("http://ufldl.stanford.edu/housenumbers/",)
# The digests make a mirror without TLS safe to use.
FILES = {
    "train": PublishedFile(
        "svhn",
        "train_32x32.mat",
        182_040_794,
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        _MIRRORS,
    ),
    "test": PublishedFile(
        "svhn",
        "test_32x32.mat",
        64_275_384,
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        _MIRRORS,
    ),
}
NUM_IMAGES = {"train": 73_257, "test": 26_032}


def load_svhn(split: Literal["train", "test"] = "train") -> ImageSet:
    """Returns images, uint8 (n, 32, 32, 3), and digits of SVHN (cropped digits).

    The file is read from svhn/ below NCE_JAX_DATA, or downloaded into the cache. The file's label
    10 stands for the digit 0, and becomes 0 here.

    Args:
        split: `"train"` (73,257 images) or `"test"` (26,032).

    Raises:
        ValueError: there is no such split.
        DataError: the file is missing, or is not the published one.

    References:
        Netzer, Wang, Coates, Bissacco, Wu and Ng, Reading digits in natural images with
          unsupervised feature learning, 2011.
    """
    check_option("split", split, FILES)
    file = FILES[split]
    name = f"{file.folder}/{file.name}"
    images, labels = parse(read(file), name, NUM_IMAGES[split])
    return ImageSet(images, labels, True, f"{name} with sha256 {file.sha256}")


def parse(content: bytes, name: object, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and digits of a MATLAB file of `count` samples, whose axis is last in it."""
    try:
        arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=["X", "y"])
    except Exception as error:  # what scipy raises for damaged files is not documented
        raise DataError(f"{name}: expected a whole MATLAB 5 file, got {error!r}") from error
    for key, shape in (("X", (32, 32, 3, count)), ("y", (count, 1))):
        array = arrays.get(key)
        # MATLAB stores whole numbers in the type that holds them; y may be float64.
        if array is None or array.shape != shape or (key == "X" and array.dtype != np.uint8):
            got = "none" if array is None else f"{array.dtype}{array.shape}"
            raise DataError(f"{name}, {key}: expected numbers of shape {shape}, got {got}")
    digits = arrays["y"][:, 0]
    if digits.dtype.kind == "f" and np.all(digits == np.round(digits)):
        digits = digits.astype(np.int64)
    labels = check_labels(digits, 10, name, first=1)  # 1 to 10 became 0 to 9
    images = np.ascontiguousarray(np.moveaxis(arrays["X"], -1, 0))
    return images, (labels + 1) % 10
