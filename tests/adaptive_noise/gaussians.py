"""An exponential family with known answers: phi(x) = theta . x - |x|^2 / (2 v), that is N(v theta,
v I).
"""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax import noise, samplers
from nce_jax.adaptive_noise import self_noise

VARIANCE = 0.5
KERNEL = samplers.mala(0.3)


def log_density_fn(theta, x):
    return x @ theta - 0.5 / VARIANCE * jnp.sum(x * x, axis=-1)


def true_log_partition(theta):
    theta = np.asarray(theta, np.float64)
    return 0.5 * VARIANCE * np.sum(theta**2, axis=-1) + 0.5 * theta.shape[-1] * np.log(
        2 * np.pi * VARIANCE
    )


def samples(key, theta, num_samples):
    return VARIANCE * theta + jnp.sqrt(jnp.asarray(VARIANCE, theta.dtype)) * jax.random.normal(
        key, (num_samples, theta.size), theta.dtype
    )


def make_snapshot(key, theta, num_samples=1000, num_stages=8, num_steps=20):
    """The base noise, N(0, I), is twice as wide."""
    return self_noise(
        key,
        log_density_fn,
        theta,
        noise.standard_normal(theta.size, dtype=theta.dtype),
        kernel=KERNEL,
        schedule=samplers.linear_schedule(num_stages),
        num_samples=num_samples,
        num_steps=num_steps,
    )
