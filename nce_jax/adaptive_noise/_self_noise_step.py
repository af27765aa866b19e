"""A train step that carries its own noise: the model's snapshot is renewed on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from nce_jax._checks import check_positive_int
from nce_jax._contracts import check_log_density_fn
from nce_jax._types import LogDensityFn, Params, PRNGKeyArray
from nce_jax.adaptive_noise._self_noise import SelfNoise, check_kernel, refresh_self_noise
from nce_jax.criteria import Criterion, nce
from nce_jax.samplers import Kernel
from nce_jax.training import TrainState, Treatment, make_train_step, solved

_NCE = nce()
_SOLVED = solved()


class SelfNoiseState(NamedTuple):
    """A train state and the noise it trains against: everything a run needs to go on.

    Attributes:
      train: from the `init` of `training.make_train_step`.
      noise: from `self_noise`.
    """

    train: TrainState
    noise: SelfNoise

    @property
    def params(self) -> Params:
        """The model's parameters; the snapshot's are `noise.params`."""
        return self.train.params


SelfNoiseStep = Callable[[SelfNoiseState, Any, PRNGKeyArray], tuple[SelfNoiseState, dict[str, Any]]]


def make_self_noise_step(
    log_density_fn: LogDensityFn,
    optimizer: optax.GradientTransformation,
    *,
    kernel: Kernel,
    refresh_every: int,
    num_steps: int = 10,
    criterion: Criterion = _NCE,
    treatment: Treatment = _SOLVED,
    num_noise: int | None = None,
) -> SelfNoiseStep:
    """A train step against a past snapshot of the model, which it renews every `refresh_every`
    steps.

    The step is that of `training.make_train_step` with the noise as an argument. The noise rides in
    the state, so that a checkpoint holds it and a resumed run repeats itself. With `refresh_every`
    = 1 the snapshot is the model: the loss then tells nothing, and at kappa = 1 its gradient is
    half that of the likelihood, with chains in the place of the model: persistent contrastive
    divergence, by another name.

    Args:
      log_density_fn: the one that `self_noise` was given.
      optimizer: any optax transformation.
      kernel: of the chains at a refresh, `samplers.mala(...)` or `samplers.hmc(...)`.
      refresh_every: steps between snapshots.
      num_steps: transitions of every chain at a refresh.
      criterion: as for `make_train_step`.
      treatment: as for `make_train_step`. With one that solves for F, an error in the snapshot's
        log Z moves F alone.
      num_noise: draws from the buffer per step; None takes as many as there are data samples.

    Returns:
      `step(state, batch, key) -> (state, metrics)` on a `SelfNoiseState`, pure, for `jax.jit` or
      `training.fit`. Its metrics are those of the train step, with `noise_standard_error`,
      `noise_effective_sample_size`, `noise_acceptance_rate` and `noise_status`.

    Raises:
      TypeError: a count that is not an integer.
      ValueError: a count below one, a kernel without a Metropolis test, or a criterion that does
        not support the treatment.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import adaptive_noise, noise, samplers, training
      >>> log_density_fn = lambda params, x: params * x[:, 0] - 0.5 * jnp.sum(x**2, axis=-1)
      >>> params, optimizer, kernel = jnp.array(0.5), optax.sgd(0.5), samplers.mala(0.5)
      >>> make = lambda key: adaptive_noise.self_noise(
      ...     key,
      ...     log_density_fn,
      ...     params,
      ...     noise.standard_normal(1),
      ...     kernel=kernel,
      ...     schedule=samplers.linear_schedule(4),
      ...     num_samples=1000,
      ...     num_steps=20,
      ... )
      >>> snapshot = jax.jit(make)(jax.random.key(0))
      >>> step = jax.jit(
      ...     adaptive_noise.make_self_noise_step(
      ...         log_density_fn, optimizer, kernel=kernel, refresh_every=5
      ...     )
      ... )
      >>> state = adaptive_noise.SelfNoiseState(
      ...     training.make_train_step(log_density_fn, snapshot, optimizer).init(params), snapshot
      ... )
      >>> x_data = 1 + jax.random.normal(jax.random.key(1), (1000, 1))
      >>> for _ in range(30):
      ...     state, metrics = step(state, x_data, jax.random.key(2))
      >>> print(f"theta {state.params:.1f}, snapshot at {state.noise.params:.1f}")
      theta 1.0, snapshot at 1.0

    References:
      Goodfellow, On distinguishability criteria for estimating generative models, 2014, section 4.
      Tieleman, Training restricted Boltzmann machines using approximations to the likelihood
        gradient, 2008.
    """
    check_positive_int("refresh_every", refresh_every)
    check_positive_int("num_steps", num_steps)
    check_log_density_fn(log_density_fn)
    check_kernel(kernel)

    def train_step(noise: Any) -> Any:
        return make_train_step(
            log_density_fn,
            noise,
            optimizer,
            criterion=criterion,
            treatment=treatment,
            num_noise=num_noise,
        )

    # Refuses what it refuses when the step is made, not when it is first called.
    make_train_step(
        optimizer=optimizer, log_ratio_fn=log_density_fn, criterion=criterion, treatment=treatment
    )

    def step(
        state: SelfNoiseState, batch: Any, key: PRNGKeyArray
    ) -> tuple[SelfNoiseState, dict[str, Any]]:
        number = state.train.step
        key_train, key_refresh = jax.random.split(key)
        noise = jax.lax.cond(
            (number > 0) & (number % refresh_every == 0),
            lambda key: refresh_self_noise(
                key, state.noise, state.params, kernel=kernel, num_steps=num_steps
            ),
            lambda _: state.noise,
            jax.random.fold_in(key_refresh, number),
        )
        train, metrics = train_step(noise)(state.train, batch, key_train)
        names = "standard_error", "effective_sample_size", "acceptance_rate"
        of_noise = {f"noise_{name}": getattr(noise, name) for name in names} | {
            "noise_status": noise.status
        }
        return SelfNoiseState(train, noise), metrics._asdict() | of_noise

    return step
