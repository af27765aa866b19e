"""What an optimizer makes of a gradient, tried out on it: how the updates answer to its scale, and
what is still to come.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

_AHEAD = 3
"""Steps that are tried out; the rest is summed as the geometric series that they begin."""

_SLOWEST = 0.995
"""Ratio of the series from which on it is no memory of the gradients that fades, but weight decay
or a sign."""


def response(
    optimizer: optax.GradientTransformation, opt_state: Any, params: Any, gradient: Any
) -> jax.Array:
    """The power of the gradient's scale with which the next update grows: 1 for SGD, 0 for Adam."""

    def size(factor: float) -> jax.Array:
        scaled = jax.tree.map(lambda leaf: factor * leaf, gradient)
        _, later = optimizer.update(scaled, opt_state, params)
        # The second: a warm-up begins at a rate of zero.
        return optax.tree.norm(optimizer.update(scaled, later, params)[0])

    power = jnp.clip(jnp.log2(size(2.0) / size(1.0)), 0, 1)
    return jnp.where(jnp.isfinite(power), power, 1)


def pending(optimizer: optax.GradientTransformation, opt_state: Any, params: Any) -> Any:
    """How much further the parameters will move if all gradients to come are zero: momentum."""
    nothing = jax.tree.map(jnp.zeros_like, params)
    moves = []
    for _ in range(_AHEAD):
        updates, opt_state = optimizer.update(nothing, opt_state, params)
        params = optax.apply_updates(params, updates)
        moves.append(updates)
    *_, before, last = moves
    square = optax.tree.vdot(before, before)
    ratio = optax.tree.vdot(last, before) / jnp.where(square > 0, square, 1)
    ratio = jnp.where((ratio > 0) & (ratio < _SLOWEST), ratio, 0)
    return jax.tree.map(
        lambda *leaves: (sum(leaves) + ratio / (1 - ratio) * leaves[-1]).astype(leaves[0].dtype),
        *moves,
    )
