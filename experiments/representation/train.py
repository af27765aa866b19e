"""Trains an encoder with every loss, all temperatures and seeds at once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.representation.config import Config
from experiments.representation.images import view

Params = Mapping[str, jax.Array]


def losses(config: Config) -> dict[str, Callable[[jax.Array, jax.Array, Any, Any], jax.Array]]:
    """Losses by name, as functions of two views' embeddings, the temperature and a learned bias."""
    return {
        "InfoNCE": lambda x, y, t, bias: nce_jax.losses.clip_loss(x, y, temperature=t),
        "NT-Xent": lambda x, y, t, bias: nce_jax.losses.nt_xent_loss(x, y, temperature=t),
        "SigLIP": lambda x, y, t, bias: nce_jax.losses.siglip_loss(x, y, temperature=t, bias=bias),
        "ranking, M": lambda x, y, t, bias: nce_jax.losses.clip_loss(
            x, y, temperature=t, magnification=config.magnification
        ),
    }


def init(config: Config, key: jax.Array, num_pixels: int) -> Params:
    keys = jax.random.split(key)
    sizes = (num_pixels, config.hidden), (config.hidden, config.dim)
    first, second = (
        jax.random.normal(key, size) * (2 / size[0]) ** 0.5
        for key, size in zip(keys, sizes, strict=True)
    )
    bias = jnp.asarray(config.siglip_bias)
    return {"hidden": first, "hidden_bias": jnp.zeros(config.hidden), "head": second, "bias": bias}


def features(params: Params, images: jax.Array) -> jax.Array:
    """Features of the probe, (n, hidden)."""
    return jax.nn.relu(
        images.reshape(len(images), -1) @ params["hidden"] + params["hidden_bias"][None, :]
    )


def embed(params: Params, images: jax.Array) -> jax.Array:
    """Embeddings of the loss, (n, dim), of unit length."""
    projected = features(params, images) @ params["head"]
    return projected / jnp.maximum(jnp.linalg.norm(projected, axis=-1, keepdims=True), 1e-6)


def train(
    config: Config,
    name: str,
    batch_size: int,
    x_train: jax.Array,
    key: jax.Array,
    temperature: jax.Array,
) -> Params:
    """The parameters after `num_pairs` pairs of views."""
    num_steps = config.num_pairs // batch_size
    key_init, key_steps = jax.random.split(key)
    params = init(config, key_init, x_train[0].size)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, num_steps))
    loss = losses(config)[name]

    def objective(params, images, keys):
        first, second = (embed(params, view(key, images)) for key in keys)
        return loss(first, second, temperature, params["bias"])

    def step(carry, key):
        params, state = carry
        key_batch, *keys = jax.random.split(key, 3)
        images = x_train[jax.random.randint(key_batch, (batch_size,), 0, len(x_train))]
        updates, state = optimizer.update(jax.grad(objective)(params, images, keys), state)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(
        step, (params, optimizer.init(params)), jax.random.split(key_steps, num_steps)
    )
    return params
