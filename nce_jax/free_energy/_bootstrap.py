"""Bootstrap of free energy differences: configurations are redrawn, singly or in moving blocks."""

from typing import Any

import numpy as np

from nce_jax._checks import broadcasts, check_key, check_positive_int
from nce_jax._eager import one_program
from nce_jax._offset import Effect
from nce_jax._ragged import Windows
from nce_jax._ranges import known_values
from nce_jax._types import LogRatio, PRNGKeyArray, Weights
from nce_jax.free_energy._chain import as_chain
from nce_jax.free_energy._redraw import (
    FreeEnergyBootstrap,
    bootstrap,
    draw_by_state,
    draw_separately,
)
from nce_jax.free_energy._summary import Summary, of_chain, of_window
from nce_jax.free_energy._window import WORK, Window, solved_window


def bootstrap_bar(
    key: PRNGKeyArray,
    work_forward: LogRatio,
    work_reverse: LogRatio,
    *,
    num_replicates: int,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
    block_size: int = 1,
) -> FreeEnergyBootstrap:
    """Bootstrap of `bar`: solves again for work values that are redrawn with replacement.

    Both sides are redrawn in every replicate, each entry of the batch on its own. With `block_size`
    > 1 moving blocks are redrawn, all runs of so many consecutive values with equal probability,
    which keeps their correlation. A block should be some times longer than the statistical
    inefficiency, and there should be many of them. The replicates run as one vmapped program, in
    chunks that bound the memory.

    Args:
      key: a typed PRNG key.
      work_forward: work from the initial to the final state, (*batch, m), in kT, as in `bar`; in
        time order where blocks are used.
      work_reverse: work from the final to the initial state, (*batch, n).
      num_replicates: number of replicates; with 100 the standard error is known to about 7 %, and
        intervals need 1,000 or more.
      weights_forward: weights >= 0 of the forward work values. Values are drawn together with their
        weights; those of weight zero (padding) are never drawn.
      weights_reverse: the same for the reverse work values.
      block_size: consecutive values that are redrawn together.

    Returns:
      A `FreeEnergyBootstrap`; `percentile_interval` and `studentized_interval` make intervals of
      it.

    Raises:
      TypeError: work values that are not floating, or a `key` that is no typed key.
      ValueError: empty arrays, mismatched batches, blocks that are longer than a set, or several
        keys.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (500,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (500,))
      >>> bootstrap = free_energy.bootstrap_bar(
      ...     keys[2], work_forward, work_reverse, num_replicates=1000
      ... )
      >>> print(f"{bootstrap.standard_error:.3f} {bootstrap.influence_error:.3f}")
      0.072 0.068

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8.
      Kunsch, The jackknife and the bootstrap for general stationary observations, 1989 (moving
        blocks).
    """
    sides = (work_forward, weights_forward), (work_reverse, weights_reverse)
    _check(key, num_replicates, block_size, *sides)
    return _bootstrap_bar(
        key,
        work_forward,
        work_reverse,
        num_replicates=num_replicates,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        block_size=block_size,
    )


def bootstrap_bar_chain(
    key: PRNGKeyArray,
    work_forward: Windows,
    work_reverse: Windows,
    *,
    num_replicates: int,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
    shared_samples: bool = True,
    block_size: int = 1,
) -> FreeEnergyBootstrap:
    """Bootstrap of the sum of `bar_chain`: the configurations of every state are redrawn.

    A configuration is redrawn with both of its work values, to the state before and to the state
    after, so that the replicates have the joint error of all windows.

    Args:
      key: a typed PRNG key.
      work_forward: work from state k to state k + 1, (*batch, K - 1, m), or a list of K - 1 arrays,
        as in `bar_chain`; in time order where blocks are used.
      work_reverse: work from state k + 1 to state k, (*batch, K - 1, n), or such a list.
      num_replicates: number of replicates; see `bootstrap_bar`.
      weights_forward: weights >= 0 of work values in an array, as in `bootstrap_bar`. Those of a
        shared state must be zero for the same configurations on both sides.
      weights_reverse: the same for the reverse work values.
      shared_samples: see `bar_chain`; False redraws every side of every window on its own.
      block_size: consecutive configurations that are redrawn together; see `bootstrap_bar`.

    Returns:
      A `FreeEnergyBootstrap` of the total difference, f(last) - f(first), (*batch).

    Raises:
      TypeError: work values that are not floating, or a `key` that is no typed key.
      ValueError: as `bar_chain`, and for blocks that are longer than a set, or several keys.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> means = jnp.arange(5.0)[:, None]
      >>> x = means + jax.random.normal(keys[0], (5, 1000))
      >>> energy = lambda mean, x: (x - mean) ** 2 / 2
      >>> bootstrap = free_energy.bootstrap_bar_chain(
      ...     keys[1],
      ...     energy(means[1:], x[:-1]) - energy(means[:-1], x[:-1]),
      ...     energy(means[:-1], x[1:]) - energy(means[1:], x[1:]),
      ...     num_replicates=1000,
      ... )
      >>> print(f"{bootstrap.delta_f:.3f} +- {bootstrap.standard_error:.3f}")
      -0.038 +- 0.062

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8.
    """
    (forward, weights_forward), (reverse, weights_reverse) = as_chain(
        (work_forward, weights_forward), (work_reverse, weights_reverse), shared_samples
    )
    sides = (forward, weights_forward), (reverse, weights_reverse)
    _check(key, num_replicates, block_size, *sides)
    return _bootstrap_bar_chain(
        key,
        forward,
        reverse,
        num_replicates=num_replicates,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        shared_samples=shared_samples,
        block_size=block_size,
    )


def _check(key: Any, num_replicates: Any, block_size: Any, *sides: tuple[Any, Any]) -> None:
    check_key(key)
    check_positive_int("num_replicates", num_replicates)
    check_positive_int("block_size", block_size)
    shortest = min(_shortest(*side) for side in sides)
    if block_size > max(shortest, 1):
        raise ValueError(f"block_size: expected at most {shortest} values, got {block_size}")


def _shortest(work: Any, weights: Any) -> int:
    """The number of values in the smallest set, without those that are known to be padding."""
    shape = np.shape(work) or (1,)
    known = None if weights is None else known_values(weights)
    if known is None or not broadcasts(known.shape, shape):
        return shape[-1]
    counts = np.count_nonzero(np.broadcast_to(known > 0, shape), axis=-1)
    return int(np.min(counts, where=counts > 0, initial=shape[-1]))


_STATIC = ("num_replicates", "block_size")


@one_program(*WORK, static=_STATIC, effect=(Effect("delta_f"), Effect("replicates")))
def _bootstrap_bar(
    key: PRNGKeyArray,
    work_forward: Any,
    work_reverse: Any,
    *,
    num_replicates: int,
    weights_forward: Any,
    weights_reverse: Any,
    block_size: int,
) -> FreeEnergyBootstrap:
    window = solved_window(work_forward, work_reverse, weights_forward, weights_reverse)

    def summary(window: Window) -> Summary:
        return of_window(window, block_size=block_size)

    return bootstrap(key, window, draw_separately, summary, num_replicates, block_size)


@one_program(
    *WORK,
    static=(*_STATIC, "shared_samples"),
    effect=(Effect("delta_f", is_sum=True), Effect("replicates", is_sum=True)),
)
def _bootstrap_bar_chain(
    key: PRNGKeyArray,
    work_forward: Any,
    work_reverse: Any,
    *,
    num_replicates: int,
    weights_forward: Any,
    weights_reverse: Any,
    shared_samples: bool,
    block_size: int,
) -> FreeEnergyBootstrap:
    windows = solved_window(work_forward, work_reverse, weights_forward, weights_reverse)

    def summary(windows: Window) -> Summary:
        return of_chain(windows, block_size=block_size, shared_samples=shared_samples)

    draw = draw_by_state if shared_samples else draw_separately
    return bootstrap(key, windows, draw, summary, num_replicates, block_size)
