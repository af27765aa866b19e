"""A generator with the prior N(0, I), trained first, and the latent variables that it infers."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.latent_model import (
    GeneratorSettings,
    encode,
    generate,
    posterior_samples,
    train_generator,
)
from experiments.latent_energy.config import ModelSettings
from experiments.latent_energy.images import Images, as_images, as_rows

BLOCK = 5000
LARGEST_COVARIANCE = 20_000
"""Largest number of images that principal axes are computed from."""


class Space(NamedTuple):
    """Coordinates of rows: principal ones, or the rows themselves where there are no axes."""

    center: np.ndarray
    axes: np.ndarray

    def coordinates(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self.center) @ self.axes if self.axes.size else rows

    def rows(self, coordinates: np.ndarray) -> np.ndarray:
        return coordinates @ self.axes.T + self.center if self.axes.size else coordinates


class Trained(NamedTuple):
    """A generator, and draws of z for training images and for images that were held out."""

    params: Any
    space: Space
    z_train: np.ndarray
    z_held_out: np.ndarray

    def decode(self, z: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Images of latent variables, uint8: the generator's mean, without its errors."""
        blocks = np.split(np.asarray(z, np.float32), range(BLOCK, len(z), BLOCK))
        rows = [self.space.rows(np.asarray(_decode(self.params, block))) for block in blocks]
        return as_images(np.concatenate(rows), shape)


_decode = jax.jit(generate)


def generator_settings(settings: ModelSettings, shape: tuple[int, ...]) -> GeneratorSettings:
    """Settings for gray or color images."""
    is_gray = shape[-1] == 1
    return GeneratorSettings(
        nz=settings.nz if is_gray else settings.color_nz,
        hidden=settings.hidden,
        sigma=settings.sigma if is_gray else settings.color_sigma,
        latent_steps=settings.latent_steps,
        latent_batch=settings.latent_batch,
        latent_rate=settings.latent_rate,
    )


def find_space(settings: ModelSettings, rows: np.ndarray, shape: tuple[int, ...]) -> Space:
    """Principal coordinates for color images, pixels for gray ones."""
    if shape[-1] == 1:
        return Space(np.zeros(0, np.float32), np.zeros((0, 0), np.float32))
    center = rows.mean(axis=0)
    covariance = np.cov(rows[:LARGEST_COVARIANCE] - center, rowvar=False)
    axes = np.linalg.eigh(covariance)[1][:, ::-1][:, : settings.color_axes]
    return Space(center, np.ascontiguousarray(axes, np.float32))


def train(settings: ModelSettings, images: Images, seed: int) -> Trained:
    """Trains encoder and generator on the training images, and infers z for all images."""
    rows = as_rows(images.train)
    space = find_space(settings, rows, images.shape)
    x, held_out = space.coordinates(rows), space.coordinates(as_rows(images.held_out))
    key_train, key_draws, key_held_out = jax.random.split(jax.random.key(seed), 3)
    fit = jax.jit(train_generator, static_argnums=0)
    params = fit(generator_settings(settings, images.shape), key_train, x, len(x))
    draw = jax.jit(posterior_samples)
    keys = jax.random.split(key_draws, settings.draws_per_image)
    z_train = np.concatenate([np.asarray(draw(params, key, x)) for key in keys])
    return Trained(params, space, z_train, np.asarray(draw(params, key_held_out, held_out)))


def pack(trained: Trained) -> dict[str, np.ndarray]:
    """Arrays by name, for `pieces`."""
    leaves = jax.tree.leaves(trained)
    return {f"leaf_{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}


def unpack(arrays: dict[str, np.ndarray], num_layers: int) -> Trained:
    """The inverse of `pack`, for networks of `num_layers` layers."""
    layers = [{"bias": 0, "kernel": 0}] * num_layers
    like = Trained({"decoder": layers, "encoder": layers}, Space(0, 0), 0, 0)  # type: ignore[arg-type]
    leaves = [arrays[f"leaf_{index}"] for index in range(len(arrays))]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def information(trained: Trained, images: Images) -> float:
    """Mean KL divergence in nats of the posteriors of held-out images from N(0, I)."""
    x = trained.space.coordinates(as_rows(images.held_out))
    mean, log_scale = map(np.asarray, encode(trained.params, x))
    return float(np.mean(np.sum((mean**2 + np.exp(2 * log_scale) - 1) / 2 - log_scale, axis=1)))
