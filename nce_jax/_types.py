"""Type aliases and protocols shared by every room."""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray, Real, Shaped

LogRatio: TypeAlias = Float[Array, "*batch _"]
"""Unnormalized log ratios s(x) = phi(x) - log q(x), samples on the last axis; their number may
differ between arguments."""

Scalars: TypeAlias = Real[ArrayLike, "*#batch"]
"""A number, or one per batch entry: magnification, noise ratio, log partition."""

Weights: TypeAlias = Shaped[Array, "..."]
"""Sample weights, floating or boolean, broadcastable to the samples; need not be normalized."""

Params: TypeAlias = Any
"""Any pytree of arrays."""

LogDensityFn: TypeAlias = Callable[[Params, Any], Float[Array, " samples"]]
"""`log_density_fn(params, x)`: the unnormalized model log density phi of every sample."""


@runtime_checkable
class Noise(Protocol):
    """A noise distribution: a normalized density that is known and cheap to draw from.

    The distributions of `nce_jax.noise` and of distrax are of this form, and so is any object with
    these two methods.
    """

    def log_prob(self, value: Any) -> Any:
        """Returns log q of samples, (samples, ...) -> (samples,), in nats."""
        ...

    def sample_and_log_prob(self, *, seed: Any, sample_shape: Any) -> tuple[Any, Any]:
        """Returns samples, (*sample_shape, ...), and log q of each, for a typed key `seed`."""
        ...


__all__ = [
    "Array",
    "ArrayLike",
    "Float",
    "Int",
    "Integer",
    "LogDensityFn",
    "LogRatio",
    "Noise",
    "PRNGKeyArray",
    "Params",
    "Real",
    "Scalars",
    "Weights",
]
