"""Gaussian steps of diffusion samplers: schedule, paths, and what a path costs.

Step t leads from x_t to x_{t-1}, and x_0 is the sample. A network predicts x_0, from which the mean
of a step follows as in denoising diffusion (Ho et al., 2020, eq. 7). Samples are (n, ...).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Predictor = Callable[[jax.Array, jax.Array], jax.Array]
"""`predict(x_t, time)`, the predicted x_0 at one time, a scalar between 0 and 1."""
LAST_ANGLE = 0.98 * np.pi / 2
"""Angle of the cosine schedule at time 1, where the signal is nearly gone."""


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


class Steps(NamedTuple):
    """What each of some steps needs, on a leading axis."""

    from_start: jax.Array
    from_present: jax.Array
    time: jax.Array
    log_scale: jax.Array
    key: jax.Array


class Path(NamedTuple):
    """States before and after every step, (T, n, ...) each, and log sigma of the steps, (T,)."""

    before: jax.Array
    after: jax.Array
    log_scale: jax.Array


def make_schedule(length: int, last_scale: float) -> Schedule:
    """The cosine schedule (Nichol and Dhariwal, 2021) with so many steps.

    The last step's standard deviation, which denoising diffusion leaves at zero, is `last_scale`.
    """
    t = np.arange(length + 1) / length
    kept = np.cos(LAST_ANGLE * t) ** 2
    before, after = kept[:-1], kept[1:]
    alpha = after / before
    variance = (1 - alpha) * (1 - before) / (1 - after)
    variance[0] = last_scale**2
    fields = (
        np.sqrt(before) * (1 - alpha) / (1 - after),
        np.sqrt(alpha) * (1 - before) / (1 - after),
        np.log(variance) / 2,
        np.sqrt(after),
        np.sqrt(1 - after),
        t[1:],
    )
    return Schedule(*(field[::-1].astype(np.float32) for field in fields))


def make_steps(schedule: Schedule, log_scale: jax.Array, key: jax.Array) -> Steps:
    """All steps of a schedule, with trained scales, (T - 1,), of all but the last."""
    first = schedule.log_scale[:-1]
    # Free scales would grow without bound for their entropy: they stay within a factor e.
    trained = jnp.clip(log_scale, first - 1, first + 1)
    log_scale = jnp.concatenate([trained, jnp.asarray(schedule.log_scale[-1:])])
    fields = map(jnp.asarray, (schedule.from_start, schedule.from_present, schedule.time))
    return Steps(*fields, log_scale, jax.random.split(key, len(schedule.time)))


def move(predict: Predictor, x: jax.Array, step: Steps) -> jax.Array:
    """One step."""
    mean = step.from_start * predict(x, step.time) + step.from_present * x
    return mean + jnp.exp(step.log_scale) * jax.random.normal(step.key, x.shape)


def follow(predict: Predictor, start: jax.Array, steps: Steps) -> Path:
    """The path of some steps from x, (n, ...)."""

    def advance(x: jax.Array, step: Steps) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        after = move(predict, x, step)
        return after, (x, after)

    _, (before, after) = jax.lax.scan(advance, start, steps)
    return Path(before, after, steps.log_scale)


def step_costs(path: Path, *, path_weight: float, entropy_weight: float) -> jax.Array:
    """The cost of each step of each path, (T, n): its length less its entropy, weighted."""
    size = path.after[0, 0].size
    squares = jnp.sum(((path.after - path.before) ** 2).reshape(*path.after.shape[:2], -1), axis=-1)
    # The entropy of a Gaussian step, up to a constant.
    return path_weight * squares / 2 - entropy_weight * size * path.log_scale[:, None]
