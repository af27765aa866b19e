"""The landscape of the loss: times of gradient flow, and curvatures from start to truth."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.convergence.descent import profiled
from experiments.convergence.problems import Problem, mean_problem


def flow_times(
    separations, log_magnifications, distance: float, num_points: int, num_nodes: int = 48
) -> dict[str, np.ndarray]:
    """Times of gradient flow, d theta / dt = -gradient, from 0 to m - distance, (separation, M).

    The time is the integral of d theta / |gradient|. The family has one parameter, so that with F
    solved, or F = log Z(theta), it describes descent completely. For the likelihood it is log(m /
    distance). The integral is taken in the logarithm of m - theta.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)

    def flow_time(separation, log_magnification, name):
        problem = mean_problem(separation, num_points)
        length = jnp.log(separation / distance)
        gap = distance * jnp.exp(length * (jnp.asarray(nodes) + 1) / 2)
        slopes = jax.vmap(lambda theta: _slope(problem, name, jnp.exp(log_magnification), theta))(
            separation - gap
        )
        return jnp.sum(jnp.asarray(weights) * length / 2 * gap / -slopes)

    times_by_treatment = {}
    for name in ("fixed", "solved"):
        times = jax.jit(
            jax.vmap(lambda log_m, m, name=name: flow_time(m, log_m, name), in_axes=(0, None))
        )
        times_by_treatment[name] = np.stack(
            [
                np.asarray(times(jnp.asarray(log_magnifications), jnp.asarray(m)))
                for m in separations
            ]
        )
    return times_by_treatment


def _slope(problem: Problem, name: str, magnification, theta) -> jax.Array:
    if name == "solved":
        return jax.grad(profiled(problem, magnification))(theta[None])[0]

    def fixed(params):
        s = problem.log_ratio_fn(params, problem.rule.x)
        options = {"magnification": magnification, **problem.rule.weights}
        return nce_jax.nce_loss(s, s, log_partition=problem.log_partition_fn(params), **options)

    return jax.grad(fixed)(theta[None])[0]


def profiled_curvatures(problem: Problem, magnification, positions) -> jax.Array:
    """Eigenvalues of the Hessian in theta, F solved, from start (0) to truth (1).

    The shape is (position, theta).
    """

    def eigenvalues(position):
        params = problem.start + position * (problem.truth - problem.start)
        return jnp.linalg.eigvalsh(jax.hessian(profiled(problem, magnification))(params))

    return jax.vmap(eigenvalues)(positions)


def joint_curvatures(problem: Problem, magnification, positions) -> jax.Array:
    """Eigenvalues of the Hessian in (theta, F), at F = log Z(theta); NWJ where M is None."""

    def value(pair):
        s = problem.log_ratio_fn(pair[:-1], problem.rule.x)
        options = {"log_partition": pair[-1], **problem.rule.weights}
        if magnification is None:
            return nce_jax.losses.nwj_loss(s, s, **options)
        return nce_jax.nce_loss(s, s, magnification=magnification, **options)

    def eigenvalues(position):
        params = problem.start + position * (problem.truth - problem.start)
        return jnp.linalg.eigvalsh(
            jax.hessian(value)(jnp.append(params, problem.log_partition_fn(params)))
        )

    return jax.vmap(eigenvalues)(positions)
