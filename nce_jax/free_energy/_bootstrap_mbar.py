"""Bootstrap of the free energies of many states: the samples of every state are redrawn."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_key, check_positive_int
from nce_jax._offset import Effect, add_constant
from nce_jax._ranges import known_values
from nce_jax._types import Counts, Potentials, PRNGKeyArray, Weights
from nce_jax.free_energy._input import as_inputs
from nce_jax.free_energy._mbar import assemble_solved, check_options, solve_states
from nce_jax.free_energy._network import Network, make_network, repeated, sum_by_state
from nce_jax.free_energy._redraw import FreeEnergyBootstrap
from nce_jax.free_energy._solve import probabilities_at, solve_network
from nce_jax.free_energy._start import Start
from nce_jax.free_energy._states import assemble
from nce_jax.free_energy._uncertainty import find_reference, with_unsampled
from nce_jax.log_partition import Status, interval_status


def bootstrap_mbar(
    key: PRNGKeyArray,
    reduced_potentials: Potentials,
    num_samples: Counts | None = None,
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
      `percentile_interval` and `studentized_interval` make intervals of it. `influence_error` and
      `replicate_errors` take the samples for independent, also where blocks are drawn.

    Raises:
      TypeError: potentials or weights that are not floating, or a `key` that is no typed key.
      ValueError: as `mbar`, for blocks that are longer than a state, and for several keys.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> stiffness = jnp.array([1.0, 2.0, 4.0])
      >>> x = jax.random.normal(keys[0], (3, 500)) / jnp.sqrt(stiffness)[:, None]
      >>> bootstrap = free_energy.bootstrap_mbar(
      ...     keys[1], jnp.outer(stiffness, x**2) / 2, [500] * 3, num_replicates=200
      ... )
      >>> for f, error in zip(bootstrap.delta_f, bootstrap.standard_error):
      ...     print(f"{f:.3f} +- {error:.3f}")
      0.000 +- 0.000
      0.351 +- 0.013
      0.702 +- 0.020

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
    _check_blocks(block_size, inputs.counts, weights)
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


def _check_blocks(block_size: int, counts: np.ndarray | None, weights: Any) -> None:
    if counts is None:
        return
    known = None if weights is None else known_values(weights)
    if known is not None:
        owners = np.repeat(np.arange(len(counts)), counts)
        counts = np.bincount(owners[known > 0], minlength=len(counts))
    smallest = int(np.min(counts, where=counts > 0, initial=counts.sum()))
    if block_size > smallest:
        raise ValueError(
            f"block_size: expected at most {smallest}, the samples of the smallest state, got"
            f" {block_size}"
        )


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
    solved = solve_states(
        make_network(*samples, chunk_size=chunk_size), None, largest=largest, **options
    )
    network = solved.network
    original = assemble_solved(solved, chunk_size)
    start = Start(solved.reference.f, solved.is_piece)
    sampled = jnp.where(network.is_sampled, start.f, 0)
    near = None if chunk_size is not None else probabilities_at(network, sampled)

    def replicate(key: PRNGKeyArray) -> tuple[jax.Array, jax.Array]:
        redrawn = repeated(network, redraw(key, network, block_size))
        solution = solve_network(redrawn, start, near=near, **options)
        f = with_unsampled(redrawn, solution.f, chunk_size)
        reference = find_reference(redrawn, f, chunk_size)
        status = jnp.where(solution.is_converged, Status.CONVERGED, Status.MAX_STEPS)
        result = assemble(redrawn, reference, status, solution.num_evaluations, chunk_size)
        return result.f, result.standard_error[0]

    values, errors = jax.lax.map(replicate, jax.random.split(key, num_replicates))
    number = original.effective_samples / block_size
    spread = jnp.std(values, axis=0, ddof=1)
    return FreeEnergyBootstrap(
        delta_f=original.f,
        standard_error=jnp.where(jnp.isnan(original.f), jnp.nan, spread),
        replicates=values,
        influence_error=original.standard_error[0],
        replicate_errors=errors,
        status=interval_status(original.status, number),
        effective_samples=number,
    )


def redraw(key: PRNGKeyArray, network: Network, block_size: int) -> jax.Array:
    """How often every sample is drawn, (N,), in runs of samples of the same state.

    Samples of weight zero, which are not drawn, are behind the others of their state in `order`.
    """
    size = len(network.owners)
    order = jnp.lexsort((network.weights == 0, network.owners))
    counts = sum_by_state((network.weights > 0).astype(network.weights.dtype), network)
    counts = jnp.round(counts).astype(jnp.int32)
    states = jnp.arange(len(counts), dtype=jnp.int32)
    begins = jnp.searchsorted(network.owners, states).astype(jnp.int32)
    begin, count = begins[network.owners], counts[network.owners]
    place = jnp.arange(size, dtype=jnp.int32) - begin
    num_starts = jnp.maximum(count - block_size, 0) + 1
    starts = jax.random.randint(key, (size,), 0, num_starts, jnp.int32)
    # One draw per block of places; those beyond the samples of positive weight draw none.
    start = starts[begin + place // block_size * block_size]
    index = begin + jnp.minimum(start + place % block_size, count - 1)
    times = jax.ops.segment_sum((place < count).astype(network.weights.dtype), index, size)
    return jnp.zeros_like(times).at[order].set(times, unique_indices=True)
