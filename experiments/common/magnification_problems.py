"""Problems for rules that choose M: data, noise, model, optimizer, three budgets and an error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.common import whitened_tables
from nce_jax import models, noise, toys

GAUSSIAN_BUDGETS, NETWORK_BUDGETS = (20, 100, 1000), (100, 300, 1000)


class Problem(NamedTuple):
    """A training problem.

    Attributes:
      init: maps a key to initial parameters.
      log_ratio_fn: the model relative to the noise.
      draw: maps a key and a number to data samples.
      noise: the noise distribution.
      optimizer: the optimizer, the same for every M.
      error: maps parameters to KL from the truth, or to the held-out loss at kappa = 1.
      batch_size: number of data samples, and of noise samples, per step.
      budgets: numbers of steps: short, medium, long.
      has_truth: whether `error` is a KL divergence, whose minimum is zero.
    """

    init: Callable[[jax.Array], Any]
    log_ratio_fn: Callable[[Any, jax.Array], jax.Array]
    draw: Callable[[jax.Array, int], jax.Array]
    noise: Any
    optimizer: optax.GradientTransformation
    error: Callable[[Any], jax.Array]
    batch_size: int
    budgets: tuple[int, ...]
    has_truth: bool = True


def shifted(
    mean: float, dim: int, optimizer: optax.GradientTransformation, batch_size: int = 512
) -> Problem:
    """N(mean 1, I) against N(0, I), with the noise tilted by <theta, x> as the model.

    KL(data : noise) = dim mean^2 / 2.
    """
    return Problem(
        init=lambda key: jnp.zeros(dim),
        log_ratio_fn=lambda theta, x: x @ theta,
        draw=lambda key, number: mean + jax.random.normal(key, (number, dim)),
        noise=noise.standard_normal(dim),
        optimizer=optimizer,
        error=lambda theta: jnp.sum((theta - mean) ** 2) / 2,
        batch_size=batch_size,
        budgets=GAUSSIAN_BUDGETS,
    )


def scaled(
    smallest_variance: float,
    largest_variance: float,
    mean: float,
    dim: int,
    optimizer: optax.GradientTransformation,
) -> Problem:
    """Diagonal Gaussian data against N(0, I), with a model tilted by x^2 and x.

    The variances are evenly spaced from the smallest to the largest, and all means are `mean`.
    """
    variance = jnp.linspace(smallest_variance, largest_variance, dim)

    def log_ratio(theta, x):
        return x @ theta["linear"] - (x**2) @ theta["square"] / 2

    def divergence(theta):
        precision = 1 + theta["square"]
        is_normalized = jnp.all(precision > 0)
        precision = jnp.where(precision > 0, precision, 1)
        gap = (mean - theta["linear"] / precision) ** 2
        kl = jnp.sum(precision * (variance + gap) - 1 - jnp.log(precision * variance)) / 2
        return jnp.where(is_normalized, kl, jnp.inf)

    return Problem(
        init=lambda key: {"linear": jnp.zeros(dim), "square": jnp.zeros(dim)},
        log_ratio_fn=log_ratio,
        draw=lambda key, number: (
            mean + jnp.sqrt(variance)[None] * jax.random.normal(key, (number, dim))
        ),
        noise=noise.standard_normal(dim),
        optimizer=optimizer,
        error=divergence,
        batch_size=512,
        budgets=GAUSSIAN_BUDGETS,
    )


def _network(dim: int) -> tuple[Callable, Callable]:
    """A small network for the log ratio that starts at zero: training starts at the noise."""

    def init(key):
        params, _ = models.mlp_energy(key, dim, hidden=(64, 64))
        return {**params, "output": jax.tree.map(jnp.zeros_like, params["output"])}

    return init, models.mlp_energy(jax.random.key(0), dim, hidden=(64, 64))[1]


def planar(name: str, variance: float = 2.0, reach: float = 4.2, num_cells: int = 120) -> Problem:
    """A toy in the plane against N(0, variance I), both in units of the noise.

    KL is taken on fixed samples, and log Z by quadrature.
    """
    toy, scale = toys.TOYS[name], variance**0.5
    axis = reach * ((2 * jnp.arange(num_cells) + 1) / num_cells - 1)
    cells = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    background = noise.standard_normal(2)
    init, log_ratio = _network(2)
    test = toy.sample(jax.random.key(1), 4000)
    negative_entropy = jnp.mean(toy.log_density(test)) + jnp.log(variance)
    test = test / scale

    def divergence(params):
        log_z = jax.nn.logsumexp(
            log_ratio(params, cells) + background.log_prob(cells)
        ) + 2 * jnp.log(2 * reach / num_cells)
        return (
            negative_entropy + log_z - jnp.mean(log_ratio(params, test) + background.log_prob(test))
        )

    def draw(key, number):
        return toy.sample(key, number) / scale

    return Problem(
        init, log_ratio, draw, background, optax.adam(1e-3), divergence, 256, NETWORK_BUDGETS
    )


def tabular(load: Callable[[], whitened_tables.Split]) -> Problem:
    """Whitened real data against N(0, I), measured by the held-out loss at kappa = 1, F solved."""
    split = load()
    dim = split.train.shape[1]
    init, log_ratio = _network(dim)
    background = noise.standard_normal(dim)

    def draw(key, number):
        return split.train[jax.random.randint(key, (number,), 0, len(split.train))]

    def loss(params):
        return nce_jax.profiled_nce_loss(
            log_ratio(params, split.test), log_ratio(params, split.noise)
        )

    return Problem(
        init,
        log_ratio,
        draw,
        background,
        optax.adam(1e-3),
        loss,
        256,
        NETWORK_BUDGETS,
        has_truth=False,
    )


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "1-D, 2 apart": lambda: shifted(2.0, 1, optax.sgd(1.0)),
    "1-D, 4 apart": lambda: shifted(4.0, 1, optax.sgd(1.0)),
    "5-D": lambda: shifted(1.0, 5, optax.sgd(0.3)),
    "20-D": lambda: shifted(0.7, 20, optax.sgd(0.3)),
    "10-D, narrow": lambda: scaled(0.2, 0.8, 0.0, 10, optax.sgd(0.3)),
    "5-D, wide": lambda: scaled(1.5, 3.0, 0.5, 5, optax.sgd(0.1)),
    "5-D, Adam": lambda: shifted(1.0, 5, optax.adam(0.05)),
    "100-D, Adam": lambda: shifted(0.3, 100, optax.adam(0.02)),
    "8 Gaussians": lambda: planar("8-gaussians"),
    "pinwheel": lambda: planar("pinwheel"),
    "digits": lambda: tabular(whitened_tables.digits),
    "wine": lambda: tabular(lambda: whitened_tables.uci("wine")),
    "50-D": lambda: shifted(0.4, 50, optax.sgd(0.3), batch_size=256),
    "8-D, both": lambda: scaled(0.3, 2.0, 0.5, 8, optax.sgd(0.2)),
    "3-D, momentum": lambda: shifted(1.7, 3, optax.sgd(0.05, momentum=0.9)),
    "rings": lambda: planar("rings"),
    "elevators": lambda: tabular(lambda: whitened_tables.uci("elevators")),
}
