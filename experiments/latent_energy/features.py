"""Features of a small classifier, in which distances between sets of images are computed.

It is trained here, on the training images of the set. Distances in its features are no FID.
"""

import dataclasses
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.latent_energy.images import Images

BLOCK = 2000
NUM_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """Settings of the classifier."""

    feature_channels: tuple[int, ...] = ()
    """Channels of the convolutions, each of stride 2; none for gray images."""
    color_channels: tuple[int, ...] = (16, 32, 64)
    """The same for color images."""
    feature_hidden: tuple[int, ...] = (256, 64)
    """Widths of the layers that follow; the last one has the features."""
    feature_steps: int = 4000
    """Number of training steps for gray images."""
    color_steps: int = 1500
    """The same for color images."""
    feature_batch: int = 128
    """Number of images per step."""
    feature_rate: float = 1e-3
    """Learning rate of Adam, which falls to zero along a cosine."""


class Network(nnx.Module):
    """Strided convolutions and a perceptron on images with values from -1 to 1."""

    def __init__(self, channels: Any, hidden: Any, shape: tuple[int, ...], rngs: nnx.Rngs):
        widths = (shape[-1], *channels)
        self.convolutions = nnx.List(
            nnx.Conv(a, b, (3, 3), strides=2, rngs=rngs) for a, b in pairwise(widths)
        )
        side = shape[0], shape[1]
        for _ in channels:
            side = -(-side[0] // 2), -(-side[1] // 2)
        sizes = (side[0] * side[1] * widths[-1], *hidden)
        self.layers = nnx.List(nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes))
        self.head = nnx.Linear(sizes[-1], NUM_CLASSES, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        """The last hidden layer, (n, width)."""
        for convolution in self.convolutions:
            x = jax.nn.relu(convolution(x))
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return x

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.features(x))


class Classifier(NamedTuple):
    """A network as its definition, which is static, and its parameters."""

    definition: Any
    params: Any

    def features(self, x: np.ndarray) -> np.ndarray:
        """Features of images, uint8 (n, h, w, c) -> (n, width)."""
        return _in_blocks(partial(_features, self.definition, self.params), x)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """Share of images that are classified rightly."""
        logits = _in_blocks(partial(_logits, self.definition, self.params), x)
        return float(np.mean(logits.argmax(axis=1) == labels))


def initial_classifier(settings: FeatureSettings, shape: tuple[int, ...], seed: int) -> Classifier:
    """The classifier of images of a shape before its training."""
    channels = settings.feature_channels if shape[-1] == 1 else settings.color_channels
    network = Network(channels, settings.feature_hidden, shape, nnx.Rngs(seed))
    return Classifier(*nnx.split(network))


def train_classifier(settings: FeatureSettings, images: Images, seed: int = 0) -> Classifier:
    """Trains on `images.train`; every model of a set is judged by the same classifier."""
    start, key = initial_classifier(settings, images.shape, seed), jax.random.key(seed)
    params = _fit(settings, *start, images.train, images.labels, key)
    return start._replace(params=params)


@partial(jax.jit, static_argnums=(0, 1))
def _fit(
    settings: FeatureSettings, definition: Any, params: Any, x: Any, labels: Any, key: jax.Array
) -> Any:
    num_steps = settings.feature_steps if x.shape[-1] == 1 else settings.color_steps
    rate = optax.cosine_decay_schedule(settings.feature_rate, num_steps)
    optimizer = optax.adam(rate)

    def loss_fn(params: Any, rows: jax.Array) -> jax.Array:
        logits = nnx.merge(definition, params)(as_floats(x[rows]))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    def advance(carry: Any, number: jax.Array) -> tuple[Any, None]:
        params, state = carry
        key_rows = jax.random.fold_in(key, number)
        rows = jax.random.randint(key_rows, (settings.feature_batch,), 0, len(x))
        updates, state = optimizer.update(jax.grad(loss_fn)(params, rows), state)
        return (optax.apply_updates(params, updates), state), None

    x, labels = jnp.asarray(x), jnp.asarray(labels, jnp.int32)
    start = (params, optimizer.init(params))
    return jax.lax.scan(advance, start, jnp.arange(num_steps))[0][0]


def as_floats(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32) / 127.5 - 1


@partial(jax.jit, static_argnums=0)
def _features(definition: Any, params: Any, x: jax.Array) -> jax.Array:
    return nnx.merge(definition, params).features(as_floats(x))


@partial(jax.jit, static_argnums=0)
def _logits(definition: Any, params: Any, x: jax.Array) -> jax.Array:
    return nnx.merge(definition, params)(as_floats(x))


def _in_blocks(function: Any, x: np.ndarray) -> np.ndarray:
    blocks = np.split(x, range(BLOCK, len(x), BLOCK))
    return np.concatenate([np.asarray(function(block)) for block in blocks])
