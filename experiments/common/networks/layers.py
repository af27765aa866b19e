"""Layers of published networks, as functions of the arrays of a checkpoint by name.

Images are (n, height, width, channels). Kernels keep PyTorch's layout, (out, in, height, width), so
that the arrays of a checkpoint serve as they are.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from experiments.common.networks.shapes import Shapes

Weights = Mapping[str, jax.Array]


def conv(
    weights: Weights,
    name: str,
    x: jax.Array,
    stride: int = 1,
    padding: str | tuple[tuple[int, int], tuple[int, int]] | None = None,
    groups: int = 1,
) -> jax.Array:
    """A convolution, padded by half of its kernel on every side unless told otherwise."""
    kernel = weights[f"{name}.weight"]
    height, width = kernel.shape[2:]
    if padding is None:
        padding = ((height // 2, height // 2), (width // 2, width // 2))
    y = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
        feature_group_count=groups,
    )
    return y + weights[f"{name}.bias"].reshape(1, 1, 1, -1) if f"{name}.bias" in weights else y


def linear(weights: Weights, name: str, x: jax.Array) -> jax.Array:
    """A linear layer, (n, in) -> (n, out)."""
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"][None] if f"{name}.bias" in weights else y


def group_norm(weights: Weights, name: str, x: jax.Array, groups: int, eps: float) -> jax.Array:
    """Group normalization over the pixels and the channels of a group."""
    n, height, width, channels = x.shape
    parts = x.reshape(n, height, width, groups, channels // groups)
    mean = jnp.mean(parts, axis=(1, 2, 4), keepdims=True)
    variance = jnp.var(parts, axis=(1, 2, 4), keepdims=True)
    normal = ((parts - mean) * lax.rsqrt(variance + eps)).reshape(x.shape)
    scale, shift = (weights[f"{name}.{leaf}"].reshape(1, 1, 1, -1) for leaf in ("weight", "bias"))
    return normal * scale + shift


def batch_norm(weights: Weights, name: str, x: jax.Array, eps: float = 1e-3) -> jax.Array:
    """Batch normalization by the statistics of the training."""
    leaves = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, variance = (
        weights[f"{name}.{leaf}"].reshape(1, 1, 1, -1) for leaf in leaves
    )
    return (x - mean) * (scale * lax.rsqrt(variance + eps)) + shift


def attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax attention of pixels, (n, pixels, heads, channels) each."""
    scores = jnp.einsum("nqhc,nkhc->nhqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("nhqk,nkhc->nqhc", jax.nn.softmax(scores), value)


def up(x: jax.Array) -> jax.Array:
    """Every pixel as a square of four."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def down(x: jax.Array) -> jax.Array:
    """The mean of every square of four pixels."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def positions(values: jax.Array, num_features: int, has_endpoint: bool) -> tuple[jax.Array, ...]:
    """Sines and cosines of values (n,) at frequencies from 1 down to 1 / 10,000, (n, half) each."""
    half = num_features // 2
    frequencies = 1e4 ** (-jnp.arange(half) / (half - has_endpoint))
    angles = values[:, None] * frequencies[None]
    return jnp.sin(angles), jnp.cos(angles)


def init(shapes: Shapes, key: jax.Array) -> dict[str, jax.Array]:
    """Random weights: of variance 1 / fan-in, ones for the scales of norms, zeros for biases."""
    weights = {}
    for number, (name, shape) in enumerate(sorted(shapes.items())):
        if len(shape) == 1:
            weights[name] = jnp.full(
                shape, 1.0 if name.endswith(("weight", "running_var")) else 0.0
            )
        else:
            draws = jax.random.normal(jax.random.fold_in(key, number), shape)
            weights[name] = draws / (draws.size / shape[0]) ** 0.5
    return weights
