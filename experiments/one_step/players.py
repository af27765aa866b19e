"""The three players: generator, fake score, and a critic of noised samples."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nce_jax
from experiments.common import perceptron, score_distillation
from experiments.one_step import teacher
from experiments.one_step.config import Config
from nce_jax import criteria, critics, training


class Method(NamedTuple):
    """A kind of critic; several M share its program.

    Attributes:
      treatment: of F, "joint" or "solved"; "none" without a critic.
      is_regularized: whether the regularizer E[u^2] is added.
      is_adaptive: whether a rule chooses M.
      factor: of the weight of the critic's loss of the generator, with M = 1. A log ratio of zero
        passes the gradient kappa / (1 + kappa), which is 1/2 at M = 1 and 0.98 at M = 50: twice the
        weight tells this from all else that M does.
    """

    treatment: str
    is_regularized: bool = False
    is_adaptive: bool = False
    factor: float = 1.0

    def magnifications(self, config: Config) -> tuple[float, ...]:
        """The M that are run; 1 where there is none or a rule chooses."""
        is_fixed = self.treatment != "none" and not self.is_adaptive and self.factor == 1
        return config.magnifications if is_fixed else (1.0,)

    def label(self, magnification: float) -> str:
        """The name in tables and figures."""
        if self.treatment == "none":
            return "none"
        size = "M adaptive" if self.is_adaptive else f"M = {magnification:g}"
        end = ", regularized" if self.is_regularized else ""
        end += ", doubled" if self.factor != 1 else ""
        return f"{size}, F {self.treatment}{end}"


METHODS = {
    "none": Method("none"),
    "joint": Method("joint"),
    "joint, regularized": Method("joint", is_regularized=True),
    "solved": Method("solved"),
    "solved, regularized": Method("solved", is_regularized=True),
    "adaptive": Method("solved", is_adaptive=True),
    "adaptive, regularized": Method("solved", is_regularized=True, is_adaptive=True),
    "joint, doubled": Method("joint", factor=2.0),
    "solved, doubled": Method("solved", factor=2.0),
}
"""By the names in the settings. The rule for M needs a solved F."""

_TREATMENTS = {"joint": training.joint_gradient, "solved": training.solved}


class Generator(NamedTuple):
    """The generator's state without a critic, with the names of `critics.TwoPlayerState`."""

    params: Any
    opt_state: Any


class State(NamedTuple):
    """The state of all players: of generator and critic, and of the fake score."""

    players: Any
    fake: Any
    fake_opt_state: Any


def generate(config: Config, params: Any, key: jax.Array, count: int) -> jax.Array:
    """Samples of a one-step generator: the network denoises pure noise of one level."""
    y = config.init_level * jax.random.normal(key, (count, 2))
    return teacher.network(params)(y, jnp.full(count, config.init_level))


def init(config: Config, method: Method, params: Any, magnification: Any, key: jax.Array) -> State:
    """Generator and fake score begin as the same network, the critic at random."""
    fake_opt_state = _fake_optimizer(config).init(params)
    if method.treatment == "none":
        generator = Generator(params, _optimizer(config).init(params))
        return State(generator, params, fake_opt_state)
    critic_params = perceptron.init_mlp(key, (5, *config.hidden, 1))
    train = _make_two_players(config, method, magnification, params)
    return State(train.init(params, critic_params), params, fake_opt_state)


def step(
    config: Config, method: Method, magnification: Any, state: State, x_data: Any, key: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """One update of the fake score, of the critic if there is one, and of the generator."""
    key_fake, key_players = jax.random.split(key)
    state = _move_fake(config, state, key_fake, len(x_data))
    if method.treatment == "none":
        generator = _move_generator(config, state, x_data, key_players)
        return state._replace(players=generator), {}
    train = _make_two_players(config, method, magnification, state.fake)
    players, metrics = train(state.players, x_data, key_players)
    return state._replace(players=players), metrics


def log_ratio_fn(params: Any, seen: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The critic of samples with noise and its level, (n, 2) and (n,) -> (n,)."""
    y, level = seen
    inputs = y / jnp.sqrt(1 + level**2)[:, None]
    return perceptron.mlp(params, perceptron.with_time(inputs, jnp.log(level) / 4))[:, 0]


def _make_two_players(
    config: Config, method: Method, magnification: Any, fake: Any
) -> critics.TwoPlayerStep:
    """Generator and critic at the present fake score, which is the third player.

    The fake score moves between their steps. Since a step is a pure object, it is made anew around
    each fake score, and the two players' state goes from one to the next.
    """

    def sample_fn(params: Any, key: jax.Array, x_data: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _sample(config, params, fake, key, len(x_data))

    def augment_fn(key: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Levels are drawn alike on both sides: the ratio given the level is the one learned.
        key_level, key_noise = jax.random.split(key)
        level = score_distillation.log_uniform_levels(key_level, len(x), *config.levels)
        return score_distillation.add_noise(key_noise, x, level), level

    return critics.make_two_player_step(
        sample_fn,
        make_critic(config, method, magnification),
        _optimizer(config),
        critic_weight=method.factor * config.critic_weight,
        has_loss=True,
        augment_fn=augment_fn,
    )


def make_critic(config: Config, method: Method, magnification: Any) -> training.TrainStep:
    """The critic's train step; M may be traced."""
    criterion = criteria.nce(magnification=magnification)
    if method.is_regularized:
        criterion = criteria.ratio_regularized(criterion, config.strength)
    return training.make_critic_step(
        log_ratio_fn,
        optax.adam(config.critic_rate, b1=0.0),
        criterion=criterion,
        treatment=_TREATMENTS[method.treatment](),
        magnification_rule=nce_jax.adaptive_magnification() if method.is_adaptive else None,
    )


def _sample(
    config: Config, params: Any, fake: Any, key: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Samples, and their loss against the teacher's score and the fake one."""
    keys = jax.random.split(key, 3)
    x = generate(config, params, keys[0], count)
    level = score_distillation.log_uniform_levels(keys[1], count, *config.levels)
    loss = score_distillation.score_identity_loss(
        lambda y, at: teacher.denoise(config, y, at), teacher.network(fake), x, level, keys[2],
        alpha=config.alpha,
    )  # fmt: skip
    return x, loss


def _move_fake(config: Config, state: State, key: jax.Array, count: int) -> State:
    keys = jax.random.split(key, 3)
    x = jax.lax.stop_gradient(generate(config, state.players.params, keys[0], count))
    level = score_distillation.log_uniform_levels(keys[1], count, *config.levels)
    gradient = jax.grad(
        lambda fake: score_distillation.denoising_loss(teacher.network(fake), x, level, keys[2])
    )(state.fake)
    updates, opt_state = _fake_optimizer(config).update(gradient, state.fake_opt_state, state.fake)
    return state._replace(fake=optax.apply_updates(state.fake, updates), fake_opt_state=opt_state)


def _move_generator(config: Config, state: State, x_data: Any, key: jax.Array) -> Generator:
    params, opt_state = state.players
    gradient = jax.grad(lambda p: _sample(config, p, state.fake, key, len(x_data))[1])(params)
    updates, opt_state = _optimizer(config).update(gradient, opt_state, params)
    return Generator(optax.apply_updates(params, updates), opt_state)


def _optimizer(config: Config) -> optax.GradientTransformation:
    inner = optax.adam(config.generator_rate, b1=0.0)
    return training.with_average(inner, config.average_decay)


def _fake_optimizer(config: Config) -> optax.GradientTransformation:
    return optax.adam(config.fake_rate, b1=0.0)
