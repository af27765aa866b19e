"""Convolutional generators and encoders of images with values from -1 to 1.

The generators of SVHN, CIFAR-10 and CelebA are those of the origin: transposed convolutions 4 x 4
of stride 2 with leaky rectifiers (0.2) and no normalization, and tanh at the end.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

SLOPE = 0.2
LAST_SIDE = 4
"""Side at which the encoder stops to halve."""


class Layout(NamedTuple):
    """A generator's side and channels.

    Attributes:
      side: of the first feature map; each following one is twice as large.
      channels: of the feature maps, in units of the width.
      doubles_last: whether the last convolution doubles the side as well; else it is 3 x 3 of
        stride 1.
    """

    side: int
    channels: tuple[int, ...]
    doubles_last: bool


LAYOUTS = {
    "digits": Layout(4, (8,), True),
    "svhn": Layout(4, (8, 4, 2), True),
    "cifar10": Layout(8, (16, 8, 4), False),
    "celeba": Layout(4, (8, 4, 2, 1), True),
    # Ours: the published setting has nz 512 alone.
    "celeba-hq": Layout(4, (16, 8, 8, 4, 2, 1), True),
}


class Generator(nnx.Module):
    """Latent variables (n, nz) -> images (n, h, w, c)."""

    def __init__(self, layout: Layout, nz: int, width: int, channels: int, rngs: nnx.Rngs):
        widths = [multiple * width for multiple in layout.channels]
        self.shape = (layout.side, layout.side, widths[0])
        # A transposed convolution of a single pixel is a linear layer.
        self.first = nnx.Linear(nz, layout.side**2 * widths[0], rngs=rngs)
        self.middle = nnx.List(
            nnx.ConvTranspose(a, b, (4, 4), strides=2, rngs=rngs) for a, b in pairwise(widths)
        )
        kernel, stride = (4, 2) if layout.doubles_last else (3, 1)
        self.last = nnx.ConvTranspose(
            widths[-1], channels, (kernel, kernel), strides=stride, rngs=rngs
        )

    def __call__(self, z: jax.Array) -> jax.Array:
        x = jax.nn.leaky_relu(self.first(z), SLOPE).reshape(len(z), *self.shape)
        for layer in self.middle:
            x = jax.nn.leaky_relu(layer(x), SLOPE)
        return jnp.tanh(self.last(x))


class Encoder(nnx.Module):
    """Images (n, h, w, c) -> mean and log standard deviation of z, (n, nz) each."""

    def __init__(self, side: int, nz: int, width: int, channels: int, rngs: nnx.Rngs):
        widths = [channels]
        while side > LAST_SIDE:
            side, multiple = side // 2, min(2 ** (len(widths) - 1), 8)
            widths.append(width * multiple)
        self.layers = nnx.List(
            nnx.Conv(a, b, (4, 4), strides=2, rngs=rngs) for a, b in pairwise(widths)
        )
        self.last = nnx.Linear(side**2 * widths[-1], 2 * nz, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        for layer in self.layers:
            x = jax.nn.leaky_relu(layer(x), SLOPE)
        mean, log_scale = jnp.split(self.last(x.reshape(len(x), -1)), 2, axis=-1)
        return mean, jnp.clip(log_scale - 1, -6, 2)


class Networks(NamedTuple):
    """Definitions of both networks, as functions of their parameters."""

    generator: Any
    encoder: Any

    def generate(self, params: Any, z: jax.Array) -> jax.Array:
        return nnx.merge(self.generator, params["generator"])(z)

    def encode(self, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return nnx.merge(self.encoder, params["encoder"])(x)


def make_networks(
    layout: Layout, shape: tuple[int, ...], nz: int, widths: tuple[int, int], seed: int
) -> tuple[Networks, dict[str, Any]]:
    """Networks of generator and encoder, whose widths are given, and their initial parameters."""
    rngs = nnx.Rngs(seed)
    generator = Generator(layout, nz, widths[0], shape[-1], rngs)
    encoder = Encoder(shape[0], nz, widths[1], shape[-1], rngs)
    (of_generator, generating), (of_encoder, encoding) = map(nnx.split, (generator, encoder))
    params = {"generator": generating, "encoder": encoding}
    return Networks(of_generator, of_encoder), params
