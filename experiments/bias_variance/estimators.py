"""Setting (c): error at convergence, by Newton's method on the loss of the whole sample."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.bias_variance.gradients import lanes
from experiments.bias_variance.problem import Problem, log_ratio, log_z

TREATMENTS = ("fixed", "solved")
"""Treatments of F. A joint gradient converges to the same point as solving for F: the minimum over
theta and F."""


def loss(
    params: jax.Array,
    is_normalized: bool,
    x_data: jax.Array,
    x_noise: jax.Array,
    magnification: jax.Array,
) -> jax.Array:
    """NCE loss of `params`: theta, followed by F unless the model is normalized."""
    theta, log_partition = (params, log_z(params)) if is_normalized else (params[:-1], params[-1])
    ratios = log_ratio(theta, x_data), log_ratio(theta, x_noise)
    return nce_jax.nce_loss(*ratios, log_partition=log_partition, magnification=magnification)


def minimize(start: jax.Array, is_normalized: bool, x_data, x_noise, magnification, num_steps: int):
    """The minimum near `start`, and the length of the last step."""
    arguments = is_normalized, x_data, x_noise, magnification
    slope, curvature = jax.grad(loss), jax.hessian(loss)

    def body(params, _):
        move = -jnp.linalg.solve(curvature(params, *arguments), slope(params, *arguments))
        length = jnp.linalg.norm(move)
        return params + move / jnp.maximum(length, 1.0), length  # a long step is cut to 1

    params, lengths = jax.lax.scan(body, start, length=num_steps)
    return params, lengths[-1]


def squared_errors(
    problem: Problem, magnifications, draws: jax.Array, num_steps: int
) -> np.ndarray:
    """|theta - truth|^2, (treatment, M, seed); infinite where Newton has not converged.

    There need not be a minimum.
    """

    def run(magnification, draw):
        truth = problem.truth
        starts = (truth, True), (jnp.append(truth, log_z(truth)), False)
        minima = [minimize(*start, *draw, magnification, num_steps) for start in starts]
        return jnp.stack(
            [
                jnp.where(length < 1e-3, _squared(problem, params), jnp.inf)
                for params, length in minima
            ]
        )

    result = nce_jax.sweep(
        run, axes={"magnification": magnifications, "draw": draws}, max_lanes=lanes(draws)
    )
    errors = np.moveaxis(np.asarray(result.values), -1, 0)
    return np.where(np.isfinite(errors), errors, np.inf)


def _squared(problem: Problem, params: jax.Array) -> jax.Array:
    return jnp.sum((params[: problem.dim] - problem.mean) ** 2)
