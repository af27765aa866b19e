"""A perceptron of samples and times as plain functions of its weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np


def init_mlp(key: jax.Array, sizes: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    """Weights of a perceptron, whose last layer begins at a hundredth of the usual size."""
    layers = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        size = (0.01 if number == len(sizes) - 2 else 1.0) / fan_in**0.5
        weight = size * jax.random.normal(jax.random.fold_in(key, number), (fan_in, fan_out))
        layers.append({"weight": weight, "bias": jnp.zeros((1, fan_out))})
    return layers


def mlp(layers: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """The perceptron's outputs, (n, features) -> (n, outputs)."""
    for layer in layers[:-1]:
        x = jax.nn.silu(x @ layer["weight"] + layer["bias"])
    return x @ layers[-1]["weight"] + layers[-1]["bias"]


def with_time(x: jax.Array, time: jax.Array) -> jax.Array:
    """Samples (n, 2) with features of a time, (n,) or one for all."""
    time = jnp.broadcast_to(time, x.shape[:1])[:, None]
    return jnp.concatenate([x, time, jnp.sin(np.pi * time), jnp.cos(np.pi * time)], axis=1)
