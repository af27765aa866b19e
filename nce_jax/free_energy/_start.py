"""Where the solve for many states starts: at Bennett's differences along a tree of neighbors."""

import jax
import jax.numpy as jnp

from nce_jax.free_energy._network import Network, sum_by_state, sum_samples
from nce_jax.log_partition import make_problem, solve_problem


def pair_start(network: Network, largest: int | None, chunk_size: int | None) -> jax.Array:
    """Free energies of all states, (K,), from those pairs of states that overlap best.

    Every state is joined to the tree through the pair with the smallest symmetric divergence, and
    the difference of a pair is solved for as `bar` does, with a start halfway between the means.
    Whatever the offsets between the states, the result is right to within its sampling error.

    Args:
      network: the samples, those of a state next to each other.
      largest: at least the number of samples of any state, where it is known.
      chunk_size: samples per chunk.
    """
    work = _mean_work(network, chunk_size)
    parents, order = _spanning_tree(work + work.T, network.is_sampled)
    largest = len(network.owners) if largest is None else largest
    steps = jax.lax.map(lambda pair: _difference(network, work, largest, *pair), (parents, order))

    def add(f, step):
        child, parent, difference = step
        return f.at[child].set(f[parent] + difference), None

    return jax.lax.scan(add, jnp.zeros_like(network.counts), (order, parents, steps))[0]


def _mean_work(network: Network, chunk_size: int | None) -> jax.Array:
    """Mean of u_j - u_i over samples of i, (K, K), infinite where no sample has a finite one."""

    def sums(part: Network) -> tuple[jax.Array, jax.Array]:
        is_finite = jnp.isfinite(part.potentials)
        weights = jnp.where(is_finite, part.weights[:, None], 0)
        work = jnp.where(is_finite, part.potentials, 0)
        return sum_by_state(work * weights, part), sum_by_state(weights, part)

    total, finite = sum_samples(sums, network, chunk_size)
    mean = total / jnp.where(finite > 0, finite, 1)
    # Samples that the other state does not allow make it a worse neighbor.
    missing = -jnp.log(jnp.where(finite > 0, finite, 1) / jnp.maximum(network.counts, 1)[:, None])
    return jnp.where(finite > 0, mean + jnp.maximum(missing, 0), jnp.inf)


def _spanning_tree(distance: jax.Array, is_sampled: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The parent of every state and the states in the order in which they join (Prim, 1957).

    States without samples are their own parents.
    """
    num_states = len(is_sampled)
    distance = jnp.where(jnp.isnan(distance), jnp.inf, distance)

    def join(joined, _):
        candidates = jnp.where(joined[:, None] & (is_sampled & ~joined)[None], distance, jnp.inf)
        # Without any finite distance the first state that is left joins, too.
        fallback = jnp.argmax(is_sampled & ~joined)
        flat = jnp.argmin(candidates)
        parent, child = flat // num_states, flat % num_states
        is_found = jnp.isfinite(candidates.ravel()[flat])
        is_left = jnp.any(is_sampled & ~joined)
        unsampled = jnp.argmax(~joined)
        child = jnp.where(is_left, jnp.where(is_found, child, fallback), unsampled)
        parent = jnp.where(is_left & is_found, parent, child)
        return joined.at[child].set(True), (parent, child)

    first = jnp.argmax(is_sampled)
    joined = jnp.arange(num_states) == first
    _, (parents, order) = jax.lax.scan(join, joined, None, length=num_states - 1)
    return jnp.concatenate([first[None], parents]), jnp.concatenate([first[None], order])


def _difference(network: Network, work: jax.Array, largest: int, parent, child) -> jax.Array:
    """f_child - f_parent by Bennett's method; halfway between the means where that has no root."""
    (data, weights_data), (noise, weights_noise) = (
        _samples_of(network, state, largest, parent, child) for state in (child, parent)
    )
    counts = jnp.where(network.is_sampled, network.counts, 1)
    problem = make_problem(
        data, noise, weights_data, weights_noise, noise_ratio=counts[parent] / counts[child]
    )
    root = -solve_problem(problem).log_partition
    halfway = (work[parent, child] - work[child, parent]) / 2
    halfway = jnp.where(jnp.isfinite(halfway), halfway, 0)
    return jnp.where(parent == child, 0, jnp.where(jnp.isfinite(root), root, halfway))


def _samples_of(network: Network, state, largest: int, parent, child):
    """Log ratios u_parent - u_child of the samples of a state, and their weights."""
    begin = jnp.argmax(network.owners == state)
    begin = jnp.minimum(begin, len(network.owners) - largest)

    def cut(array: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(array, begin, largest)

    weights = jnp.where(cut(network.owners) == state, cut(network.weights), 0)
    rows = cut(network.potentials)
    return rows[:, parent] - rows[:, child], weights
