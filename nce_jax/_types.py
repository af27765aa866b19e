"""Type aliases and protocols shared by every room."""

from collections.abc import Callable
from typing import Any, TypeAlias

from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, Real, Shaped

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

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Float",
    "Int",
    "Integer",
    "LogDensityFn",
    "LogRatio",
    "PRNGKeyArray",
    "Params",
    "Real",
    "Scalars",
    "Weights",
]
