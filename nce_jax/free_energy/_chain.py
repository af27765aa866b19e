"""Free energy differences along a chain of states, with the joint error of windows that share them.

The reverse work of a window and the forward work of the next one come from the same configurations,
those of the state between them. Their errors are therefore correlated.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_scalar_array
from nce_jax._eager import one_program
from nce_jax._numerics import block_sums, rounding_variance
from nce_jax._offset import Effect
from nce_jax._options import check_flag
from nce_jax._ragged import Windows, as_windows
from nce_jax._ranges import known_values
from nce_jax._types import Array, Float, Real, Scalars, Weights
from nce_jax.free_energy._bar import effective_count, overlap_of
from nce_jax.free_energy._window import (
    WORK,
    Window,
    as_inefficiency,
    check_inefficiency,
    solved_window,
)
from nce_jax.log_partition import Solver, interval_status, newton


class ChainFreeEnergy(NamedTuple):
    """Free energy differences of neighboring states along a chain, and their sum.

    Attributes:
      delta_f: f(k + 1) - f(k) of every window, in units of kT; NaN unless the status is CONVERGED
        or LOW_OVERLAP.
      standard_error: standard error of `delta_f` in kT, the root of the diagonal of `covariance`.
      covariance: joint covariance of `delta_f`; the row and the column of a window without an
        estimate are NaN. That of the free energies of all states relative to the first is its
        cumulative sum over both axes.
      total: f(last) - f(first) in kT, the sum of `delta_f`; NaN where any of them is.
      total_standard_error: standard error of `total` in kT, from the whole covariance.
      overlap: of the two ensembles of every window, as in `FreeEnergy`.
      status: a `Status` of every window, int32; see `FreeEnergy`. Where any is LOW_OVERLAP,
        `total_standard_error` is too small, as a rule.
      effective_samples: the effective number of work values behind every `standard_error`.
    """

    delta_f: Float[Array, "*batch windows"]
    standard_error: Float[Array, "*batch windows"]
    covariance: Float[Array, "*batch windows windows"]
    total: Float[Array, "*batch"]
    total_standard_error: Float[Array, "*batch"]
    overlap: Float[Array, "*batch windows"]
    status: Real[Array, "*batch windows"]
    effective_samples: Float[Array, "*batch windows"]


def bar_chain(
    work_forward: Windows,
    work_reverse: Windows,
    *,
    weights_forward: Weights | None = None,
    weights_reverse: Weights | None = None,
    shared_samples: bool = True,
    statistical_inefficiency: Scalars = 1.0,
    solver: Solver = newton(),
    tolerance: Scalars | None = None,
    max_steps: int = 200,
) -> ChainFreeEnergy:
    r"""Bennett acceptance ratio of every two neighbors in a chain of K states, and their sum.

    Window k, of K - 1, leads from state k to state k + 1. Its :math:`\Delta f_k` is that of `bar`.
    The influences of its work values on it are, to first order and with the acceptances f of
    Bennett's equation,

    .. math::
       \psi^F_{k,i} = -\frac{1}{m_k} \Big(\frac{f^F_{k,i}}{\langle f^F_k \rangle} - 1\Big), \qquad
       \psi^R_{k,i} = \frac{1}{n_k} \Big(\frac{f^R_{k,i}}{\langle f^R_k \rangle} - 1\Big).

    The variance of :math:`\Delta f_k` is the sum of their squares (Bennett's eq. 10a). The reverse
    work of window k and the forward work of window k + 1 are of the same configurations, so that

    .. math::
       \operatorname{Cov}(\Delta f_k, \Delta f_{k+1}) = g_{k+1} \sum_i \psi^R_{k,i}\,
       \psi^F_{k+1,i},

    with the statistical inefficiency g of state k + 1. It is positive as a rule: a configuration
    that is close to the state before is far from the state after. The root of the summed variances
    is then too small for the sum. Windows that are not neighbors have no configuration in common.

    Args:
      work_forward: work from state k to state k + 1, (*batch, K - 1, m), in kT, sampled in state k;
        or a list of K - 1 arrays (m_k,). See `bar`, also for values of +inf.
      work_reverse: work from state k + 1 to state k, (*batch, K - 1, n), sampled in state k + 1; or
        a list of K - 1 arrays (n_k,). Value i of a window and value i of the forward work of the
        next window come from the same configuration.
      weights_forward: weights >= 0 of work values in an array, as in `bar`; zero for padding.
      weights_reverse: the same for the reverse work values.
      shared_samples: whether the reverse work of a window and the forward work of the next one
        share their configurations. False for windows that were sampled on their own, whose
        differences are independent.
      statistical_inefficiency: g >= 1, a number, or one per state, (*batch, K), the number of its
        correlated samples that are worth one independent sample: `statistical_inefficiency`
        estimates it.
      solver: see `bar`.
      tolerance: admissible error of every delta_f in kT; see `bar`.
      max_steps: evaluations allowed.

    Returns:
      A `ChainFreeEnergy`. With K = 2 it holds what `bar` returns.

    Raises:
      TypeError: work values that are not floating.
      ValueError: empty arrays, mismatched batches, numbers of reverse and forward values of a
        shared state that differ, or plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> means = jnp.arange(5.0)[:, None]  # of five Gaussians, which have equal free energies
      >>> x = means + jax.random.normal(jax.random.key(0), (5, 1000))
      >>> energy = lambda mean, x: (x - mean) ** 2 / 2
      >>> result = free_energy.bar_chain(
      ...     energy(means[1:], x[:-1]) - energy(means[:-1], x[:-1]),
      ...     energy(means[:-1], x[1:]) - energy(means[1:], x[1:]),
      ... )
      >>> print(f"{result.total:.3f} +- {result.total_standard_error:.3f}")
      0.074 +- 0.061
      >>> print(f"{jnp.linalg.norm(result.standard_error):.3f}")  # as if windows were independent
      0.046

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976, eq.
        10a.
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008 (the joint error of all states).
    """
    (forward, weights_forward), (reverse, weights_reverse) = as_chain(
        (work_forward, weights_forward), (work_reverse, weights_reverse), shared_samples
    )
    first, second = inefficiencies(statistical_inefficiency, forward)
    return _bar_chain(
        forward,
        reverse,
        weights_forward=weights_forward,
        weights_reverse=weights_reverse,
        inefficiency_forward=first,
        inefficiency_reverse=second,
        shared_samples=shared_samples,
        solver=solver,
        tolerance=tolerance,
        max_steps=max_steps,
    )


def as_chain(
    side_forward: tuple[Any, Any], side_reverse: tuple[Any, Any], shared_samples: Any
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Work values and weights of both sides as arrays, (*batch, K - 1, n).

    Raises ValueError where a shared state has another number of reverse values than of forward
    ones.
    """
    check_flag("shared_samples", shared_samples)
    sizes, sides = [], []
    for name, (work, weights) in (("work_forward", side_forward), ("work_reverse", side_reverse)):
        shape = "(*batch, num_windows, n)"
        array, mask = as_windows(name, work, weights, unit="window", shape=shape, max_ndim=None)
        is_list = isinstance(work, list | tuple)
        sizes.append([np.shape(row)[0] for row in work] if is_list else _row_sizes(array))
        sides.append((array, mask))
    if len(sizes[0]) != len(sizes[1]):
        raise ValueError(
            f"work_reverse: expected the {len(sizes[0])} windows of work_forward, got"
            f" {len(sizes[1])}"
        )
    for state in range(1, len(sizes[0]) if shared_samples else 0):
        expected, got = sizes[1][state - 1], sizes[0][state]
        if got != expected:
            raise ValueError(
                f"work_forward: expected {expected} values in window {state}, one per configuration"
                f" of the reverse work of window {state - 1}, got {got}; shared_samples=False takes"
                " windows that were sampled on their own"
            )
    return sides[0], sides[1]


def _row_sizes(array: Any) -> list[int]:
    shape = np.shape(array)
    return [shape[-1]] * shape[-2]


def inefficiencies(value: Any, work_forward: Any) -> tuple[Any, Any]:
    """g of the states that forward and reverse work were sampled in, from one per state."""
    check_inefficiency(value)
    *batch, num_windows, _ = np.shape(work_forward)
    value = as_scalar_array("statistical_inefficiency", value, (*batch, num_windows + 1))
    if np.ndim(value) == 0 or np.shape(value)[-1] == 1:
        return value, value
    known = known_values(value)
    value = value if known is None else known
    return value[..., :-1], value[..., 1:]


@one_program(
    *WORK,
    static=("shared_samples", "solver", "max_steps"),
    effect=(Effect("delta_f"), Effect("total", "total_standard_error", is_sum=True)),
)
def _bar_chain(
    work_forward: Any,
    work_reverse: Any,
    *,
    weights_forward: Weights | None,
    weights_reverse: Weights | None,
    inefficiency_forward: Scalars,
    inefficiency_reverse: Scalars,
    shared_samples: bool,
    **options: Any,
) -> ChainFreeEnergy:
    windows = solved_window(work_forward, work_reverse, weights_forward, weights_reverse, **options)
    return chain_of(windows, inefficiency_forward, inefficiency_reverse, shared_samples)


def chain_of(
    windows: Window,
    inefficiency_forward: Scalars,
    inefficiency_reverse: Scalars,
    shared_samples: bool,
    block_size: int = 1,
) -> ChainFreeEnergy:
    """The free energy differences of windows that are solved, and their joint covariance."""
    of_states = (
        as_inefficiency("statistical_inefficiency", inefficiency_forward, windows),
        as_inefficiency("statistical_inefficiency", inefficiency_reverse, windows),
    )
    covariance = _covariance(windows, of_states, shared_samples, block_size)
    is_known = windows.is_estimate
    is_whole = jnp.all(is_known, axis=-1)
    variances = jnp.diagonal(covariance, axis1=-2, axis2=-1)
    # It is a sum of squares, which rounding may make negative all the same.
    variance = jnp.maximum(jnp.sum(covariance, axis=(-2, -1)), 0)
    delta_f = windows.given(windows.delta_f)
    count = effective_count(windows, block_size) / jnp.maximum(*of_states)
    return ChainFreeEnergy(
        delta_f=delta_f,
        standard_error=_root_where(is_known, variances),
        covariance=jnp.where(is_known[..., :, None] & is_known[..., None, :], covariance, jnp.nan),
        total=jnp.sum(delta_f, axis=-1),
        total_standard_error=_root_where(is_whole, variance),
        overlap=overlap_of(windows),
        status=interval_status(windows.status, count),
        effective_samples=count,
    )


def _root_where(is_known: jax.Array, variance: jax.Array) -> jax.Array:
    """The root of a variance, and NaN, which passes no gradient, where it is not known."""
    return jnp.where(is_known, jnp.sqrt(jnp.where(is_known, variance, 1)), jnp.nan)


def _covariance(
    windows: Window, of_states: tuple[jax.Array, jax.Array], shared_samples: bool, block_size: int
) -> jax.Array:
    """The covariance of all delta_f, (*batch, K - 1, K - 1); zero where one has no estimate."""
    is_known = windows.is_estimate
    # A NaN would reach the gradient of the neighbor that it is multiplied with.
    forward, reverse = (
        block_sums(jnp.where(is_known[..., None], side, 0), block_size)
        for side in windows.influences
    )
    sides = zip(of_states, (forward, reverse), strict=True)
    variances = sum(g * jnp.sum(jnp.square(side), axis=-1) for g, side in sides)
    variances = jnp.where(windows.is_single(block_size), jnp.inf, variances)
    variances = jnp.where(is_known, variances + rounding_variance(windows.delta_f), 0)
    index = np.arange(variances.shape[-1])
    covariance = jnp.zeros((*variances.shape, index.size), variances.dtype)
    covariance = covariance.at[..., index, index].set(variances)
    if not shared_samples or index.size == 1:
        return covariance
    # Both sides of a shared state have as many values; what is longer is padding.
    size = min(reverse.shape[-1], forward.shape[-1])
    products = reverse[..., :-1, :size] * forward[..., 1:, :size]
    shared = of_states[1][..., :-1] * jnp.sum(products, axis=-1)
    for row, column in ((index[:-1], index[1:]), (index[1:], index[:-1])):
        covariance = covariance.at[..., row, column].add(shared)
    return covariance
