"""What chooses M beside a fixed number: losses averaged over M, and an M that falls to 1.

All of them know the largest M that the noise samples support (`nce_jax.suggested_magnification`),
from the batches so far.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from nce_jax import log_partition, magnification

NUM_NODES = 6
"""Values of M over which a loss is averaged: the middles of so many parts of the range of log M."""

FIRST, EVERY = 64, 8
"""The largest supported M is computed at so many steps at first, and then at every eighth."""


class Candidate(NamedTuple):
    """A way to choose M. The fields are 0 or 1, traced, so that one program trains all.

    Attributes:
      averages: 1 if the loss is a mean over log M from 0 to its largest value, 0 if it is at it.
      has_one_f: 1 if all M of the mean share one F, 0 if each has its own.
      anneals: 1 if the logarithm of the largest M falls to 0 as the learning rate does.
    """

    averages: Any = 0
    has_one_f: Any = 0
    anneals: Any = 0


CANDIDATES = {
    "averaged": Candidate(averages=1),
    "averaged, one F": Candidate(averages=1, has_one_f=1),
    "annealed": Candidate(anneals=1),
}


def averaged_nce(candidate: Candidate, largest: Any = 1.0) -> nce_jax.criteria.Criterion:
    """The mean of the NCE loss over M, log-uniform between 1 and the largest, F solved for.

    F is that of each M, or the one that minimizes the mean.
    """
    middles = (jnp.arange(NUM_NODES) + 0.5) / NUM_NODES
    nodes = jnp.exp(jnp.log(largest) * jnp.where(candidate.averages == 1, middles, 1.0))

    def loss(data, noise, *, log_partition=0.0, **weights):
        data, noise = (jnp.broadcast_to(s, (NUM_NODES, s.size)) for s in (data, noise))
        # By the envelope theorem the gradient of the minimum over F is that at the solved F.
        fixed = jax.lax.stop_gradient((data, noise))
        own = nce_jax.solve_log_partition(*fixed, magnification=nodes).log_partition
        roots = jnp.where(candidate.has_one_f == 1, log_partition, own)
        return jnp.mean(nce_jax.nce_loss(data, noise, log_partition=roots, magnification=nodes))

    def equation(log_ratio_data, log_ratio_noise, **weights):
        return equation_of_mean(log_ratio_data, log_ratio_noise, nodes)

    return nce_jax.criteria.Criterion(
        "averaged nce",
        loss,
        equation=equation,
        at_magnification=lambda largest: averaged_nce(candidate, largest),
    )


def equation_of_mean(data: jax.Array, noise: jax.Array, nodes: jax.Array) -> log_partition.Problem:
    """The equation for the F that minimizes the mean of the losses at all `nodes`.

    It is that of binary NCE at the mean of the nodes, with every sample repeated for each node: its
    log ratio less log M, and noise samples weighted by M.
    """
    mean = jnp.mean(nodes)
    shift = jnp.log(nodes / mean)[:, None]
    weights = jnp.broadcast_to((nodes / mean)[:, None], (nodes.size, noise.size))
    return log_partition.make_problem(
        (data[None] - shift).ravel(),
        (noise[None] - shift).ravel(),
        weights_noise=weights.ravel(),
        magnification=mean,
    )


class RuleState(NamedTuple):
    """State of the rule.

    Attributes:
      log_largest: log of the largest supported M, a running mean; NaN before the first batch.
      response: 1: the train step leaves the gradient as it is.
    """

    log_largest: jax.Array
    response: jax.Array


def largest_supported(
    candidate: Candidate, relative_rate: Any, batch_size: int, bound: float
) -> magnification.MagnificationRule:
    """M = the largest supported one, or that to the power of the relative learning rate.

    Args:
      candidate: which of the two.
      relative_rate: `relative_rate(step)`, the learning rate divided by its peak.
      batch_size: number of samples of each side.
      bound: an upper bound on M.
    """

    def init(params: Any, dtype: Any) -> RuleState:
        return RuleState(jnp.asarray(jnp.nan, dtype), jnp.ones((), dtype))

    def choose(state: RuleState, step, equation_at, linearize) -> magnification.Choice:
        # At M = 1 the repeated samples of all nodes are the same.
        problem = equation_at(jnp.ones(()))
        sides = problem.data.values[:batch_size], problem.noise.values[:batch_size]

        def update() -> jax.Array:
            now = jnp.log(jnp.minimum(nce_jax.suggested_magnification(*sides), bound))
            before = jnp.where(jnp.isnan(state.log_largest), now, state.log_largest)
            return jnp.where(jnp.isnan(now), before, (before + now) / 2)

        is_due = (step < FIRST) | (step % EVERY == 0)
        log_largest = jax.lax.cond(is_due, update, lambda: state.log_largest)
        chosen = jnp.exp(log_largest * jnp.where(candidate.anneals == 1, relative_rate(step), 1.0))
        state = state._replace(log_largest=log_largest)
        return magnification.Choice(chosen, jnp.ones_like(chosen), state)

    def follow(choice: magnification.Choice, updates, pending, step) -> RuleState:
        return choice.state

    return magnification.MagnificationRule(init, choose, follow)
