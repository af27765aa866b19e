"""The chain of log ratios: one call per run, the same for every separation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.chasm_1d.config import Config
from nce_jax import telescoping

_POINTS = ((0.0,), (1.0,))
"""Points that determine a log ratio theta x - F: F = -u(0), theta = u(1) - u(0)."""


_FEWEST_LANES = 64
"""Smallest number of lanes in the solve of the quadrature, so that any number of stages shares one
compilation."""


class Run(NamedTuple):
    """Results of one run; arrays of the stages are padded with NaN to the longest schedule."""

    theta: float
    log_partition: float
    log_partition_error: float
    """Standard error of F, including that of the parameters."""
    kl: float
    kl_error: float
    fixed_error: float
    """Joint standard error of the stages' F at fixed parameters."""
    summed_error: float
    """The same, from the sum of the stages' variances."""
    fixed_deviation: float
    """Deviation of the stages' F from their exact values at these parameters, by quadrature."""
    schedule: np.ndarray
    overlap: np.ndarray
    share: np.ndarray
    path_steps: np.ndarray
    path_theta: np.ndarray
    path_log_partition: np.ndarray
    num_steps: int
    num_pilot_steps: int
    is_converged: bool


def log_ratio(theta: jax.Array, x: jax.Array) -> jax.Array:
    """T = [x, -1] of one stage, without its F."""
    return theta * x[:, 0]


def draw_noise(key: jax.Array, count: int) -> jax.Array:
    return jax.random.normal(key, (count, 1))


def run(config: Config, separation: float, key: jax.Array) -> Run:
    """Fits a chain; no setting depends on the separation."""

    def draw_data(key, count):
        return separation + jax.random.normal(key, (count, 1))

    model = (jnp.zeros(()), log_ratio)
    result = nce_jax.fit_telescope(
        key,
        draw_data,
        draw_noise,
        model=model,
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        progress=False,
    )
    points = jnp.array(_POINTS)
    values = np.asarray(result.log_ratio(points), np.float64)
    errors = np.asarray(result.log_ratio_standard_error(points), np.float64)
    path = _path(result)
    return Run(
        theta=values[1] - values[0],
        log_partition=-values[0],
        log_partition_error=errors[0],
        kl=result.kl,
        kl_error=result.kl_standard_error,
        fixed_error=result.log_partition_standard_error,
        summed_error=float(np.linalg.norm(result.stages.standard_error)),
        fixed_deviation=_deviation(result, separation),
        schedule=result.noise_levels,
        overlap=np.asarray(result.stages.overlap),
        share=np.asarray(result.stages.variance_fraction),
        path_steps=result.path[0],
        path_theta=path[1] - path[0],
        path_log_partition=-path[0],
        num_steps=result.num_steps,
        num_pilot_steps=result.num_pilot_steps,
        is_converged=result.is_converged,
    )


def _path(result: telescoping.Telescope) -> np.ndarray:
    """u(0) and u(1) along the training, (2, c)."""
    _, models, roots = (np.asarray(part, np.float64) for part in result.path)
    location, scale = (
        np.asarray(result.params[name], np.float64)[:, 0] for name in ("location", "scale")
    )
    return np.stack(
        [(models * (point - location) / scale).sum(1) - roots.sum(1) for (point,) in _POINTS]
    )


def _deviation(result: telescoping.Telescope, separation: float) -> float:
    """sum_k F_k of the run minus its limit for infinitely many samples.

    The limit is taken at the same parameters, by quadrature.
    """
    num_stages = len(result.noise_levels) - 1
    shape = 0, max(_FEWEST_LANES, num_stages) - num_stages
    location, scale = (
        np.asarray(result.params[name], np.float64)[:, 0] for name in ("location", "scale")
    )
    slopes = np.asarray(result.params["model"], np.float64) / scale
    means = separation * np.sqrt((1 - result.noise_levels) * (1 + result.noise_levels))
    grid = np.linspace(-8, 8, 801)
    sides = [
        slopes[:, None] * (m[:, None] + grid - location[:, None]) for m in (means[:-1], means[1:])
    ]
    with jax.enable_x64(True):
        exact = _roots(
            *(jnp.asarray(np.pad(side, (shape, (0, 0)))) for side in sides),
            jnp.asarray(np.exp(-0.5 * grid**2)),
        )
    estimated = np.asarray(result.stages.log_partition, np.float64)
    return float(np.sum(estimated - np.asarray(exact)[:num_stages]))


@jax.jit
def _roots(data: jax.Array, noise: jax.Array, weights: jax.Array) -> jax.Array:
    """Roots F_k by quadrature: the weights of a grid are in proportion to the density."""
    stage_weights = jnp.broadcast_to(weights, data.shape)
    return nce_jax.solve_log_partition(
        data, noise, weights_data=stage_weights, weights_noise=stage_weights
    ).log_partition
