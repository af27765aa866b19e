"""The student, the fake score, and the critics of noised samples that are compared."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, perceptron, score_distillation
from experiments.common.distillation import Distillation
from experiments.one_step import teacher
from experiments.one_step.config import Config
from nce_jax import training


class Method(NamedTuple):
    """A student's critic; several M share its program.

    Attributes:
      critic: None for score distillation alone.
      factor: of the weight of the critic's loss of the generator, with M = 1. A log ratio of zero
        passes the gradient kappa / (1 + kappa), which is 1/2 at M = 1 and 0.98 at M = 50: twice the
        weight tells this from all else that M does.
    """

    critic: critic_methods.Method | None = None
    factor: float = 1.0

    def magnifications(self, config: Config) -> tuple[float, ...]:
        """The M that are run; 1 where there is none or a rule chooses."""
        is_fixed = self.critic is not None and self.critic.has_fixed_magnification
        return config.magnifications if is_fixed and self.factor == 1 else (1.0,)

    def label(self, magnification: float) -> str:
        """The name in tables and figures."""
        if self.critic is None:
            return "none"
        return self.critic.label(magnification) + (", doubled" if self.factor != 1 else "")


_CRITICS = (
    "joint", "joint, regularized", "solved", "solved, regularized", "adaptive",
    "adaptive, regularized",
)  # fmt: skip

METHODS = {
    "none": Method(),
    **{name: Method(critic_methods.METHODS[name]) for name in _CRITICS},
    "joint, doubled": Method(critic_methods.METHODS["joint"], factor=2.0),
    "solved, doubled": Method(critic_methods.METHODS["solved"], factor=2.0),
}
"""By the names in the settings."""


def generate(config: Config, params: Any, key: jax.Array, count: int) -> jax.Array:
    """Samples of a one-step generator: the network denoises pure noise of one level."""
    y = config.init_level * jax.random.normal(key, (count, 2))
    return teacher.network(params)(y, jnp.full(count, config.init_level))


def init_critic(config: Config, key: jax.Array) -> Any:
    """A critic from random weights."""
    return perceptron.init_mlp(key, (5, *config.hidden, 1))


def log_ratio_fn(params: Any, seen: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The critic of samples with noise and its level, (n, 2) and (n,) -> (n,)."""
    y, level = seen
    inputs = y / jnp.sqrt(1 + level**2)[:, None]
    return perceptron.mlp(params, perceptron.with_time(inputs, jnp.log(level) / 4))[:, 0]


def make_distillation(config: Config, method: Method, magnification: Any) -> Distillation:
    """How the student of a method learns; M may be traced."""
    low, high = config.levels
    return Distillation(
        generate=partial(generate, config),
        denoiser=teacher.network,
        teacher=partial(teacher.denoise, config),
        draw_levels=partial(score_distillation.log_uniform_levels, low=low, high=high),
        optimizer=training.with_average(_adam(config.generator_rate), config.average_decay),
        fake_optimizer=_adam(config.fake_rate),
        critic=_make_critic(config, method, magnification),
        critic_inputs=lambda y, level: (y, level),
        critic_weight=method.factor * config.critic_weight,
        alpha=config.alpha,
    )


def _make_critic(config: Config, method: Method, magnification: Any) -> training.TrainStep | None:
    if method.critic is None:
        return None
    return critic_methods.make_critic(
        method.critic,
        log_ratio_fn,
        _adam(config.critic_rate),
        magnification=magnification,
        strength=config.strength,
    )


def _adam(rate: float) -> optax.GradientTransformation:
    return optax.adam(rate, b1=0.0)
