"""The two data sets, and the energy that is trained against every noise."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

from experiments.noise_choices.config import Config
from nce_jax import likelihood, models, noise, samplers
from nce_jax.toys import TOYS

NUM_LEVELS = 17


class Gaussian(NamedTuple):
    """The fitted Gaussian with a log density by one matrix product.

    distrax solves a triangular system for every sample, which is 50 times the work in 64
    dimensions, and an energy needs it at every step of every chain.
    """

    distribution: Any
    whitening: jax.Array

    def log_prob(self, x: jax.Array) -> jax.Array:
        z = jnp.matmul(
            x - self.distribution.loc, self.whitening.T, precision=jax.lax.Precision.HIGHEST
        )
        log_scale = jnp.sum(jnp.log(jnp.diagonal(self.whitening))) - z.shape[-1] / 2 * jnp.log(
            2 * jnp.pi
        )
        return log_scale - 0.5 * jnp.sum(jnp.square(z), axis=-1)

    def sample_and_log_prob(
        self, *, seed: jax.Array, sample_shape: Any
    ) -> tuple[jax.Array, jax.Array]:
        x = self.distribution.sample(seed=seed, sample_shape=sample_shape)
        return x, self.log_prob(x)


def gaussian_of(x: jax.Array) -> Gaussian:
    distribution = noise.fitted_gaussian(x)
    return Gaussian(distribution, jnp.linalg.inv(jnp.linalg.cholesky(distribution.covariance())))


class Problem(NamedTuple):
    """A data set and the settings of its training.

    Attributes:
      x_train: samples of all batches, to which all noises are fitted, (samples, dim).
      x_test: held-out samples; None where the exact density is known.
      gaussian: the Gaussian fitted to `x_train`: the base measure of the energy, and a noise.
      log_density: log density of the data, where it is known.
      flow: options of its flow.
    """

    name: str
    x_train: jax.Array
    x_test: jax.Array | None
    gaussian: Gaussian
    log_density: Callable[[jax.Array], jax.Array] | None
    num_steps: int
    batch_size: int
    step_size: float
    flow: dict[str, Any]


def plane(config: Config, key: jax.Array) -> Problem:
    toy = TOYS[config.toy]
    x = toy.sample(key, config.num_points)
    sizes = config.plane_steps, config.plane_batch, config.plane_step_size
    flow = {
        "num_layers": config.plane_flow_layers,
        "hidden": config.plane_flow_hidden,
        "num_bins": config.flow_bins,
    }
    return Problem("plane", x, None, gaussian_of(x), toy.log_density, *sizes, flow)


def digits(config: Config, key: jax.Array) -> Problem:
    """The digits in logit space; held-out images have one fixed dequantization."""
    key_split, key_test, key_train = jax.random.split(key, 3)
    levels = jnp.asarray(load_digits().data, jnp.int32)
    levels = levels[jax.random.permutation(key_split, len(levels))]
    test, train = levels[: config.num_held_out], levels[config.num_held_out :]
    x = _logits(config, key_train, jnp.tile(train, (config.num_dequantizations, 1)))
    sizes = config.digits_steps, config.digits_batch, config.digits_step_size
    flow = {
        "num_layers": config.digits_flow_layers,
        "hidden": config.digits_flow_hidden,
        "num_bins": config.flow_bins,
    }
    x_test = _logits(config, key_test, test)
    return Problem("digits", x, x_test, gaussian_of(x), None, *sizes, flow)


def _logits(config: Config, key: jax.Array, levels: jax.Array) -> jax.Array:
    unit = likelihood.dequantize(key, levels, num_levels=NUM_LEVELS)
    return likelihood.logit_transform(unit, alpha=config.logit_margin)[0]


def make_model(
    config: Config, problem: Problem, key: jax.Array
) -> tuple[Any, Callable[..., jax.Array]]:
    """phi(x) = log N(x; m, C) + g(z), with z the standardized x and g zero at first.

    The Gaussian, fitted to the data, makes the energy normalizable whatever the network g is, since
    g grows linearly. Without it, a noise with little mass far out could leave a model without a log
    Z, and chains without a stationary distribution.
    """
    mean, scale = problem.x_train.mean(axis=0), problem.x_train.std(axis=0)
    params, network = models.mlp_energy(key, mean.size, hidden=config.hidden)
    params = {**params, "output": jax.tree.map(jnp.zeros_like, params["output"])}

    def log_density_fn(params: Any, x: jax.Array) -> jax.Array:
        return problem.gaussian.log_prob(x) + network(params, (x - mean[None]) / scale[None])

    return params, log_density_fn


def kernel(config: Config, problem: Problem) -> samplers.Kernel:
    """Hamiltonian Monte Carlo in the units of the fitted Gaussian."""
    covariance = problem.gaussian.distribution.covariance()
    return samplers.hmc(problem.step_size, config.leapfrog, inverse_mass_matrix=covariance)
