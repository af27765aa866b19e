"""Trained scores of designs, and candidates from them."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.offline_design import candidates, training_lanes
from experiments.offline_design.config import Config
from experiments.offline_design.tasks import NUM_LETTERS, Task
from experiments.offline_design.training_lanes import Ranges
from nce_jax import training

TREATMENTS = {"solved": training.solved(), "joint": training.joint_gradient()}


class Trainers(NamedTuple):
    """Compiled functions of a task, each of one network.

    Attributes:
      regression: `regression(end, weight_decay, key)`, parameters.
      ratio: by treatment of F: `ratio(ranges, weight_decay, magnification, key)`, parameters.
      score: `score(members, vectors)`, the mean over networks, stacked.
      pool: `pool(members, x, key)`, candidates and their scores before they are chosen.
      ascent: `ascent(members, x)`, sequences.
    """

    regression: Callable[..., Any]
    ratio: dict[str, Callable[..., Any]]
    score: Callable[..., jax.Array]
    pool: Callable[..., tuple[jax.Array, jax.Array]]
    ascent: Callable[..., jax.Array]


def compile_for(config: Config, task: Task) -> Trainers:
    """Returns the functions of a task; each is compiled at its first call."""
    x, y = jnp.asarray(task.x), jnp.asarray(standardized(task))
    net = training_lanes.network(config, x.shape[1])

    def score(members: Any, vectors: jax.Array) -> jax.Array:
        values = jnp.mean(jax.vmap(net, in_axes=(0, None))(members, vectors), axis=0)
        return (values + _other_strand(members, vectors)) / 2 if task.has_strands else values

    def _other_strand(members: Any, vectors: jax.Array) -> jax.Array:
        # With the letters A, C, G, T both axes are reversed.
        other = vectors.reshape(len(vectors), -1, NUM_LETTERS)[:, ::-1, ::-1]
        return jnp.mean(
            jax.vmap(net, in_axes=(0, None))(members, other.reshape(vectors.shape)), axis=0
        )

    def ratio(treatment, ranges, weight_decay, magnification, key):
        options = {"weight_decay": weight_decay, "magnification": magnification, "key": key}
        return training_lanes.fit_ratio(config, treatment, x, ranges, **options)

    def ascent(members: Any, x: jax.Array) -> jax.Array:
        return candidates.soft_ascent(partial(score, members), x, num_steps=config.num_ascent_steps)

    return Trainers(
        jax.jit(
            lambda end, weight_decay, key: training_lanes.fit_regression(
                config, x, y, end, weight_decay=weight_decay, key=key
            )
        ),
        {name: jax.jit(partial(ratio, treatment)) for name, treatment in TREATMENTS.items()},
        jax.jit(score),
        jax.jit(partial(_pool, config, task, score)),
        jax.jit(ascent),
    )


def standardized(task: Task) -> np.ndarray:
    """The given scores, with mean 0 and variance 1."""
    return ((task.y - task.y.mean()) / task.y.std()).astype(np.float32)


def _pool(config: Config, task: Task, score, members: Any, x: jax.Array, key: jax.Array):
    """The best of the whole space, or the ends of chains that begin at the designs x."""
    if task.space is not None:
        values = score(members, training_lanes.encode(task.space))
        values, best = jax.lax.top_k(values, config.num_candidates)
        return jnp.asarray(task.space)[best], values
    start = score(members, training_lanes.encode(x))
    ends = candidates.gibbs_chains(
        partial(score, members), x, key, num_sweeps=config.num_sweeps, spread=jnp.std(start)
    )
    return ends, score(members, training_lanes.encode(ends))


def candidates_of(config: Config, task: Task, trainers: Trainers, members: Any, key: jax.Array):
    """The distinct candidates of the highest scores, (candidates, length)."""
    x, values = trainers.pool(members, best_given(task, config.num_chains), key)
    return candidates.best_distinct(np.asarray(x), np.asarray(values), config.num_candidates)


def best_given(task: Task, count: int) -> jax.Array:
    """The best of the given designs, once more from the best on if there are too few."""
    return jnp.asarray(np.resize(task.x[::-1], (count, task.x.shape[1])))


def top(task: Task, fraction: float, end: int | None = None) -> Ranges:
    """The top fraction of the designs before `end`, and all of these."""
    end = len(task.x) if end is None else end
    return Ranges(end - max(1, int(fraction * end)), 0, end)


def stages(config: Config, task: Task) -> list[Ranges]:
    """The designs above a quantile of y, and those above the quantile below, stage by stage."""
    first = [int(quantile * len(task.x)) for quantile in config.stage_quantiles]
    return [Ranges(b, a, len(task.x)) for a, b in itertools.pairwise(first)]


def stack(members: list[Any]) -> Any:
    """Parameters of several networks as one tree with a first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
