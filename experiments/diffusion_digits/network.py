"""A small convolutional U-net of images and times, as plain functions of its parameters."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Params = Any
NUM_FREQUENCIES = 8
"""Of the sines and cosines that a time is seen as."""


class _Conv(nnx.Module):
    """A 3 x 3 convolution as one product of matrices: gradients of XLA's are slow on CPUs."""

    def __init__(self, count_in: int, count_out: int, rngs: nnx.Rngs, size: float = 1.0) -> None:
        kernel_init = nnx.initializers.variance_scaling(size**2, "fan_in", "normal")
        self.linear = nnx.Linear(9 * count_in, count_out, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return self.linear(jnp.concatenate(shifted, axis=-1))


class _Block(nnx.Module):
    """Two convolutions beside a shortcut; the time shifts what is between them."""

    def __init__(self, count_in: int, count_out: int, dim_time: int, rngs: nnx.Rngs) -> None:
        self.norm_0 = nnx.GroupNorm(count_in, num_groups=_groups(count_in), rngs=rngs)
        self.conv_0 = _Conv(count_in, count_out, rngs)
        self.shift = nnx.Linear(dim_time, count_out, rngs=rngs)
        self.norm_1 = nnx.GroupNorm(count_out, num_groups=_groups(count_out), rngs=rngs)
        self.conv_1 = _Conv(count_out, count_out, rngs)
        self.shortcut = nnx.Linear(count_in, count_out, rngs=rngs)

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        y = self.conv_0(jax.nn.silu(self.norm_0(x))) + self.shift(time)[:, None, None]
        return self.conv_1(jax.nn.silu(self.norm_1(y))) + self.shortcut(x)


class _UNet(nnx.Module):
    """Blocks on the way down, and on the way up ones of the sum of what both ways bring."""

    def __init__(self, channels: tuple[int, ...], rngs: nnx.Rngs) -> None:
        dim_time = 2 * channels[0]
        self.time = nnx.Linear(2 * NUM_FREQUENCIES, dim_time, rngs=rngs)
        self.first = _Conv(1, channels[0], rngs)
        self.num_levels = len(channels)
        for level, count in enumerate(channels):
            before = channels[max(level - 1, 0)]
            setattr(self, f"down_{level}", _Block(before, count, dim_time, rngs))
        for level, (count, deeper) in enumerate(pairwise(channels)):
            setattr(self, f"raise_{level}", nnx.Linear(deeper, count, rngs=rngs))
            setattr(self, f"up_{level}", _Block(count, count, dim_time, rngs))
        self.norm = nnx.GroupNorm(channels[0], num_groups=_groups(channels[0]), rngs=rngs)
        self.last = _Conv(channels[0], 1, rngs, size=0.01)

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        features = jax.nn.silu(self.time(_waves(time)))
        x, seen = self.first(x), []
        for level in range(self.num_levels):
            x = getattr(self, f"down_{level}")(x, features)
            seen.append(x)
            if level < self.num_levels - 1:
                x = nnx.avg_pool(x, (2, 2), strides=(2, 2), padding="SAME")
        for level in reversed(range(self.num_levels - 1)):
            height, width = seen[level].shape[1:3]
            x = getattr(self, f"raise_{level}")(x)
            x = x.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width] + seen[level]
            x = getattr(self, f"up_{level}")(x, features)
        return self.last(jax.nn.silu(self.norm(x)))


def _groups(count: int) -> int:
    return 4 if count % 4 == 0 else 1


def _waves(time: jax.Array) -> jax.Array:
    """Sines and cosines of times in [0, 1], (n,) -> (n, 16)."""
    angle = time[:, None] * (jnp.pi * 2.0 ** jnp.arange(-1, NUM_FREQUENCIES - 1))[None]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)


def init_unet(key: jax.Array, channels: tuple[int, ...]) -> Params:
    """Weights of a U-net of so many channels at each resolution."""
    return nnx.to_pure_dict(nnx.split(_UNet(channels, nnx.Rngs(key)))[1])


def unet_fn(channels: tuple[int, ...]) -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
    """The U-net's outputs: parameters, images (n, side, side, 1), times (n,) -> images."""
    graph, state = _structure(channels)

    def apply(params: Params, x: jax.Array, time: jax.Array) -> jax.Array:
        filled = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(filled, params)
        return nnx.merge(graph, filled)(x, time)

    return apply


@cache
def _structure(channels: tuple[int, ...]) -> Any:
    return nnx.split(nnx.eval_shape(lambda: _UNet(channels, nnx.Rngs(0))))
