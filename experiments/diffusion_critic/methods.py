"""The critics that are compared, and the two players that each of them makes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.common.perceptron import init_mlp, mlp
from experiments.diffusion_critic import sampler
from experiments.diffusion_critic.config import Config
from nce_jax import criteria, critics, training


class Method(NamedTuple):
    """A kind of critic; several M share its program.

    Attributes:
      loss: "contrastive" (that of DxMI, whose critic is minus the energy) or "nce".
      treatment: of F, "joint", "solved" or "held".
      is_regularized: whether the regularizer E[u^2] is added.
      is_adaptive: whether a rule chooses M.
      is_guided: whether the sampler learns from a value function, step by step.
    """

    loss: str
    treatment: str
    is_regularized: bool = False
    is_adaptive: bool = False
    is_guided: bool = False

    def magnifications(self, config: Config) -> tuple[float, ...]:
        """The M that are run; 1 where there is none or a rule chooses."""
        is_fixed = self.loss == "nce" and not self.is_adaptive
        return config.magnifications if is_fixed else (1.0,)

    def label(self, magnification: float) -> str:
        """The name in tables and figures."""
        if self.is_guided:
            return "value guidance"
        if self.loss == "contrastive":
            return "contrastive" + (", regularized" if self.is_regularized else "")
        size = "M adaptive" if self.is_adaptive else f"M = {magnification:g}"
        end = ", regularized" if self.is_regularized else ""
        return f"{size}, F {self.treatment}{end}"


METHODS = {
    # A contrastive energy has no optimum without its regularizer, and is run with it alone.
    "contrastive": Method("contrastive", "held", is_regularized=True),
    "value guidance": Method("contrastive", "held", is_regularized=True, is_guided=True),
    "joint": Method("nce", "joint"),
    "joint, regularized": Method("nce", "joint", is_regularized=True),
    "solved": Method("nce", "solved"),
    "solved, regularized": Method("nce", "solved", is_regularized=True),
    "adaptive": Method("nce", "solved", is_adaptive=True),
    "adaptive, regularized": Method("nce", "solved", is_regularized=True, is_adaptive=True),
}
"""By the names in the settings; those of NCE run with every M."""

_TREATMENTS = {"joint": training.joint_gradient, "solved": training.solved, "held": training.held}


def _contrastive_loss(log_ratio_data, log_ratio_noise, *, log_partition=0.0, **weights):
    return jnp.mean(log_ratio_noise) - jnp.mean(log_ratio_data)


def log_ratio_fn(params: Any, x: jax.Array) -> jax.Array:
    """The critic, (n, 2) -> (n,): minus the energy of a contrastive one."""
    return mlp(params, x)[:, 0]


def init_critic(config: Config, key: jax.Array) -> Any:
    """A critic from random weights."""
    return init_mlp(key, (2, *config.hidden, 1))


def make_critic(config: Config, method: Method, magnification: Any) -> training.TrainStep:
    """The critic's train step."""
    criterion = criteria.Criterion("contrastive", _contrastive_loss)
    if method.loss == "nce":
        criterion = criteria.nce(magnification=magnification)
    if method.is_regularized:
        criterion = criteria.ratio_regularized(criterion, config.strength)
    return training.make_critic_step(
        log_ratio_fn,
        optax.adam(config.critic_rate, b1=0.5),
        criterion=criterion,
        treatment=_TREATMENTS[method.treatment](),
        magnification_rule=nce_jax.adaptive_magnification() if method.is_adaptive else None,
    )


def make_players(
    config: Config, length: int, method: Method, magnification: Any, rate: Any
) -> critics.TwoPlayerStep:
    """The two players of a method; M and the sampler's learning rate may be traced."""

    def sample_fn(params: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        path = sampler.sample_path(config, length, params, key, len(x_data))
        return path.after[-1], jnp.mean(jnp.sum(sampler.step_costs(config, path), axis=0))

    # The loss of a contrastive energy, and of an NCE critic as its M grows, is the reverse KL.
    return critics.make_two_player_step(
        sample_fn,
        make_critic(config, method, magnification),
        sampler_optimizer(config, rate),
        form="non_saturating" if method.loss == "nce" else "reverse_kl",
        has_loss=True,
    )


def sampler_optimizer(config: Config, rate: Any) -> optax.GradientTransformation:
    """Adam with an average of the parameters."""
    return training.with_average(optax.adam(rate, b1=0.5), config.average_decay)
