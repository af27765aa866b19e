"""Features of 28 x 28 images: the penultimate layer of a small classifier, trained here.

Distances of samples in these features are not the FID, which is that of Inception's features.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.typing import ArrayLike

SIDE, NUM_FEATURES = 28, 64
BLOCK = 1000
"""Images that are evaluated at once."""


@dataclass(frozen=True)
class FeatureSettings:
    """Training of the classifier; every field is our choice."""

    channels: tuple[int, int] = (16, 32)
    """Channels of the two convolutions."""
    num_classes: int = 10
    """Number of classes."""
    num_steps: int = 1500
    """Number of training steps."""
    batch_size: int = 128
    """Images per step."""
    rate: float = 3e-3
    """Learning rate of Adam at the start; it falls to zero along a cosine."""


class _Classifier(nnx.Module):
    """Two strided convolutions and two linear layers."""

    def __init__(self, settings: FeatureSettings, rngs: nnx.Rngs) -> None:
        first, second = settings.channels
        self.conv_0 = nnx.Conv(1, first, (5, 5), strides=2, rngs=rngs)
        self.conv_1 = nnx.Conv(first, second, (3, 3), strides=2, rngs=rngs)
        self.hidden = nnx.Linear(SIDE * SIDE // 16 * second, NUM_FEATURES, rngs=rngs)
        self.output = nnx.Linear(NUM_FEATURES, settings.num_classes, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        """Penultimate layer of images in [0, 1], (n, 784)."""
        x = x.reshape(-1, SIDE, SIDE, 1)
        x = jax.nn.relu(self.conv_1(jax.nn.relu(self.conv_0(x))))
        return jax.nn.relu(self.hidden(x.reshape(len(x), -1)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(self.features(x))


def train_classifier(
    settings: FeatureSettings, key: jax.Array, images: ArrayLike, labels: ArrayLike
) -> Any:
    """Parameters of a classifier of images in [0, 1], (n, 784), with labels (n,)."""
    images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels, jnp.int32)
    key_init, key_rows = jax.random.split(key)
    graph, start = nnx.split(_Classifier(settings, nnx.Rngs(key_init)))
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.rate, settings.num_steps))

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        logits = nnx.merge(graph, params)(images[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    @jax.jit
    def step(params: Any, state: Any, number: jax.Array) -> tuple[Any, Any]:
        key = jax.random.fold_in(key_rows, number)
        rows = jax.random.randint(key, (settings.batch_size,), 0, len(images))
        updates, state = optimizer.update(jax.grad(loss)(params, rows), state)
        return optax.apply_updates(params, updates), state

    params, state = start, optimizer.init(start)
    for number in range(settings.num_steps):
        params, state = step(params, state, jnp.asarray(number))
    return params


def features(settings: FeatureSettings, params: Any, images: ArrayLike) -> np.ndarray:
    """Penultimate layer of images in [0, 1], (n, 784) -> (n, 64)."""
    return _in_blocks(lambda module, x: module.features(x), settings, params, images)


def predicted(settings: FeatureSettings, params: Any, images: ArrayLike) -> np.ndarray:
    """Log probabilities of the classes, (n, 784) -> (n, classes)."""
    return _in_blocks(lambda module, x: jax.nn.log_softmax(module(x)), settings, params, images)


def _in_blocks(function: Any, settings: FeatureSettings, params: Any, images: Any) -> np.ndarray:
    graph = nnx.graphdef(nnx.eval_shape(lambda: _Classifier(settings, nnx.Rngs(0))))
    apply = jax.jit(lambda params, x: function(nnx.merge(graph, params), x))
    images = np.asarray(images, np.float32)
    blocks = [images[begin : begin + BLOCK] for begin in range(0, len(images), BLOCK)]
    return np.concatenate([np.asarray(apply(params, block)) for block in blocks])
