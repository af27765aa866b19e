"""Gradient descent, normalized gradient descent and Newton's method on the population losses."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.convergence.problems import Problem
from nce_jax import training

TREATMENTS = {"joint": training.joint_gradient(), "solved": training.solved(tolerance=1e-9)}


class Trace(NamedTuple):
    """Distances after k steps: of theta from the truth, and of the pair (theta, F)."""

    theta: jax.Array
    pair: jax.Array


def normalized(rate) -> optax.GradientTransformation:
    """theta <- theta - rate g / |g|, where a joint gradient has the norm of (theta, F)."""
    return optax.chain(_normalize(), optax.sgd(rate))


def _normalize() -> optax.GradientTransformation:
    """optax.normalize_by_update_norm without its 1e-6, which exceeds the gradients of NCE."""

    def update(gradient, state, params=None):
        del params
        norm = optax.tree.norm(gradient)
        return jax.tree.map(lambda leaf: leaf / jnp.where(norm > 0, norm, 1.0), gradient), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def descend(problem: Problem, criterion, treatment: str, optimizer, num_steps: int) -> Trace:
    """Distances along a descent by the library's train step on the quadrature."""
    kind = TREATMENTS[treatment]
    step = training.make_train_step(
        optimizer=optimizer, log_ratio_fn=problem.log_ratio_fn, criterion=criterion, treatment=kind
    )
    batch = training.Batch(problem.rule.x, problem.rule.x, **problem.rule.weights)
    initial = problem.log_partition_fn(problem.start)

    def body(state, _):
        new, metrics = step(state, batch, jax.random.key(0))  # nothing is drawn
        return new, _trace(problem, state.params, metrics.log_partition)

    state = step.init(problem.start, log_partition=initial)
    return jax.lax.scan(body, state, length=num_steps + 1)[1]


def newton(problem: Problem, magnification, radius: float, num_steps: int) -> Trace:
    """Newton's method on the profiled loss, F solved, in steps no longer than `radius`.

    Where the loss is not convex, the absolute values of the curvatures make every step a descent.
    """
    value = profiled(problem, magnification)

    def body(params, _):
        gradient, hessian = jax.grad(value)(params), jax.hessian(value)(params)
        curvatures, axes = jnp.linalg.eigh(hessian)
        step = axes @ ((axes.T @ gradient) / jnp.abs(curvatures))
        step = step * jnp.minimum(1.0, radius / jnp.linalg.norm(step))
        return params - step, _trace(problem, params, jnp.zeros(()))

    return jax.lax.scan(body, problem.start, length=num_steps + 1)[1]


def profiled(problem: Problem, magnification) -> Callable[[jax.Array], jax.Array]:
    """The loss with F solved, as a function of theta; Donsker and Varadhan's for infinite M."""

    def value(params):
        s = problem.log_ratio_fn(params, problem.rule.x)
        if magnification is None:
            return nce_jax.losses.donsker_varadhan_loss(s, s, **problem.rule.weights)
        return nce_jax.profiled_nce_loss(s, s, magnification=magnification, **problem.rule.weights)

    return value


def _trace(problem: Problem, params, log_partition) -> Trace:
    return Trace(
        jnp.linalg.norm(params - problem.truth), problem.pair_distance(params, log_partition)
    )
