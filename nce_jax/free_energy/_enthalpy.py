"""Differences of enthalpy and entropy, which share the errors of averages and free energies."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._numerics import matmul
from nce_jax._offset import Effect, add_constant
from nce_jax._types import Array, Counts, Float, Int, Potentials, Scalars, Weights
from nce_jax.free_energy._expectations import (
    Averages,
    as_observable,
    deviations_of,
    effective_samples,
    find_averages,
)
from nce_jax.free_energy._input import as_inputs, joined
from nce_jax.free_energy._mbar import Solved, assemble_solved, check_options, solve_states
from nce_jax.free_energy._network import Network, make_network, sum_samples
from nce_jax.free_energy._uncertainty import asymptotic_covariance, centered_weights
from nce_jax.log_partition import Status, interval_status


class EnthalpyEntropy(NamedTuple):
    """Differences of enthalpy and entropy between K states.

    Attributes:
      delta_h: h_j - h_i at [i, j] in kT, (K, K), with the enthalpy, the mean of a state's own
        potential; NaN where either state has no estimate.
      delta_h_standard_error: of `delta_h` in kT, (K, K).
      delta_s: s_j - s_i at [i, j] in units of k, (K, K): `delta_h` minus the difference of the free
        energies; NaN where no chain of overlapping states connects both.
      delta_s_standard_error: of `delta_s`, (K, K).
      effective_samples: the effective number of samples behind the mean potential, (K,).
      status: a `Status` of each mean potential, (K,), int32, as in `Expectations`.
      status_f: a `Status` of each free energy, (K,), int32, as in `StateFreeEnergies`. An entropy
        is as good as the worse of both.
    """

    delta_h: Float[Array, "states states"]
    delta_h_standard_error: Float[Array, "states states"]
    delta_s: Float[Array, "states states"]
    delta_s_standard_error: Float[Array, "states states"]
    effective_samples: Float[Array, " states"]
    status: Int[Array, " states"]
    status_f: Int[Array, " states"]


def enthalpy_and_entropy(
    reduced_potentials: Potentials,
    num_samples: Counts | None = None,
    *,
    weights: Weights | None = None,
    statistical_inefficiency: Scalars = 1.0,
    tolerance: float | None = None,
    max_steps: int = 200,
    chunk_size: int | None = None,
) -> EnthalpyEntropy:
    r"""Differences of the enthalpies and entropies of K states from samples of all of them.

    The reduced enthalpy of a state is the mean of its own reduced potential, and its entropy in
    units of k is what the free energy lacks of it:

    .. math::
       h_k = \langle u_k \rangle_k, \qquad s_k = h_k - f_k.

    Errors are asymptotic, and joint: the free energies and the means are made of the same samples.
    With :math:`y_{nk} = W_{kn} (u_k(x_n) - h_k)` the covariance of two means is
    :math:`y^T y + R^T G R`, with :math:`R = p^T y` and the inverse G of the equations of f, and
    that of a mean and a free energy is minus :math:`y^T w + R^T G\, p^T w`, with the weights w of
    the states, without their mean.

    Args:
      reduced_potentials: as in `mbar`. A constant that is added to all states, or to one of them,
        changes enthalpies and not entropies; one that differs from sample to sample, which free
        energies ignore, counts here.
      num_samples: as in `mbar`.
      weights: as in `mbar`.
      statistical_inefficiency: as in `mbar`. It is that of the potentials where it is larger.
      tolerance: as in `mbar`.
      max_steps: as in `mbar`.
      chunk_size: as in `mbar`.

    Returns:
      An `EnthalpyEntropy`.

    Raises:
      TypeError: as `mbar`.
      ValueError: as `mbar`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> stiffness = jnp.array([1.0, 4.0])  # u = k x^2 / 2: h = 1 / 2, s = (1 - log(k)) / 2
      >>> x = jax.random.normal(jax.random.key(0), (2, 2000)) / jnp.sqrt(stiffness)[:, None]
      >>> result = free_energy.enthalpy_and_entropy(jnp.outer(stiffness, x**2) / 2, [2000, 2000])
      >>> print(f"{result.delta_h[0, 1]:.3f} +- {result.delta_h_standard_error[0, 1]:.3f}")
      0.004 +- 0.016
      >>> print(f"{result.delta_s[0, 1]:.3f} +- {result.delta_s_standard_error[0, 1]:.3f}")
      -0.700 +- 0.024

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008, eqs. 8 and 13-15.
    """
    inputs = as_inputs(reduced_potentials, num_samples, weights, statistical_inefficiency)
    check_options(tolerance, max_steps, chunk_size)
    potentials, _ = joined(reduced_potentials, num_samples)
    observable, constants = as_observable(potentials, inputs, "reduced_potentials")
    result = _enthalpy_and_entropy(
        inputs.samples,
        observable,
        tolerance,
        largest=inputs.largest,
        max_steps=max_steps,
        chunk_size=chunk_size,
    )
    return result if constants is None else _with_constants(result, constants, inputs.constants)


def _with_constants(result: EnthalpyEntropy, of_means, of_f) -> EnthalpyEntropy:
    """Adds what was subtracted from the potentials on the host, by state."""
    for name, constant in (("delta_h", of_means), ("delta_s", of_means - of_f)):
        effect = Effect(name, error=f"{name}_standard_error")
        change = constant[None] - constant[:, None]
        result = add_constant(result, change, effect, "reduced_potentials")
    return result


@partial(jax.jit, static_argnames=("largest", "max_steps", "chunk_size"))
def _enthalpy_and_entropy(
    samples: Any, observable: jax.Array, tolerance: Any, *, chunk_size: int | None, **options
) -> EnthalpyEntropy:
    network = make_network(*samples, chunk_size=chunk_size)
    solution = solve_states(network, tolerance, chunk_size=chunk_size, **options)
    averages = find_averages(solution, observable, chunk_size)
    number = effective_samples(averages, solution.reference, chunk_size)
    is_estimate = averages.status == Status.CONVERGED
    is_both = is_estimate[:, None] & is_estimate[None]
    free_energies = assemble_solved(solution, chunk_size)
    is_linked = is_both & solution.reference.is_linked
    scale, f = averages.scale, solution.reference.f
    enthalpy = scale * averages.mean
    of_enthalpy = scale[:, None] * averages.covariance * scale[None]
    of_free_energy = asymptotic_covariance(solution.network, solution.reference, chunk_size)
    shared = scale[:, None] * _shared_covariance(averages, solution, chunk_size)
    of_entropy = of_enthalpy + of_free_energy - shared - shared.T
    return EnthalpyEntropy(
        delta_h=jnp.where(is_both, _differences(enthalpy), jnp.nan),
        delta_h_standard_error=jnp.where(is_both, _errors(of_enthalpy), jnp.nan),
        delta_s=jnp.where(is_linked, _differences(enthalpy - f), jnp.nan),
        delta_s_standard_error=jnp.where(
            is_linked & jnp.isinf(free_energies.standard_error),
            jnp.inf,  # of a single sample
            jnp.where(is_linked, _errors(of_entropy), jnp.nan),
        ),
        effective_samples=number,
        status=interval_status(averages.status, number),
        status_f=free_energies.status,
    )


def _shared_covariance(averages: Averages, solution: Solved, chunk_size: int | None) -> jax.Array:
    """Covariance of the average of a state and the free energy of another, (K, K)."""
    reference, scale, mean = solution.reference, averages.scale, averages.mean

    def products(part: Network) -> tuple[jax.Array, jax.Array]:
        probabilities, deviations = deviations_of(part, reference, scale, mean)
        weighted = part.weights[:, None] * centered_weights(part, reference)
        return matmul(deviations.T, weighted), matmul(probabilities.T, weighted)

    direct, responses = sum_samples(products, averages.pool, chunk_size)
    through_states = matmul(averages.responses.T, reference.inverse, responses)
    return -averages.pool.inefficiency * (direct + through_states)


def _differences(values: jax.Array) -> jax.Array:
    return _without_diagonal(values[None] - values[:, None])


def _errors(covariance: jax.Array) -> jax.Array:
    variances = jnp.diagonal(covariance)
    squares = variances[:, None] + variances[None] - covariance - covariance.T
    return jnp.sqrt(_without_diagonal(jnp.maximum(squares, 0)))


def _without_diagonal(values: jax.Array) -> jax.Array:
    """Zero for a state and itself, of which rounding would leave something."""
    return jnp.where(jnp.eye(len(values), dtype=bool), 0, values)
