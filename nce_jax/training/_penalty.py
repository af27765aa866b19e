"""A penalty on the parameters that a step adds to its loss, such as one on gradients in x."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import describe
from nce_jax._options import check_function
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, Params, PRNGKeyArray
from nce_jax.training._state import Batch

PenaltyFn = Callable[[Params, Batch, PRNGKeyArray], Array]


class Penalty(NamedTuple):
    """The value and the gradient in the parameters of a penalty at one step."""

    value: jax.Array
    gradient: Params


def check_penalty(penalty_fn: Any) -> None:
    """Raises unless this is a function of parameters, batch and key, or None."""
    if penalty_fn is not None:
        arguments = "parameters, batch and key"
        check_function("penalty_fn", penalty_fn, arguments, num_arguments=3)


def penalty_at(penalty_fn: PenaltyFn, params: Params, batch: Batch, key: PRNGKeyArray) -> Penalty:
    """The penalty of one batch; raises unless it is one floating number."""

    def number(params: Params) -> jax.Array:
        value = penalty_fn(params, batch, key)
        is_number = jnp.shape(value) == () and hasattr(value, "dtype")
        if not (is_number and jnp.issubdtype(value.dtype, jnp.floating)):
            raise TypeError(f"penalty_fn: expected one floating number, got {describe(value)}")
        return value

    return Penalty(*jax.value_and_grad(number)(params))


def with_penalty(
    value_fn: Callable[[Any], jax.Array], penalty_fn: PenaltyFn, batch: Batch, key: PRNGKeyArray
) -> Callable[[Any], jax.Array]:
    """The loss of a pair (params, F) for a line search, with the penalty."""

    def value_of_pair(pair: Any) -> jax.Array:
        with standard_promotion():
            return value_fn(pair) + penalty_fn(pair[0], batch, key)

    return value_of_pair


def add_gradient(gradient: Params, penalty: Penalty | None) -> Params:
    """The gradient of the loss with that of the penalty."""
    if penalty is None:
        return gradient
    return jax.tree.map(
        lambda leaf, more: leaf + more.astype(leaf.dtype), gradient, penalty.gradient
    )
