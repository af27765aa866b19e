"""The critics of samplers that are compared, and the two players that each of them makes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.common import diffusion_steps
from experiments.diffusion_digits import sampler
from experiments.diffusion_digits.config import CellSettings, Config
from nce_jax import criteria, critics, models, training


class Method(NamedTuple):
    """A kind of critic; several M share its program.

    Attributes:
      loss: "contrastive" (that of DxMI, whose critic is minus the energy) or "nce".
      treatment: of F, "joint", "solved" or "held".
      is_regularized: whether the regularizer E[u^2] is added.
      is_adaptive: whether a rule chooses M.
    """

    loss: str
    treatment: str
    is_regularized: bool = False
    is_adaptive: bool = False

    def label(self, magnification: float) -> str:
        """The name in tables and figures."""
        end = ", regularized" if self.is_regularized else ""
        if self.loss == "contrastive":
            return f"contrastive{end}"
        size = "M adaptive" if self.is_adaptive else f"M = {magnification:g}"
        return f"{size}, F {self.treatment}{end}"


METHODS = {
    # A contrastive energy has no optimum without its regularizer, and is run with it alone.
    "contrastive": Method("contrastive", "held", is_regularized=True),
    "joint": Method("nce", "joint"),
    "joint, regularized": Method("nce", "joint", is_regularized=True),
    "solved": Method("nce", "solved"),
    "solved, regularized": Method("nce", "solved", is_regularized=True),
    "adaptive": Method("nce", "solved", is_adaptive=True),
    "adaptive, regularized": Method("nce", "solved", is_regularized=True, is_adaptive=True),
}
"""By the names in the settings."""

TREATMENTS: dict[str, Callable[[], Any]] = {
    "joint": training.joint_gradient,
    "solved": training.solved,
    "held": training.held,
}


def magnifications(config: Config, name: str) -> tuple[float, ...]:
    """The M that a method is run with; 1 where there is none or a rule chooses."""
    method = METHODS[name]
    if method.loss == "contrastive" or method.is_adaptive:
        return (1.0,)
    return config.magnifications if name == "solved" else config.fewer_magnifications


def _contrastive_loss(log_ratio_data, log_ratio_noise, *, log_partition=0.0, **weights):
    return jnp.mean(log_ratio_noise) - jnp.mean(log_ratio_data)


def init_critic(settings: CellSettings, key: jax.Array, num_images: int) -> Any:
    """A critic of so many images per sample from random weights."""
    return _critic(settings, key, num_images)[0]


def log_ratio_fn(settings: CellSettings, num_images: int) -> Any:
    """The critic, (n, side, side, num_images) -> (n,): minus the energy of a contrastive one."""
    return _critic(settings, jax.random.key(0), num_images)[1]


def _critic(settings: CellSettings, key: jax.Array, num_images: int) -> tuple[Any, Any]:
    shape = (settings.side, settings.side, num_images)
    return models.conv_energy(key, shape, channels=settings.critic_channels)


def make_critic(settings: CellSettings, method: Method, magnification: Any) -> training.TrainStep:
    """The critic's train step; M may be traced."""
    criterion = criteria.Criterion("contrastive", _contrastive_loss)
    if method.loss == "nce":
        criterion = criteria.nce(magnification=magnification)
    if method.is_regularized:
        criterion = criteria.ratio_regularized(criterion, settings.strength)
    return training.make_critic_step(
        log_ratio_fn(settings, 1),
        optax.adam(settings.critic_rate, b1=0.5),
        criterion=criterion,
        treatment=TREATMENTS[method.treatment](),
        magnification_rule=nce_jax.adaptive_magnification() if method.is_adaptive else None,
    )


def make_players(
    settings: CellSettings, method: Method, magnification: Any
) -> critics.TwoPlayerStep:
    """The two players of a method; M may be traced."""

    def sample_fn(params: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        path = sampler.sample_path(settings, params, key, len(x_data), settings.num_differentiated)
        costs = diffusion_steps.step_costs(
            path, path_weight=settings.path_weight, entropy_weight=settings.entropy_weight
        )
        return path.after[-1], jnp.mean(jnp.sum(costs, axis=0))

    optimizer = optax.adam(settings.sampler_rate, b1=0.5)
    # The loss of a contrastive energy, and of an NCE critic as its M grows, is the reverse KL.
    return critics.make_two_player_step(
        sample_fn,
        make_critic(settings, method, magnification),
        training.with_average(optimizer, settings.average_decay),
        form="non_saturating" if method.loss == "nce" else "reverse_kl",
        has_loss=True,
    )
