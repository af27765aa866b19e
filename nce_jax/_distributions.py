"""Distributions of other libraries as noise: one adapter, chosen by how they are drawn from.

Nothing of those libraries is imported: what a distribution is shows in its methods.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._contracts import NOISE_METHODS, as_shape, check_noise, check_whole_samples
from nce_jax._promotion import standard_promotion

_KEYS = ("key", "rng_key")
"""What libraries call the key that comes first; others take a `seed` by its name."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class AdaptedNoise:
    """A distribution of another library with the methods of a noise.

    It is a pytree with the distribution in it, so that parameters of the distribution stay
    arguments and results of transformed functions.

    Attributes:
      distribution: the distribution as it was given.
    """

    distribution: Any

    def __eq__(self, other: object) -> bool:
        """Whether both are the same distribution: equal ones may hold arrays."""
        return isinstance(other, AdaptedNoise) and other.distribution is self.distribution

    def __hash__(self) -> int:
        """A hash of the distribution's identity."""
        return id(self.distribution)

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample; None for samples of several arrays."""
        shape = getattr(self.distribution, "event_shape", None)
        if shape is None:  # of flowjax
            shape = getattr(self.distribution, "shape", None)
        return as_shape(shape)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Always (): a noise is one distribution."""
        return ()

    def log_prob(self, value: Any) -> Any:
        """Returns log q of samples, (samples, ...) -> (samples,), in nats."""
        with standard_promotion():
            return self._in_support(value, self.distribution.log_prob(value))

    def sample(self, *, seed: Any, sample_shape: Any = ()) -> Any:
        """Returns samples, (*sample_shape, ...), for a typed key `seed`."""
        with standard_promotion():
            return self._draw(seed, _as_sample_shape(sample_shape))

    def sample_and_log_prob(self, *, seed: Any, sample_shape: Any = ()) -> tuple[Any, Any]:
        """Returns samples, and log q of each."""
        sample_shape = _as_sample_shape(sample_shape)
        with standard_promotion():
            both = getattr(self.distribution, "experimental_sample_and_log_prob", None)
            if callable(both):  # of TFP: one pass through a chain of bijectors
                return both(sample_shape, seed=seed)
            if callable(getattr(self.distribution, "sample_and_log_prob", None)):  # of flowjax
                return self.distribution.sample_and_log_prob(seed, sample_shape)
            x = self._draw(seed, sample_shape)
            return x, self.distribution.log_prob(x)

    def _draw(self, seed: Any, sample_shape: tuple[int, ...]) -> Any:
        draw = draw_fn(self.distribution)
        assert draw is not None  # `as_noise` has made sure of it
        return draw(seed, sample_shape)

    def _in_support(self, value: Any, log_prob: Any) -> Any:
        """Minus infinity outside of the support, which numpyro tests only if validation is on."""
        support = getattr(self.distribution, "support", None)
        if not callable(support):
            return log_prob
        is_inside = support(value)
        if getattr(is_inside, "shape", None) != getattr(log_prob, "shape", ()):
            return log_prob
        events = tuple(range(jnp.ndim(log_prob), jnp.ndim(value)))
        is_known = ~jnp.any(jnp.isnan(value), axis=events)
        return jnp.where(is_inside | ~is_known, log_prob, -jnp.inf)


def as_noise(noise: Any, name: str = "noise", *, methods: tuple[str, ...] = NOISE_METHODS) -> Any:
    """Returns `noise` with the methods of a noise; raises unless it is a distribution.

    What has them, as distributions of distrax do, is returned as it is.
    """
    is_foreign = not isinstance(noise, type) and not _has_own_methods(noise)
    if not (is_foreign and draw_fn(noise) and callable(getattr(noise, "log_prob", None))):
        check_noise(noise, name, methods=methods)
        return noise
    condition = getattr(noise, "cond_shape", None)
    if condition is not None:
        raise ValueError(
            f"{name}: expected a distribution without a condition, got one that is conditioned on"
            f" an array of shape {tuple(condition)}; a noise has the same density for all samples"
        )
    check_whole_samples(noise, name)
    return AdaptedNoise(noise)


def draw_fn(distribution: Any) -> Callable[[Any, tuple[int, ...]], Any] | None:
    """Returns `draw(key, sample_shape)` of a distribution, and None for what cannot be drawn from.

    numpyro and flowjax have `sample(key, sample_shape)`; TFP, distrax and others take the key by
    the name `seed`.
    """
    names = _parameters(getattr(distribution, "sample", None))
    if names and names[0] in _KEYS:
        return lambda key, shape: distribution.sample(key, shape)
    if "seed" in names:
        return lambda key, shape: distribution.sample(sample_shape=shape, seed=key)
    return None


def _has_own_methods(noise: Any) -> bool:
    """Whether draws with their densities take a `seed`, as the library asks for them."""
    method = getattr(noise, "sample_and_log_prob", None)
    names = _parameters(method)
    return callable(method) and (not names or names[0] not in _KEYS)


def _parameters(method: Any) -> list[str]:
    if not callable(method):
        return []
    try:
        return list(inspect.signature(method).parameters)
    except (TypeError, ValueError):
        return []


def _as_sample_shape(sample_shape: Any) -> tuple[int, ...]:
    return (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
