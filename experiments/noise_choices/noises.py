"""The noises, and the cost of their construction."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp

from experiments.noise_choices.config import Config
from experiments.noise_choices.problems import Problem
from nce_jax import adaptive_noise, noise


class Made(NamedTuple):
    """A noise, the processor seconds of its construction with compilation, and its fit's record."""

    noise: Any
    seconds: float
    record: dict[str, float]


@flax.struct.dataclass
class HalfAndHalf:
    """An equal mixture of two noises: close to the data by the first, wide by the second."""

    first: Any
    second: Any

    def log_prob(self, x: jax.Array) -> jax.Array:
        return jnp.logaddexp(self.first.log_prob(x), self.second.log_prob(x)) - jnp.log(2.0)

    def sample_and_log_prob(
        self, *, seed: jax.Array, sample_shape: tuple[int]
    ) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(seed, 3)
        component_samples = [
            noise.sample_and_log_prob(seed=key, sample_shape=sample_shape)[0]
            for noise, key in zip((self.first, self.second), keys[:2], strict=True)
        ]
        x = jnp.where(jax.random.bernoulli(keys[2], shape=(*sample_shape, 1)), *component_samples)
        return x, self.log_prob(x)


def _flow(problem: Problem, key: jax.Array, num_steps: int) -> tuple[Any, dict[str, float]]:
    fit = adaptive_noise.fit_flow(
        key, problem.x_train, num_steps=num_steps, progress=False, **problem.flow
    )
    return fit.noise, {"flow_best_step": fit.best_step, "flow_held_out": fit.log_likelihood}


BUILDERS: dict[str, Callable[[Problem], Any]] = {
    "standard normal": lambda problem: noise.standard_normal(problem.x_train.shape[1]),
    "Gaussian": lambda problem: noise.fitted_gaussian(problem.x_train),
    "box": lambda problem: noise.uniform_box_around(problem.x_train),
    "marginals": lambda problem: noise.product_of_marginals(problem.x_train),
}
"""Noises that need no training."""


def make(
    config: Config, problem: Problem, name: str, key: jax.Array, flow: Made | None = None
) -> Made:
    """Builds a noise by name.

    "half flow" takes the flow that was fitted before, with its costs. "self" is made by each run.
    """
    if name == "self":
        return Made(None, 0.0, {})
    if name == "half flow":
        assert flow is not None
        return flow._replace(noise=HalfAndHalf(flow.noise, problem.gaussian))
    start = time.process_time()
    made, record = (
        _flow(problem, key, config.flow_steps) if name == "flow" else (BUILDERS[name](problem), {})
    )
    jax.block_until_ready(jax.tree.leaves(made))
    return Made(made, time.process_time() - start, record)
