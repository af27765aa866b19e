"""Score identity distillation (SiD): a one-step generator learns from the score of a teacher.

A denoiser is a function `denoise(y, level)` of noised samples y = x + level * noise, (n, ...), and
noise levels, (n,), to E[x | y]: its score is (denoise(y, level) - y) / level^2. That of a diffusion
with a signal rate, y = rate * x + level * noise, is one of y / rate and level / rate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Denoiser = Callable[[jax.Array, jax.Array], jax.Array]


def of_samples(level: jax.Array, x: jax.Array) -> jax.Array:
    """Values of samples, (n,), as (n, 1, ...), which multiply x, (n, ...)."""
    return level.reshape(-1, *(1,) * (x.ndim - 1))


def add_noise(key: jax.Array, x: jax.Array, level: jax.Array) -> jax.Array:
    """x + level * noise with standard normal noise."""
    return x + of_samples(level, x) * jax.random.normal(key, x.shape, x.dtype)


def log_uniform_levels(
    key: jax.Array, count: int, low: float, high: float, dtype: Any = jnp.float32
) -> jax.Array:
    """So many noise levels, (count,), between `low` and `high`, uniform in their logarithms."""
    place = jax.random.uniform(key, (count,), dtype)
    return low * jnp.exp(place * jnp.log(jnp.asarray(high / low, dtype)))


def preconditioned(
    net_fn: Callable[[jax.Array, jax.Array], jax.Array], scale: float = 1.0
) -> Denoiser:
    """The denoiser of a network of inputs and outputs of unit size (Karras et al., 2022, table 1).

    The network sees y in units of its own spread, and a quarter of the log of the level. A network
    of zeros is the denoiser of normal data with standard deviation `scale`.
    """

    def denoise(y: jax.Array, level: jax.Array) -> jax.Array:
        sigma = of_samples(level, y)
        total = jnp.sqrt(sigma**2 + scale**2)
        correction = net_fn(y / total, jnp.log(level) / 4)
        return y * (scale / total) ** 2 + correction * sigma * scale / total

    return denoise


def denoising_loss(
    denoise: Denoiser,
    x: jax.Array,
    level: jax.Array,
    key: jax.Array,
    *,
    target: Denoiser | None = None,
    scale: float = 1.0,
) -> jax.Array:
    """The squared error of a denoiser, averaged with the weights of Karras et al. (2022).

    Its minimum over all functions is E[x | y]: of a generator's samples it is what a fake score
    learns, with x held fixed. With a `target` a network is fitted to that denoiser instead, without
    the noise of x given y.
    """
    y = add_noise(key, x, level)
    expected = x if target is None else target(y, level)
    weight = of_samples((level**2 + scale**2) / (level * scale) ** 2, x)
    return jnp.mean(weight * (denoise(y, level) - expected) ** 2)


def score_identity_loss(
    teacher: Denoiser,
    fake: Denoiser,
    x: jax.Array,
    level: jax.Array,
    key: jax.Array,
    *,
    alpha: float = 1.0,
    weights: jax.Array | None = None,
) -> jax.Array:
    r"""The loss of a generator's samples x, (n, ...), at noise levels, (n,) (Zhou et al., 2024).

    With f the denoiser of the teacher, g that of the generator's own samples (the fake score) and
    y = x + level * noise, it is the mean over samples of

        w [(1 - alpha) |f(y) - g(y)|^2 + (f(y) - g(y)) . (g(y) - x)].

    If g is exact, the second term is zero in the mean, since E[x | y] = g(y), and with w = level^-4
    the loss is 1 - alpha times the mean of |score of teacher - score of generator|^2 (model-based
    explicit score matching). The value therefore says nothing at alpha = 1. The
    gradient does: differentiate through x and y with both denoisers held fixed. It vanishes where f
    and g are one function.

    Args:
      teacher: f.
      fake: g, whose parameters must not be moved by this loss.
      x: samples, differentiable in the generator's parameters.
      level: noise levels.
      key: of the noise.
      alpha: theirs, 1 or 1.2; with 0 it is explicit score matching.
      weights: w, (n,); None for theirs, the inverse of the mean of |x - f(y)| over the entries of a
        sample, which passes no gradient.
    """
    y = add_noise(key, x, level)
    of_teacher, of_fake = teacher(y, level), fake(y, level)
    gap = of_teacher - of_fake
    terms = (1 - alpha) * gap**2 + gap * (of_fake - x)
    if weights is None:
        error = jnp.abs(x - of_teacher).reshape(len(x), -1).mean(axis=1)
        weights = 1 / jnp.maximum(jax.lax.stop_gradient(error), 1e-5)
    return jnp.mean(weights * terms.reshape(len(x), -1).sum(axis=1))
