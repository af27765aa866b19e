"""Published denoisers, their weights, and the networks whose features are compared."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.common.networks import (
    ddpm_unet,
    edm_blocks,
    edm_unet,
    efficientnet,
    inception,
    layers,
)
from experiments.common.networks import shapes as shapes_of
from experiments.common.networks.weights import read_weights
from experiments.common.published import VARIABLE, cache_folder

RANDOM = edm_blocks.Settings("ddpm++", 8, 8, (1,), 1, (), num_labels=10)


class Teacher(NamedTuple):
    """A denoiser of noise levels.

    Attributes:
      denoise: `denoise(weights, y, level, labels)`, the expected images, (n, side, side, 3), of
        noised ones, of levels (n,) and of integer classes (n,).
      weights: its arrays.
      side: height and width of an image.
    """

    denoise: Callable[..., jax.Array]
    weights: dict[str, jax.Array]
    side: int


def weights_file(network: str) -> Path:
    """Where the weights of a network are read from."""
    folder = os.environ.get(VARIABLE)
    root = Path(folder).expanduser() if folder else cache_folder()
    return root / "weights" / f"{network}.npz"


def load_teacher(name: str) -> Teacher:
    """A published denoiser, or a small one with random weights.

    Raises:
      ValueError: there is no such network.
      DataError: there is no file with its weights, or it is damaged or another's.
    """
    if name == "random":
        weights = layers.init(edm_blocks.shapes(RANDOM), jax.random.key(0))
        return Teacher(_of_edm(RANDOM), weights, RANDOM.side)
    known = [*edm_blocks.SETTINGS, *ddpm_unet.SETTINGS]
    if name not in known:
        raise ValueError(f"teacher: expected one of {', '.join(['random', *known])}, got {name}")
    weights = _read(name, name)
    if name in ddpm_unet.SETTINGS:
        of_ddpm = ddpm_unet.SETTINGS[name]
        return Teacher(
            lambda weights, y, level, labels: ddpm_unet.denoise(of_ddpm, weights, y, level),
            weights,
            of_ddpm.side,
        )
    settings = edm_blocks.SETTINGS[name]
    return Teacher(_of_edm(settings), weights, settings.side)


def load_start(name: str, teacher: str) -> dict[str, jax.Array]:
    """The weights that a student begins with: a file of the teacher's network, or "teacher".

    Raises:
      ValueError: a file for a teacher with random weights.
      DataError: there is no such file, or it is damaged or another network's.
    """
    return load_teacher(teacher).weights if name == "teacher" else _read(name, teacher)


def _read(file: str, network: str) -> dict[str, jax.Array]:
    arrays = read_weights(weights_file(file), network)
    # SiD and DxMI leave the labels of augmentations at zero.
    return {key: jnp.asarray(value) for key, value in arrays.items() if key[:7] != "map_aug"}


def _of_edm(settings: edm_blocks.Settings) -> Callable[..., jax.Array]:
    def denoise(weights: Any, y: jax.Array, level: jax.Array, labels: jax.Array) -> jax.Array:
        classes = None
        if settings.num_labels:
            classes = jax.nn.one_hot(labels, settings.num_labels)
        return edm_unet.denoise(settings, weights, y, level, classes)

    return denoise


def load_features(name: str) -> Callable[[jax.Array], jax.Array]:
    """Features of images from 0 to 1; "random" is one layer, for a trial without files."""
    if name == "random":
        weights = layers.init(shapes_of.conv("conv", 3, 16), jax.random.key(1))

        def of_one_layer(images: jax.Array) -> jax.Array:
            return jax.nn.relu(layers.conv(weights, "conv", images, stride=2)).mean(axis=(1, 2))

        return jax.jit(of_one_layer)
    network: Any = efficientnet if name == "efficientnet-lite0" else inception
    weights = {
        key: jnp.asarray(value) for key, value in read_weights(weights_file(name), name).items()
    }
    return jax.jit(lambda images: network.features(weights, images))
