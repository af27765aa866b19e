"""Two exponential families in the plane: Gaussians with free mean, and with free covariance too."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.gradient_alignment.config import Config
from nce_jax import models


class Gaussian(NamedTuple):
    mean: jax.Array
    covariance: jax.Array


class Family(NamedTuple):
    """exp(<T(x), theta> + log h(x) - log Z(theta)), and the maps between theta and Gaussians."""

    statistics: Callable[[jax.Array], jax.Array]
    base_precision: jax.Array
    """log h(x) = -<x, base_precision x> / 2."""
    params_of: Callable[[Gaussian], jax.Array]
    gaussian_of: Callable[[jax.Array], Gaussian]

    def log_partition(self, params: jax.Array) -> jax.Array:
        mean, covariance = self.gaussian_of(params)
        quadratic = mean @ jnp.linalg.solve(covariance, mean)
        return (quadratic + jnp.linalg.slogdet(covariance)[1]) / 2 + jnp.log(2 * jnp.pi)

    def moments(self, params: jax.Array) -> jax.Array:
        """E[T] of the model, in closed form."""
        mean, covariance = self.gaussian_of(params)
        second = covariance + jnp.outer(mean, mean)
        return jnp.concatenate([mean, jnp.stack([second[0, 0], second[1, 1], second[0, 1]])])[
            : params.size
        ]

    def likelihood_gradient(self, params: jax.Array, data: Gaussian) -> jax.Array:
        """Gradient of the mean negative log-likelihood: E_theta[T] - E_data[T]."""
        return self.moments(params) - self.moments(self.params_of(data))

    def log_ratio(self, params: jax.Array, x: jax.Array) -> jax.Array:
        """s(x): the unnormalized log density minus that of the noise, N(0, I)."""

        def log_base(x):
            precision = jnp.eye(2) - self.base_precision
            return jnp.einsum("ni,ij,nj->n", x, precision, x) / 2 + jnp.log(2 * jnp.pi)

        return models.exponential_family(self.statistics, params, log_base_measure=log_base)[1](
            params, x
        )

    def normalized_log_ratio(self, params: jax.Array, x: jax.Array) -> jax.Array:
        return self.log_ratio(params, x) - self.log_partition(params)


def data_and_start(config: Config) -> tuple[Gaussian, Gaussian]:
    first, mixed, second = config.data_covariance
    data = Gaussian(jnp.array(config.data_mean), jnp.array([[first, mixed], [mixed, second]]))
    return data, Gaussian(jnp.array(config.start_mean), config.start_variance * jnp.eye(2))


def mean_only(covariance: jax.Array) -> Family:
    """T = x with the covariance of the data; theta = precision @ mean."""
    precision = jnp.linalg.inv(covariance)
    return Family(
        models.linear_statistics,
        precision,
        lambda gaussian: precision @ gaussian.mean,
        lambda params: Gaussian(covariance @ params, covariance),
    )


def mean_and_covariance() -> Family:
    """T = (x1, x2, x1^2, x2^2, x1 x2)."""
    return Family(_all_statistics, jnp.zeros((2, 2)), _natural, _from_natural)


def _all_statistics(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, x**2, x[:, :1] * x[:, 1:]], axis=-1)


def _natural(gaussian: Gaussian) -> jax.Array:
    precision = jnp.linalg.inv(gaussian.covariance)
    quadratic = jnp.stack([-precision[0, 0] / 2, -precision[1, 1] / 2, -precision[0, 1]])
    return jnp.concatenate([precision @ gaussian.mean, quadratic])


def _from_natural(params: jax.Array) -> Gaussian:
    linear, (first, second, mixed) = params[:2], params[2:]
    covariance = jnp.linalg.inv(
        jnp.stack([jnp.stack([-2 * first, -mixed]), jnp.stack([-mixed, -2 * second])])
    )
    return Gaussian(covariance @ linear, covariance)
