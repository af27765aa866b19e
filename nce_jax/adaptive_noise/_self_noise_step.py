"""A train step whose noise is a past snapshot of the model, renewed during the training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn
from nce_jax._types import Array, LogDensityFn, Params, PRNGKeyArray, Scalars
from nce_jax.adaptive_noise._self_noise import SelfNoise, check_kernel
from nce_jax.adaptive_noise._snapshot import refresh_self_noise
from nce_jax.criteria import Criterion, nce
from nce_jax.samplers import Kernel
from nce_jax.training import TrainState, TrainStep, Treatment, make_train_step, solved


class SelfNoiseState(NamedTuple):
    """The state of a training against its own past: the train state, and the noise.

    Attributes:
      train: the state of the parameters, F and the optimizer.
      noise: the snapshot of the model that is the present noise.
    """

    train: TrainState
    noise: SelfNoise

    @property
    def params(self) -> Params:
        """The model's parameters; those of the snapshot are `noise.params`."""
        return self.train.params


@dataclass(frozen=True, eq=False)
class SelfNoiseStep:
    """A train step with its own noise, as one object: `init` makes a state, a call advances it.

    It is frozen and hashable, and pure, like `training.TrainStep`. `make_self_noise_step` makes it.

    Attributes:
      train_step: `train_step(noise)`, the `training.TrainStep` against a given snapshot.
      kernel: the kernel of the chains at a refresh.
      refresh_every: number of steps between snapshots.
      num_steps: number of transitions of every chain at a refresh.
    """

    train_step: Callable[[SelfNoise], TrainStep]
    kernel: Kernel
    refresh_every: int
    num_steps: int

    def init(
        self, params: Params, noise: SelfNoise, *, log_partition: Scalars = 0.0
    ) -> SelfNoiseState:
        """Returns the state before the first step.

        Args:
          params: initial parameters, a pytree of floating arrays.
          noise: the first snapshot, from `self_noise`.
          log_partition: initial F, in nats.

        Returns:
          A `SelfNoiseState` of copies: a compiled step that donates its state leaves `params` and
          `noise` intact.

        Raises:
          TypeError: `noise` is not a `SelfNoise`, or parameters are not floating arrays.
        """
        check_instance("noise", noise, SelfNoise, "self_noise(...)")
        train = self.train_step(noise).init(params, log_partition=log_partition)
        return SelfNoiseState(train, jax.tree.map(jnp.copy, noise))

    def __call__(
        self, state: SelfNoiseState, batch: Any, key: PRNGKeyArray
    ) -> tuple[SelfNoiseState, dict[str, Array]]:
        """Takes one step, after a refresh of the noise where one is due.

        Args:
          state: the result of `init` or of the step before.
          batch: an array of data samples, (n, ...), or a `training.Batch`.
          key: the same typed key at every step, as for `training.TrainStep`.

        Returns:
          The new state, and the metrics: those of `training.Metrics` by name, and
          `noise_standard_error`, `noise_effective_sample_size`, `noise_acceptance_rate` and
          `noise_status`.

        Raises:
          TypeError: `state` is not a `SelfNoiseState`, or `key` is not a typed key.
          ValueError: `key` is not a single key.
        """
        check_instance("state", state, SelfNoiseState, "train.init(params, noise)")
        check_key(key)
        key_train, key_refresh = jax.random.split(key)
        noise = self._refresh(state, jax.random.fold_in(key_refresh, state.train.step))
        train, metrics = self.train_step(noise)(state.train, batch, key_train)
        return SelfNoiseState(train, noise), metrics._asdict() | {
            "noise_standard_error": noise.standard_error,
            "noise_effective_sample_size": noise.effective_sample_size,
            "noise_acceptance_rate": noise.acceptance_rate,
            "noise_status": noise.status,
        }

    def _refresh(self, state: SelfNoiseState, key: PRNGKeyArray) -> SelfNoise:
        number = state.train.step
        return jax.lax.cond(
            (number > 0) & (number % self.refresh_every == 0),
            lambda key: refresh_self_noise(
                key, state.noise, state.params, kernel=self.kernel, num_steps=self.num_steps
            ),
            lambda _: state.noise,
            key,
        )


def make_self_noise_step(
    log_density_fn: LogDensityFn,
    optimizer: optax.GradientTransformation,
    *,
    kernel: Kernel,
    refresh_every: int,
    num_steps: int = 10,
    criterion: Criterion = nce(),
    treatment: Treatment = solved(),
    num_noise: int | None = None,
) -> SelfNoiseStep:
    """Composes a train step whose noise is a past snapshot of the model, renewed at intervals.

    The step is that of `training.make_train_step` with the noise in the state, so that a checkpoint
    holds it and a resumed run repeats itself. With `refresh_every` = 1 the snapshot is the model
    itself: the value of the loss then carries no information, and at kappa = 1 its gradient is half
    the gradient of the likelihood, with chains for the expectation under the model. The method is
    then known as persistent contrastive divergence.

    Args:
      log_density_fn: the model that `self_noise` was given.
      optimizer: an optax transformation, as in `training.make_train_step`.
      kernel: the kernel of the chains at a refresh, `samplers.mala(...)` or `samplers.hmc(...)`.
      refresh_every: number of steps between snapshots.
      num_steps: number of transitions of every chain at a refresh.
      criterion: as for `make_train_step`.
      treatment: as for `make_train_step`. With a treatment that solves for F, an error in the
        snapshot's log Z moves F alone.
      num_noise: draws from the buffer per step; None takes as many as there are data samples.

    Returns:
      A `SelfNoiseStep`: `state = train.init(params, noise)` is the first state, with `noise` from
      `self_noise`, and `state, metrics = train(state, batch, key)` takes a step. It goes where a
      `training.TrainStep` goes, `training.fit` included.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a count below one, a kernel without a Metropolis test, or a criterion that does
        not support the treatment.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import adaptive_noise, noise, samplers
      >>> log_density_fn = lambda params, x: params * x[:, 0] - 0.5 * jnp.sum(x**2, axis=-1)
      >>> params, kernel = jnp.array(0.5), samplers.mala(0.5)
      >>> make_noise = lambda key: adaptive_noise.self_noise(
      ...     key,
      ...     log_density_fn,
      ...     params,
      ...     noise.standard_normal(1),
      ...     kernel=kernel,
      ...     schedule=samplers.linear_schedule(4),
      ...     num_samples=1000,
      ...     num_steps=20,
      ... )
      >>> train = adaptive_noise.make_self_noise_step(
      ...     log_density_fn, optax.sgd(0.5), kernel=kernel, refresh_every=5
      ... )
      >>> state, step = train.init(params, jax.jit(make_noise)(jax.random.key(0))), jax.jit(train)
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
    options: dict[str, Any] = {
        "criterion": criterion,
        "treatment": treatment,
        "num_noise": num_noise,
    }
    # Wrong options are refused here and not at the first call. As a log ratio, the model needs no
    # noise for that.
    make_train_step(optimizer=optimizer, log_ratio_fn=log_density_fn, **options)

    def train_step(noise: SelfNoise) -> TrainStep:
        return make_train_step(log_density_fn, noise, optimizer, **options)

    return SelfNoiseStep(train_step, kernel, refresh_every, num_steps)
