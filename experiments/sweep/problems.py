"""The problems that can be swept, built from the experiments they belong to."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import optax

from experiments.gaussian_16d import config as config_16d
from experiments.gaussian_16d.problem import make_problem, starts
from experiments.sweep.arguments import Gaussian1d, Gaussian16d, Sweep, Toy2d
from experiments.toy_2d.config import Config as Toy2dConfig
from experiments.toy_2d.measures import make_square, measure
from nce_jax import models, noise
from nce_jax.toys import TOYS

Point = Mapping[str, jax.Array]
"""Values of all axes at one lane."""


class Problem(NamedTuple):
    """Differences between problems; keys and training are common to all of them.

    Attributes:
        make_model: `make_model(key)` gives the parameters to start from and `log_density_fn(params,
          x)`.
        log_partition: initial value of F.
        noise: `noise(point)` gives the noise distribution.
        sample: `sample(key, num_samples, point)` gives data.
        optimizer: `optimizer(learning_rate)`.
        measure: `measure(params, log_partition, point)` gives numbers by name, `error` among them.
    """

    make_model: Callable[[jax.Array], tuple[Any, Callable[..., jax.Array]]]
    log_partition: float
    noise: Callable[[Point], distrax.Distribution]
    sample: Callable[[jax.Array, int, Point], jax.Array]
    optimizer: Callable[[jax.Array], optax.GradientTransformation]
    measure: Callable[[Any, jax.Array, Point], dict[str, jax.Array]]


def make(sweep: Sweep) -> Problem:
    """Builds the problem of a command line."""
    for kind, make_kind in (
        (Gaussian1d, gaussian_1d),
        (Gaussian16d, gaussian_16d),
        (Toy2d, toy_2d),
    ):
        if isinstance(sweep, kind):
            return make_kind(sweep)
    raise TypeError(f"sweep: expected one of a known problem, got {type(sweep).__name__}")


def gaussian_1d(sweep: Gaussian1d) -> Problem:
    """Data N(distance, 1), noise N(0, 1), model exp(theta x - F) times the noise.

    The start is theta0 ~ N(0, 1) and F0 = 0.
    """
    distribution = noise.standard_normal(1)

    def make_model(key):
        theta = jax.random.normal(key, (1,))
        return models.exponential_family(
            models.linear_statistics, theta, log_base_measure=distribution.log_prob
        )

    def measure(params, log_partition, point):
        distance = point["distance"]
        return _distances(params[0] - distance, log_partition - distance**2 / 2)

    def sample(key, num_samples, point):
        return point["distance"] + jax.random.normal(key, (num_samples, 1))

    return Problem(make_model, 0.0, lambda point: distribution, sample, _sgd, measure)


def gaussian_16d(sweep: Gaussian16d) -> Problem:
    """Data N(0, diag(v)), noise N(0, I), and a diagonal Gaussian with all its parameters.

    The model starts as the noise, normalized.
    """
    config = config_16d.Config(dim=sweep.dim)
    # The same variances as in the experiment.
    key_problem, *_ = jax.random.split(jax.random.key(config.seed), 3)
    problem, distribution = make_problem(config, key_problem), noise.standard_normal(sweep.dim)
    start = next(iter(starts(config).values()))
    params = jnp.concatenate([jnp.full(sweep.dim, start.square), jnp.zeros(sweep.dim)])

    def measure(params, log_partition, point):
        return _distances(
            jnp.linalg.norm(params - problem.params), log_partition - problem.log_partition
        )

    def sample(key, num_samples, point):
        return jnp.sqrt(problem.variances)[None] * jax.random.normal(key, (num_samples, sweep.dim))

    return Problem(
        lambda key: models.exponential_family(models.quadratic_statistics, params),
        start.log_partition,
        lambda point: distribution,
        sample,
        _sgd,
        measure,
    )


def toy_2d(sweep: Toy2d) -> Problem:
    """A toy as data, Gaussian noise with the point's variance, a network as log density, F0 = 0."""
    toy, half_width = TOYS[sweep.toy], Toy2dConfig().half_width
    assert toy.log_density is not None  # measuring needs an exact density
    _, log_density_fn = models.mlp_energy(jax.random.key(0), 2, hidden=sweep.hidden)

    def make_noise(point):
        return distrax.MultivariateNormalDiag(
            jnp.zeros(2), jnp.full(2, jnp.sqrt(point["noise_variance"]))
        )

    def measure_model(params, log_partition, point):
        square = make_square(
            toy.log_density, make_noise(point).log_prob, half_width, sweep.num_cells
        )
        phi = log_density_fn(params, square.x)
        kappa = point["magnification"], point["noise_ratio"]
        measures = measure(square, phi, phi[:1], log_partition, *kappa)
        best = measure(square, square.log_data, square.log_data[:1], jnp.zeros(()), *kappa)
        return {
            "error": measures.divergence,
            "excess_loss": measures.loss - best.loss,
            "log_partition_error": log_partition - measures.profiled,
        }

    def sample(key, num_samples, point):
        return toy.sample(key, num_samples)

    def make_model(key):
        return models.mlp_energy(key, 2, hidden=sweep.hidden)

    return Problem(make_model, 0.0, make_noise, sample, optax.adam, measure_model)


def _sgd(learning_rate: jax.Array) -> optax.GradientTransformation:
    return optax.sgd(learning_rate / 2)  # our loss is twice the paper's


def _distances(theta: jax.Array, log_partition: jax.Array) -> dict[str, jax.Array]:
    return {
        "error": jnp.hypot(theta, log_partition),
        "theta_distance": jnp.abs(theta),
        "log_partition_error": log_partition,
    }
