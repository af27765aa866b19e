"""Type aliases and protocols shared by every room."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, Real, Shaped

LogRatio: TypeAlias = Float[Array, "*batch _"]
"""Unnormalized log ratios s(x) = phi(x) - log q(x), samples on the last axis; their number may
differ between arguments."""

Scalars: TypeAlias = Real[ArrayLike, "*#batch"]
"""A number, or one per batch entry: magnification, noise ratio, log partition."""

Weights: TypeAlias = Shaped[Array, "..."]
"""Sample weights, floating or boolean, broadcastable to the samples; need not be normalized."""

AnyArray: TypeAlias = Array | np.ndarray
"""An array of JAX or NumPy. In float64, those of NumPy are differenced before they are rounded."""

Potentials: TypeAlias = Float[AnyArray, "states samples"] | Sequence[Float[AnyArray, "states _"]]
"""Reduced potentials of all samples in all states, or of the samples of one state each."""

Counts: TypeAlias = Int[AnyArray, " states"] | Sequence[int]
"""Numbers of samples, one per state."""

Params: TypeAlias = Any
"""Any pytree of arrays."""

LogDensityFn: TypeAlias = Callable[[Params, Any], Float[Array, " samples"]]
"""`log_density_fn(params, x)`: the unnormalized model log density phi of every sample."""

LogRatioFn: TypeAlias = Callable[[Params, Any], Float[Array, " samples"]]
"""`log_ratio_fn(params, x)`: the log ratio of data to noise, up to a constant, of every sample."""


@runtime_checkable
class RatioEstimate(Protocol):
    """The common interface of estimated log density ratios.

    Both `fit_log_ratio` and `fit_telescope` return one, so that code written for the one works with
    the other. p is the density of the data, q the density of the noise, and s the model's log ratio
    up to a constant, so that log p(x) / q(x) is estimated by s(x) - F.
    """

    @property
    def log_partition(self) -> float:
        """F, the constant that normalizes the model's log ratio, in nats."""
        ...

    @property
    def log_partition_standard_error(self) -> float:
        """Standard error of F in nats, for the model's parameters as they are."""
        ...

    @property
    def kl(self) -> float:
        """Mean of log p(x) / q(x) over the data, in nats: an estimate of KL(p || q)."""
        ...

    @property
    def kl_standard_error(self) -> float:
        """Standard error of `kl` with the error of the parameters; NaN where that is not known."""
        ...

    @property
    def kl_sampling_error(self) -> float:
        """Standard error of `kl` for the parameters as they are: a lower bound, as a rule."""
        ...

    @property
    def overlap(self) -> float:
        """Overlap of the sets that the model separates: 1 for equal sets, 0 for disjoint ones."""
        ...

    @property
    def is_converged(self) -> bool:
        """Whether the estimate has passed all checks; `summary` names those that it has failed."""
        ...

    def log_ratio(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Estimates log p(x) - log q(x) of samples (n, ...), in nats."""
        ...

    def log_ratio_standard_error(self, x: Float[Array, "n *shape"]) -> Float[Array, " n"]:
        """Standard error of `log_ratio(x)` with the error of the parameters; NaN if not known."""
        ...

    def summary(self) -> str:
        """Returns the estimate, its errors and its diagnostics as text for printing."""
        ...


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
    "Bool",
    "Float",
    "Int",
    "Integer",
    "LogDensityFn",
    "LogRatio",
    "LogRatioFn",
    "Noise",
    "PRNGKeyArray",
    "Params",
    "RatioEstimate",
    "Real",
    "Scalars",
    "Weights",
]
