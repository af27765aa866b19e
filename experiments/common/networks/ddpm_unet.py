"""The denoiser of DDPM (Ho et al., 2020) for CIFAR-10, with the names of its PyTorch checkpoint.

It predicts the noise. Dropout is left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.networks import layers
from experiments.common.networks import shapes as shapes_of
from experiments.common.networks.layers import Weights
from experiments.common.networks.shapes import Shapes

GROUPS, EPS = 32, 1e-6
_KEPT = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
LEVELS = np.sqrt(1 / _KEPT - 1)
"""Noise levels of the 1,000 steps of the training: x_t over its signal is an image with such noise.
"""


class Settings(NamedTuple):
    """Sizes of a network.

    Attributes:
      side: height and width of an image.
      channels: unit of the numbers of channels, at least 32.
      multipliers: the channels of every level, as multiples of `channels`.
      num_blocks: residual blocks of a level.
      attention_sides: the sides at which blocks attend.
      image_channels: channels of an image.
    """

    side: int
    channels: int
    multipliers: tuple[int, ...]
    num_blocks: int
    attention_sides: tuple[int, ...]
    image_channels: int = 3

    def attends(self, level: int) -> bool:
        """Whether the blocks of a level attend."""
        return self.side >> level in self.attention_sides


SETTINGS = {"ddpm-cifar10": Settings(32, 128, (1, 2, 2, 2), 2, (16,))}


def shapes(settings: Settings) -> Shapes:
    """Shapes of all arrays by name."""
    unit, last = settings.channels, len(settings.multipliers) - 1
    every = shapes_of.linear("temb.dense.0", unit, 4 * unit)
    every |= shapes_of.linear("temb.dense.1", 4 * unit, 4 * unit)
    every |= shapes_of.conv("conv_in", settings.image_channels, unit)
    skips, channels = [unit], unit
    for level, multiplier in enumerate(settings.multipliers):
        for number in range(settings.num_blocks):
            every |= _block_shapes(
                f"down.{level}.block.{number}", channels, unit * multiplier, unit
            )
            channels = unit * multiplier
            if settings.attends(level):
                every |= _attention_shapes(f"down.{level}.attn.{number}", channels)
            skips.append(channels)
        if level < last:
            every |= shapes_of.conv(f"down.{level}.downsample.conv", channels, channels)
            skips.append(channels)
    every |= _attention_shapes("mid.attn_1", channels)
    for number in (1, 2):
        every |= _block_shapes(f"mid.block_{number}", channels, channels, unit)
    for level in reversed(range(last + 1)):
        width = unit * settings.multipliers[level]
        for number in range(settings.num_blocks + 1):
            every |= _block_shapes(
                f"up.{level}.block.{number}", channels + skips.pop(), width, unit
            )
            channels = width
            if settings.attends(level):
                every |= _attention_shapes(f"up.{level}.attn.{number}", width)
        if level:
            every |= shapes_of.conv(f"up.{level}.upsample.conv", width, width)
    every |= shapes_of.norm("norm_out", channels)
    return every | shapes_of.conv("conv_out", channels, settings.image_channels)


def _block_shapes(name: str, channels_in: int, channels_out: int, unit: int) -> Shapes:
    every = shapes_of.norm(f"{name}.norm1", channels_in)
    every |= shapes_of.conv(f"{name}.conv1", channels_in, channels_out)
    every |= shapes_of.linear(f"{name}.temb_proj", 4 * unit, channels_out)
    every |= shapes_of.norm(f"{name}.norm2", channels_out)
    every |= shapes_of.conv(f"{name}.conv2", channels_out, channels_out)
    if channels_in != channels_out:
        every |= shapes_of.conv(f"{name}.nin_shortcut", channels_in, channels_out, 1)
    return every


def _attention_shapes(name: str, channels: int) -> Shapes:
    every = shapes_of.norm(f"{name}.norm", channels)
    for part in ("q", "k", "v", "proj_out"):
        every |= shapes_of.conv(f"{name}.{part}", channels, channels, 1)
    return every


def denoise(settings: Settings, weights: Weights, y: jax.Array, level: jax.Array) -> jax.Array:
    """The expected image given one with noise of standard deviation `level`, (n,).

    Levels between those of the steps have steps between.
    """
    step = jnp.interp(jnp.log(level), jnp.log(LEVELS), jnp.arange(len(LEVELS)))
    x = y / jnp.sqrt(1 + level**2).reshape(-1, 1, 1, 1)
    return y - level.reshape(-1, 1, 1, 1) * predicted_noise(settings, weights, x, step)


def predicted_noise(
    settings: Settings, weights: Weights, x: jax.Array, step: jax.Array
) -> jax.Array:
    """The noise in x_t.

    Args:
      settings: sizes of the network.
      weights: its arrays.
      x: x_t of images from -1 to 1, (n, side, side, channels).
      step: t from 0 to 999, (n,); numbers between are allowed.
    """
    features = jnp.concatenate(layers.positions(step, settings.channels, True), axis=1)
    features = jax.nn.silu(layers.linear(weights, "temb.dense.0", features))
    features = jax.nn.silu(layers.linear(weights, "temb.dense.1", features))
    last = len(settings.multipliers) - 1
    x = layers.conv(weights, "conv_in", x)
    skips = [x]
    for level in range(last + 1):
        for number in range(settings.num_blocks):
            x = _at_level(settings, weights, f"down.{level}", number, x, features)
            skips.append(x)
        if level < last:
            # Padded below and on the right alone, as in the original.
            x = layers.conv(weights, f"down.{level}.downsample.conv", x, 2, ((0, 1), (0, 1)))
            skips.append(x)
    x = _block(weights, "mid.block_1", x, features)
    x = _block(weights, "mid.block_2", _attend(weights, "mid.attn_1", x), features)
    for level in reversed(range(last + 1)):
        for number in range(settings.num_blocks + 1):
            x = jnp.concatenate([x, skips.pop()], axis=-1)
            x = _at_level(settings, weights, f"up.{level}", number, x, features)
        if level:
            x = layers.conv(weights, f"up.{level}.upsample.conv", layers.up(x))
    return layers.conv(weights, "conv_out", _activated(weights, "norm_out", x))


def _at_level(
    settings: Settings, weights: Weights, name: str, number: int, x: jax.Array, features: jax.Array
) -> jax.Array:
    x = _block(weights, f"{name}.block.{number}", x, features)
    attends = settings.attends(int(name.split(".")[1]))
    return _attend(weights, f"{name}.attn.{number}", x) if attends else x


def _activated(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    return jax.nn.silu(layers.group_norm(weights, name, x, GROUPS, EPS))


def _block(weights: Weights, name: str, x: jax.Array, features: jax.Array) -> jax.Array:
    y = layers.conv(weights, f"{name}.conv1", _activated(weights, f"{name}.norm1", x))
    y = y + layers.linear(weights, f"{name}.temb_proj", features)[:, None, None]
    y = layers.conv(weights, f"{name}.conv2", _activated(weights, f"{name}.norm2", y))
    if f"{name}.nin_shortcut.weight" in weights:
        x = layers.conv(weights, f"{name}.nin_shortcut", x)
    return x + y


def _attend(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    y = layers.group_norm(weights, f"{name}.norm", x, GROUPS, EPS)
    n, height, width, channels = x.shape
    query, key, value = (
        layers.conv(weights, f"{name}.{part}", y).reshape(n, height * width, 1, channels)
        for part in "qkv"
    )
    y = layers.attention(query, key, value).reshape(x.shape)
    return x + layers.conv(weights, f"{name}.proj_out", y)
