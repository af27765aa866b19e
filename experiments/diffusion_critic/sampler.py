"""A diffusion sampler of T steps, in units of the data's scale, and its denoising teacher.

Step t leads from x_t to x_{t-1}, and x_0 is the sample. A network predicts x_0, from which the mean
of a step follows as in denoising diffusion (Ho et al., 2020, eq. 7); the standard deviations are
parameters but for the last step's.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.perceptron import init_mlp, mlp, with_time
from experiments.diffusion_critic.config import Config

Params = dict[str, Any]


class Schedule(NamedTuple):
    """Coefficients of the steps t = T, ..., 1, each (T,): x_{t-1} = a x_0 + b x_t + sigma noise.

    `signal` and `noise` make x_t of x_0 and of standard normal noise; `time` is t / T.
    """

    from_start: np.ndarray
    from_present: np.ndarray
    log_scale: np.ndarray
    signal: np.ndarray
    noise: np.ndarray
    time: np.ndarray


class Path(NamedTuple):
    """States before and after every step, (T, n, 2) each, and log sigma of the steps, (T,)."""

    before: jax.Array
    after: jax.Array
    log_scale: jax.Array


def make_schedule(config: Config, length: int) -> Schedule:
    """The cosine schedule (Nichol and Dhariwal, 2021) with so many steps."""
    t = np.arange(length + 1) / length
    kept = np.cos(np.pi / 2 * 0.98 * t) ** 2
    before, after = kept[:-1], kept[1:]
    alpha = after / before
    variance = (1 - alpha) * (1 - before) / (1 - after)
    variance[0] = config.last_scale**2
    fields = (
        np.sqrt(before) * (1 - alpha) / (1 - after),
        np.sqrt(alpha) * (1 - before) / (1 - after),
        np.log(variance) / 2,
        np.sqrt(after),
        np.sqrt(1 - after),
        t[1:],
    )
    return Schedule(*(field[::-1].astype(np.float32) for field in fields))


def init(config: Config, length: int, key: jax.Array) -> Params:
    """A sampler from random weights, with the scales of the schedule."""
    return {
        "net": init_mlp(key, (5, *config.hidden, 2)),
        "log_scale": jnp.asarray(make_schedule(config, length).log_scale[:-1]),
    }


def sample_path(config: Config, length: int, params: Params, key: jax.Array, count: int) -> Path:
    """So many paths of the sampler, differentiable in its parameters."""
    key_start, key_steps = jax.random.split(key)
    inputs = _of_steps(config, length, params, key_steps)

    def step(x: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
        after = _move(params, x, inputs)
        return after, (x, after)

    start = jax.random.normal(key_start, (count, 2))
    _, (before, after) = jax.lax.scan(step, start, inputs)
    return Path(before, after, inputs[3])


def take_steps(
    config: Config, length: int, params: Params, key: jax.Array, before: jax.Array
) -> Path:
    """The same steps from given states, with the draws of `sample_path` by the same key."""
    inputs = _of_steps(config, length, params, jax.random.split(key)[1])
    after = jax.vmap(lambda x, inputs: _move(params, x, inputs))(before, inputs)
    return Path(before, after, inputs[3])


def _of_steps(config: Config, length: int, params: Params, key: jax.Array) -> tuple[jax.Array, ...]:
    """Coefficients, time, log sigma and key of every step, each (T, ...)."""
    schedule = make_schedule(config, length)
    first = schedule.log_scale[:-1]
    # Free scales would grow without bound for their entropy: they stay within a factor e.
    trained = jnp.clip(params["log_scale"], first - 1, first + 1)
    log_scale = jnp.concatenate([trained, jnp.asarray(schedule.log_scale[-1:])])
    fields = map(jnp.asarray, (schedule.from_start, schedule.from_present, schedule.time))
    return (*fields, log_scale, jax.random.split(key, length))


def _move(params: Params, x: jax.Array, inputs: tuple[jax.Array, ...]) -> jax.Array:
    from_start, from_present, time, log_scale, key = inputs
    mean = from_start * mlp(params["net"], with_time(x, time)) + from_present * x
    return mean + jnp.exp(log_scale) * jax.random.normal(key, x.shape)


def step_costs(config: Config, path: Path) -> jax.Array:
    """The cost of each step of each path, (T, n): its length less its entropy, weighted."""
    squares = jnp.sum((path.after - path.before) ** 2, axis=-1)
    # The entropy of a Gaussian step in two dimensions, up to a constant.
    return config.path_weight * squares / 2 - config.entropy_weight * 2 * path.log_scale[:, None]


def denoising_loss(
    config: Config, length: int, params: Params, key: jax.Array, x: jax.Array
) -> jax.Array:
    """The mean squared error of x_0 predicted from x_t, at uniform t."""
    schedule = make_schedule(config, length)
    key_time, key_noise = jax.random.split(key)
    index = jax.random.randint(key_time, x.shape[:1], 0, length)
    signal, noise, time = (
        jnp.asarray(field)[index] for field in (schedule.signal, schedule.noise, schedule.time)
    )
    noised = signal[:, None] * x + noise[:, None] * jax.random.normal(key_noise, x.shape)
    return jnp.mean((mlp(params["net"], with_time(noised, time)) - x) ** 2)


def fit_teacher(config: Config, length: int, key: jax.Array, draw_data: Any) -> Params:
    """A sampler by denoising alone, with the scales of the schedule."""
    schedule = optax.cosine_decay_schedule(2e-3, config.num_teacher_steps)
    optimizer = optax.adam(schedule)
    params = init(config, length, key)

    def advance(state: Any, step: jax.Array) -> tuple[Any, None]:
        params, opt_state = state
        keys = jax.random.split(jax.random.fold_in(key, step))
        gradient = jax.grad(denoising_loss, argnums=2)(
            config, length, params, keys[0], draw_data(keys[1])
        )
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    steps = jnp.arange(config.num_teacher_steps)
    return jax.lax.scan(advance, (params, optimizer.init(params)), steps)[0][0]
