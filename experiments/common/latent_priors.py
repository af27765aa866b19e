"""Priors of latent variables: a log ratio to N(0, I), by maximum likelihood or in stages."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from nce_jax import (
    adaptive_magnification,
    criteria,
    latent,
    models,
    noise,
    samplers,
    telescoping,
    training,
)

TREATMENTS = {"joint": training.joint_gradient, "solved": training.solved}
KINDS = ("chains", "stages")


@dataclasses.dataclass(frozen=True)
class PriorSettings:
    """Settings of the priors' networks and of their training."""

    prior_hidden: tuple[int, ...] = (64, 64)
    """Widths of the priors' networks."""
    prior_steps: int = 1000
    """Number of training steps of the priors."""
    prior_batch: int = 256
    """Number of latent variables, and of noise samples, per step."""
    prior_rate: float = 1e-3
    """Learning rate of Adam for the priors, which falls to zero along a cosine."""
    chain_steps: int = 20
    """Number of Langevin steps of maximum likelihood."""
    chain_step: float = 0.4
    """Their size s, in the papers' convention: drift s^2 / 2, noise s."""


class Prior(NamedTuple):
    """How a prior learns. It is hashable, and a static argument of compiled functions."""

    name: str
    """What tables and figures call it."""
    kind: str = "stages"
    """"chains" for maximum likelihood by Langevin chains, which ignores what follows; "stages"."""
    magnification: float | None = 1.0
    """M, or None for the adaptive rule."""
    noise_levels: tuple[float, ...] = (0.0, 1.0)
    """a_0 = 0 < ... < a_K = 1 of K stages; (0, 1) for one."""
    treatment: str = "solved"
    """How F is treated: "joint" or "solved"."""


def train_prior(
    settings: PriorSettings,
    prior: Prior,
    key: jax.Array,
    z: jax.Array,
    count: ArrayLike,
    magnification: ArrayLike | None = None,
) -> training.TrainState:
    """State of a prior after training on the first `count` latent variables.

    `magnification` replaces a fixed M of the prior by one that may be traced.
    """
    key_init, key_train = jax.random.split(key)
    step = make_step(settings, prior, z.shape[1], magnification)

    def advance(state, number):
        key_rows = jax.random.fold_in(key_train, number)
        rows = jax.random.randint(key_rows, (settings.prior_batch,), 0, count)
        return step(state, training.Batch(z[rows], None), key_train)[0], None

    state = step.init(initial_params(settings, prior, key_init, z.shape[1]))
    return jax.lax.scan(advance, state, jnp.arange(settings.prior_steps))[0]


def log_ratio(settings: PriorSettings, prior: Prior, state: Any, z: ArrayLike) -> jax.Array:
    """Log ratio of the prior to N(0, I), (n,). That of chains is not normalized."""
    z = jnp.asarray(z)
    return latent.prior_log_ratio(make_step(settings, prior, z.shape[1]), state, z)


def step_metrics(
    settings: PriorSettings, prior: Prior, state: Any, key: jax.Array, z: ArrayLike
) -> Any:
    """Metrics of the step that would follow on z: the overlap of stages, or a dict of chains."""
    z = jnp.asarray(z)
    return make_step(settings, prior, z.shape[1])(state, training.Batch(z, None), key)[1]


def make_step(
    settings: PriorSettings, prior: Prior, dim: int, magnification: ArrayLike | None = None
) -> training.TrainStep | latent.ChainStep:
    """The train step of a prior, also for `nce_jax.latent.make_latent_step`.

    Args:
        settings: of the network and its training.
        prior: how it learns.
        dim: dimension of z.
        magnification: replaces a fixed M of the prior by one that may be traced.
    """
    if prior.kind not in KINDS:
        raise ValueError(f"kind: expected 'chains' or 'stages', got {prior.kind!r}")
    standard = noise.standard_normal(dim)
    log_ratio_fn = models.mlp_energy(jax.random.key(0), dim, hidden=settings.prior_hidden)[1]
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.prior_rate, settings.prior_steps))
    if prior.kind == "chains":
        kernel = samplers.langevin(settings.chain_step**2 / 2)
        return latent.make_chain_step(
            log_ratio_fn, standard, optimizer, kernel=kernel, num_steps=settings.chain_steps
        )
    is_adaptive = prior.magnification is None
    magnification = prior.magnification if magnification is None else magnification
    return training.make_stage_step(
        telescoping.separate(log_ratio_fn),
        standard,
        optimizer,
        noise_levels=prior.noise_levels,
        criterion=criteria.nce() if is_adaptive else criteria.nce(magnification=magnification),
        treatment=TREATMENTS[prior.treatment](),
        magnification_rule=adaptive_magnification() if is_adaptive else None,
    )


def initial_params(settings: PriorSettings, prior: Prior, key: jax.Array, dim: int) -> Any:
    """Initial parameters of that step; those of stages have a leading axis."""

    def energy(key):
        return models.mlp_energy(key, dim, hidden=settings.prior_hidden)[0]

    if prior.kind == "chains":
        return energy(key)
    return jax.vmap(energy)(jax.random.split(key, len(prior.noise_levels) - 1))
