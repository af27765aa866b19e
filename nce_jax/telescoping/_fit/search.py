"""The schedule as an outcome: pilot fits, cuts where a stage has a gap, then stages of equal
length.
"""

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import PRNGKeyArray
from nce_jax.telescoping._fit.evaluate import evaluate
from nce_jax.telescoping._fit.gradient import descend, start_descent
from nce_jax.telescoping._fit.model import bridges_of, initial_params
from nce_jax.telescoping._fit.newton import newton_fit, repeated, unravelled
from nce_jax.telescoping._fit.settings import Settings, padded
from nce_jax.telescoping._schedule import even_schedule, refine_schedule


def search_schedule(key: PRNGKeyArray, settings: Settings) -> tuple[np.ndarray, int]:
    """A schedule whose stages overlap, and how many training steps its pilots took."""
    num_steps, schedule = 0, np.array([0.0, 1.0])
    while True:
        overlap = pilot_overlap(key, settings, schedule)
        num_steps += settings.pilot_steps
        finer = refine_schedule(schedule, overlap, min_overlap=settings.min_overlap)
        if len(finer) == len(schedule):
            break
        if len(finer) - 1 > settings.max_stages:
            raise ValueError(
                f"max_stages: {settings.max_stages} do not bridge data and noise: after {num_steps}"
                f" pilot steps {len(finer) - len(schedule)} of {len(schedule) - 1} stages overlap"
                f" by less than {settings.min_overlap}"
            )
        schedule = finer
    even = even_schedule(schedule, overlap, min_overlap=settings.min_overlap)
    if len(even) == len(schedule):
        return schedule, num_steps
    overlap = pilot_overlap(key, settings, even)
    # Lengths are measured, and those of coarse stages badly: a schedule that has a gap after all is
    # not an improvement.
    is_fine = bool(np.all(overlap >= settings.min_overlap / 2))
    return even if is_fine else schedule, num_steps + settings.pilot_steps


def pilot_overlap(key: PRNGKeyArray, settings: Settings, schedule: np.ndarray) -> np.ndarray:
    """The stages' overlaps after a short fit, on pairs that it did not see where there are
    enough.
    """
    levels = jnp.asarray(padded(schedule), jnp.result_type(float))
    # The gap belongs to the sets and not to the loss: the overlap at another kappa would hide it.
    kappa = settings._replace(kappa=1.0).kappas(len(levels) - 1)
    # The same for every pilot: their differences are the schedules'.
    fitted, seen = _pilot_pairs(key, settings)
    for name, side in zip(("x_data", "noise"), fitted, strict=True):
        if not jnp.isfinite(side).all():
            raise ValueError(f"{name}: expected finite samples, got some that are not")
    x = bridges_of(settings.spec, fitted, levels)
    moments = settings.moments(x)
    if settings.optimizer is None:
        start = repeated(settings.template, len(kappa))
        fit = newton_fit(
            settings.spec, settings.template, moments, start, x, kappa, settings.pilot_steps
        )
        model = unravelled(settings.template, fit.theta)
    else:
        state = start_descent(
            initial_params(settings.template, settings.spec, len(kappa)), settings.optimizer
        )
        size = settings.batch_size
        state = descend(
            settings.spec,
            settings.optimizer,
            moments,
            state,
            x,
            kappa,
            batch_size=size,
            is_averaging=False,
        )
        model = state.params
    worth = evaluate(settings.spec, {"model": model, **moments}, seen, levels, kappa)
    return np.asarray(worth.stages.overlap)[: len(schedule) - 1]


def _pilot_pairs(key: PRNGKeyArray, settings: Settings):
    """To fit on, and to look at: a batch each for Newton's method, a batch per step and one more
    for gradient descent.
    """
    size, source = settings.batch_size, settings.source
    if settings.optimizer is not None:
        key_fit, key_seen = jax.random.split(key)
        return source.draw(key_fit, size * settings.pilot_steps), source.draw_held_out(
            key_seen, size
        )
    if source.num_data is not None and source.num_data < 2 * size:
        pairs = source.draw(key, source.num_data)
        return pairs, pairs
    pairs = source.draw(key, 2 * size)
    return tuple(side[:size] for side in pairs), tuple(side[size:] for side in pairs)
