"""Iterations for F alone as pairs of functions, run step by step or until convergence."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.log_partition_convergence.problems import Ratios


class Iteration(NamedTuple):
    """`init(ratios, initial) -> state` and `step(ratios, state) -> state`.

    `state.estimate` is the current F.
    """

    init: Callable[[Ratios, jax.Array], Any]
    step: Callable[[Ratios, Any], Any]


class Point(NamedTuple):
    """State of an iteration without memory: F alone."""

    estimate: jax.Array


def gradient_descent(learning_rate: float) -> Iteration:
    """NCE: F follows the gradient of the loss, at the rate for the paper's loss, half of ours."""
    slope = jax.grad(lambda estimate, ratios: nce_jax.nce_loss(*ratios, log_partition=estimate))

    def step(ratios: Ratios, state: Point) -> Point:
        return Point(state.estimate - learning_rate / 2 * slope(state.estimate, ratios))

    return Iteration(lambda ratios, initial: Point(initial), step)


def from_solver(solver: nce_jax.log_partition.Solver) -> Iteration:
    """A solver of the library, with one evaluation of the equation per step."""
    equation = nce_jax.criteria.nce().equation
    return Iteration(
        lambda ratios, initial: solver.init(equation(*ratios), initial),
        lambda ratios, state: solver.step(equation(*ratios), state),
    )


def trajectory(
    iteration: Iteration, ratios: Ratios, initial: jax.Array, num_steps: int
) -> jax.Array:
    """F before the first step and after each, (num_steps + 1,)."""

    def step(state: Any, _: None) -> tuple[Any, jax.Array]:
        state = iteration.step(ratios, state)
        return state, state.estimate

    start = iteration.init(ratios, initial)
    _, estimates = jax.lax.scan(step, start, None, length=num_steps)
    return jnp.concatenate([start.estimate[None], estimates])


class Arrival(NamedTuple):
    """End of an iteration.

    `steps` is inf where the step limit was reached first, `error` is |F - F*| at the end, and
    `growth` is the largest increase of that error in any step.
    """

    steps: jax.Array
    error: jax.Array
    growth: jax.Array


def run_until(
    iteration: Iteration,
    ratios: Ratios,
    initial: jax.Array,
    root: jax.Array,
    tolerance: float,
    max_steps: int,
) -> Arrival:
    """Steps until F is within the tolerance of the root.

    It is meant for iterations that do not leave the tolerance again.
    """

    def error_of(state: Any) -> jax.Array:
        return jnp.abs(state.estimate.astype(root.dtype) - root)

    def step(carry):
        state, count, growth = carry
        new = iteration.step(ratios, state)
        return new, count + 1, jnp.maximum(growth, error_of(new) - error_of(state))

    start = (iteration.init(ratios, initial), jnp.int32(0), jnp.asarray(-jnp.inf, root.dtype))
    state, count, growth = jax.lax.while_loop(
        lambda carry: (error_of(carry[0]) > tolerance) & (carry[1] < max_steps), step, start
    )
    error = error_of(state)
    return Arrival(jnp.where(error <= tolerance, count, jnp.inf), error, growth)
