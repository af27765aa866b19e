"""Properties of an optimizer that are measured by calling it: scale response and momentum."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nce_jax._dtypes import compute_dtype
from nce_jax._promotion import standard_promotion
from nce_jax._updates import norm

_NUM_SIMULATED = 3
"""Number of steps that are simulated; the rest is summed as a geometric series."""

_MAX_RATIO = 0.995
"""Decay ratio above which the remaining motion is put down to weight decay or sign updates, and not
to fading momentum."""


@standard_promotion()
def response(
    optimizer: optax.GradientTransformation, opt_state: Any, params: Any, gradient: Any
) -> jax.Array:
    """The exponent of the update size against the gradient scale: 1 for SGD, 0 for Adam."""

    def size(factor: float) -> jax.Array:
        scaled = jax.tree.map(lambda leaf: factor * leaf, gradient)
        _, later = optimizer.update(scaled, opt_state, params)
        # The second update: a warm-up begins at a rate of zero.
        return norm(optimizer.update(scaled, later, params)[0])

    power = jnp.clip(jnp.log2(size(2.0) / size(1.0)), 0, 1)
    return jnp.where(jnp.isfinite(power), power, 1)


@standard_promotion()
def pending(optimizer: optax.GradientTransformation, opt_state: Any, params: Any) -> Any:
    """How far the parameters will still move if all further gradients are zero: the momentum."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    moves = []
    for _ in range(_NUM_SIMULATED):
        updates, opt_state = optimizer.update(zeros, opt_state, params)
        params = optax.apply_updates(params, updates)
        moves.append(updates)
    *_, before, last = (
        jax.tree.map(lambda leaf: leaf.astype(compute_dtype(leaf)), move) for move in moves
    )
    square = optax.tree.vdot(before, before)
    ratio = optax.tree.vdot(last, before) / jnp.where(square > 0, square, 1)
    ratio = jnp.where((ratio > 0) & (ratio < _MAX_RATIO), ratio, 0)
    return jax.tree.map(
        lambda *leaves: (sum(leaves) + ratio / (1 - ratio) * leaves[-1]).astype(leaves[0].dtype),
        *moves,
    )
