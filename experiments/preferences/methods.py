"""The losses that are compared, as functions of the answers' log ratios and rewards."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import nce_jax
from experiments.preferences.config import Config
from nce_jax import losses


class Method(NamedTuple):
    """A loss; all its M share one program.

    Attributes:
      loss: "ranks" and "votes" (pairs of answers), "info_nca" or "nca".
      treatment: of F, "none", "zero", "learned", "per prompt" or "per batch"; the last two are
        solved for from the answers.
    """

    loss: str
    treatment: str = "none"

    def magnifications(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """The M that are run; 1 where the loss has none."""
        return (1.0,) if self.loss == "info_nca" else values


METHODS = {
    "DPO": Method("ranks"),
    "Bradley-Terry": Method("votes"),
    "InfoNCA": Method("info_nca"),
    "NCA, F = 0": Method("nca", "zero"),
    "NCA, F learned": Method("nca", "learned"),
    "NCA, F per prompt": Method("nca", "per prompt"),
    "NCA, F per batch": Method("nca", "per batch"),
}
"""By their names in tables and figures."""


def label(name: str, magnification: float) -> str:
    """The name of a method with an M."""
    return name if METHODS[name].loss == "info_nca" else f"{name}, M = {magnification:g}"


def labels(config: Config) -> list[str]:
    """All of a run, in the order of its results."""
    return [
        label(name, m)
        for name in config.methods
        for m in METHODS[name].magnifications(config.magnifications)
    ]


def loss(
    method: Method,
    s: jax.Array,
    rewards: jax.Array,
    votes: jax.Array,
    *,
    alpha: Any,
    magnification: Any,
    log_partition: jax.Array,
) -> jax.Array:
    """Mean loss of answers (prompts, K); votes are uniform numbers, (prompts, K / 2)."""
    if method.loss in ("ranks", "votes"):
        preference = preferences(method, rewards, votes, alpha)
        return pair_loss(s[:, ::2] - s[:, 1::2], preference, magnification)
    if method.loss == "info_nca":
        return losses.info_nca_loss(s, rewards, temperature=alpha).mean()
    if method.treatment in ("zero", "learned"):
        held = jnp.zeros_like(log_partition) if method.treatment == "zero" else log_partition
        return losses.nca_loss(
            s, rewards, temperature=alpha, log_partition=held, magnification=magnification
        ).mean()
    targets = jax.nn.softmax(rewards / alpha)
    if method.treatment == "per batch":
        s, targets = s.reshape(-1), targets.reshape(-1)
    return nce_jax.profiled_nce_loss(s, s, weights_data=targets, magnification=magnification).mean()


def preferences(method: Method, rewards: jax.Array, votes: jax.Array, alpha: Any) -> jax.Array:
    """Whether the first answer of each pair is preferred: by rank, or by the draw of a vote.

    Equal rewards are half a preference of either, by rank.
    """
    difference = rewards[:, ::2] - rewards[:, 1::2]
    if method.loss == "ranks":
        return (1 + jnp.sign(difference)) / 2
    return (votes < jax.nn.sigmoid(difference / alpha)).astype(rewards.dtype)


def pair_loss(margin: jax.Array, preference: jax.Array, magnification: Any) -> jax.Array:
    """Bradley-Terry with M: NCE of pairs in the preferred order against the reversed order.

    The log ratio of a pair to the reversed one is its margin, so that F = 0. M = 1 is the
    Bradley-Terry loss, and the minimum is log p / (1 - p) for every M.
    """
    margin, preference = margin.reshape(-1), preference.reshape(-1)
    ordered = jnp.concatenate([margin, -margin])
    weights = jnp.concatenate([preference, 1 - preference])
    return (
        nce_jax.nce_loss(
            ordered,
            -ordered,
            log_partition=0.0,
            magnification=magnification,
            weights_data=weights,
            weights_noise=weights,
        )
        / 2
    )
