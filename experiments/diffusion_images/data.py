"""Images with their classes, batches of them, and how far samples are from them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.datasets import load_digits

from experiments.common.datasets.cifar10 import load_cifar10
from experiments.common.datasets.imagenet64 import load_imagenet64_cropped
from nce_jax import diagnostics, training

BLOCK = 64
"""Images whose features are computed at once."""


class Images(NamedTuple):
    """Training images, uint8 (n, side, side, 3), and their classes."""

    x: np.ndarray
    labels: np.ndarray


def load(name: str) -> Images:
    """A set of training images."""
    if name == "digits":
        digits = load_digits()
        gray = np.asarray(digits.images * 15.9, np.uint8)
        return Images(np.repeat(gray[..., None], 3, axis=-1), digits.target)
    if name not in ("cifar10", "imagenet64"):
        raise ValueError(f"images: expected digits, cifar10 or imagenet64, got {name}")
    found: Any = load_cifar10("train") if name == "cifar10" else load_imagenet64_cropped()
    return Images(found.images, found.labels)


def batches(images: Images, batch_size: int, seed: int) -> Callable[[int], Any]:
    """`draw(step)`: images from -1 to 1, every second one mirrored, and classes, on all devices.

    A step's batch depends on its number and the seed alone.
    """
    sharding = NamedSharding(training.make_mesh(), PartitionSpec("data"))

    def draw(step: int) -> tuple[jax.Array, jax.Array]:
        rng = np.random.default_rng([seed, step])
        rows = np.sort(rng.integers(0, len(images.x), batch_size))
        x = images.x[rows].astype(np.float32) / 127.5 - 1
        x[::2] = x[::2, :, ::-1]
        return jax.device_put((x, images.labels[rows].astype(np.int32)), sharding)

    return draw


class Judge(NamedTuple):
    """Features of training images, which those of samples are compared with."""

    features: Callable[[jax.Array], jax.Array]
    reference: np.ndarray


def make_judge(features: Callable, images: Images, count: int, seed: int) -> Judge:
    """Features of so many training images at random."""
    rows = np.random.default_rng(seed).permutation(len(images.x))[:count]
    return Judge(features, _in_blocks(features, images.x[np.sort(rows)], seed))


def as_bytes(x: Any) -> np.ndarray:
    """Images from -1 to 1 as they would be stored, uint8; what is not finite is refused."""
    x = np.asarray(x, np.float32)
    if not np.isfinite(x).all():
        raise FloatingPointError("samples: expected finite pixels, got others")
    return np.rint(np.clip((x + 1) * 127.5, 0, 255)).astype(np.uint8)


def distance(judge: Judge, x: np.ndarray) -> dict[str, np.ndarray]:
    """Squared Frechet distance of stored samples, with its error and bias."""
    seen = _in_blocks(judge.features, x, 0)
    frechet = diagnostics.frechet_distance(seen, judge.reference)
    return {
        "frechet": np.asarray(frechet.value),
        "frechet_error": np.asarray(frechet.standard_error),
        "frechet_bias": np.asarray(frechet.bias),
    }


def _in_blocks(features: Callable, x: np.ndarray, seed: int) -> np.ndarray:
    """Features in random order: the bias of the distance compares even and odd rows."""
    found = []
    for begin in range(0, len(x), BLOCK):
        block = x[begin : begin + BLOCK]
        padded = np.resize(block, (BLOCK, *block.shape[1:]))
        found.append(np.asarray(features(jnp.asarray(padded / np.float32(255))))[: len(block)])
    return np.concatenate(found)[np.random.default_rng(seed).permutation(len(x))]
