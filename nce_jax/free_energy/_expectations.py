"""Expectations under every state from the samples of all states."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_sample_array
from nce_jax._numerics import matmul
from nce_jax._offset import Effect, add_constant, check_rounding, find_split
from nce_jax._padding import padded_to, program_dtype
from nce_jax._types import AnyArray, Array, Counts, Float, Int, Potentials, Scalars, Weights
from nce_jax.free_energy._input import Inputs, as_inputs
from nce_jax.free_energy._mbar import Solved, check_options, solve_states
from nce_jax.free_energy._network import (
    Network,
    fold_samples,
    make_network,
    posterior,
    sum_by_state,
    sum_samples,
)
from nce_jax.free_energy._uncertainty import Reference, effective_numbers, state_weights
from nce_jax.log_partition import Status, interval_status


class Expectations(NamedTuple):
    """Expectations of an observable under K states.

    Attributes:
      value: the expectations, (K,); NaN unless the status is CONVERGED or LOW_OVERLAP.
      standard_error: with the errors of the free energies, (K,), NaN where `value` is.
      effective_samples: the effective number of samples behind the error, (K,).
      status: a `Status` of each state, (K,), int32. Overlap with state 0 is not required.
    """

    value: Float[Array, " states"]
    standard_error: Float[Array, " states"]
    effective_samples: Float[Array, " states"]
    status: Int[Array, " states"]


def expectations(
    reduced_potentials: Potentials,
    observable: Float[AnyArray, "*states samples"],
    num_samples: Counts | None = None,
    *,
    weights: Weights | None = None,
    statistical_inefficiency: Scalars = 1.0,
    tolerance: float | None = None,
    max_steps: int = 200,
    chunk_size: int | None = None,
) -> Expectations:
    r"""Expectations of an observable under every state, from the samples of all states.

    .. math::
       \langle A \rangle_k = \sum_n W_{kn} A_n, \qquad
       W_{kn} = \frac{e^{f_k - u_k(x_n)}}{\sum_j n_j e^{f_j - u_j(x_n)}},

    with the free energies of `mbar`, for states with and without samples.

    Args:
      reduced_potentials: as in `mbar`.
      observable: A(x_n), (N,), in the order of the samples; or an observable of each state, (K, N),
        such as its own potential. It does not count where the state does not allow the sample.
      num_samples: as in `mbar`.
      weights: as in `mbar`.
      statistical_inefficiency: as in `mbar`. It is that of the observable where it is larger.
      tolerance: as in `mbar`.
      max_steps: as in `mbar`.
      chunk_size: as in `mbar`.

    Returns:
      The `Expectations`.

    Raises:
      TypeError: potentials, observables or weights that are not floating.
      ValueError: shapes that do not fit, plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> stiffness = jnp.array([1.0, 2.0, 4.0])
      >>> x = jax.random.normal(jax.random.key(0), (2, 2000)) / jnp.sqrt(stiffness[:2, None])
      >>> x = x.ravel()
      >>> result = free_energy.expectations(jnp.outer(stiffness, x**2) / 2, x**2, [2000, 2000, 0])
      >>> for value, error in zip(result.value, result.standard_error):
      ...     print(f"{value:.3f} +- {error:.3f}")  # 1, 1/2, 1/4
      1.017 +- 0.029
      0.509 +- 0.009
      0.253 +- 0.004

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008, eqs. 13-15.
    """
    inputs = as_inputs(reduced_potentials, num_samples, weights, statistical_inefficiency)
    check_options(tolerance, max_steps, chunk_size)
    values, constants = as_observable(observable, inputs)
    result = _expectations(
        inputs.samples,
        values,
        tolerance,
        largest=inputs.largest,
        max_steps=max_steps,
        chunk_size=chunk_size,
    )
    if constants is None:
        return result
    return add_constant(result, constants, Effect("value"), "observable")


def as_observable(
    observable: Any, inputs: Inputs, name: str = "observable"
) -> tuple[Any, np.ndarray | None]:
    """The observable as (K or 1, padded N), and what was subtracted from it, by state."""
    num_states, size = inputs.samples.potentials.shape
    values = as_sample_array(name, observable)
    if values.shape not in ((inputs.size,), (num_states, inputs.size)):
        raise ValueError(
            f"{name}: expected shape {(inputs.size,)} or {(num_states, inputs.size)}, got"
            f" shape {values.shape}"
        )
    values = values.reshape(-1, inputs.size)
    if isinstance(values, jax.Array) or not inputs.is_on_host:
        dtype = program_dtype([values]) if isinstance(values, np.ndarray) else values.dtype
        check_rounding(name, values, dtype)
        return jnp.pad(jnp.asarray(values, dtype), ((0, 0), (0, size - inputs.size))), None
    dtype, constants = program_dtype([values]), None
    if values.dtype.itemsize > dtype.itemsize:
        constants = find_split([values], [1], None, Effect()).constant
        values = values - constants[:, None]
        constants = np.broadcast_to(constants, (num_states,))
    return jax.device_put(padded_to(values, size, 0, dtype)), constants


@partial(jax.jit, static_argnames=("largest", "max_steps", "chunk_size"))
def _expectations(
    samples: Any, observable: jax.Array, tolerance: Any, *, chunk_size: int | None, **options
) -> Expectations:
    network = make_network(*samples, chunk_size=chunk_size)
    solution = solve_states(network, tolerance, chunk_size=chunk_size, **options)
    averages = find_averages(solution, observable, chunk_size)
    number = effective_samples(averages, solution.reference, chunk_size)
    is_estimate = averages.status == Status.CONVERGED
    error = averages.scale * jnp.sqrt(jnp.diagonal(averages.covariance))
    return Expectations(
        value=jnp.where(is_estimate, averages.scale * averages.mean, jnp.nan),
        standard_error=jnp.where(is_estimate, error, jnp.nan),
        effective_samples=number,
        status=interval_status(averages.status, number),
    )


class Averages(NamedTuple):
    """Averages of an observable by state, in units of its largest value there.

    Attributes:
      pool: the samples with the observable.
      scale: the units, (K,).
      mean: (K,).
      responses: sums of p_j y_k with the deviations y, (K, K).
      sums: of the deviations by state, (K, K).
      covariance: of the averages, (K, K), as that of f in docs/free_energies.md.
      status: a `Status` of each state, (K,), which knows nothing of the effective samples.
    """

    pool: Network
    scale: jax.Array
    mean: jax.Array
    responses: jax.Array
    sums: jax.Array
    covariance: jax.Array
    status: jax.Array


def find_averages(solution: Solved, observable: jax.Array, chunk_size: int | None) -> Averages:
    """Averages of an observable, (K or 1, N), at the free energies of a solution."""
    network, reference, solved = solution.network, solution.reference, solution.status
    pool = network._replace(observable=observable)
    scale = _scale(pool, reference, chunk_size)
    total, weight = sum_samples(lambda part: _sums(part, reference, scale), pool, chunk_size)
    weight = jnp.where(weight == 0, 1, weight)
    mean = total / weight
    products, responses, sums = sum_samples(
        lambda part: _moments(part, reference, scale, mean), pool, chunk_size
    )
    # The first mean lost the digits of a constant that is larger than the observable's spread.
    mean += jnp.sum(sums, axis=0) / weight
    covariance = products + matmul(responses.T, reference.inverse, responses)
    is_finite = network.is_valid & network.is_defined & jnp.isfinite(mean)
    status = jnp.where(reference.is_supported, solved, Status.NO_OVERLAP)
    status = jnp.where(solved == Status.CONVERGED, status, solved)
    return Averages(
        pool=pool,
        scale=scale,
        mean=mean,
        responses=responses,
        sums=sums,
        covariance=network.inefficiency * covariance,
        status=jnp.where(is_finite, status, Status.NONFINITE).astype(jnp.int32),
    )


def _observed(part: Network, reference: Reference, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights of the samples under every state, (N, K), and the observable in units of `scale`."""
    weights = state_weights(part, reference.f)
    # What a state does not allow has no part in its expectation, whatever the value.
    has_part = (weights > 0) & (part.weights[:, None] > 0)
    return weights, jnp.where(has_part, part.observable.T / scale[None], 0)


def _scale(pool: Network, reference: Reference, chunk_size: int | None) -> jax.Array:
    """The largest value of the observable by state, (K,), in whose units nothing underflows."""

    def largest(part: Network) -> jax.Array:
        return jnp.max(jnp.abs(_observed(part, reference, units)[1]), axis=0)

    units = jnp.ones_like(reference.f)

    scale = jax.lax.stop_gradient(fold_samples(largest, jnp.maximum, 0.0, pool, chunk_size))
    return jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)


def _sums(part: Network, reference: Reference, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of W A and of W, (K,). The latter is one, up to the rounding of the free energies."""
    weights, values = _observed(part, reference, scale)
    return matmul(part.weights, weights * values), matmul(part.weights, weights)


def deviations_of(part: Network, reference: Reference, scale: jax.Array, mean: jax.Array):
    """The probabilities of the samples, and W (A - mean A) of every state, (N, K)."""
    weights, values = _observed(part, reference, scale)
    return posterior(part, reference.f), weights * (values - mean[None])


def _moments(part: Network, reference: Reference, scale: jax.Array, mean: jax.Array):
    """Sums of y_j y_k, (K, K), of p_j y_k, (K, K), and of y by state, (K, K)."""
    probabilities, deviations = deviations_of(part, reference, scale, mean)
    weighted = part.weights[:, None] * deviations
    products = matmul(deviations.T, weighted), matmul(probabilities.T, weighted)
    return *products, sum_by_state(weighted, part)


def effective_samples(
    averages: Averages, reference: Reference, chunk_size: int | None
) -> jax.Array:
    """One over the largest share of a sample in the variance, (K,)."""
    scale, mean = averages.scale, averages.mean
    return effective_numbers(
        averages.pool,
        reference,
        (averages.responses, averages.sums),
        lambda part: deviations_of(part, reference, scale, mean),
        chunk_size,
    )
