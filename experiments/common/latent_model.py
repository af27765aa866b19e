"""A generator with its encoder, both perceptrons, trained with the prior N(0, I).

The latent variables that it infers are what the priors of `latent_priors` learn.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from nce_jax import latent


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
    """Settings of encoder and generator, and of their training."""

    nz: int = 8
    """Dimension of z: that of the published protocol on anomalies."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the encoder; those of the generator are the same in reverse."""
    sigma: float = 0.2
    """Standard deviation of the generator's errors, in units of x."""
    latent_steps: int = 2000
    """Number of training steps of encoder and generator."""
    latent_batch: int = 256
    """Number of rows per step."""
    latent_rate: float = 1e-3
    """Learning rate of Adam, which falls to zero along a cosine."""


def train_generator(
    settings: GeneratorSettings, key: jax.Array, x: jax.Array, count: ArrayLike
) -> Any:
    """Parameters of encoder and decoder after training on the first `count` rows of x.

    Rows beyond are padding, so that one program serves sets of any size.
    """
    key_encoder, key_decoder, key_train = jax.random.split(key, 3)
    params = initial_params(settings, key_encoder, key_decoder, x.shape[1])
    step = latent.make_latent_step(
        latent.gaussian_likelihood(generate, scale=settings.sigma),
        latent.amortized(encode),
        optax.adam(optax.cosine_decay_schedule(settings.latent_rate, settings.latent_steps)),
        prior=None,
    )

    def advance(state, number):
        key_rows = jax.random.fold_in(key_train, number)
        rows = jax.random.randint(key_rows, (settings.latent_batch,), 0, count)
        return step(state, x[rows], key_train)[0], None

    return jax.lax.scan(advance, step.init(params), jnp.arange(settings.latent_steps))[0].params


def initial_params(
    settings: GeneratorSettings, key_encoder: jax.Array, key_decoder: jax.Array, features: int
) -> Any:
    """Initial parameters of encoder and decoder, for rows of `features` values."""
    sizes = features, *settings.hidden, 2 * settings.nz
    back = settings.nz, *settings.hidden[::-1], features
    return {"encoder": _init(key_encoder, sizes), "decoder": _init(key_decoder, back)}


def encode(params: Any, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Mean and log standard deviation of z given rows x, (n, nz) each."""
    mean, log_scale = jnp.split(_network(params["encoder"], x), 2, axis=-1)
    return mean, jnp.clip(log_scale - 1, -6, 2)


def posterior_samples(params: Any, key: jax.Array, x: ArrayLike) -> jax.Array:
    """One draw of z for each row of x, (n, nz)."""
    mean, log_scale = encode(params, x)
    return mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape, mean.dtype)


def generate(params: Any, z: ArrayLike) -> jax.Array:
    """The mean of x given z, (n, features)."""
    return _network(params["decoder"], z)


def _init(key: jax.Array, sizes: tuple[int, ...]) -> list[dict[str, jax.Array]]:
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"kernel": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "bias": jnp.zeros(b)}
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _network(layers: Any, x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    return x @ layers[-1]["kernel"] + layers[-1]["bias"]
