"""The denoisers of EDM (Karras et al., 2022), with the names of its checkpoints.

Two architectures: "ddpm++" (Song et al., 2021) for CIFAR-10, and "adm" (Dhariwal and Nichol, 2021)
for ImageNet at 64 x 64 pixels. SiD's one-step generators (Zhou et al., 2024) are the same networks,
and so is OpenAI's denoiser of ImageNet (Song et al., 2023), but for the unit of its noise level.
Dropout is left out.
"""

from typing import Any

import jax
import jax.numpy as jnp

from experiments.common.networks import layers
from experiments.common.networks.edm_blocks import Block, Settings, ends, plan
from experiments.common.networks.layers import Weights

SIGMA_DATA = 0.5
"""Standard deviation of the data, which the denoiser is preconditioned with."""


def denoise(
    settings: Settings,
    weights: Weights,
    x: jax.Array,
    sigma: jax.Array,
    labels: jax.Array | None = None,
) -> jax.Array:
    """The expected image given a noised one, by the preconditioning of EDM (its table 1).

    Args:
      settings: sizes of the network.
      weights: its arrays.
      x: noised images, (n, side, side, channels), in units in which an image is from -1 to 1.
      sigma: standard deviations of the noise, (n,).
      labels: one-hot classes, (n, num_labels), or None for no class.
    """
    scale = sigma.reshape(-1, 1, 1, 1)
    total = scale**2 + SIGMA_DATA**2
    noise = settings.noise_scale * jnp.log(sigma)
    inner = network(settings, weights, x / jnp.sqrt(total), noise, labels)
    return SIGMA_DATA**2 / total * x + scale * SIGMA_DATA / jnp.sqrt(total) * inner


def network(
    settings: Settings, weights: Weights, x: jax.Array, noise: jax.Array, labels: Any = None
) -> jax.Array:
    """The network itself, of a label of the noise level, (n,)."""
    features = _features(settings, weights, noise, labels)
    encoder, decoder = plan(settings)
    x = layers.conv(weights, f"enc.{settings.side}x{settings.side}_conv", x)
    skips = [x]
    for block in encoder:
        x = _apply(settings, weights, block, x, features)
        skips.append(x)
    for block in decoder:
        if block.channels_in != x.shape[-1]:
            x = jnp.concatenate([x, skips.pop()], axis=-1)
        x = _apply(settings, weights, block, x, features)
    norm, last = ends(settings)
    return layers.conv(weights, last, jax.nn.silu(_norm(settings, weights, norm, x)))


def _features(settings: Settings, weights: Weights, noise: jax.Array, labels: Any) -> jax.Array:
    """Features of noise level and class, (n, 4 channels)."""
    sines, cosines = layers.positions(noise, settings.channels, has_endpoint=not settings.is_adm)
    order = (cosines, sines) if settings.is_adm else (sines, cosines)
    x = jnp.concatenate(order, axis=1)
    if settings.num_labels:
        if labels is None:
            labels = jnp.zeros((len(x), settings.num_labels))
        size = 1.0 if settings.is_adm else settings.num_labels**0.5
        of_labels = layers.linear(weights, "map_label", labels * size)
        if not settings.is_adm:
            x = x + of_labels
    x = layers.linear(weights, "map_layer0", x)
    x = layers.linear(weights, "map_layer1", jax.nn.silu(x))
    if settings.num_labels and settings.is_adm:
        x = x + of_labels
    return jax.nn.silu(x)


def _norm(settings: Settings, weights: Weights, name: str, x: jax.Array) -> jax.Array:
    return layers.group_norm(weights, name, x, min(32, x.shape[-1] // 4), settings.eps)


def _apply(
    settings: Settings, weights: Weights, block: Block, x: jax.Array, features: jax.Array
) -> jax.Array:
    name = block.name
    resize = {"up": layers.up, "down": layers.down, "": lambda x: x}[block.change]
    y = resize(jax.nn.silu(_norm(settings, weights, f"{name}.norm0", x)))
    y = layers.conv(weights, f"{name}.conv0", y)
    shift = layers.linear(weights, f"{name}.affine", features)[:, None, None]
    if settings.is_adm:
        scale, shift = jnp.split(shift, 2, axis=-1)
        y = _norm(settings, weights, f"{name}.norm1", y) * (1 + scale) + shift
    else:
        y = _norm(settings, weights, f"{name}.norm1", y + shift)
    y = layers.conv(weights, f"{name}.conv1", jax.nn.silu(y))
    x = resize(x)
    if block.has_skip_kernel(settings):
        x = layers.conv(weights, f"{name}.skip", x)
    size = 1.0 if settings.is_adm else 0.5**0.5
    x = size * (x + y)
    return size * (x + _attend(settings, weights, name, x)) if block.attends else x


def _attend(settings: Settings, weights: Weights, name: str, x: jax.Array) -> jax.Array:
    n, height, width, channels = x.shape
    heads = channels // settings.head_channels if settings.is_adm else 1
    y = layers.conv(weights, f"{name}.qkv", _norm(settings, weights, f"{name}.norm2", x))
    # Of every head's channels, each has its query, key and value next to one another.
    y = y.reshape(n, height * width, heads, channels // heads, 3)
    y = layers.attention(y[..., 0], y[..., 1], y[..., 2])
    return layers.conv(weights, f"{name}.proj", y.reshape(x.shape))
