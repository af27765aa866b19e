"""Networks of states as weighted graphs: solves, resistances and components.

The second derivative of the free energies' equation is a graph Laplacian, whose weights say how
many samples two states share. They may differ by many orders of magnitude. Elimination with sums
of the off-diagonal entries alone, without a subtraction, keeps every digit of them.
"""

import jax
import jax.numpy as jnp

from nce_jax._numerics import matmul


def solve_laplacian(couplings: jax.Array, right_side: jax.Array) -> jax.Array:
    """Solves L x = b, (K, m), for the Laplacian L of couplings >= 0, (K, K), diagonal ignored.

    The solution is zero at the last state of every component, whose right side is ignored.
    (Grassmann, Taksar and Heyman, Regenerative analysis and steady state distributions for Markov
    chains, 1985: elimination without subtractions.)
    """
    num_states = couplings.shape[-1]
    index = jnp.arange(num_states)

    def eliminate(k, carry):
        couplings, right_side = carry
        row, share = _later(couplings, k)
        row, moved = row[None], right_side[k][None]
        return couplings + share[:, None] * row, right_side + share[:, None] * moved

    def substitute(i, solution):
        k = num_states - 1 - i
        row, share = _later(reduced, k)
        total = jnp.sum(row)
        value = matmul(share, solution) + right_side[k] / jnp.where(total > 0, total, 1)
        return solution.at[k].set(jnp.where(total > 0, value, 0))

    def _later(couplings, k):
        """The couplings of k to states that are not eliminated yet, and their shares."""
        row = jnp.where(index > k, couplings[k], 0)
        total = jnp.sum(row)
        return row, row / jnp.where(total > 0, total, 1)

    start = couplings, right_side
    reduced, right_side = jax.lax.fori_loop(0, num_states - 1, eliminate, start)
    return jax.lax.fori_loop(0, num_states, substitute, jnp.zeros_like(right_side))


def laplacian(couplings: jax.Array) -> jax.Array:
    """The Laplacian of couplings, (K, K), whose own diagonal is ignored."""
    others = jnp.where(jnp.eye(len(couplings), dtype=bool), 0, couplings)
    return jnp.diag(jnp.sum(others, axis=1)) - others


def resistances(inverse: jax.Array) -> jax.Array:
    """Effective resistance between states, (K, K), from a generalized inverse of the Laplacian.

    It is the variance of f_i - f_j, before what the finite numbers of samples take off.
    """
    diagonal = jnp.diagonal(inverse)
    return jnp.maximum(diagonal[:, None] + diagonal[None] - inverse - inverse.T, 0)


def mutually_reachable(is_coupled: jax.Array) -> jax.Array:
    """Whether paths of couplings lead from each of two states to the other, (K, K)."""
    num_states = is_coupled.shape[-1]
    paths = (is_coupled | jnp.eye(num_states, dtype=bool)).astype(jnp.float32)
    for _ in range((num_states - 1).bit_length()):
        paths = (paths @ paths > 0).astype(jnp.float32)
    return (paths > 0) & (paths.T > 0)


def spanning_tree(distance: jax.Array, is_sampled: jax.Array) -> tuple[jax.Array, jax.Array]:
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
    parents, order = (jnp.concatenate([first[None], rest]) for rest in (parents, order))
    return parents.astype(jnp.int32), order.astype(jnp.int32)


def narrowest(widths: jax.Array, parents: jax.Array) -> jax.Array:
    """The smallest width on the path from state 0 to every state in a tree, (K,).

    Args:
      widths: of the link from every state to its parent, (K,).
      parents: of every state, (K,); itself for a root, which no path leaves.
    """
    own = jnp.arange(len(parents), dtype=parents.dtype)
    is_link = (own[:, None] == parents[None]) & (own[:, None] != own[None])
    between = jnp.where(is_link, widths[None], 0)
    between = jnp.maximum(between, between.T)

    def extend(_, reached):
        return jnp.maximum(reached, jnp.max(jnp.minimum(reached[:, None], between), axis=0))

    start = jnp.where(own == 0, jnp.inf, 0).astype(widths.dtype)
    return jax.lax.fori_loop(0, len(parents) - 1, extend, start)


def connected(flows: jax.Array, counts: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """Whether states are in the same component, (K, K).

    Two states are linked if they share at least `threshold` samples: (n_i + n_j)^2 / (n_i n_j) over
    their effective resistance. For two states this is overlap * (n + m), the number of the rule
    NO_OVERLAP. The resistance counts all paths: among many states that overlap, no pair has much
    in common that the others do not have as well.

    Args:
      flows: sum of p_j over the samples of i, (K, K). Where they go one way only, the equation has
        no root.
      counts: number of samples of every state, (K,).
      threshold: the smallest number of samples.
    """
    counts = jnp.where(counts > 0, counts, 1)
    pairs = jnp.square(counts[:, None] + counts[None]) / (counts[:, None] * counts[None])
    # Resistances over links weaker by far than all others would drown the rest in rounding errors.
    num_states = len(counts)
    blocks = mutually_reachable(pairs * flows >= threshold / num_states**2)
    couplings = jnp.where(blocks, (flows + flows.T) / 2, 0)
    inverse = solve_laplacian(couplings, jnp.eye(num_states, dtype=flows.dtype))
    return mutually_reachable(blocks & (pairs >= threshold * resistances(inverse)))
