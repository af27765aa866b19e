"""Samples of several states: their potentials, weights and sums over them.

Arrays have the samples first and the states last: sums over the states of a sample, of which every
evaluation takes many, are then over neighbors in memory.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import over_scale
from nce_jax._numerics import matmul

_BLOCK = 256
"""Number of samples that are added one after another in float32."""


class Given(NamedTuple):
    """Potentials as they were given: each chunk of samples makes its own of them.

    Attributes:
      values: of every sample in every state, (K, N).
      is_seen: whether the samples of a state say anything about another, (K, K).
    """

    values: jax.Array
    is_seen: jax.Array


class Network(NamedTuple):
    """Samples of K states, N in all, as the equation of the free energies needs them.

    Attributes:
      potentials: of every sample in every state, relative to that in its own state, (N, K); or
        `Given`, of which `relative` makes them.
      weights: of the samples, (N,); those of a state add up to its count.
      owners: the state that a sample was drawn in, (N,), int32, not decreasing.
      counts: the sum of the weights of every state, (K,); zero without samples.
      precisions: what a sample of a state is worth by its correlation, (K,), relative to the mean.
      inefficiency: the mean statistical inefficiency.
      is_defined: whether a state's potentials have a meaning at all samples, (K,); else they are
        zero here.
      is_valid: whether this is so for all states with samples, and for weights and inefficiencies;
        else all numbers here are harmless ones.
      observable: of every sample, (1, N), or of every sample in every state, (K, N), if any.
    """

    potentials: Any
    weights: jax.Array
    owners: jax.Array
    counts: jax.Array
    precisions: jax.Array
    inefficiency: jax.Array
    is_defined: jax.Array
    is_valid: jax.Array
    observable: Any = None

    @property
    def is_sampled(self) -> jax.Array:
        """Whether a state has samples, (K,)."""
        return self.counts > 0

    @property
    def has_one_sample(self) -> jax.Array:
        """States with one sample, whose scatter is not known, (K,)."""
        return self.is_sampled & (self.counts / self.precisions < 1.5)

    @property
    def log_counts(self) -> jax.Array:
        """Log of the counts, (K,); -inf without samples."""
        positive = jnp.where(self.is_sampled, self.counts, 1)
        return jnp.where(self.is_sampled, jnp.log(positive), -jnp.inf)


def make_network(
    potentials: jax.Array,
    num_samples: jax.Array,
    weights: Any,
    inefficiency: Any,
    *,
    chunk_size: int | None = None,
) -> Network:
    """Gathers the samples of K states, (K, N), ordered by state; the rest is padding."""
    num_states, size = potentials.shape
    owners = _owners(num_samples, size)
    weights = jnp.ones(size, potentials.dtype) if weights is None else weights
    weights = jnp.where(jnp.arange(size) < jnp.sum(num_samples), weights, 0)
    weights = _relative_weights(weights.astype(potentials.dtype), owners, num_states)
    inefficiency = jnp.broadcast_to(jnp.asarray(inefficiency, weights.dtype), (num_states,))
    is_sampled = _by_state(weights, owners, num_states) != 0
    network = Network(
        potentials=Given(potentials, jnp.ones((num_states, num_states), bool)),
        weights=weights,
        owners=owners,
        counts=jnp.zeros_like(inefficiency),
        precisions=jnp.zeros_like(inefficiency),
        inefficiency=jnp.ones_like(inefficiency[0]),
        is_defined=jnp.ones(num_states, bool),
        is_valid=jnp.array(True),
    )
    is_defined = _is_defined(network, chunk_size)
    is_valid = (
        jnp.all(is_defined | ~is_sampled)
        & jnp.any(is_sampled)
        & jnp.all(num_samples >= 0)
        & (jnp.sum(num_samples) <= size)
        & jnp.all((weights >= 0) & (weights < jnp.inf))
        & jnp.all((inefficiency >= 1) & (inefficiency < jnp.inf))
    )
    weights = jnp.where(is_valid, weights, 1)
    network = network._replace(
        weights=weights,
        precisions=1 / jnp.where(is_valid, inefficiency, 1),
        is_defined=is_defined,
        is_valid=is_valid,
    )
    return repeated(network, jnp.ones_like(weights))


def is_in_chunks(network: Network, chunk_size: int | None) -> bool:
    """Whether chunks are smaller than the whole."""
    return chunk_size is not None and chunk_size < len(network.owners)


def relative(network: Network) -> Network:
    """The network with potentials relative to those in the samples' own states."""
    given = network.potentials
    if not isinstance(given, Given):
        return network
    potentials, has_weight = given.values.T, network.weights[:, None] != 0
    own = jnp.take_along_axis(potentials, network.owners[:, None], axis=1)
    own = jnp.where(jnp.isfinite(own), own, jnp.nan)
    potentials = jnp.where(has_weight, potentials - own, 0)
    potentials = jnp.where(network.is_valid & network.is_defined[None], potentials, 0)
    is_seen = given.is_seen[network.owners] | ~has_weight
    return network._replace(potentials=jnp.where(is_seen, potentials, jnp.inf))


def _is_defined(network: Network, chunk_size: int | None) -> jax.Array:
    """Whether the potentials of a state have a meaning, (K,), and allow any sample."""

    def found(part: Network) -> tuple[jax.Array, jax.Array]:
        has_weight, potentials = part.weights[:, None] != 0, part.potentials
        is_bad = ~jnp.all(potentials > -jnp.inf, axis=0)  # also NaN
        return is_bad, jnp.any((potentials < jnp.inf) & has_weight, axis=0)

    either = lambda *parts: jax.tree.map(jnp.logical_or, *parts)
    is_bad, is_allowed = fold_samples(found, either, False, network, chunk_size)
    return ~is_bad & is_allowed


def repeated(network: Network, times: jax.Array) -> Network:
    """The network with every sample as often as `times` says, (N,).

    The weights of a state then add up to its effective number of samples, up to its precision.
    """
    weights = network.weights * times
    total = sum_by_state(weights, network)
    squares = sum_by_state(weights * network.weights, network)
    positive = jnp.where(total > 0, total, 1)
    counts = jnp.where(total > 0, jnp.square(total) / jnp.where(total > 0, squares, 1), 0)
    mean = jnp.sum(counts) / jnp.sum(counts * network.precisions)
    precisions = mean * network.precisions
    return network._replace(
        weights=weights * (precisions * counts / positive)[network.owners],
        counts=precisions * counts,
        precisions=precisions,
        inefficiency=network.inefficiency * mean,
    )


def _owners(num_samples: jax.Array, size: int) -> jax.Array:
    """The state of every sample, where the samples are ordered by state; padding is the last's."""
    ends = jnp.cumsum(jnp.asarray(num_samples))
    owners = jnp.searchsorted(ends, jnp.arange(size, dtype=ends.dtype), side="right")
    return jnp.minimum(owners, len(ends) - 1).astype(jnp.int32)


def _relative_weights(weights: jax.Array, owners: jax.Array, num_states: int) -> jax.Array:
    """Weights over the largest of their state: only ratios within a state matter."""
    largest = jax.ops.segment_max(weights, owners, num_states, indices_are_sorted=True)
    usable = (largest > 0) & (largest < jnp.inf)
    return over_scale(weights, jax.lax.stop_gradient(jnp.where(usable, largest, 1))[owners], jnp)


def _by_state(values: jax.Array, owners: jax.Array, num_states: int) -> jax.Array:
    """Sums over the samples of every state, (N, ...) -> (K, ...).

    A sum of single numbers in float32 one after another would lose half of its digits.
    """
    if values.dtype == jnp.float64:
        return jax.ops.segment_sum(values, owners, num_states, indices_are_sorted=True)
    block = jnp.arange(len(owners)) // _BLOCK
    num_blocks = -(-len(owners) // _BLOCK)
    index = block * num_states + owners
    sums = jax.ops.segment_sum(values, index, num_blocks * num_states, indices_are_sorted=True)
    return _sum_in_pairs(sums.reshape(num_blocks, num_states, *values.shape[1:]))


def _sum_in_pairs(values: jax.Array) -> jax.Array:
    """The sum over the first axis, with rounding errors that grow with its logarithm only."""
    while len(values) > 1:
        half = len(values) // 2
        pairs = values[:half] + values[half : 2 * half]
        values = jnp.concatenate([pairs, values[2 * half :]])
    return values[0]


def sum_by_state(values: jax.Array, network: Network) -> jax.Array:
    """Sums over the samples of every state, (N, ...) -> (K, ...)."""
    return _by_state(values, network.owners, len(network.counts))


def posterior(network: Network, f: jax.Array) -> jax.Array:
    """The probability of every state for every sample in the pool, (N, K); zero without samples."""
    return jax.nn.softmax((f + network.log_counts)[None] - network.potentials, axis=-1)


def cut(network: Network, start: Any, size: int) -> Network:
    """Some samples in a row."""

    def take(array: jax.Array, axis: int = 0) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(array, start, size, axis)

    potentials, observable = network.potentials, network.observable
    if isinstance(potentials, Given):
        potentials = potentials._replace(values=take(potentials.values, 1))
    else:
        potentials = take(potentials)
    return network._replace(
        potentials=potentials,
        weights=take(network.weights),
        owners=take(network.owners),
        observable=None if observable is None else take(observable, 1),
    )


def fold_samples(
    function: Callable[[Network], Any],
    combine: Callable[[Any, Any], Any],
    neutral: float | bool,
    network: Network,
    chunk_size: int | None,
) -> Any:
    """Combines a function's results over chunks of the samples; a sample of weight zero is none.

    `neutral` changes nothing that it is combined with.
    """
    num_samples = len(network.owners)
    if chunk_size is None or chunk_size >= num_samples:
        return function(relative(network))

    def chunk(begin: Any) -> Network:
        # The last chunk begins earlier, and leaves out what was counted before.
        start = jnp.minimum(begin, num_samples - chunk_size)
        part = cut(network, start, chunk_size)
        weights = jnp.where(start + jnp.arange(chunk_size) >= begin, part.weights, 0)
        return relative(part._replace(weights=weights))

    def add(total, begin):
        return combine(total, function(chunk(begin))), None

    # The first chunk is none of its own: that would compile the function twice.
    start = jax.tree.map(
        lambda result: jnp.full(result.shape, neutral, result.dtype),
        jax.eval_shape(lambda: function(chunk(0))),
    )
    return jax.lax.scan(add, start, jnp.arange(0, num_samples, chunk_size))[0]


def sum_samples(
    function: Callable[[Network], Any], network: Network, chunk_size: int | None
) -> Any:
    """The sum of a function's results over chunks of the samples."""
    add = lambda *parts: jax.tree.map(jnp.add, *parts)
    return fold_samples(function, add, 0.0, network, chunk_size)


class Moments(NamedTuple):
    """Sums over the pool at some f.

    Attributes:
      shared: sum of p_i p_j, (K, K).
      flows: sum of p_j over the samples of i, (K, K). Both are equal for consistent samples, but
        for their scatter.
    """

    shared: jax.Array
    flows: jax.Array


@jax.custom_jvp
def weighted_products(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Sums of w y_i y_j, (K, K), of values y, (N, K), and weights >= 0, (N,).

    With the root of the weights on either side there is one array to write instead of two.
    """
    scaled = values * jnp.sqrt(weights)[:, None]
    return matmul(scaled.T, scaled)


@weighted_products.defjvp
def _weighted_products_jvp(primals, tangents):
    # The root has no derivative where a weight is zero; the product has.
    (values, weights), (moved, moved_weights) = primals, tangents
    half = matmul(moved.T, values * weights[:, None])
    tangent = half + half.T + matmul(values.T, values * moved_weights[:, None])
    return weighted_products(values, weights), tangent


def find_moments(
    network: Network, values_of: Callable[[Network], jax.Array], chunk_size: int | None
) -> Moments:
    """Moments of values (N, K) such as the posterior."""

    def sums(part: Network) -> Moments:
        values = values_of(part)
        flows = sum_by_state(values * part.weights[:, None], part)
        return Moments(weighted_products(values, part.weights), flows)

    return sum_samples(sums, network, chunk_size)
