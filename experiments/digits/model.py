"""An energy as a correction to the noise: log density = log q(x) + f(x), with a network f that
starts at zero.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.digits.config import Config
from experiments.digits.data import Digits
from nce_jax import models


class Model(NamedTuple):
    """Initial parameters; f, which is the log-ratio s itself; and the log density that the train
    step takes.
    """

    params: Any
    log_ratio_fn: Callable[[Any, jax.Array], jax.Array]
    log_density_fn: Callable[[Any, jax.Array], jax.Array]


def make(config: Config, digits: Digits, key: jax.Array) -> Model:
    """The model of one seed. Its last layer is zero at first: training starts at the noise, with F*
    = log Z = 0.

    f(x) = B tanh(g(z) / B), with g the network, z the standardized pixels and B the bound. Without
    it, a few noise samples far out carry all of Z, and importance sampling cannot see them.
    """
    params, network = models.mlp_energy(key, digits.mean.size, hidden=config.hidden)
    params = {**params, "output": jax.tree.map(jnp.zeros_like, params["output"])}
    bound = config.log_ratio_bound

    def log_ratio_fn(params: Any, x: jax.Array) -> jax.Array:
        free = network(params, (x - digits.mean[None]) / digits.scale[None])
        return free if bound is None else bound * jnp.tanh(free / bound)

    def log_density_fn(params: Any, x: jax.Array) -> jax.Array:
        return digits.noise.log_prob(x) + log_ratio_fn(params, x)

    return Model(params, log_ratio_fn, log_density_fn)
