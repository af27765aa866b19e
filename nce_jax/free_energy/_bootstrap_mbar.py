"""Bootstrap of the free energies of many states: the samples of every state are redrawn."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import check_key, check_positive_int
from nce_jax._offset import Effect, add_constant
from nce_jax._types import Array, Float, Int, PRNGKeyArray, Weights
from nce_jax.free_energy._input import as_inputs
from nce_jax.free_energy._mbar import assemble_solved, check_options, solve_states
from nce_jax.free_energy._network import Network, make_network, repeated
from nce_jax.free_energy._redraw import FreeEnergyBootstrap
from nce_jax.free_energy._solve import solve_network
from nce_jax.free_energy._start import Start
from nce_jax.free_energy._states import assemble
from nce_jax.free_energy._uncertainty import find_reference, with_unsampled
from nce_jax.log_partition import Status


def bootstrap_mbar(
    key: PRNGKeyArray,
    reduced_potentials: Float[Array, "states samples"] | Sequence[Float[Array, "states _"]],
    num_samples: Int[Array, " states"] | Sequence[int] | None = None,
    *,
    num_replicates: int,
    weights: Weights | None = None,
    block_size: int = 1,
    chunk_size: int | None = None,
) -> FreeEnergyBootstrap:
    """Bootstrap of `mbar`: solves again for samples that are redrawn within their states.

    A replicate starts from the free energies of the original samples and takes two or three
    evaluations. With `block_size` > 1 moving blocks are redrawn, as in `bootstrap_bar`.

    Args:
      key: a typed PRNG key.
      reduced_potentials: as in `mbar`; the samples of a state in time order where blocks are used.
      num_samples: as in `mbar`.
      num_replicates: number of replicates; with 100 the standard error is known to about 7 %, and
        intervals need 1,000 or more.
      weights: as in `mbar`. Samples are drawn together with their weights.
      block_size: consecutive samples that are redrawn together; at most the number of samples of
        the smallest state that has any.
      chunk_size: as in `mbar`.

    Returns:
      A `FreeEnergyBootstrap` of f, (K,), relative to state 0: zero with error zero for state 0.
      `percentile_interval` and `studentized_interval` make intervals of it.

    Raises:
      TypeError: potentials or weights that are not floating, or a `key` that is no typed key.
      ValueError: as `mbar`, and for several keys.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> stiffness = jnp.array([1.0, 2.0, 4.0])
      >>> x = jax.random.normal(keys[0], (3, 500)) / jnp.sqrt(stiffness)[:, None]
      >>> bootstrap = free_energy.bootstrap_mbar(
      ...     keys[1], stiffness[:, None] / 2 * x.ravel() ** 2, [500] * 3, num_replicates=200
      ... )
      >>> for f, error in zip(bootstrap.delta_f, bootstrap.standard_error):
      ...     print(f"{f:.3f} +- {error:.3f}")
      0.000 +- 0.000
      0.351 +- 0.014
      0.702 +- 0.021

    References:
      Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8.
      Kunsch, The jackknife and the bootstrap for general stationary observations, 1989 (moving
        blocks).
    """
    check_key(key)
    check_positive_int("num_replicates", num_replicates)
    check_positive_int("block_size", block_size)
    check_options(None, 1, chunk_size)
    inputs = as_inputs(reduced_potentials, num_samples, weights, 1.0)
    result = _bootstrap_mbar(
        key,
        inputs.samples,
        largest=inputs.largest,
        num_replicates=num_replicates,
        block_size=block_size,
        chunk_size=chunk_size,
    )
    if inputs.constants is None:
        return result
    constants = inputs.constants - inputs.constants[0]
    result = add_constant(result, constants, Effect("delta_f"), "reduced_potentials")
    return add_constant(result, constants, Effect("replicates"), "reduced_potentials")


@partial(jax.jit, static_argnames=("largest", "num_replicates", "block_size", "chunk_size"))
def _bootstrap_mbar(
    key: PRNGKeyArray,
    samples: Any,
    *,
    largest: int | None,
    num_replicates: int,
    block_size: int,
    chunk_size: int | None,
) -> FreeEnergyBootstrap:
    options: Any = {"max_steps": 200, "chunk_size": chunk_size}
    solved = solve_states(make_network(*samples), None, largest=largest, **options)
    network, original = solved.network, assemble_solved(solved, chunk_size)
    start = Start(solved.reference.f, solved.is_piece)

    def replicate(key: PRNGKeyArray) -> tuple[jax.Array, jax.Array]:
        redrawn = repeated(network, _redraw(key, network, samples.num_samples, block_size))
        solution = solve_network(redrawn, start, **options)
        f = with_unsampled(redrawn, solution.f, chunk_size)
        reference = find_reference(redrawn, f, chunk_size)
        status = jnp.where(solution.is_converged, Status.CONVERGED, Status.MAX_STEPS)
        result = assemble(redrawn, reference, status, solution.num_evaluations, chunk_size)
        return result.f, result.standard_error[0]

    values, errors = jax.lax.map(replicate, jax.random.split(key, num_replicates))
    spread = jnp.std(values, axis=0, ddof=1)
    return FreeEnergyBootstrap(
        delta_f=original.f,
        standard_error=jnp.where(jnp.isnan(original.f), jnp.nan, spread),
        replicates=values,
        influence_error=original.standard_error[0],
        replicate_errors=errors,
        status=original.status,
        effective_samples=original.effective_samples,
    )


def _redraw(
    key: PRNGKeyArray, network: Network, num_samples: jax.Array, block_size: int
) -> jax.Array:
    """How often every sample is drawn, (N,), in runs of samples of the same state."""
    size = len(network.owners)
    begins = jnp.cumsum(num_samples) - num_samples
    begin, count = begins[network.owners], num_samples[network.owners]
    place = jnp.arange(size) - begin
    # One draw per block of places; those beyond the samples of the last state are padding.
    draws = jax.random.uniform(key, (size,))[begin + place // block_size * block_size]
    num_starts = jnp.maximum(count - block_size, 0) + 1
    start = jnp.minimum((draws * num_starts).astype(jnp.int32), num_starts - 1)
    index = begin + jnp.minimum(start + place % block_size, count - 1)
    return jax.ops.segment_sum((place < count).astype(network.weights.dtype), index, size)
