r"""The equation of many states: Newton's method with a bound on its error, and the derivative.

The free energies minimize the convex function

.. math::
   L(f) = \sum_n \log \sum_k n_k e^{f_k - u_{kn}} - \sum_k n_k f_k .

Along any direction, the second derivative changes by at most a factor :math:`e^{\rho}` where the
entries of the step differ by at most :math:`\rho`. Everything here follows from this: the length
of a step that always decreases L, and the bound on the error (docs/design.md).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._laplacian import mutually_reachable, resistances, solve_laplacian
from nce_jax._numerics import matmul
from nce_jax.free_energy._network import Moments, Network, find_moments, posterior, sum_samples
from nce_jax.free_energy._start import Start
from nce_jax.log_partition import iterate, start_run

_LARGEST_MOVE = 20.0
"""Nats by which f may move before probabilities are computed anew. Those that underflow at one f
are then of no weight at the other, either."""

_FEW = 8
"""Evaluations near the start; a solve takes three to five."""

_JUMP = 10.0
"""Nats by which f moves where the step is not known."""

_NEGLIGIBLE = 1e-3
"""Number of samples by which the equation of states without any overlap may be off."""

Evaluate = Callable[[jax.Array], Moments]


class NetworkState(NamedTuple):
    """State of the iteration.

    Attributes:
      f: free energies, (K,).
      error: a bound on the error of any difference in a component, in nats; inf where unknown.
      estimate: the magnitude whose rounding error the result cannot be better than.
    """

    f: jax.Array
    error: jax.Array
    estimate: jax.Array


class NetworkSolution(NamedTuple):
    """Free energies of the states with samples, whether they have converged, and evaluations."""

    f: jax.Array
    is_converged: jax.Array
    num_evaluations: jax.Array


def solve_network(
    network: Network,
    initial: Start,
    *,
    tolerance: jax.Array | None = None,
    max_steps: int = 200,
    chunk_size: int | None = None,
    near: Any = None,
) -> NetworkSolution:
    """Free energies of all states with samples, differentiable in every array of the network.

    Args:
      network: the samples.
      initial: f to start from, right to within some nats, and the pieces of the network.
      tolerance: admissible error in nats; None takes that of `solve_log_partition`.
      max_steps: evaluations allowed.
      chunk_size: samples per chunk; None takes all at once.
      near: the `Near` of the same samples, with other weights, at the start, where it is known.
    """
    fixed, start = jax.lax.stop_gradient((network, jnp.where(network.is_sampled, initial.f, 0)))
    is_linked = initial.is_piece
    evaluate = partial(moments_of, fixed, chunk_size=chunk_size)
    nearby = evaluate
    if chunk_size is None:
        near = probabilities_at(fixed, start) if near is None else near
        nearby = partial(_moments_near, fixed, near)
    options: Any = {"tolerance": tolerance, "fixed_steps": None}
    run = start_run(_step(nearby(start), is_linked, start), network.is_valid)
    if chunk_size is None:
        # Few solves need more; they go on with probabilities computed anew.
        step = partial(_step_near, start, nearby, is_linked)
        run = iterate(step, run, max_steps=min(_FEW, max_steps), **options)
    run = iterate(
        lambda state: _step(evaluate(state.f), is_linked, state.f),
        run,
        max_steps=max_steps,
        **options,
    )
    f = _root(run.state.f, network, is_linked, chunk_size)
    return NetworkSolution(f, run.is_done, 1 + run.num_evaluations)


def moments_of(network: Network, f: jax.Array, *, chunk_size: int | None) -> Moments:
    """Moments of the posterior at some f."""
    return find_moments(network, lambda part: posterior(part, f), chunk_size)


class Near(NamedTuple):
    """Probabilities of the samples, (N, K), and f with the logarithms of the counts there, (K,)."""

    probabilities: jax.Array
    logits: jax.Array


def probabilities_at(network: Network, f: jax.Array) -> Near:
    """What moments at other f, and for other weights of the same samples, are made of."""
    return Near(posterior(network, f), f + network.log_counts)


def _moments_near(network: Network, near: Near, f: jax.Array) -> Moments:
    """Moments at an f that is not far, without exponentials of every sample."""
    # A common shift has no effect, and the largest factor is one.
    is_sampled = network.is_sampled & (near.logits > -jnp.inf)
    logits = jnp.where(is_sampled, near.logits, 0)
    moved = jnp.where(is_sampled, f + network.log_counts - logits, -jnp.inf)
    factors = jnp.exp(moved - jnp.max(moved))
    total = matmul(near.probabilities, factors)[:, None]
    values = near.probabilities * factors[None] / total
    return find_moments(network, lambda _: values, None)


def net_flows(moments: Moments, is_linked: jax.Array) -> jax.Array:
    """The gradient of L by state, (K,): sum of p_k minus n_k.

    Differences of flows between two states are small where both are. The difference of the sum and
    n_k would have the rounding error of n_k.
    """
    flows = jnp.where(is_linked, moments.flows - moments.flows.T, 0)
    return jnp.sum(flows, axis=0)


def _step_near(
    start: jax.Array, nearby: Evaluate, is_linked: jax.Array, state: NetworkState
) -> NetworkState:
    """A step that stays in the neighborhood of the start, or none."""
    new = _step(nearby(state.f), is_linked, state.f)
    has_left = jnp.max(jnp.abs(new.f - start)) > _LARGEST_MOVE
    return new._replace(
        f=jnp.where(has_left, state.f, new.f), error=jnp.where(has_left, jnp.inf, new.error)
    )


def _step(moments: Moments, is_linked: jax.Array, f: jax.Array) -> NetworkState:
    """A step of Newton's method from f, and a bound on the error that it leaves."""
    flow = jnp.max(jnp.sum(moments.flows, axis=0) - jnp.diagonal(moments.flows))
    is_linked = _resolved(moments, is_linked, flow)
    gradient = net_flows(moments, is_linked)
    identity = jnp.eye(len(gradient), dtype=gradient.dtype)
    couplings = jnp.where(is_linked, moments.shared, 0)
    solved = solve_laplacian(couplings, jnp.column_stack([-gradient, identity]))
    step, inverse = solved[:, 0], solved[:, 1:]
    largest = jnp.max(jnp.where(is_linked, resistances(inverse), 0))
    bound = jnp.sqrt(jnp.maximum(-matmul(step, gradient), 0) * largest)
    length = jnp.max(jnp.where(is_linked, jnp.abs(step[:, None] - step[None]), 0))
    fraction = jnp.where(length > 1, jnp.log1p(length) / jnp.maximum(length, 1), 1)
    # What a whole step leaves. Longer steps are not certified.
    left = jnp.minimum(bound * length / 2 * jnp.exp(2 * jnp.minimum(length, 1)), 1)
    jump = _jump(couplings, gradient)
    f = f + fraction * step + jump
    is_certain = (length <= 1) & jnp.all(jump == 0)
    error = jnp.where(is_certain, -jnp.log1p(-left), jnp.inf)
    estimate = jnp.max(jnp.abs(f)) + largest * flow
    return NetworkState(f, error, estimate)


def _resolved(moments: Moments, is_linked: jax.Array, flow: jax.Array) -> jax.Array:
    """The links that are not far below rounding errors, once nothing flows through the others.

    A step along such a link would be noise, again and again. Its ends are no estimate.
    """
    eps = jnp.finfo(flow.dtype).eps
    is_together = mutually_reachable(is_linked & (moments.shared > eps**1.5 * flow))
    net = matmul(is_together.astype(flow.dtype), net_flows(moments, is_linked))
    is_settled = jnp.all(jnp.abs(net) <= 10 * eps * flow)
    return is_linked & (is_together | ~is_settled)


def _jump(couplings: jax.Array, gradient: jax.Array) -> jax.Array:
    """A move of states whose probabilities have underflowed, so that no step is known for them.

    Their samples all go to states that they share none with, or the other way round.
    """
    is_together = mutually_reachable(couplings > 0).astype(gradient.dtype)
    net = matmul(is_together, gradient)
    return jnp.where(jnp.abs(net) > _NEGLIGIBLE, -jnp.sign(net) * _JUMP, 0)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _root(f: jax.Array, network: Network, is_linked: jax.Array, chunk_size: int | None):
    del network, is_linked, chunk_size
    return f


@_root.defjvp
def _root_jvp(chunk_size, primals, tangents):
    """By the implicit function theorem, in operations that can be differentiated again."""
    f, network, is_linked = primals
    root = _root(f, network, is_linked, chunk_size)

    def gradient(network: Network) -> jax.Array:
        def sums(part: Network) -> jax.Array:
            return matmul(part.weights, posterior(part, root))

        return sum_samples(sums, network, chunk_size) - network.counts

    _, moved = jax.jvp(gradient, (network,), (tangents[1],))
    couplings = jnp.where(is_linked, moments_of(network, root, chunk_size=chunk_size).shared, 0)
    return root, -solve_laplacian(couplings, moved[:, None])[:, 0]
