"""Gradients at given parameters on many samples: setting (a), and the variance that quadrature
predicts.
"""

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.bias_variance.problem import Problem, log_ratio, log_z


def ascent(
    theta: jax.Array, x_data: jax.Array, x_noise: jax.Array, magnification: jax.Array
) -> jax.Array:
    """The direction of ascent, (treatment, dim), as in `exact.TREATMENTS`."""
    ratios = log_ratio(theta, x_data), log_ratio(theta, x_noise)
    options = {"magnification": magnification}
    # F is near log Z here: from there, and to a tenth of a millinat, the solve takes half of the
    # time.
    root = nce_jax.solve_log_partition(
        *ratios, **options, initial=log_z(theta), tolerance=1e-4
    ).log_partition

    def loss(theta, log_partition):
        ratios = log_ratio(theta, x_data), log_ratio(theta, x_noise)
        return nce_jax.nce_loss(*ratios, log_partition=log_partition, **options)

    # At the root the gradient at constant F is that of the profiled loss: the envelope theorem.
    slopes = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0))
    in_theta, in_partition = slopes(theta, jnp.stack([log_z(theta), root]))
    # d log Z / d theta = theta: a normalized model's gradient is the joint one's, with F moving
    # along.
    return -jnp.stack([in_theta[0] + in_partition[0] * theta, *in_theta])


def squared_errors(
    problem: Problem, points, magnifications: jax.Array, draws: jax.Array
) -> dict[str, np.ndarray]:
    """`errors` (treatment, point, M, seed): |gradient - likelihood's|^2.

    `deviations` are the same from the seeds' own mean, their mean over seeds is the variance;
    `bias` is the squared bias, estimated without bias (it may be negative). All points, M and
    treatments see the same draws.
    """

    def run(point, magnification, draw):
        return ascent(point * problem.truth, *draw, magnification)

    axes = {"point": jnp.asarray(points), "magnification": magnifications, "draw": draws}
    swept = nce_jax.sweep(run, axes=axes, max_lanes=lanes(draws))
    # (treatment, point, M, seed, dim).
    gradient = np.moveaxis(np.asarray(swept.values), -2, 0).astype(np.float64)
    target = (1 - np.asarray(points)) * problem.mean
    off = gradient - target[None, :, None, None, None]
    deviations = (
        ((off - off.mean(axis=-2, keepdims=True)) ** 2).sum(-1) * len(draws) / (len(draws) - 1)
    )
    bias = (off.mean(axis=-2) ** 2).sum(-1) - deviations.mean(-1) / len(draws)
    return {"errors": (off**2).sum(-1), "deviations": deviations, "bias": bias}


def lanes(draws: jax.Array) -> int:
    """Lanes at once, so that one array of log ratios stays within about 40 MB."""
    return 10_000_000 // draws.shape[2]
