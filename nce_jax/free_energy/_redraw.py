"""Replicates of what is made of solved windows: values are redrawn, singly or in moving blocks."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._types import Array, Float, PRNGKeyArray, Real
from nce_jax.free_energy._summary import Summary
from nce_jax.free_energy._window import Window, map_in_chunks, solved_window


class FreeEnergyBootstrap(NamedTuple):
    """Bootstrap replicates of a free energy difference.

    Attributes:
      delta_f: the difference of the original samples in kT; NaN where they have no estimate.
      standard_error: the standard deviation of the replicates; NaN where `delta_f` is, or where any
        of them failed, or if there is only one. It is too small, as a rule, where the status is
        LOW_OVERLAP.
      replicates: the difference of every replicate; NaN where a solve failed.
      influence_error: the standard error of the original samples from influences, as in `bar` (with
        blocks, from influences that are summed over blocks).
      replicate_errors: the same of every replicate; NaN where it has no overlap.
      status: the `Status` of the original samples, int32; of a chain the worst of all windows.
      effective_samples: the effective number of work values, or blocks, behind `influence_error`;
        of a chain the smallest of all windows.
    """

    delta_f: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    replicates: Float[Array, "replicates *batch"]
    influence_error: Float[Array, "*batch"]
    replicate_errors: Float[Array, "replicates *batch"]
    status: Real[Array, "*batch"]
    effective_samples: Float[Array, "*batch"]


def separate_keys(key: PRNGKeyArray, shape: tuple[int, ...]) -> list[jax.Array]:
    """Keys of every set of forward and of reverse work values."""
    return [jax.random.split(side, shape) for side in jax.random.split(key)]


def bootstrap(
    key: PRNGKeyArray,
    window: Window,
    keys_of_sides: Callable[[PRNGKeyArray], list[jax.Array]],
    summary: Callable[[Window], Summary],
    num_replicates: int,
    block_size: int,
) -> FreeEnergyBootstrap:
    """Replicates of what `summary` makes of solved windows.

    `keys_of_sides` makes the keys of all forward and all reverse sets of a replicate. Sets with one
    key are redrawn alike.
    """
    sides = [_positive_first(side.work, side.weights) for side in (window.forward, window.reverse)]
    original = summary(window)

    def replicate(key: PRNGKeyArray) -> tuple[jax.Array, jax.Array]:
        keys = keys_of_sides(key)
        (forward, weights_forward), (reverse, weights_reverse) = (
            _redraw(of_side, *side, block_size) for of_side, side in zip(keys, sides, strict=True)
        )
        redrawn = solved_window(
            forward, reverse, weights_forward, weights_reverse, initial=window.delta_f
        )
        result = summary(redrawn)
        return result.root, result.standard_error

    size = sum(work.size for work, _ in sides)
    keys = jax.random.split(key, num_replicates)
    values, errors = map_in_chunks(replicate, keys, size)
    return FreeEnergyBootstrap(
        delta_f=original.given(original.root),
        standard_error=original.given(jnp.std(values, axis=0, ddof=1)),
        replicates=values,
        influence_error=original.standard_error,
        replicate_errors=errors,
        status=original.status,
        effective_samples=original.effective_samples,
    )


def _positive_first(work: jax.Array, weights: jax.Array | None) -> tuple[jax.Array, Any]:
    """Moves the values of positive weight to the front, in order: replicates are drawn of them."""
    if weights is None:
        return work, None
    order = jnp.argsort(weights == 0, axis=-1, stable=True)
    front = [jnp.take_along_axis(array, order, axis=-1) for array in (work, weights)]
    return front[0], front[1]


def _redraw(
    keys: jax.Array, work: jax.Array, weights: jax.Array | None, block_size: int
) -> tuple[jax.Array, jax.Array | None]:
    """Draws as many values, with their weights, as have a positive weight; these come first."""
    size = work.shape[-1]
    count = jnp.full(work.shape[:-1], size)
    if weights is not None:
        count = jnp.maximum(jnp.sum(weights != 0, axis=-1), 1)
    draw = lambda key, count: _moving_blocks(key, count, size, block_size)
    for _ in range(work.ndim - 1):
        draw = jax.vmap(draw)
    index = draw(keys, count)
    redrawn = jnp.take_along_axis(work, index, axis=-1)
    if weights is None:
        return redrawn, None
    place = jax.lax.broadcasted_iota(count.dtype, work.shape, work.ndim - 1)
    is_drawn = place < count[..., None]
    return redrawn, jnp.where(is_drawn, jnp.take_along_axis(weights, index, axis=-1), 0)


def _moving_blocks(key: PRNGKeyArray, count: jax.Array, size: int, block_size: int) -> jax.Array:
    """Indices of `size` values among the first `count`, in runs of `block_size`."""
    num_starts = jnp.maximum(count - block_size, 0) + 1
    # The first draws do not depend on how many follow, so that padding does not change them.
    starts = jax.random.randint(key, (math.ceil(size / block_size),), 0, num_starts)
    runs = starts[:, None] + jnp.arange(block_size)[None]
    return jnp.minimum(runs.reshape(-1)[:size], count - 1)
