"""Training on a given schedule: Newton's method on all data or on a stream, or gradient descent."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params, PRNGKeyArray
from nce_jax.telescoping._fit.gradient import descend, start_descent
from nce_jax.telescoping._fit.model import bridges_of, initial_params
from nce_jax.telescoping._fit.newton import newton_fit, newton_stream, repeated, unravelled
from nce_jax.telescoping._fit.settings import CHUNK, Settings

_FULL_BATCH_STEPS, _FEW_BATCHES = 60, 4


class Trained(NamedTuple):
    """Parameters of all stages with their standardization, and the way there.

    `theta` (K, P) is there for Newton's method; `path` holds the steps, and after each of them the
    model's parameters and, for Newton's method on a stream, the F_k; `pairs` are those of a fit to
    all data, and `num_pairs` how many a stream has used; `is_converged` (K,) says whether Newton's
    method found the optimum of that fit, or of the one before the stream.
    """

    params: Params
    theta: jax.Array | None
    num_steps: int
    path: tuple[np.ndarray, Any, Any]
    pairs: tuple[jax.Array, jax.Array] | None
    num_pairs: jax.Array | None
    is_converged: np.ndarray | None


def train(key: PRNGKeyArray, settings: Settings, levels: jax.Array, num_steps: int) -> Trained:
    """At most `num_steps` steps."""
    if settings.is_full_batch:
        return _full_batch(key, settings, levels, num_steps)
    return (_stream if settings.optimizer is None else _descent)(key, settings, levels, num_steps)


def _full_batch(
    key: PRNGKeyArray, settings: Settings, levels: jax.Array, num_steps: int
) -> Trained:
    """On all pairs, from a fit to some of them where there are many: Newton's method then takes few
    steps.
    """
    num_pairs, few = settings.source.num_data or 0, _FEW_BATCHES * settings.batch_size
    pairs, most = settings.source.draw(key, num_pairs), min(num_steps, _FULL_BATCH_STEPS)
    x, kappa = bridges_of(settings.spec, pairs, levels), settings.kappas(len(levels) - 1)
    moments, theta = settings.moments(x), repeated(settings.template, len(kappa))
    fixed = settings.spec, settings.template, moments
    if num_pairs > 2 * few:
        theta = newton_fit(*fixed, theta, x[:, :few], kappa, most).theta
    fit = newton_fit(*fixed, theta, x, kappa, most)
    params = {"model": unravelled(settings.template, fit.theta), **moments}
    return Trained(
        params,
        fit.theta,
        most,
        _stack([(most, params["model"], fit.log_partition)]),
        pairs,
        None,
        np.asarray(fit.is_converged),
    )


def _stream(key: PRNGKeyArray, settings: Settings, levels: jax.Array, num_steps: int) -> Trained:
    """A fit to one batch, then one Newton step per fresh batch."""
    size, kappa = settings.batch_size, settings.kappas(len(levels) - 1)
    x = bridges_of(settings.spec, settings.source.draw(jax.random.fold_in(key, 0), size), levels)
    moments, used = settings.moments(x), settings.pilot_steps
    fixed = settings.spec, settings.template, moments
    fit = newton_fit(*fixed, repeated(settings.template, len(kappa)), x, kappa, used)
    path = [(used, unravelled(settings.template, fit.theta), fit.log_partition)]
    for index in range((num_steps - used) // CHUNK):
        pairs = settings.source.draw(jax.random.fold_in(key, index + 1), CHUNK * size)
        x, first = bridges_of(settings.spec, pairs, levels), jnp.float32(2 + index * CHUNK)
        fit = newton_stream(*fixed, fit, x, kappa, first, batch_size=size)
        used += CHUNK
        path.append((used, unravelled(settings.template, fit.theta), fit.log_partition))
    num_pairs = jnp.float32((used - settings.pilot_steps + 1) * size)
    return Trained(
        {"model": path[-1][1], **moments},
        fit.theta,
        used,
        _stack(path),
        None,
        num_pairs,
        np.asarray(fit.is_converged),
    )


def _descent(key: PRNGKeyArray, settings: Settings, levels: jax.Array, num_steps: int) -> Trained:
    """The average over the second half counts."""
    size, kappa = settings.batch_size, settings.kappas(len(levels) - 1)
    assert settings.optimizer is not None
    state = start_descent(
        initial_params(settings.template, settings.spec, len(kappa)), settings.optimizer
    )
    moments: dict[str, jax.Array] = {}
    path, num_chunks = [], num_steps // CHUNK
    for index in range(num_chunks):
        pairs = settings.source.draw(jax.random.fold_in(key, index), CHUNK * size)
        x = bridges_of(settings.spec, pairs, levels)
        moments = moments or settings.moments(x)
        options = {"batch_size": size, "is_averaging": 2 * index >= num_chunks}
        state = descend(settings.spec, settings.optimizer, moments, state, x, kappa, **options)
        path.append(((index + 1) * CHUNK, state.average, None))
    return Trained(
        {"model": state.average, **moments},
        None,
        num_chunks * CHUNK,
        _stack(path),
        None,
        None,
        None,
    )


def _stack(path: list[tuple[int, Any, Any]]) -> tuple[np.ndarray, Any, Any]:
    steps, params, roots = zip(*path, strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    return np.array(steps), stacked, None if roots[0] is None else jnp.stack(roots)
