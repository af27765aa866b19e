"""The images: rows that models are trained on, rows held out, and rows that distances are to."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from experiments.common.datasets.celeba import load_celeba, load_celeba_hq
from experiments.common.datasets.cifar10 import load_cifar10
from experiments.common.datasets.svhn import load_svhn
from experiments.common.mnist_images import load_images

Pair = tuple[np.ndarray, np.ndarray | None]


class Images(NamedTuple):
    """Three disjoint parts of a set, uint8 (n, h, w, c), and labels of two of them.

    `held_out` and `reference` have the same number of images. Labels are None where a set has none.
    """

    train: np.ndarray
    held_out: np.ndarray
    reference: np.ndarray
    labels: np.ndarray | None
    labels_reference: np.ndarray | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of an image."""
        return self.train.shape[1:]

    @property
    def num_samples(self) -> int:
        """Number of samples that distances are computed from."""
        return len(self.reference)


def load(name: str) -> Images:
    """Loads a set: the published test images are the reference, as far as there are such."""
    if name not in SETS:
        raise ValueError(f"name: expected one of {', '.join(map(repr, SETS))}, got {name!r}")
    (x, labels), test = SETS[name]()
    # The published order may be sorted by class.
    order = np.random.default_rng(0).permutation(len(x))
    if test is None:  # one part in six is the reference
        count = len(x) // 6
        test = x[order[:count]], None if labels is None else labels[order[:count]]
        order = order[count:]
    count = len(test[0])
    held_out, train = order[:count], order[count:]
    return Images(
        x[train], x[held_out], test[0], None if labels is None else labels[train], test[1]
    )


def as_rows(x: np.ndarray) -> np.ndarray:
    """Images as rows with values from 0 to 1, float32."""
    return x.reshape(len(x), -1) / np.float32(255)


def as_images(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Rows as images, uint8 (n, h, w, c); values beyond 0 and 1 are cut off."""
    return np.rint(np.clip(rows, 0, 1) * 255).astype(np.uint8).reshape(len(rows), *shape)


def _digits() -> tuple[Pair, Pair | None]:
    x, labels = load_digits(return_X_y=True)
    return (np.rint(x * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1), labels), None


def _gray(name: str) -> tuple[Pair, Pair | None]:
    parts = [load_images(name, split=split) for split in ("train", "test")]  # type: ignore[arg-type]
    train, test = ((part.images[..., None], part.labels) for part in parts)
    return train, test


def _cifar10() -> tuple[Pair, Pair | None]:
    parts = [load_cifar10(split) for split in ("train", "test")]  # type: ignore[arg-type]
    train, test = ((part.images, part.labels) for part in parts)
    return train, test


def _svhn() -> tuple[Pair, Pair | None]:
    train, test = (load_svhn(split) for split in ("train", "test"))  # type: ignore[arg-type]
    return (train.images, train.labels), (test.images[:10_000], test.labels[:10_000])


def _celeba() -> tuple[Pair, Pair | None]:
    # Of memory-mapped images only those that are used are read.
    return (load_celeba("train").images, None), (load_celeba("test").images[:10_000], None)


def _celeba_hq() -> tuple[Pair, Pair | None]:
    return (load_celeba_hq().images, None), None


SETS: dict[str, Callable[[], tuple[Pair, Pair | None]]] = {
    "digits": _digits,
    "mnist": lambda: _gray("mnist"),
    "fashion-mnist": lambda: _gray("fashion-mnist"),
    "cifar10": _cifar10,
    "svhn": _svhn,
    "celeba": _celeba,
    "celeba-hq": _celeba_hq,
}
"""Loaders by name."""
