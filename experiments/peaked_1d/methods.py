"""The compared chains, each given by the arguments of one call."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import nce_jax
from experiments.peaked_1d.config import Config
from nce_jax import telescoping


class Estimate(NamedTuple):
    """Error of log s with its standard error, and diagnostics of the stages, of one run."""

    error: float
    """log(s_hat / s); NaN where the model has no finite normalizer."""
    standard_error: float
    kl: float
    kl_error: float
    """Standard error of KL at fixed parameters; inf where a stage has no overlap."""
    smallest_overlap: float
    num_stages: int


def methods(config: Config) -> dict[str, dict[str, Any]]:
    """Arguments of `nce_jax.fit_telescope` by name; without noise levels, pilot fits find some."""
    published = (np.arange(config.num_published + 1) / config.num_published) ** config.power
    magnified = {"magnification": config.magnification}
    return {
        "NCE": {"noise_levels": [0.0, 1.0]},
        "N2CE": {"noise_levels": [0.0, 1.0], **magnified},
        "TRE": {"noise_levels": published},
        "TRE, magnified": {"noise_levels": published, **magnified},
        "automatic": {},
        "automatic, magnified": magnified,
    }


def log_ratio(theta: jax.Array, x: jax.Array) -> jax.Array:
    """A quadratic log ratio, up to its constant."""
    return theta[0] * x + theta[1] * jnp.square(x)


def estimate(
    config: Config, arguments: dict[str, Any], spread: float, num_samples: int, key: jax.Array
) -> Estimate:
    """Fits one chain; nothing in the call depends on s.

    Every stage standardizes its samples by the mean and spread of its own two sets.
    """
    key_data, key_noise, key_fit = jax.random.split(key, 3)
    x_data = spread * jax.random.normal(key_data, (num_samples,))
    x_noise = jax.random.normal(key_noise, (num_samples,))
    try:
        result = nce_jax.fit_telescope(
            key_fit,
            x_data,
            x_noise,
            model=(jnp.zeros(2), log_ratio),
            num_steps=config.num_steps,
            progress=False,
            **arguments,
        )
    except telescoping.ScheduleError:
        return Estimate(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    error, standard_error = _log_spread(result, spread)
    overlap = np.asarray(result.stages.overlap)
    kl = result.kl, result.kl_sampling_error
    return Estimate(error, standard_error, *kl, float(overlap.min()), overlap.size)


def _log_spread(result: telescoping.Telescope, spread: float) -> tuple[float, float]:
    """Error of log s with its standard error, from the curvature of log p / q.

    The curvature is 1 - 1 / s^2, so that the coefficient A of x^2, summed over stages, gives s = (1
    - 2 A)^(-1/2).
    """
    scale = np.asarray(result.params["scale"], np.float64)
    coefficient = np.sum(np.asarray(result.params["model"], np.float64)[:, 1] / scale**2)
    precision = 1 - 2 * coefficient
    if not precision > 0:
        return np.nan, np.nan
    if not np.isfinite(result.covariance).all():  # no optimum
        return -0.5 * np.log(precision) - np.log(spread), np.inf
    gradient = np.zeros(len(result.covariance))
    gradient[1 : 2 * len(scale) : 2] = 1 / scale**2 / precision  # d log s / d theta
    error = np.sqrt(gradient @ result.covariance @ gradient)
    return -0.5 * np.log(precision) - np.log(spread), error
