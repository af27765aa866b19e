"""One-step students: score distillation alone, and with a critic of images with noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common import critic_methods, score_distillation
from experiments.common.critic_methods import Method
from experiments.diffusion_digits import methods
from experiments.diffusion_digits.config import CellSettings
from experiments.diffusion_digits.sampler import denoiser
from nce_jax import critics, training


class Generator(NamedTuple):
    """The student's state without a critic, with the names of `critics.TwoPlayerState`."""

    params: Any
    opt_state: Any


class State(NamedTuple):
    """Student, with its critic if it has one, and the score of the student's own samples."""

    players: Any
    fake: Any
    fake_opt_state: Any


def generate(settings: CellSettings, net: Any, key: jax.Array, count: int) -> jax.Array:
    """Samples of a student: the network denoises pure noise of one level."""
    y = settings.init_level * jax.random.normal(key, (count, settings.side, settings.side, 1))
    return denoiser(settings, net)(y, jnp.full(count, settings.init_level))


def init(
    settings: CellSettings, teacher: Any, magnification: Any, key: jax.Array, method: Method | None
) -> State:
    """Student and fake score begin as the teacher, the critic, if there is one, at random."""
    fake_opt_state = _adam(settings).init(teacher)
    if method is None:
        return State(Generator(teacher, _averaged(settings).init(teacher)), teacher, fake_opt_state)
    train = _make_players(settings, method, teacher, teacher, magnification)
    critic = methods.init_critic(settings, key, 2)
    return State(train.init(teacher, critic), teacher, fake_opt_state)


def step(
    settings: CellSettings,
    method: Method | None,
    teacher: Any,
    magnification: Any,
    state: State,
    x_data: Any,
    key: Any,
) -> State:
    """One update of the fake score, of the critic if there is one, and of the student."""
    key_fake, key_players = jax.random.split(key)
    state = _move_fake(settings, state, key_fake, len(x_data))
    if method is None:
        params, opt_state = state.players
        gradient = jax.grad(
            lambda net: _sample(settings, teacher, state.fake, net, key_players, len(x_data))[1]
        )(params)
        updates, opt_state = _averaged(settings).update(gradient, opt_state, params)
        return state._replace(players=Generator(optax.apply_updates(params, updates), opt_state))
    # The fake score moves between the players' steps: a step is made anew around each of them.
    train = _make_players(settings, method, teacher, state.fake, magnification)
    return state._replace(players=train(state.players, x_data, key_players)[0])


def _make_players(
    settings: CellSettings, method: Method, teacher: Any, fake: Any, magnification: Any
) -> critics.TwoPlayerStep:
    def sample_fn(net: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _sample(settings, teacher, fake, net, key, len(x_data))

    def augment_fn(key: jax.Array, x: jax.Array) -> jax.Array:
        # Levels are drawn alike on both sides: the ratio given the level is the one learned.
        key_level, key_noise = jax.random.split(key)
        level = score_distillation.log_uniform_levels(key_level, len(x), *settings.levels)
        y = score_distillation.add_noise(key_noise, x, level)
        level = score_distillation.of_samples(level, x)
        seen = jnp.broadcast_to(jnp.log(level) / 4, x.shape)
        return jnp.concatenate([y / jnp.sqrt(1 + level**2), seen], axis=-1)

    critic = critic_methods.make_critic(
        method,
        methods.log_ratio_fn(settings, 2),
        optax.adam(settings.critic_rate, b1=0.5),
        magnification=magnification,
        strength=settings.strength,
    )
    return critics.make_two_player_step(
        sample_fn,
        critic,
        _averaged(settings),
        critic_weight=settings.student_critic_weight,
        has_loss=True,
        augment_fn=augment_fn,
    )


def _sample(
    settings: CellSettings, teacher: Any, fake: Any, net: Any, key: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Samples, and their loss against the teacher's score and the fake one."""
    keys = jax.random.split(key, 3)
    x = generate(settings, net, keys[0], count)
    level = score_distillation.log_uniform_levels(keys[1], count, *settings.levels)
    loss = score_distillation.score_identity_loss(
        denoiser(settings, teacher), denoiser(settings, fake), x, level, keys[2]
    )
    return x, loss


def _move_fake(settings: CellSettings, state: State, key: jax.Array, count: int) -> State:
    keys = jax.random.split(key, 3)
    x = jax.lax.stop_gradient(generate(settings, state.players.params, keys[0], count))
    level = score_distillation.log_uniform_levels(keys[1], count, *settings.levels)

    def loss(fake: Any) -> jax.Array:
        return score_distillation.denoising_loss(denoiser(settings, fake), x, level, keys[2])

    gradient = jax.grad(loss)(state.fake)
    updates, opt_state = _adam(settings).update(gradient, state.fake_opt_state, state.fake)
    return state._replace(fake=optax.apply_updates(state.fake, updates), fake_opt_state=opt_state)


def _adam(settings: CellSettings) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(settings.student_rate, b1=0.0, b2=0.999)
    )


def _averaged(settings: CellSettings) -> optax.GradientTransformation:
    return training.with_average(_adam(settings), settings.average_decay)
