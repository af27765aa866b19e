"""An energy as a correction of the noise, log density = log q(x) + f(x), with f zero at first."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.digits.config import Config
from experiments.digits.data import Digits
from nce_jax import models


class Model(NamedTuple):
    """Initial parameters, f (the log ratio s itself), and the log density for the train step."""

    params: Any
    log_ratio_fn: Callable[[Any, jax.Array], jax.Array]
    log_density_fn: Callable[[Any, jax.Array], jax.Array]


def make(config: Config, digits: Digits, key: jax.Array) -> Model:
    """The model of one seed, whose last layer starts at zero.

    Training thus starts at the noise, with F* = log Z = 0.

    f(x) = B tanh(g(z) / B), with g the network, z the standardized pixels and B the bound. Without
    the bound, a few outlying noise samples would carry all of Z, and importance sampling would miss
    them.
    """
    params, network = models.mlp_energy(key, digits.mean.size, hidden=config.hidden)
    params = {**params, "output": jax.tree.map(jnp.zeros_like, params["output"])}
    bound = config.log_ratio_bound

    def log_ratio_fn(params: Any, x: jax.Array) -> jax.Array:
        unbounded = network(params, (x - digits.mean[None]) / digits.scale[None])
        return unbounded if bound is None else bound * jnp.tanh(unbounded / bound)

    def log_density_fn(params: Any, x: jax.Array) -> jax.Array:
        return digits.noise.log_prob(x) + log_ratio_fn(params, x)

    return Model(params, log_ratio_fn, log_density_fn)
