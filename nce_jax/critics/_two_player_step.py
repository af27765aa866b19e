"""The train step of two players: a critic of NCE, and who makes the samples that it judges."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import as_positive, check_instance, check_positive, check_positive_int
from nce_jax._contracts import check_data, check_log_density_fn, check_optimizer, check_params
from nce_jax._options import check_flag
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, Params, PRNGKeyArray, Scalars
from nce_jax._updates import init_optimizer, norm, update_fn, with_present
from nce_jax.critics._checks import (
    as_batch,
    as_samples_and_loss,
    check_arguments,
    check_augment,
    check_critic,
    check_form,
    check_samples,
)
from nce_jax.losses import generator_loss
from nce_jax.training import Batch, Metrics, TrainState, TrainStep


class TwoPlayerState(NamedTuple):
    """The state of two players: a pytree of arrays.

    Attributes:
      params: the generator's parameters.
      opt_state: the state of its optimizer.
      critic: the state of the critic.
      step: number of steps of the generator, int32.
    """

    params: Params
    opt_state: Any
    critic: TrainState
    step: Array


@dataclass(frozen=True, eq=False)
class TwoPlayerStep:
    """A train step of two players as one object: `init` makes the first state, a call advances it.

    It is frozen and hashable, and pure, like `training.TrainStep`. `make_two_player_step` makes it.

    Attributes:
      sample_fn: `sample_fn(params, key, x_data)`, the generator.
      critic: the train step of the critic.
      optimizer: of the generator.
      form: the generator's loss, as in `losses.generator_loss`.
      num_critic_steps: steps of the critic before each one of the generator.
      critic_weight: what the critic's loss of the generator is multiplied by.
      has_loss: whether `sample_fn` returns a loss of its own beside the samples.
      augment_fn: `augment_fn(key, x)`, what the critic sees of data and samples; None for all.
    """

    sample_fn: Callable[[Params, PRNGKeyArray, Any], Any]
    critic: TrainStep
    optimizer: optax.GradientTransformation
    form: Literal["non_saturating", "reverse_kl"] = "non_saturating"
    num_critic_steps: int = 1
    critic_weight: Scalars = 1.0
    has_loss: bool = False
    augment_fn: Callable[[PRNGKeyArray, Any], Any] | None = None

    def init(
        self, params: Params, critic_params: Params, *, log_partition: Scalars = 0.0
    ) -> TwoPlayerState:
        """The state before the first step.

        Args:
          params: initial parameters of the generator, a pytree of floating arrays.
          critic_params: initial parameters of the critic.
          log_partition: initial F of the critic, in nats.

        Returns:
          A `TwoPlayerState` of copies.

        Raises:
          TypeError: parameters that are not floating arrays, or an F that is no number.
          ValueError: an F of another shape; an optimizer that keeps two sets of parameters, or, of
            a critic with a rule that adapts M, one that needs the loss.
        """
        check_params(params)
        params = jax.tree.map(jnp.copy, params)
        critic = self.critic.init(critic_params, log_partition=log_partition)
        opt_state = init_optimizer(self.optimizer, params)
        return TwoPlayerState(params, opt_state, critic, jnp.int32(0))

    def __call__(
        self, state: TwoPlayerState, batch: Any, key: PRNGKeyArray
    ) -> tuple[TwoPlayerState, dict[str, Array]]:
        """Takes the critic's steps, and then one of the generator.

        Args:
          state: what `init` or the step before returned.
          batch: an array of data, (n, ...), a pytree of such, or a `training.Batch` of data and
            their weights. Sample i was made under the conditions of datum i and has its weight, if
            there are as many samples as data. With several critic steps each takes its own part of
            the batch. Where all weights are zero neither player moves.
          key: the same typed key at every step: the step folds in its own number.

        Returns:
          The new state, and the metrics: `loss` and `gradient_norm` of the generator; with
          `has_loss`, `own_loss`, its part that does not come from the critic; those of the critic's
          last step (of its last one with data of nonzero weight) under their own names, but for
          `critic_loss` and `critic_gradient_norm`.

        Raises:
          TypeError: a state, batch, key, samples or loss of the wrong kind.
          ValueError: a state of another step; a batch with noise, of no samples, or of a number
            that does not divide among the critic's steps; samples of another shape than the data.
        """
        check_instance("state", state, TwoPlayerState, "train.init(params, critic_params)")
        check_arguments(state, self.optimizer, batch, key)
        batch = as_batch(batch, self.num_critic_steps, self.critic.sides.mesh)
        batch = self.critic.sides.fill(batch)  # data are conditions of the generator, too
        key_critic, key_generator = jax.random.split(key)
        critic, seen = self._move_critic(state, batch, key_critic)
        state = state._replace(critic=critic)
        key_generator = jax.random.fold_in(key_generator, state.step)
        moved, metrics = self._move_generator(state, batch, key_generator, seen.magnification)
        if seen.is_empty is not None:
            is_empty = seen.is_empty != 0
            waiting = state._replace(step=moved.step)
            moved = jax.tree.map(partial(jnp.where, is_empty), waiting, moved)
            metrics = {name: jnp.where(is_empty, 0, value) for name, value in metrics.items()}
        # The critic moves first: where both are NaN, its metrics are the first to be named.
        return moved, _of_critic(seen) | metrics

    def _move_critic(
        self, state: TwoPlayerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        def move(critic: TrainState, part: Batch) -> tuple[TrainState, Metrics]:
            keys = jax.random.split(jax.random.fold_in(key, critic.step), 4)
            samples, _ = self._sample(state.params, keys[0], part.x_data)
            seen = self._augment(keys[1], part.x_data), self._augment(keys[2], samples)
            weights = _weights_of(samples, part)
            part = Batch(*jax.lax.stop_gradient(seen), part.weights_data, weights)
            return self.critic(critic, part, keys[3])

        count = self.num_critic_steps
        if count == 1:
            return move(state.critic, batch)
        # Neighbors go to different steps, so that the parts of a mesh stay where they are.
        parts = jax.tree.map(
            lambda leaf: jnp.moveaxis(leaf.reshape(-1, count, *leaf.shape[1:]), 1, 0), batch
        )
        critic, metrics = jax.lax.scan(move, state.critic, parts)
        last: Any = count - 1
        if metrics.is_empty is not None:
            last = last - jnp.argmin(metrics.is_empty[::-1])  # those of padding say nothing
        return critic, jax.tree.map(lambda leaf: leaf[last], metrics)

    def _move_generator(
        self, state: TwoPlayerState, batch: Batch, key: PRNGKeyArray, magnification: Any
    ) -> tuple[TwoPlayerState, dict[str, Array]]:
        def loss_fn(params: Params) -> tuple[jax.Array, jax.Array]:
            key_sample, key_augment = jax.random.split(key)
            x, own = self._sample(params, key_sample, batch.x_data)
            weights = _weights_of(x, batch)
            x = self._augment(key_augment, x)
            judged = self._judge(state.critic, x, weights, magnification)
            with standard_promotion():
                weight = as_positive("critic_weight", self.critic_weight, judged[None])
                return weight * judged + own, own

        (loss, own), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        objective: dict[str, Any] = {"value": loss, "grad": gradient}
        objective["value_fn"] = with_present(lambda params: loss_fn(params)[0], state.params)
        with standard_promotion():
            move = update_fn(self.optimizer)
            updates, opt_state = move(gradient, state.opt_state, state.params, **objective)
            params = optax.apply_updates(state.params, updates)
        metrics = {"own_loss": own} if self.has_loss else {}
        metrics |= {"loss": loss, "gradient_norm": norm(gradient)}
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        return state, metrics

    def _judge(self, critic: TrainState, x: Any, weights: Any, magnification: Any) -> jax.Array:
        """The critic's loss of samples, at the M of its last step where a rule adapts it."""
        criterion = self.critic.criterion
        if magnification is not None:
            criterion = criterion.at_magnification(magnification)  # type: ignore[misc]
        loss = criterion.generator_loss or generator_loss
        log_ratio = self.critic.log_ratio(jax.lax.stop_gradient(critic.params), x)
        log_partition = jax.lax.stop_gradient(critic.log_partition)
        if weights is not None:  # those of an image are those of all its places
            weights = jnp.repeat(weights, log_ratio.shape[0] // weights.shape[0])
        return loss(log_ratio, log_partition=log_partition, weights=weights, form=self.form)

    def _sample(self, params: Params, key: PRNGKeyArray, x_data: Any) -> tuple[Any, Array]:
        drawn = self.sample_fn(params, key, x_data)
        if self.has_loss:
            return as_samples_and_loss(drawn, x_data)
        check_samples(drawn, x_data)
        return drawn, jnp.zeros((), jnp.float32)

    def _augment(self, key: PRNGKeyArray, x: Any) -> Any:
        if self.augment_fn is None:
            return x
        augmented = self.augment_fn(key, x)
        check_data("the result of augment_fn", augmented)
        return augmented


def make_two_player_step(
    sample_fn: Callable[[Params, PRNGKeyArray, Any], Any],
    critic: TrainStep,
    optimizer: optax.GradientTransformation,
    *,
    form: Literal["non_saturating", "reverse_kl"] = "non_saturating",
    num_critic_steps: int = 1,
    critic_weight: Scalars = 1.0,
    has_loss: bool = False,
    augment_fn: Callable[[PRNGKeyArray, Any], Any] | None = None,
) -> TwoPlayerStep:
    r"""Composes a generator and a critic of NCE into one train step.

    A step first moves the critic, once or several times, towards the log ratio of data to fresh
    samples, and then the generator along `losses.generator_loss`, at the critic's new parameters
    and its M and noise ratio. Any generator, sampler or student will do whose samples are
    differentiable in its parameters: a network of noise, a diffusion sampler of a few steps, a
    policy with reparameterized draws.

    F of the generator's loss is the one that the critic's state holds: a solved F belongs to the
    parameters before the critic's last update. The loss of form "reverse_kl" does not depend on it.
    A critic that tells all samples apart, with an `overlap` near zero, has nothing to teach: watch
    it, or let `training.fit` warn of it. A penalty (`gradient_penalty`), `ratio_regularized`, noise
    on both sides (`augment_fn`) or a slower critic are the cures.

    Args:
      sample_fn: `sample_fn(params, key, x_data)`, the generated samples, of which each has the
        shape of a datum. `x_data` is the batch of data, for its size and for conditions such as
        labels.
      critic: the train step of the log ratio of data to samples: `training.make_critic_step`, or
        `training.make_train_step` with `log_ratio_fn` and without noise.
      optimizer: of the generator, any optax transformation; `training.with_average` keeps an
        average of its parameters.
      form: the generator's loss, "non_saturating" or "reverse_kl", its limit as M grows. A
        criterion without a loss of its own for the generator has the second alone.
      num_critic_steps: steps of the critic before each one of the generator. A batch of data is
        divided among them.
      critic_weight: weight > 0 of the critic's loss beside a loss of the generator's own.
      has_loss: whether `sample_fn` returns a pair, the samples and a loss of its own, one number,
        which is added to that of the critic: the cost of a path, a score distillation.
      augment_fn: `augment_fn(key, x)`, a differentiable map of data and of samples before the
        critic sees them, such as noise of a random level; its result may be a pytree.

    Returns:
      A `TwoPlayerStep`: `state = train.init(params, critic_params)` is the first state, and `state,
      metrics = train(state, batch, key)` takes a step; `training.fit` runs it as it is, with
      records, checkpoints and resumption of both players. With a critic over a mesh, samples are
      split as the data are; put the state on it with `training.shard_state`.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: plain numbers out of their range, another `form`, a form that the critic's
        criterion does not have, or a critic of several stages or with a noise of its own.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from nce_jax import criteria, critics, training
      >>> critic = training.make_critic_step(
      ...     lambda theta, x: x @ theta, optax.sgd(0.5), criterion=criteria.nce(magnification=10.0)
      ... )
      >>> def sample_fn(shift, key, x_data):
      ...     return shift + jax.random.normal(key, x_data.shape)
      >>> train = critics.make_two_player_step(sample_fn, critic, optax.sgd(0.1))
      >>> state, step = train.init(jnp.array(0.0), jnp.zeros(1)), jax.jit(train)
      >>> x_data = 2 + jax.random.normal(jax.random.key(0), (1024, 1))
      >>> for _ in range(200):
      ...     state, metrics = step(state, x_data, jax.random.key(1))
      >>> print(f"mean of the samples {state.params:.1f}, overlap {metrics['overlap']:.2f}")
      mean of the samples 2.0, overlap 1.00

    References:
      Goodfellow et al., Generative adversarial nets, 2014, algorithm 1.
      Yoon et al., Maximum entropy inverse reinforcement learning of diffusion models with
        energy-based models, 2024 (a sampler and an energy).
      Yu et al., "Noisier" Noise Contrastive Estimation is (Almost) Maximum Likelihood, 2026 (N2CE
        as the critic of both).
    """
    check_log_density_fn(
        sample_fn, "sample_fn", arguments="parameters, key and data", num_arguments=3
    )
    check_critic(critic)
    check_optimizer(optimizer)
    check_form(form, critic)
    check_positive_int("num_critic_steps", num_critic_steps)
    check_positive("critic_weight", critic_weight)
    check_flag("has_loss", has_loss)
    check_augment(augment_fn)
    return TwoPlayerStep(
        sample_fn, critic, optimizer, form, num_critic_steps, critic_weight, has_loss, augment_fn
    )


def _weights_of(samples: Any, batch: Batch) -> Any:
    """The weights of samples that share the conditions of the data, one for one; None for none."""
    counts = {leaf.shape[0] for leaf in jax.tree.leaves((samples, batch.x_data))}
    return batch.weights_data if len(counts) == 1 else None


def _of_critic(metrics: Metrics) -> dict[str, Any]:
    """The metrics of the critic's last step; those that the generator has, too, are renamed."""
    renamed = {"loss": "critic_loss", "gradient_norm": "critic_gradient_norm"}
    return {renamed.get(name, name): value for name, value in metrics._asdict().items()}
