"""The critics of samplers that are compared, by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

import nce_jax
from nce_jax import criteria, training


class Method(NamedTuple):
    """A kind of critic; several M share its program.

    Attributes:
      loss: "contrastive" (that of DxMI, whose critic is minus the energy) or "nce".
      treatment: of F, "joint", "solved" or "held".
      is_regularized: whether the regularizer E[u^2] is added.
      is_adaptive: whether a rule chooses M.
      is_guided: whether the generator learns from a value function, step by step.
    """

    loss: str
    treatment: str
    is_regularized: bool = False
    is_adaptive: bool = False
    is_guided: bool = False

    @property
    def has_fixed_magnification(self) -> bool:
        """Whether it is run with several M."""
        return self.loss == "nce" and not self.is_adaptive

    @property
    def form(self) -> str:
        """The generator's loss: a contrastive energy's is the reverse KL, NCE's as M grows."""
        return "non_saturating" if self.loss == "nce" else "reverse_kl"

    def label(self, magnification: float) -> str:
        """The name in tables and figures."""
        if self.is_guided:
            return "value guidance"
        end = ", regularized" if self.is_regularized else ""
        if self.loss == "contrastive":
            return f"contrastive{end}"
        size = "M adaptive" if self.is_adaptive else f"M = {magnification:g}"
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
"""By the names in the settings."""


def student_label(magnification: float, name: str = "solved") -> str:
    """The name in tables and figures, of a student whose critic is such a method; M = 0 is none."""
    if not magnification:
        return "SiD"
    if name == "solved":
        return f"SiD + M = {magnification:g}"
    return f"SiD + {METHODS[name].label(magnification)}"


TREATMENTS: dict[str, Callable[[], Any]] = {
    "joint": training.joint_gradient,
    "solved": training.solved,
    "held": training.held,
}


def _contrastive_loss(
    log_ratio_data, log_ratio_noise, *, log_partition=0.0, weights_data=None, weights_noise=None
):
    """E[s] of samples less that of data; F, which would cancel, is not read."""
    of_noise = jnp.average(log_ratio_noise, weights=weights_noise)
    return of_noise - jnp.average(log_ratio_data, weights=weights_data)


def make_critic(
    method: Method,
    log_ratio_fn: Any,
    optimizer: optax.GradientTransformation,
    *,
    magnification: Any,
    strength: float,
    **options: Any,
) -> training.TrainStep:
    """The critic's train step.

    Args:
      method: the kind of critic.
      log_ratio_fn: the critic, `log_ratio_fn(params, x)`.
      optimizer: the critic's.
      magnification: M, which may be traced.
      strength: gamma of the regularizer E[u^2].
      options: of `training.make_critic_step`.
    """
    criterion = criteria.Criterion("contrastive", _contrastive_loss)
    if method.loss == "nce":
        criterion = criteria.nce(magnification=magnification)
    if method.is_regularized:
        criterion = criteria.ratio_regularized(criterion, strength)
    rule = nce_jax.adaptive_magnification() if method.is_adaptive else None
    return training.make_critic_step(
        log_ratio_fn,
        optimizer,
        criterion=criterion,
        treatment=TREATMENTS[method.treatment](),
        magnification_rule=rule,
        **options,
    )
