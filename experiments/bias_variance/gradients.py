"""Setting (a): gradients at given parameters on many samples, to compare with quadrature."""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.bias_variance.problem import Problem, log_ratio, log_z


def ascent(
    theta: jax.Array, x_data: jax.Array, x_noise: jax.Array, magnification: jax.Array
) -> jax.Array:
    """The direction of ascent, (treatment, dim), as in `quadrature.TREATMENTS`."""
    ratios = log_ratio(theta, x_data), log_ratio(theta, x_noise)
    options = {"magnification": magnification}
    # F is near log Z: starting there with a tolerance of 1e-4 nats halves the time of the solve.
    root = nce_jax.solve_log_partition(
        *ratios, **options, initial=log_z(theta), tolerance=1e-4
    ).log_partition

    def loss(theta, log_partition):
        ratios = log_ratio(theta, x_data), log_ratio(theta, x_noise)
        return nce_jax.nce_loss(*ratios, log_partition=log_partition, **options)

    # At the root the gradient at constant F is that of the profiled loss: the envelope theorem.
    slopes = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0))
    in_theta, in_partition = slopes(theta, jnp.stack([log_z(theta), root]))
    # d log Z / d theta = theta: the gradient of a normalized model includes that of F.
    return -jnp.stack([in_theta[0] + in_partition[0] * theta, *in_theta])


def squared_errors(
    problem: Problem, points, magnifications: jax.Array, draws: jax.Array
) -> dict[str, np.ndarray]:
    """Squared errors of the gradient by field, (treatment, point, M, seed).

    `errors` are |gradient - likelihood's gradient|^2. `deviations` are the same from the mean over
    seeds, so that their own mean over seeds is the variance. `bias` is an unbiased estimate of the
    squared bias, which may be negative. All points, M and treatments use the same draws.
    """

    def run(point, magnification, draw):
        return ascent(point * problem.truth, *draw, magnification)

    axes = {"point": jnp.asarray(points), "magnification": magnifications, "draw": draws}
    result = nce_jax.sweep(run, axes=axes, max_lanes=lanes(draws))
    # (treatment, point, M, seed, dim).
    gradient = np.moveaxis(np.asarray(result.values), -2, 0).astype(np.float64)
    target = (1 - np.asarray(points)) * problem.mean
    error = gradient - target[None, :, None, None, None]
    deviations = (
        ((error - error.mean(axis=-2, keepdims=True)) ** 2).sum(-1) * len(draws) / (len(draws) - 1)
    )
    bias = (error.mean(axis=-2) ** 2).sum(-1) - deviations.mean(-1) / len(draws)
    return {"errors": (error**2).sum(-1), "deviations": deviations, "bias": bias}


def lanes(draws: jax.Array) -> int:
    """Number of lanes computed at once, so that an array of log ratios stays within about 40 MB."""
    return 10_000_000 // draws.shape[2]
