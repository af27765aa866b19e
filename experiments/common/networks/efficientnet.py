"""EfficientNet-Lite0: features of 1,280 numbers; a distance in them is no FID.

Mobile inverted bottlenecks (Tan and Le, 2019) without squeeze-and-excitation, with ReLU6. Padding
is TensorFlow's, in which the network was trained.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.common.networks import layers
from experiments.common.networks import shapes as shapes_of
from experiments.common.networks.layers import Weights
from experiments.common.networks.shapes import Shapes

SIDE = 224
# Repeats, side of the kernel, first stride, expansion, channels in and out.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class _Block(NamedTuple):
    name: str
    side: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int


def _blocks() -> Iterator[_Block]:
    numbers = itertools.count()
    for repeats, side, stride, expansion, first, channels in _STAGES:
        for repeat in range(repeats):
            start = (1, channels) if repeat else (stride, first)
            name = f"_blocks.{next(numbers)}"
            yield _Block(name, side, start[0], expansion, start[1], channels)


def shapes() -> Shapes:
    """Shapes of all arrays by name."""
    every: Shapes = {"_conv_stem.weight": (32, 3, 3, 3), **shapes_of.batch_norm("_bn0", 32)}
    for name, side, _, expansion, channels_in, channels_out in _blocks():
        width = channels_in * expansion
        if expansion != 1:
            every[f"{name}._expand_conv.weight"] = (width, channels_in, 1, 1)
            every |= shapes_of.batch_norm(f"{name}._bn0", width)
        every[f"{name}._depthwise_conv.weight"] = (width, 1, side, side)
        every |= shapes_of.batch_norm(f"{name}._bn1", width)
        every[f"{name}._project_conv.weight"] = (channels_out, width, 1, 1)
        every |= shapes_of.batch_norm(f"{name}._bn2", channels_out)
    every |= {"_conv_head.weight": (1280, 320, 1, 1), **shapes_of.batch_norm("_bn1", 1280)}
    return every | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


def features(weights: Weights, images: jax.Array) -> jax.Array:
    """Features of images from 0 to 1, (n, height, width, 3) -> (n, 1280).

    Images are resized to 224 x 224 pixels; the channels are centered and scaled as ImageNet's are.
    """
    mean, std = (
        jnp.array(values).reshape(1, 1, 1, 3)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    shape = (len(images), SIDE, SIDE, 3)
    x = (jax.image.resize(images, shape, "linear", antialias=False) - mean) / std
    x = _convolve(weights, "_conv_stem", "_bn0", x, stride=2)
    for block in _blocks():
        x = _apply(weights, block, x)
    return _convolve(weights, "_conv_head", "_bn1", x).mean(axis=(1, 2))


def _apply(weights: Weights, block: _Block, x: jax.Array) -> jax.Array:
    name, start = block.name, x
    if block.expansion != 1:
        x = _convolve(weights, f"{name}._expand_conv", f"{name}._bn0", x)
    x = _convolve(
        weights, f"{name}._depthwise_conv", f"{name}._bn1", x, block.stride, groups=x.shape[-1]
    )
    x = layers.conv(weights, f"{name}._project_conv", x)
    x = layers.batch_norm(weights, f"{name}._bn2", x)
    return x + start if block.stride == 1 and x.shape == start.shape else x


def _convolve(
    weights: Weights, name: str, norm: str, x: jax.Array, stride: int = 1, groups: int = 1
) -> jax.Array:
    x = layers.conv(weights, name, x, stride, "SAME", groups)
    return jax.nn.relu6(layers.batch_norm(weights, norm, x))
