"""A one-step student of a teacher's score, with or without a critic of its samples.

Up to three networks learn: the student; the score of the student's own samples, called the fake
score; and a critic, which compares noised samples with noised data.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from experiments.common import score_distillation
from experiments.common.score_distillation import Denoiser
from nce_jax import critics, training


class Student(NamedTuple):
    """A student's state without a critic, with the names of `critics.TwoPlayerState`."""

    params: Any
    opt_state: Any


class State(NamedTuple):
    """The student, with its critic if it has one, and the fake score."""

    players: Any
    fake: Any
    fake_opt_state: Any


@dataclasses.dataclass(frozen=True)
class Distillation:
    """How a student learns.

    Attributes:
      generate: samples of a student, `generate(params, key, count)`.
      denoiser: the denoiser that a fake score is, `denoiser(params)`.
      teacher: the denoiser that is distilled.
      draw_levels: noise levels, `draw_levels(key, count)`, the same for scores and critic.
      optimizer: the student's.
      fake_optimizer: the fake score's.
      critic: the critic's train step; None for score distillation alone.
      critic_inputs: what the critic sees, `critic_inputs(y, level)` of samples with noise.
      critic_weight: the weight of the critic's loss of the student.
      alpha: that of the score distillation.
    """

    generate: Callable[[Any, jax.Array, int], jax.Array]
    denoiser: Callable[[Any], Denoiser]
    teacher: Denoiser
    draw_levels: Callable[[jax.Array, int], jax.Array]
    optimizer: optax.GradientTransformation
    fake_optimizer: optax.GradientTransformation
    critic: training.TrainStep | None
    critic_inputs: Callable[[jax.Array, jax.Array], Any]
    critic_weight: float
    alpha: float = 1.0

    def init(self, params: Any, fake: Any, critic_params: Any = None) -> State:
        """The state before the first update."""
        fake_opt_state = self.fake_optimizer.init(fake)
        if self.critic is None:
            return State(Student(params, self.optimizer.init(params)), fake, fake_opt_state)
        return State(self._players(fake).init(params, critic_params), fake, fake_opt_state)

    def step(
        self, state: State, x_data: jax.Array, key: jax.Array
    ) -> tuple[State, dict[str, jax.Array]]:
        """One update of the fake score, of the critic if there is one, and of the student."""
        key_fake, key_players = jax.random.split(key)
        state = self._move_fake(state, key_fake, len(x_data))
        if self.critic is None:
            student = self._move_student(state, key_players, len(x_data))
            return state._replace(players=student), {}
        # The fake score moves between the players' steps: a step is made anew around each of them.
        players, metrics = self._players(state.fake)(state.players, x_data, key_players)
        return state._replace(players=players), metrics

    def augment(self, key: jax.Array, x: jax.Array) -> Any:
        """Samples as the critic sees them."""
        # Levels are drawn alike on both sides: the ratio given the level is the one learned.
        key_level, key_noise = jax.random.split(key)
        level = self.draw_levels(key_level, len(x))
        return self.critic_inputs(score_distillation.add_noise(key_noise, x, level), level)

    def sample(
        self, params: Any, fake: Any, key: jax.Array, count: int
    ) -> tuple[jax.Array, jax.Array]:
        """Samples, and their loss against the teacher's score and the fake one."""
        keys = jax.random.split(key, 3)
        x = self.generate(params, keys[0], count)
        level = self.draw_levels(keys[1], count)
        loss = score_distillation.score_identity_loss(
            self.teacher, self.denoiser(fake), x, level, keys[2], alpha=self.alpha
        )
        return x, loss

    def _players(self, fake: Any) -> critics.TwoPlayerStep:
        """Student and critic at the present fake score."""
        return critics.make_two_player_step(
            lambda params, key, x_data: self.sample(params, fake, key, len(x_data)),
            self.critic,
            self.optimizer,
            critic_weight=self.critic_weight,
            has_loss=True,
            augment_fn=self.augment,
        )

    def _move_student(self, state: State, key: jax.Array, count: int) -> Student:
        params, opt_state = state.players
        gradient = jax.grad(lambda p: self.sample(p, state.fake, key, count)[1])(params)
        return Student(*_updated(self.optimizer, gradient, opt_state, params))

    def _move_fake(self, state: State, key: jax.Array, count: int) -> State:
        keys = jax.random.split(key, 3)
        x = jax.lax.stop_gradient(self.generate(state.players.params, keys[0], count))
        level = self.draw_levels(keys[1], count)
        gradient = jax.grad(
            lambda fake: score_distillation.denoising_loss(self.denoiser(fake), x, level, keys[2])
        )(state.fake)
        moved = _updated(self.fake_optimizer, gradient, state.fake_opt_state, state.fake)
        return State(state.players, *moved)


def _updated(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state
