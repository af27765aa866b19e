r"""Errors of the free energies of sampled and unsampled states.

With :math:`y_i = p_i` for a state with samples, and :math:`y_i` the normalized weight of the sample
for one without, the influence of a sample on f is linear in y. The asymptotic covariance takes the
second moments of y from the states' own densities, as the estimate itself does; the sandwich takes
them from the samples (docs/free_energies.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._laplacian import connected, narrowest, solve_laplacian, spanning_tree
from nce_jax._numerics import log_sum_exp, matmul
from nce_jax.free_energy._network import (
    Moments,
    Network,
    find_moments,
    fold_samples,
    sum_samples,
    weighted_products,
)

SHARE = 0.999
"""The share of its weight that a state without samples has to have in one component."""


class Reference(NamedTuple):
    """Where the influences of samples come from.

    Attributes:
      f: free energies of all states, (K,).
      moments: moments of y at f.
      couplings: the samples that states with samples share, (K, K).
      inverse: a generalized inverse of the Laplacian of the states with samples, (K, K).
      responses: derivative of every f with respect to those of the states with samples, (K, K).
      is_linked: whether the samples tell the difference of two states, (K, K).
      is_supported: whether the weight of a state is in one component, (K,).
    """

    f: jax.Array
    moments: Moments
    couplings: jax.Array
    inverse: jax.Array
    responses: jax.Array
    is_linked: jax.Array
    is_supported: jax.Array


def log_denominators(network: Network, f: jax.Array) -> jax.Array:
    """log sum_k n_k e^(f_k - u_kn) of every sample, (N,)."""
    return jax.nn.logsumexp((f + network.log_counts)[None] - network.potentials, axis=-1)


def with_unsampled(network: Network, f: jax.Array, chunk_size: int | None) -> jax.Array:
    """Free energies of all states, (K,), from those of the states with samples.

    A state without samples has -log sum_n w_n e^(-u_kn) / D_n.
    """

    def logs(part: Network) -> jax.Array:
        terms = -part.potentials - log_denominators(part, f)[:, None]
        return log_sum_exp(terms.T, jnp.broadcast_to(part.weights[None], terms.T.shape))

    # Unlike those of `logaddexp`, the derivatives of this are numbers where both are -inf.
    join = lambda one, other: log_sum_exp(jnp.stack([one, other]), axis=0)
    unsampled = -fold_samples(logs, join, -jnp.inf, network, chunk_size)
    return jnp.where(network.is_sampled, f, unsampled)


def state_weights(network: Network, f: jax.Array) -> jax.Array:
    """Weights W of every sample under every state, (N, K).

    Their sum, weighted by the weights of the samples, is one for every state.
    """
    return _values(network, f) / jnp.where(network.is_sampled, network.counts, 1)[None]


def _values(network: Network, f: jax.Array) -> jax.Array:
    """y of every sample and state, (N, K): p of a state with samples, W of one without."""
    is_known = jnp.isfinite(f)
    f = jnp.where(is_known, f, 0)
    largest = jnp.max((f + network.log_counts)[None] - network.potentials, axis=-1, keepdims=True)
    log_counts = jnp.where(network.is_sampled, network.log_counts, 0)
    logs = (f + log_counts)[None] - network.potentials - jax.lax.stop_gradient(largest)
    # Samples of weight zero may have any value that is finite.
    terms = jnp.exp(jnp.minimum(logs, jnp.log(jnp.finfo(f.dtype).max) - 1))
    scales = jnp.where(is_known, 1, jnp.nan).astype(f.dtype)
    total = matmul(terms, network.is_sampled.astype(f.dtype))
    return terms * (scales[None] / total[:, None])


def find_reference(network: Network, f: jax.Array, chunk_size: int | None) -> Reference:
    """The moments at the free energies of all states, and what follows from them."""
    is_sampled, identity = network.is_sampled, jnp.eye(len(f), dtype=f.dtype)
    moments = find_moments(network, lambda part: _values(part, f), chunk_size)
    both = is_sampled[:, None] & is_sampled[None]
    flows = jnp.where(both, moments.flows, 0)
    is_linked = both & connected(flows, network.counts, 1.0)
    couplings = jnp.where(is_linked, moments.shared, 0)
    responses = jnp.where(
        is_sampled[:, None], identity, jnp.where(is_sampled[None], moments.shared, 0)
    )
    share = matmul(responses, is_linked.astype(f.dtype))
    is_supported = jnp.max(share, axis=1) > SHARE
    # A state without samples joins the component that its weight is in, whose label is the first
    # state's. A state with samples has its whole share in its own.
    own = jnp.arange(len(f))
    label = jnp.where(is_supported, jnp.argmax(share, axis=1), own)
    return Reference(
        f=f,
        moments=moments,
        couplings=couplings,
        inverse=solve_laplacian(couplings, identity),
        responses=responses,
        is_linked=(label[:, None] == label[None]) | (own[:, None] == own[None]),
        is_supported=is_supported,
    )


def asymptotic_covariance(
    network: Network, reference: Reference, chunk_size: int | None
) -> jax.Array:
    """Covariance of f up to a common shift, (K, K): g (E + E N G N E) (docs/free_energies.md).

    E are second moments of deviations, so that states that are nearly the same lose no digits.
    """

    def product(part: Network) -> jax.Array:
        deviations = centered_weights(part, reference)
        return weighted_products(deviations, part.weights)

    moments = sum_samples(product, network, chunk_size)
    # A state without samples may have no number, which must not reach the others.
    response = jnp.where(network.is_sampled[None], moments * network.counts[None], 0)
    total = moments + matmul(response, reference.inverse, response.T)
    return network.inefficiency * total


def centered_weights(network: Network, reference: Reference) -> jax.Array:
    """Weights of the samples under every state, (N, K), relative to their mean in its component."""
    is_same = reference.is_linked & network.is_sampled[None]
    pooled = 1 / jnp.maximum(matmul(is_same.astype(network.counts.dtype), network.counts), 1)
    common = jnp.where(is_same.T[network.owners], pooled[None], 0)
    return state_weights(network, reference.f) - common


class Influence(NamedTuple):
    """What the samples say about the errors of f.

    Attributes:
      covariance: the sandwich, (K, K), up to a common shift.
      effective_samples: the smallest number behind the error of any difference of neighbors on the
        way from state 0 to every state, (K,). Few of them bias a difference, and biases add up
        along a chain, where the influences of single samples on the sum are diluted.
    """

    covariance: jax.Array
    effective_samples: jax.Array


def find_influences(network: Network, reference: Reference, chunk_size: int | None) -> Influence:
    """Sums over the squared influences of samples, by their deviations from the state's mean."""
    counts = jnp.where(network.is_sampled, network.counts, 1)
    means = reference.moments.flows / counts[:, None]
    inverse = jnp.where(network.is_sampled[None], reference.inverse, 0)
    transform = -(
        matmul(reference.responses, inverse) + jnp.diag(~network.is_sampled).astype(inverse.dtype)
    )
    parents = _parents(network, reference)
    links = transform - transform[parents]

    def sums(part: Network):
        deviations = _values(part, reference.f) - means[part.owners]
        # A state without samples may have no number, which must not reach the others.
        deviations = jnp.where(jnp.isfinite(reference.f)[None], deviations, 0)
        precisions = part.precisions[part.owners]
        scaled = deviations * (part.weights / jnp.sqrt(precisions))[:, None]
        squares = jnp.square(matmul(scaled, links.T))
        # A sample of a correlated series stands for as many as its inefficiency says.
        shares = jnp.max(squares / precisions[:, None], axis=0)
        return matmul(scaled.T, scaled), jnp.sum(squares, axis=0), shares

    def combine(one, other):
        return one[0] + other[0], one[1] + other[1], jnp.maximum(one[2], other[2])

    product, total, largest = fold_samples(sums, combine, 0.0, network, chunk_size)
    every = jnp.sum(network.counts)
    number = jnp.where(largest == 0, every, total / jnp.where(largest == 0, 1, largest))
    number = jnp.minimum(narrowest(jnp.where(number > 0, number, 0), parents), every)
    covariance = network.inefficiency * matmul(transform, product, transform.T)
    return Influence(covariance, number / network.inefficiency)


def effective_numbers(
    pool: Network,
    reference: Reference,
    moments: tuple[jax.Array, jax.Array],
    deviations_of: Callable[[Network], tuple[jax.Array, jax.Array]],
    chunk_size: int | None,
) -> jax.Array:
    """One over the largest share of a sample in the variance of every average, (m,).

    Args:
      pool: the samples.
      reference: where their influences come from.
      moments: sums of p_j y, (K, m), and of y by state, (K, m), with the deviations y.
      deviations_of: the probabilities p of some samples, (N, K), and their y, (N, m).
      chunk_size: samples per chunk.
    """
    responses, sums = moments
    transform = matmul(reference.inverse, responses)
    counts = jnp.where(pool.is_sampled, pool.counts, 1)[:, None]
    flows = jnp.where(pool.is_sampled[None], reference.moments.flows, 0)
    means = (sums + matmul(flows, transform)) / counts
    # A lone sample is the mean of its state, and tells nothing of its scatter.
    means = jnp.where(pool.has_one_sample[:, None], 0, means)

    def squared(part: Network) -> tuple[jax.Array, jax.Array]:
        probabilities, deviations = deviations_of(part)
        precisions = part.precisions[part.owners][:, None]
        influence = deviations + matmul(probabilities, transform) - means[part.owners]
        squares = jnp.square(part.weights[:, None] * influence) / precisions
        return jnp.sum(squares, axis=0), jnp.max(squares / precisions, axis=0)

    add = lambda one, other: (one[0] + other[0], jnp.maximum(one[1], other[1]))
    total, largest = fold_samples(squared, add, 0.0, pool, chunk_size)
    every = jnp.sum(pool.counts)
    number = jnp.where(largest == 0, every, total / jnp.where(largest == 0, 1, largest))
    return jnp.minimum(number, every) / pool.inefficiency


def _parents(network: Network, reference: Reference) -> jax.Array:
    """The tree of those links between states that share the most samples, as parents, (K,).

    A state without samples hangs on the one that has most of its weight.
    """
    couplings = jnp.where(reference.couplings > 0, -reference.couplings, jnp.inf)
    parents, order = spanning_tree(couplings, network.is_sampled)
    parents = jnp.zeros_like(order).at[order].set(parents)
    nearest = jnp.argmax(reference.responses, axis=1).astype(parents.dtype)
    return jnp.where(network.is_sampled, parents, nearest)
