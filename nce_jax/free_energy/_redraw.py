"""Replicates of what is made of solved windows: values are redrawn, singly or in moving blocks."""

import math
from collections.abc import Callable
from typing import NamedTuple

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


class Sets(NamedTuple):
    """The forward, or the reverse, work values of all windows.

    Attributes:
      work: those of positive weight first, (*batch, n).
      weights: of the work values, or None.
    """

    work: jax.Array
    weights: jax.Array | None

    @property
    def size(self) -> int:
        return self.work.shape[-1]

    @property
    def counts(self) -> jax.Array:
        """How many values are redrawn of every set, (*batch): those of positive weight."""
        if self.weights is None:
            return jnp.full(self.work.shape[:-1], self.size)
        return jnp.maximum(jnp.sum(self.weights != 0, axis=-1), 1)


Draw = Callable[[PRNGKeyArray, list[Sets], int], list[jax.Array]]
"""Draws the indices of both sides, (*batch, n), in runs of so many consecutive values."""


def draw_separately(key: PRNGKeyArray, sides: list[Sets], block_size: int) -> list[jax.Array]:
    """Draws of every set on its own."""
    keys = jax.random.split(key)
    return [
        _moving_blocks(of_side, side.counts, side.size, block_size)
        for of_side, side in zip(keys, sides, strict=True)
    ]


def draw_by_state(key: PRNGKeyArray, sides: list[Sets], block_size: int) -> list[jax.Array]:
    """Draws of the configurations of every state, with both of their work values.

    They are drawn once: equal keys of some generators give other draws where they are mapped over.
    """
    forward, reverse = sides
    counts = jnp.concatenate([forward.counts, reverse.counts[..., -1:]], axis=-1)
    index = _moving_blocks(key, counts, max(forward.size, reverse.size), block_size)
    return [index[..., :-1, : forward.size], index[..., 1:, : reverse.size]]


def bootstrap(
    key: PRNGKeyArray,
    window: Window,
    draw: Draw,
    summary: Callable[[Window], Summary],
    num_replicates: int,
    block_size: int,
) -> FreeEnergyBootstrap:
    """Replicates of what `summary` makes of solved windows, redrawn by `draw`."""
    sides = [_positive_first(side.work, side.weights) for side in (window.forward, window.reverse)]
    original = summary(window)

    def replicate(key: PRNGKeyArray) -> tuple[jax.Array, jax.Array]:
        indices = draw(key, sides, block_size)
        forward, reverse = (_redraw(*pair) for pair in zip(indices, sides, strict=True))
        redrawn = solved_window(
            forward.work, reverse.work, forward.weights, reverse.weights, initial=window.delta_f
        )
        result = summary(redrawn)
        return result.root, result.standard_error

    size = sum(side.work.size for side in sides)
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


def _positive_first(work: jax.Array, weights: jax.Array | None) -> Sets:
    """Moves the values of positive weight to the front, in order: replicates are drawn of them."""
    if weights is None:
        return Sets(work, None)
    order = jnp.argsort(weights == 0, axis=-1, stable=True)
    return Sets(*(jnp.take_along_axis(array, order, axis=-1) for array in (work, weights)))


def _redraw(index: jax.Array, side: Sets) -> Sets:
    """The values drawn, with their weights: as many as have a positive weight, which come first."""
    work = jnp.take_along_axis(side.work, index, axis=-1)
    if side.weights is None:
        return Sets(work, None)
    weights = jnp.take_along_axis(side.weights, index, axis=-1)
    place = jax.lax.broadcasted_iota(index.dtype, work.shape, work.ndim - 1)
    return Sets(work, jnp.where(place < side.counts[..., None], weights, 0))


def _moving_blocks(key: PRNGKeyArray, counts: jax.Array, size: int, block_size: int) -> jax.Array:
    """Indices of `size` values among the first of every set, (*batch, size), in runs."""

    def draw(key: PRNGKeyArray, count: jax.Array) -> jax.Array:
        num_starts = jnp.maximum(count - block_size, 0) + 1
        # The first draws do not depend on how many follow, so that padding does not change them.
        starts = jax.random.randint(key, (math.ceil(size / block_size),), 0, num_starts)
        runs = starts[:, None] + jnp.arange(block_size)[None]
        return jnp.minimum(runs.reshape(-1)[:size], count - 1)

    for _ in range(counts.ndim):
        draw = jax.vmap(draw)
    return draw(jax.random.split(key, counts.shape), counts)
