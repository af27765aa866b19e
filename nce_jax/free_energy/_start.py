"""Where the solve for many states starts: at Bennett's differences along a tree of neighbors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._laplacian import spanning_tree
from nce_jax.free_energy._network import Network, fold_samples, is_in_chunks, relative, sum_by_state
from nce_jax.log_partition import log_overlap, make_problem, solve_problem


class Start(NamedTuple):
    """Free energies to start from, (K,), and which states are of one piece, (K, K).

    Between pieces no pair of states overlaps, so that every piece is a network of its own.
    """

    f: jax.Array
    is_piece: jax.Array


def pair_start(network: Network, largest: int | None, chunk_size: int | None) -> Start:
    """Free energies of all states from those pairs of states that overlap best.

    Every state is joined to the tree through the pair whose two free energy perturbations agree
    best, and the difference of a pair is solved for as `bar` does. Whatever the offsets between the
    states, the result is right to within its sampling error.

    Args:
      network: the samples with potentials as they were given, those of a state next to each other.
      largest: at least the number of samples of any state, where it is known.
      chunk_size: samples per chunk.
    """
    perturbed = _perturbations(network, chunk_size)
    parents, order = spanning_tree(perturbed + perturbed.T, network.is_sampled)
    largest = len(network.owners) if largest is None else largest
    pairs = jax.lax.map(lambda pair: _difference(network, largest, *pair), (parents, order))

    def join(carry, pair):
        f, label = carry
        parent, child, difference, is_linked = pair
        f = f.at[child].set(jnp.where(is_linked, f[parent] + difference, 0))
        return (f, label.at[child].set(jnp.where(is_linked, label[parent], child))), None

    start = jnp.zeros_like(network.counts), jnp.arange(len(network.counts), dtype=jnp.int32)
    (f, label), _ = jax.lax.scan(join, start, (parents, order, *pairs))
    return Start(f, label[:, None] == label[None])


def within_pieces(network: Network, start: Start, chunk_size: int | None) -> Network:
    """The network without what the samples of a piece say about the states of another.

    States without samples are of no piece. Without chunks all later passes read the same relative
    potentials, instead of making them anew from what was given.
    """
    is_seen = start.is_piece | ~network.is_sampled[None]
    network = network._replace(potentials=network.potentials._replace(is_seen=is_seen))
    if is_in_chunks(network, chunk_size):
        return network
    network = relative(network)
    return network._replace(potentials=jax.lax.optimization_barrier(network.potentials))


def _perturbations(network: Network, chunk_size: int | None) -> jax.Array:
    """f_j - f_i from the samples of i alone, (K, K): minus the log mean of e^-(u_j - u_i).

    In both directions together it is zero, but for the scatter, where two states overlap, and large
    where they do not. Samples that the other state hardly allows count as the zeros that they are.
    """
    num_states = len(network.counts)

    def log_sums(part: Network) -> jax.Array:
        has_weight = part.weights[:, None] > 0
        values = jnp.where(has_weight, -part.potentials, -jnp.inf)
        largest = jax.ops.segment_max(values, part.owners, num_states, indices_are_sorted=True)
        largest = jnp.where(jnp.isfinite(largest), largest, 0)
        terms = part.weights[:, None] * jnp.exp(values - largest[part.owners])
        return largest + jnp.log(sum_by_state(terms, part))

    log_counts = jnp.where(network.is_sampled, network.log_counts, 0)
    return log_counts[:, None] - fold_samples(
        log_sums, jnp.logaddexp, -jnp.inf, network, chunk_size
    )


def _difference(network: Network, largest: int, parent, child) -> tuple[jax.Array, jax.Array]:
    """f_child - f_parent by Bennett's method, and whether the two states overlap at all."""
    (data, weights_data), (noise, weights_noise) = (
        _samples_of(network, state, largest, parent, child) for state in (child, parent)
    )
    counts = jnp.where(network.is_sampled, network.counts, 1)
    problem = make_problem(
        data, noise, weights_data, weights_noise, noise_ratio=counts[parent] / counts[child]
    )
    root = solve_problem(problem).log_partition
    shared = jnp.exp(log_overlap(problem, root)) * (counts[parent] + counts[child])
    # Many pairs that hardly overlap may connect two groups of states together.
    is_linked = (shared >= 1 / len(counts) ** 2) & (parent != child)
    return jnp.where(is_linked, -root, 0), is_linked


def _samples_of(network: Network, state, largest: int, parent, child):
    """Log ratios u_parent - u_child of the samples of a state, and their weights."""
    begin = jnp.argmax(network.owners == state)
    begin = jnp.minimum(begin, len(network.owners) - largest)

    def cut(array: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(array, begin, largest)

    def row(state) -> jax.Array:
        values = network.potentials.values
        return jax.lax.dynamic_slice(values, (state.astype(begin.dtype), begin), (1, largest))[0]

    weights = jnp.where(cut(network.owners) == state, cut(network.weights), 0)
    has_weight = (weights != 0) & network.is_valid
    return jnp.where(has_weight, row(parent) - row(child), 0), weights
