"""Potentials of mean force: free energies along a coordinate, from samples of biased states."""

import functools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_array, as_sample_array
from nce_jax._numerics import log_sum_exp, matmul
from nce_jax._padding import padded_to
from nce_jax._ranges import known_values
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
from nce_jax.free_energy._uncertainty import SHARE, effective_numbers, log_denominators
from nce_jax.log_partition import Status, interval_status


class MeanForcePotential(NamedTuple):
    """Free energies along a coordinate, relative to the lowest bin.

    Attributes:
      f: minus the log of the probability density in every bin, in kT, (*bins,), with an axis per
        coordinate; zero in the lowest bin, NaN unless the status is CONVERGED or LOW_OVERLAP.
      standard_error: of the difference to the lowest bin, (*bins,), NaN where `f` is.
      covariance: of `f`, (*bins, *bins), NaN where `f` is. The variance of the difference of two
        bins is that of a sum of its entries.
      effective_samples: the effective number of samples behind the error, (*bins,): no sample
        contributes more than one over this number to the variance.
      status: a `Status` of each bin, (*bins,), int32: NO_OVERLAP in a bin without samples.
    """

    f: Float[Array, "*bins"]
    standard_error: Float[Array, "*bins"]
    covariance: Float[Array, "*pairs"]
    effective_samples: Float[Array, "*bins"]
    status: Int[Array, "*bins"]


def potential_of_mean_force(
    reduced_potentials: Potentials,
    coordinate: Float[AnyArray, "samples *dim"],
    num_samples: Counts | None = None,
    *,
    edges: Float[AnyArray, " edges"] | Sequence[Any],
    target_state: int = 0,
    weights: Weights | None = None,
    statistical_inefficiency: Scalars = 1.0,
    tolerance: float | None = None,
    max_steps: int = 200,
    chunk_size: int | None = None,
) -> MeanForcePotential:
    r"""Potential of mean force of a state along coordinates, from samples of all states.

    With the weights W of the samples under the state, those of `expectations`, it is

    .. math::
       F_b = -\log \frac{1}{\Delta_b} \sum_{n:\, \xi(x_n) \in b} W_n

    in a bin b of volume :math:`\Delta_b`. After umbrella sampling the states are the biased ones,
    and the state without a bias is a row of `reduced_potentials` without samples. Every bin is
    treated as a state that allows the samples inside alone, so that the errors hold those of the
    free energies of the biased states and what the bins share.

    Args:
      reduced_potentials: as in `mbar`.
      coordinate: xi(x_n) of all samples in their order, (N,); or several coordinates, (N, d).
      num_samples: as in `mbar`.
      edges: the edges of the bins in increasing order, (bins + 1,), or a list of such arrays, one
        per coordinate. A bin holds its left edge, the last one its right edge too, as in
        `numpy.histogramdd`; samples outside are in none.
      target_state: the row of `reduced_potentials` whose density is meant.
      weights: as in `mbar`.
      statistical_inefficiency: as in `mbar`.
      tolerance: as in `mbar`.
      max_steps: as in `mbar`.
      chunk_size: as in `mbar`. Beyond the solve the program needs about four arrays (N, bins), or
        (chunk_size, bins).

    Returns:
      A `MeanForcePotential`. A bin without samples has the status NO_OVERLAP, and where the solve
      failed, or the state has no weight in the samples, all bins have its status.

    Raises:
      TypeError: potentials, coordinates or weights that are not floating.
      ValueError: shapes that do not fit, coordinates that are NaN, edges that do not increase,
        plain numbers out of their range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> centers = jnp.linspace(-2.0, 2.0, 5)[:, None]  # umbrellas 4 (x - c)^2 / 2 on x^2 / 2
      >>> x = 0.8 * centers + jax.random.normal(jax.random.key(0), (5, 2000)) / 5**0.5
      >>> x = x.ravel()
      >>> unbiased = x[None] ** 2 / 2
      >>> biased = unbiased + 2 * (x[None] - centers) ** 2
      >>> potentials = jnp.vstack([unbiased, biased])  # the state without a bias comes first
      >>> result = free_energy.potential_of_mean_force(
      ...     potentials, x, [0] + [2000] * 5, edges=jnp.linspace(-1.25, 1.25, 6)
      ... )
      >>> for f, error in zip(result.f, result.standard_error):  # .48, .12, 0, .12, .48
      ...     print(f"{f:.2f} +- {error:.2f}")
      0.45 +- 0.05
      0.12 +- 0.04
      0.00 +- 0.00
      0.08 +- 0.04
      0.46 +- 0.05

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008, eqs. 11 and D8.
    """
    inputs = as_inputs(reduced_potentials, num_samples, weights, statistical_inefficiency)
    check_options(tolerance, max_steps, chunk_size)
    _check_target(target_state, inputs.samples.potentials.shape[0])
    coordinates, edges = _as_grid(coordinate, edges, inputs.size)
    return _mean_force(
        inputs.samples,
        _bins_of(coordinates, edges, inputs),
        [_widths(axis) for axis in edges],
        tolerance,
        target_state=target_state,
        largest=inputs.largest,
        max_steps=max_steps,
        chunk_size=chunk_size,
    )


def _check_target(target_state: Any, num_states: int) -> None:
    is_int = isinstance(target_state, int | np.integer) and not isinstance(target_state, bool)
    if not is_int or not -num_states <= target_state < num_states:
        raise ValueError(
            f"target_state: expected the index of a row of reduced_potentials, an integer below"
            f" {num_states}, got {target_state!r}"
        )


def _as_grid(coordinate: Any, edges: Any, size: int) -> tuple[list[Any], list[Any]]:
    """The values and the edges of every coordinate."""
    values = as_sample_array("coordinate", coordinate)
    is_grid = isinstance(edges, list | tuple) and len(edges) > 0 and np.ndim(edges[0]) > 0
    edges = [_as_edges(axis) for axis in (edges if is_grid else [edges])]
    shape = (size, len(edges)) if is_grid else (size,)
    if values.shape != shape:
        what = "number per axis of edges and sample" if is_grid else "number per sample"
        raise ValueError(
            f"coordinate: expected one {what}, shape {shape}, got shape {values.shape}"
        )
    return list(values.T) if is_grid else [values], edges


def _as_edges(edges: Any) -> Any:
    values = as_array("edges", edges, "an array of the edges of bins, in increasing order")
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"edges: expected shape (bins + 1,), got shape {values.shape}")
    known = known_values(values)
    if known is not None and not (np.isfinite(known).all() and (np.diff(known) > 0).all()):
        raise ValueError(f"edges: expected finite numbers that increase, got {known}")
    return values


def _widths(edges: Any) -> Any:
    """The widths of bins, before edges that are close to one another are rounded."""
    return np.diff(edges) if isinstance(edges, np.ndarray) else jnp.diff(edges)


def _bins_of(coordinates: list[Any], edges: list[Any], inputs: Inputs) -> jax.Array:
    """The bin of every sample, (1, padded N), int32; -1 outside, and -2 where it is not known."""
    is_on_host = all(isinstance(array, np.ndarray) for array in (*coordinates, *edges))
    numpy: Any = np if is_on_host else jnp
    bins = numpy.zeros(inputs.size, np.int32)
    for values, axis in zip(coordinates, edges, strict=True):
        known = known_values(values)
        if known is not None and np.isnan(known).any():
            raise ValueError(
                f"coordinate: expected numbers, got NaN for {np.isnan(known).sum()} of"
                f" {len(known)} samples; weights of zero leave samples out, with any number here"
            )
        along = _digitized(values, axis, numpy)
        worst = numpy.minimum(bins, along)
        bins = numpy.where(worst < 0, worst, bins * np.int32(len(axis) - 1) + along)
    size = inputs.samples.potentials.shape[1]
    if inputs.is_on_host and is_on_host:
        return jax.device_put(padded_to(bins[None], size, -1, np.dtype(np.int32)))
    return jnp.pad(jnp.asarray(bins), (0, size - inputs.size), constant_values=-1)[None]


def _digitized(values: Any, edges: Any, numpy: Any) -> Any:
    """In the precision that both were given in, so that no sample changes its bin."""
    bins = numpy.searchsorted(edges, values, side="right") - 1
    bins = numpy.where(values == edges[-1], len(edges) - 2, bins)
    bins = numpy.where((values < edges[0]) | (values > edges[-1]), -1, bins)
    return numpy.where(numpy.isnan(values), -2, bins).astype(np.int32)


@partial(jax.jit, static_argnames=("target_state", "largest", "max_steps", "chunk_size"))
def _mean_force(
    samples: Any,
    bins: jax.Array,
    widths: list[jax.Array],
    tolerance: Any,
    *,
    target_state: int,
    chunk_size: int | None,
    **options,
) -> MeanForcePotential:
    network = make_network(*samples, chunk_size=chunk_size)
    solved = solve_states(network, tolerance, chunk_size=chunk_size, **options)
    logs = [jnp.log(axis.astype(network.weights.dtype)) for axis in widths]
    log_volumes = functools.reduce(jnp.add.outer, logs)
    surface = _Surface(
        solved.network._replace(observable=bins), solved, target_state, log_volumes.size
    )
    log_masses = surface.log_masses(chunk_size)
    f = log_volumes.ravel() - log_masses
    lowest = jnp.nanargmin(jnp.where(log_masses > -jnp.inf, f, jnp.inf))
    covariance, number, is_linked = surface.errors(log_masses, lowest, chunk_size)
    is_covered = is_linked & (log_masses > -jnp.inf)
    status = surface.status(is_covered, jnp.isfinite(log_volumes).all())
    status = interval_status(status, number)
    is_estimate = (status == Status.CONVERGED) | (status == Status.LOW_OVERLAP)
    both = is_estimate[:, None] & is_estimate[None]
    covariance = jnp.where(both, network.inefficiency * covariance, jnp.nan)
    shape = log_volumes.shape
    return MeanForcePotential(
        f=jnp.where(is_estimate, f - f[lowest], jnp.nan).reshape(shape),
        standard_error=_roots(jnp.diagonal(covariance)).reshape(shape),
        covariance=covariance.reshape(shape + shape),
        effective_samples=number.reshape(shape),
        status=status.reshape(shape),
    )


def _roots(variances: jax.Array) -> jax.Array:
    """Square roots, whose derivative is zero at zero; NaN stays NaN."""
    is_zero = variances <= 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, variances)))


class _Surface(NamedTuple):
    """A solved network, whose samples are in bins, and the state whose density is meant."""

    pool: Network
    solved: Solved
    state: int
    num_bins: int

    def log_masses(self, chunk_size: int | None) -> jax.Array:
        """Logs of the state's masses in all bins, (bins,), up to a constant."""

        def logs(part: Network) -> jax.Array:
            terms, is_inside = self._terms(part)
            return log_sum_exp(terms[None], part.weights[None] * is_inside.T.astype(terms.dtype))

        join = lambda one, other: log_sum_exp(jnp.stack([one, other]), axis=0)
        return fold_samples(logs, join, -jnp.inf, self.pool, chunk_size)

    def _terms(self, part: Network) -> tuple[jax.Array, jax.Array]:
        """Log weights of the samples under the state, (N,), and whether they are in a bin."""
        f = jnp.where(part.is_sampled, self.solved.reference.f, 0)
        terms = -part.potentials[:, self.state] - log_denominators(part, f)
        return terms, part.observable[0][:, None] == jnp.arange(self.num_bins)[None]

    def _shares(self, part: Network, log_masses: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Probabilities of the samples, (N, K), and their weights in every bin, (N, bins)."""
        terms, is_inside = self._terms(part)
        is_inside &= (log_masses > -jnp.inf)[None]
        logs = jnp.where(is_inside, terms[:, None] - log_masses[None], -jnp.inf)
        return posterior(part, self.solved.reference.f), jnp.exp(logs)

    def errors(self, log_masses: jax.Array, lowest: jax.Array, chunk_size: int | None):
        """Covariance of f relative to the lowest bin, effective numbers, and what is linked to it.

        (bins, bins), (bins,) and (bins,).
        """
        reference, pool = self.solved.reference, self.pool
        relative_to_lowest = lambda values: values - values[:, lowest][:, None]

        def moments(part: Network):
            probabilities, shares = self._shares(part, log_masses)
            deviations = relative_to_lowest(shares)
            weighted = part.weights[:, None] * deviations
            responses = matmul(probabilities.T, part.weights[:, None] * shares)
            return matmul(deviations.T, weighted), responses, sum_by_state(weighted, part)

        products, responses, sums = sum_samples(moments, pool, chunk_size)
        is_linked = self._linked_to(lowest, responses)
        responses = relative_to_lowest(responses)

        def deviations_of(part: Network) -> tuple[jax.Array, jax.Array]:
            probabilities, shares = self._shares(part, log_masses)
            return probabilities, relative_to_lowest(shares)

        number = effective_numbers(pool, reference, (responses, sums), deviations_of, chunk_size)
        number = jnp.where(log_masses > -jnp.inf, number, 0)
        covariance = products + matmul(responses.T, reference.inverse, responses)
        return covariance, number, is_linked

    def _linked_to(self, lowest: jax.Array, responses: jax.Array) -> jax.Array:
        """Whether a bin's weight is in one component, and in that of the lowest bin's, (bins,)."""
        is_together = self.solved.reference.is_linked & self.pool.is_sampled[:, None]
        share = matmul(responses.T, is_together.astype(responses.dtype))
        share = jnp.where(self.pool.is_sampled[None], share, 0)
        return (share[:, jnp.argmax(share[lowest])] > SHARE) & (jnp.max(share[lowest]) > SHARE)

    def status(self, is_covered: jax.Array, has_volumes: jax.Array) -> jax.Array:
        """A `Status` of each bin, (bins,), which knows nothing of the effective samples."""
        pool, solved = self.pool, self.solved
        is_known = ~jnp.any((pool.observable[0] == -2) & (pool.weights > 0)) & has_volumes
        is_defined = pool.is_valid & pool.is_defined[self.state] & is_known
        status = jnp.where(is_covered, solved.status, Status.NO_OVERLAP)
        status = jnp.where(solved.status == Status.CONVERGED, status, solved.status)
        return jnp.where(is_defined, status, Status.NONFINITE).astype(jnp.int32)
