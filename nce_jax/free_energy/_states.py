"""The result for many states, and how it is made of a solution."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._laplacian import laplacian
from nce_jax._numerics import rounding_variance
from nce_jax._types import Array, Float, Int
from nce_jax.free_energy._network import Network
from nce_jax.free_energy._uncertainty import Reference, asymptotic_covariance, find_influences
from nce_jax.log_partition import Status, interval_status


class StateFreeEnergies(NamedTuple):
    """Free energies of K states with their uncertainties.

    Attributes:
      f: free energies relative to state 0 in units of kT, (K,); NaN unless the status is CONVERGED
        or LOW_OVERLAP.
      delta_f: f_j - f_i at [i, j], (K, K); NaN where no chain of overlapping states connects i and
        j.
      standard_error: of `delta_f` in kT, (K, K), from the asymptotic covariance, NaN where
        `delta_f` is; inf with a single sample in either state.
      covariance: asymptotic covariance of `f`, (K, K). It takes the samples to be consistent with
        the potentials.
      sandwich_covariance: the same from the scatter of the samples, (K, K).
      overlap: at [i, j] the mean probability under state i that a sample of the pool belongs to
        state j, (K, K); rows add up to one. States count by their effective numbers of samples,
        N / g.
      gap: one minus the second largest eigenvalue of `overlap` among states with samples: zero for
        a network in two parts, one for equal states.
      components: the first state of each state's component, (K,), int32: all zero for a network
        that hangs together.
      status: a `Status` of each f, (K,), int32: NO_OVERLAP where no chain of overlapping states
        leads to state 0, LOW_OVERLAP where `effective_samples` is below
        `log_partition.MIN_EFFECTIVE_SAMPLES`, NONFINITE where a potential has no meaning.
      effective_samples: the effective number of samples behind the error of each f, (K,): no sample
        contributes more than one over this number to the variance of any difference of neighbors on
        the way from state 0, along the tree of those states that share the most samples. Zero where
        no way leads there.
      num_evaluations: evaluations of the equation, without those of the start, int32.
    """

    f: Float[Array, " states"]
    delta_f: Float[Array, "states states"]
    standard_error: Float[Array, "states states"]
    covariance: Float[Array, "states states"]
    sandwich_covariance: Float[Array, "states states"]
    overlap: Float[Array, "states states"]
    gap: Float[Array, ""]
    components: Int[Array, " states"]
    status: Int[Array, " states"]
    effective_samples: Float[Array, " states"]
    num_evaluations: Int[Array, ""]


def assemble(
    network: Network,
    reference: Reference,
    solved: jax.Array,
    num_evaluations: jax.Array,
    chunk_size: int | None,
) -> StateFreeEnergies:
    """The result of a solve that has ended as `solved` says, with f and moments in `reference`."""
    # What judges a result passes no gradient.
    fixed_network, fixed = jax.lax.stop_gradient((network, reference))
    influences = find_influences(fixed_network, fixed, chunk_size)
    is_single = network.has_one_sample
    number = jnp.where(is_single | is_single[0], 1, influences.effective_samples)
    is_solved = network.is_valid & (solved == Status.CONVERGED)
    is_defined = network.is_defined[None] & network.is_defined[:, None]
    is_estimate = is_solved & is_defined & reference.is_linked
    delta_f = jnp.where(is_estimate, reference.f[None] - reference.f[:, None], jnp.nan)
    covariance = asymptotic_covariance(network, reference, chunk_size)
    return StateFreeEnergies(
        f=delta_f[0],
        delta_f=delta_f,
        standard_error=jnp.where(is_estimate, _errors(covariance, delta_f, is_single), jnp.nan),
        covariance=_of_differences(covariance, is_estimate[0]),
        sandwich_covariance=_of_differences(influences.covariance, is_estimate[0]),
        overlap=jnp.where(
            is_solved & network.is_defined[:, None], _overlap(fixed_network, fixed), jnp.nan
        ),
        gap=jnp.where(is_solved, _gap(fixed_network, fixed), jnp.nan),
        components=jnp.argmax(reference.is_linked, axis=1).astype(jnp.int32),
        status=_status(network, solved, is_estimate[0], number),
        effective_samples=number,
        num_evaluations=num_evaluations,
    )


def _status(
    network: Network, solved: jax.Array, is_estimate: jax.Array, number: jax.Array
) -> jax.Array:
    is_defined = network.is_valid & network.is_defined & network.is_defined[0]
    status = jnp.where(is_estimate, solved, Status.NO_OVERLAP)
    status = jnp.where(solved == Status.CONVERGED, status, solved)
    status = jnp.where(is_defined, status, Status.NONFINITE).astype(jnp.int32)
    return interval_status(status, number)


def _errors(covariance: jax.Array, delta_f: jax.Array, is_single: jax.Array) -> jax.Array:
    """Standard errors of all differences."""
    diagonal = jnp.diagonal(covariance)
    variance = diagonal[:, None] + diagonal[None] - covariance - covariance.T
    variance = variance + rounding_variance(delta_f)
    is_positive = variance > 0
    errors = jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, variance, 1)), 0)
    is_other = ~jnp.eye(len(diagonal), dtype=bool)
    errors = jnp.where((is_single[:, None] | is_single[None]) & is_other, jnp.inf, errors)
    return jnp.where(is_other, errors, 0)


def _of_differences(covariance: jax.Array, is_estimate: jax.Array) -> jax.Array:
    """The covariance of f_k - f_0."""
    differences = covariance - covariance[:1] - covariance[:, :1] + covariance[0, 0]
    return jnp.where(is_estimate[:, None] & is_estimate[None], differences, jnp.nan)


def _overlap(network: Network, reference: Reference) -> jax.Array:
    counts = jnp.where(network.is_sampled, network.counts, 1)
    return jnp.where(network.is_sampled[None], reference.moments.shared, 0) / counts[:, None]


def _gap(network: Network, reference: Reference) -> jax.Array:
    """The second smallest eigenvalue of the normalized Laplacian, which loses no digits."""
    is_sampled = network.is_sampled
    scale = jnp.where(is_sampled, 1 / jnp.sqrt(jnp.where(is_sampled, network.counts, 1)), 0)
    matrix = scale[:, None] * laplacian(reference.couplings) * scale[None]
    # States without samples come last.
    matrix = matrix + jnp.diag(jnp.where(is_sampled, 0.0, 2.0))
    eigenvalues = jnp.linalg.eigvalsh(matrix)
    return jnp.clip(eigenvalues[min(1, len(eigenvalues) - 1)], 0, 1)
