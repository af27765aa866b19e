"""Free energy differences from growing parts of the samples, from either end, in one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, as_weights, check_positive_int
from nce_jax._eager import one_program
from nce_jax._offset import Effect
from nce_jax._ragged import Windows
from nce_jax._types import Array, Float, LogRatio, Real, Scalars, Weights
from nce_jax.free_energy._chain import as_chain, inefficiencies
from nce_jax.free_energy._summary import Summary, of_chain, of_window
from nce_jax.free_energy._window import (
    WORK,
    Window,
    check_inefficiency,
    map_in_chunks,
    solved_window,
)


class Convergence(NamedTuple):
    """A free energy difference from the first and from the last part of the samples.

    Attributes:
      fraction: the part of all samples, from 1 / T to 1.
      forward: the difference in kT from the first samples; NaN without an estimate.
      forward_error: its standard error.
      forward_status: its `Status`, int32; of a chain the worst of all windows.
      backward: the difference from the last samples. The last entry is that of `forward`.
      backward_error: its standard error.
      backward_status: its `Status`.
    """

    fraction: Float[Array, " parts"]
    forward: Float[Array, "parts *batch"]
    forward_error: Float[Array, "parts *batch"]
    forward_status: Real[Array, "parts *batch"]
    backward: Float[Array, "parts *batch"]
    backward_error: Float[Array, "parts *batch"]
    backward_status: Real[Array, "parts *batch"]


def bar_convergence(
    work_forward: LogRatio,
    work_reverse: LogRatio,
    *,
    num_fractions: int = 10,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
    statistical_inefficiency: Scalars = 1.0,
) -> Convergence:
    """Runs `bar` on the first and on the last 1/T, 2/T, ... of the work values.

    Where the estimates from the two ends differ by more than their errors, the simulation has not
    reached equilibrium at its beginning, or has correlations as long as itself. Parts are weights
    and not shapes, so that one program serves them all.

    Args:
      work_forward: work from the initial to the final state, (*batch, m), in kT, in time order; see
        `bar`.
      work_reverse: work from the final to the initial state, (*batch, n), in time order.
      num_fractions: number T of parts.
      weights_forward: weights >= 0 of the forward work values, as in `bar`. A part is a part of the
        values that have a positive weight.
      weights_reverse: the same for the reverse work values.
      statistical_inefficiency: as in `bar`.

    Returns:
      A `Convergence`.

    Raises:
      TypeError: work values that are not floating.
      ValueError: empty arrays, mismatched batches, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (500,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (500,))
      >>> parts = free_energy.bar_convergence(work_forward, work_reverse, num_fractions=4)
      >>> for row in zip(parts.fraction, parts.forward, parts.backward, parts.backward_error):
      ...     print("{:.2f}  {:.2f}  {:.2f} +- {:.2f}".format(*row))
      0.25  1.19  1.03 +- 0.13
      0.50  1.04  1.11 +- 0.09
      0.75  1.09  1.04 +- 0.08
      1.00  1.08  1.08 +- 0.07

    References:
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (forward and reverse convergence).
    """
    check_inefficiency(statistical_inefficiency)
    check_positive_int("num_fractions", num_fractions)
    return _bar_convergence(
        work_forward,
        work_reverse,
        num_fractions=num_fractions,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        statistical_inefficiency=statistical_inefficiency,
    )


def bar_chain_convergence(
    work_forward: Windows,
    work_reverse: Windows,
    *,
    num_fractions: int = 10,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
    shared_samples: bool = True,
    statistical_inefficiency: Scalars = 1.0,
) -> Convergence:
    """Runs `bar_chain` on the first and on the last 1/T, 2/T, ... of every state's samples.

    Args:
      work_forward: work from state k to state k + 1, (*batch, K - 1, m), or a list of K - 1 arrays,
        as in `bar_chain`, in time order.
      work_reverse: work from state k + 1 to state k, (*batch, K - 1, n), or such a list.
      num_fractions: number T of parts.
      weights_forward: weights >= 0 of work values in an array, as in `bar_convergence`.
      weights_reverse: the same for the reverse work values.
      shared_samples: see `bar_chain`.
      statistical_inefficiency: a number, or one per state, as in `bar_chain`.

    Returns:
      A `Convergence` of the total difference, f(last) - f(first).

    Raises:
      TypeError: work values that are not floating.
      ValueError: as `bar_chain`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> means = jnp.arange(5.0)[:, None]
      >>> x = means + jax.random.normal(jax.random.key(0), (5, 1000))
      >>> energy = lambda mean, x: (x - mean) ** 2 / 2
      >>> parts = free_energy.bar_chain_convergence(
      ...     energy(means[1:], x[:-1]) - energy(means[:-1], x[:-1]),
      ...     energy(means[:-1], x[1:]) - energy(means[1:], x[1:]),
      ...     num_fractions=2,
      ... )
      >>> for row in zip(parts.fraction, parts.forward, parts.backward, parts.backward_error):
      ...     print("{:.1f}  {:.2f}  {:.2f} +- {:.2f}".format(*row))
      0.5  0.11  0.03 +- 0.09
      1.0  0.07  0.07 +- 0.06

    References:
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (forward and reverse convergence).
    """
    check_positive_int("num_fractions", num_fractions)
    (forward, weights_forward), (reverse, weights_reverse) = as_chain(
        (work_forward, weights_forward), (work_reverse, weights_reverse), shared_samples
    )
    first, second = inefficiencies(statistical_inefficiency, forward)
    return _bar_chain_convergence(
        forward,
        reverse,
        num_fractions=num_fractions,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        shared_samples=shared_samples,
        inefficiency_forward=first,
        inefficiency_reverse=second,
    )


def _effects(*, is_sum: bool) -> tuple[Effect, ...]:
    ends = ("forward", "backward")
    return tuple(Effect(end, f"{end}_error", is_sum=is_sum) for end in ends)


@one_program(*WORK, static=("num_fractions",), effect=_effects(is_sum=False))
def _bar_convergence(
    work_forward: Any,
    work_reverse: Any,
    *,
    num_fractions: int,
    weights_forward: Any,
    weights_reverse: Any,
    statistical_inefficiency: Any,
) -> Convergence:
    def summary(window: Window) -> Summary:
        return of_window(window, statistical_inefficiency)

    sides = (work_forward, weights_forward), (work_reverse, weights_reverse)
    return _convergence(*sides, num_fractions, summary)


@one_program(*WORK, static=("num_fractions", "shared_samples"), effect=_effects(is_sum=True))
def _bar_chain_convergence(
    work_forward: Any,
    work_reverse: Any,
    *,
    num_fractions: int,
    weights_forward: Any,
    weights_reverse: Any,
    shared_samples: bool,
    inefficiency_forward: Any,
    inefficiency_reverse: Any,
) -> Convergence:
    def summary(windows: Window) -> Summary:
        inefficiency = inefficiency_forward, inefficiency_reverse
        return of_chain(windows, inefficiency, shared_samples=shared_samples)

    sides = (work_forward, weights_forward), (work_reverse, weights_reverse)
    return _convergence(*sides, num_fractions, summary)


def _convergence(
    side_forward: tuple[Any, Any],
    side_reverse: tuple[Any, Any],
    num_fractions: int,
    summary: Callable[[Window], Summary],
) -> Convergence:
    """What `summary` makes of windows that are solved for every part."""
    forward = as_samples("work_forward", side_forward[0])
    reverse = as_samples("work_reverse", side_reverse[0])
    weights_forward = as_weights("weights_forward", side_forward[1], forward)
    weights_reverse = as_weights("weights_reverse", side_reverse[1], reverse)

    def estimate(part: tuple[jax.Array, jax.Array]) -> Summary:
        window = solved_window(
            forward,
            reverse,
            _part(weights_forward, forward, *part, num_fractions),
            _part(weights_reverse, reverse, *part, num_fractions),
        )
        result = summary(window)
        return result._replace(root=result.given(result.root))

    numbers = jnp.arange(1, num_fractions + 1)
    parts = jnp.tile(numbers, 2), jnp.repeat(jnp.array([False, True]), num_fractions)
    results = map_in_chunks(estimate, parts, forward.size + reverse.size)
    first, last = (
        jax.tree.map(lambda leaf, end=end: leaf[end], results)
        for end in (slice(None, num_fractions), slice(num_fractions, None))
    )
    return Convergence(
        fraction=(numbers / num_fractions).astype(first.root.dtype),
        forward=first.root,
        forward_error=first.standard_error,
        forward_status=first.status,
        backward=last.root,
        backward_error=last.standard_error,
        backward_status=last.status,
    )


def _part(
    weights: jax.Array | None,
    work: jax.Array,
    number: jax.Array,
    is_last: jax.Array,
    num_fractions: int,
) -> jax.Array:
    """The weights, and zero outside of the first or last `number` parts; one value is left."""
    weights = jnp.ones_like(work) if weights is None else weights
    rank = jnp.cumsum(weights > 0, axis=-1)
    count = rank[..., -1:]
    # number * count might overflow.
    whole, rest = count // num_fractions, count % num_fractions
    kept = jnp.maximum(whole * number + rest * number // num_fractions, 1)
    is_kept = jnp.where(is_last, rank > count - kept, rank <= kept)
    return jnp.where(is_kept, weights, 0)
