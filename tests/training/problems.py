"""A one-dimensional exponential family with known answers, shared by the tests of the train
step.
"""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax import models, noise


def tilted_normal(theta=0.5, dtype=None):
    """phi(x) = theta x + log N(x; 0, 1) against noise N(0, 1): s(x) = theta x, log Z = theta^2 /
    2.
    """
    standard = noise.standard_normal(1, dtype=dtype)
    params, log_density_fn = models.exponential_family(
        models.linear_statistics, jnp.full((1,), theta, dtype), log_base_measure=standard.log_prob
    )
    return params, log_density_fn, standard


def samples(mean, count=512, seed=0, dtype=None):
    return mean + jax.random.normal(jax.random.key(seed), (count, 1), dtype or float)


def counted(log_density_fn):
    """The same function, and a list that grows by the shape of x whenever it is called."""
    calls = []

    def wrapped(params, x):
        calls.append(x.shape)
        return log_density_fn(params, x)

    return wrapped, calls


def assert_trees_equal(first, second):
    """Bit for bit, leaf by leaf."""
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)), first, second
    )
