"""The models of `fit_log_ratio`: simple ones where they suffice, a network where it helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._folds import Side
from nce_jax._grouped import side_mean, standard_error
from nce_jax._types import ArrayLike, Float, LogRatioFn, Params, PRNGKeyArray
from nce_jax.models import mlp_energy
from nce_jax.ratio_estimation._assessment import solve
from nce_jax.ratio_estimation._cross_validation import (
    CrossFit,
    Pool,
    choose,
    cross_fit,
    excess_loss,
    loss_of,
    lowest_losses,
    nested_log_ratios,
    refit,
)
from nce_jax.ratio_estimation._descent import Descent, Parts
from nce_jax.ratio_estimation._features import MAX_SQUARES, feature_maps, inside, log_ratio, moments
from nce_jax.ratio_estimation._samples import Sets
from nce_jax.ratio_estimation._weights import both_as_jax

MIN_FOR_NETWORK = 2_000
"""The smallest number of samples of each set with which a network is trained. With fewer, a simple
model was as accurate on all problems that were tried."""

_MAX_CROSS_FITTED = 10_000
"""The largest number of samples of each set that choose among the simple models."""

_MAX_ENTRIES = 30_000_000
"""The largest number of features, over all samples, in the last fit of a simple model."""

_SELECT = (500, 10_000)
"""The smallest and the largest number of samples of each set that choose the step; a tenth of the
set between the two."""


class Assessed(NamedTuple):
    """A fitted log ratio with the log ratios by which it is assessed.

    Attributes:
      name: name of the model's family.
      params: parameters of `log_ratio_fn`.
      log_ratio_fn: the model.
      held_out: log ratios of data and of noise that were fitted without these samples.
      group: groups of these samples, the data first.
      weights: weights of these samples, the data first.
      is_normalized: whether the model's F is zero by its fit.
      losses: the cross-validated loss of every family of simple models.
      excess_loss: the part of the loss that more samples would remove; NaN if it is not known.
    """

    name: str
    params: Params
    log_ratio_fn: LogRatioFn
    held_out: tuple[jax.Array, jax.Array]
    group: np.ndarray
    weights: np.ndarray
    is_normalized: bool
    losses: dict[str, float]
    excess_loss: float


class Rows(NamedTuple):
    """Which samples of the pool are to train on, to choose the step by, and to assess."""

    train: np.ndarray
    select: np.ndarray
    held_out: np.ndarray


def pool_of(sets: Sets, sides: tuple[Side, Side]) -> Pool:
    """All samples on the host."""
    return Pool(
        np.concatenate([np.asarray(side) for side in sets]),
        np.arange(sum(len(side) for side in sets)) < len(sets.data),
        *(np.concatenate(pair) for pair in zip(*sides, strict=True)),
    )


class SimpleModels:
    """The simple models, fitted by cross-validation; at most 10,000 samples of a set take part."""

    def __init__(self, rng: np.random.Generator, pool: Pool, dtype: Any) -> None:
        self._rng, self._all, self._dtype = rng, pool, dtype
        limit = _MAX_CROSS_FITTED if pool.x.shape[1] <= MAX_SQUARES else _MAX_CROSS_FITTED // 10
        self.pool = _thinned(rng, pool, limit)
        maps = feature_maps(rng, self.pool.x, self.pool.weights)
        self.crossed: CrossFit = cross_fit(self.pool, maps)

    def assessed(self) -> Assessed:
        """The chosen model fitted to all samples, and its cross-fitted log ratios."""
        crossed, pool = self.crossed, self.pool
        chosen = choose(crossed, pool, np.ones(len(pool.x), bool))
        # In the dtype of the samples on the host: JAX would compile it for every number of them.
        values = nested_log_ratios(crossed, pool).astype(self._dtype)
        num_data = int(pool.is_data.sum())
        data, noise = jax.device_put(np.split(values, [num_data]))
        return Assessed(
            name=crossed.candidates[chosen].family,
            params=self._fit(chosen, np.ones(len(self._all.x), bool)),
            log_ratio_fn=log_ratio,
            held_out=(data, noise),
            group=pool.group,
            weights=pool.weights,
            is_normalized=True,
            losses=lowest_losses(crossed, pool),
            excess_loss=excess_loss(self._rng, crossed, chosen, pool),
        )

    def start_of_network(self, is_train: np.ndarray) -> Params:
        """The model chosen without fold 0, fitted to the training samples."""
        return self._fit(choose(self.crossed, self.pool, self.pool.fold != 0), is_train)

    def _fit(self, index: int, rows: np.ndarray) -> Params:
        candidate = self.crossed.candidates[index]
        num_features = 1
        if candidate.features is not None:
            num_features = candidate.features(self.pool.x[:1]).shape[1]
        limit = max(_MAX_ENTRIES // num_features // 2, 1)
        return refit(candidate, _thinned(self._rng, self._all.rows(rows), limit), self._dtype)


def _thinned(rng: np.random.Generator, pool: Pool, limit: int) -> Pool:
    """At most so many samples of each set, and of a group all or none."""
    _, numbers = np.unique(pool.group, return_inverse=True)
    order = rng.permutation(numbers.max() + 1)[numbers]
    chosen = np.zeros(len(order), bool)
    for side in (pool.is_data, ~pool.is_data):
        rows = np.flatnonzero(side)
        if len(rows) <= limit:
            chosen[rows] = True
            continue
        ordered = rows[np.argsort(order[rows], kind="stable")]
        last = order[ordered[limit - 1]]
        chosen[rows[order[rows] <= last]] = True
    return pool.rows(chosen)


def make_parts(
    rng: np.random.Generator, sets: Sets, sides: tuple[Side, Side], num_choices: int
) -> tuple[Parts, Rows]:
    """The samples to train on, to choose the step by and to assess, and which they are.

    Fold 0 assesses, a part of fold 1 chooses. The first choice is by all samples of that part, two
    others by each of its halves. Groups are kept whole, over both sets.
    """
    rank = _ranks(rng, sides)
    of_half = _halves(sides, rank)
    last = max(_last_rank(*of_side) for of_side in zip(sides, rank, of_half, strict=True))
    select = [(side.fold == 1) & (order <= last) for side, order in zip(sides, rank, strict=True)]
    held_out = [side.fold == 0 for side in sides]
    train = [~(a | b) for a, b in zip(held_out, select, strict=True)]

    def part(rows: list[np.ndarray]) -> Sets:
        return Sets(
            *(samples[np.flatnonzero(row)] for samples, row in zip(sets, rows, strict=True))
        )

    halves = [half[row] for half, row in zip(of_half, select, strict=True)]
    choices = [
        np.stack([np.ones(len(half)), half == 0, half == 1])[:num_choices] * side.weights[row]
        for half, side, row in zip(halves, sides, select, strict=True)
    ]
    parts = Parts(
        part(train),
        part(select),
        part(held_out),
        (jnp.asarray(choices[0], np.float32), jnp.asarray(choices[1], np.float32)),
        {
            name: both_as_jax(
                tuple(side.weights[row] for side, row in zip(sides, rows, strict=True)),
                sets.data.dtype,
            )
            for name, rows in (("train", train), ("select", select), ("held_out", held_out))
        },
    )
    return parts, Rows(*(np.concatenate(rows) for rows in (train, select, held_out)))


def _ranks(rng: np.random.Generator, sides: tuple[Side, Side]) -> list[np.ndarray]:
    """For every sample, the place of its group among those of its fold, in random order."""
    groups = np.concatenate([side.group for side in sides])
    folds = np.concatenate([side.fold for side in sides])
    _, first, numbers = np.unique(groups, return_index=True, return_inverse=True)
    order = rng.permutation(len(first))
    of_fold, place = folds[first][order], np.empty(len(first), int)
    for fold in np.unique(folds):
        members = order[of_fold == fold]
        place[members] = np.arange(len(members))
    return np.split(place[numbers], [len(sides[0].group)])


def _halves(sides: tuple[Side, Side], rank: list[np.ndarray]) -> list[np.ndarray]:
    """The half of every sample of fold 1, 0 or 1; -1 outside of it.

    The groups of each set alternate in random order, those of both sets first, so that both halves
    have samples of a set wherever it has two groups.
    """
    ranks = [np.unique(order[side.fold == 1]) for side, order in zip(sides, rank, strict=True)]
    shared = np.intersect1d(ranks[0], ranks[1])
    halves = []
    for side, order, of_side in zip(sides, rank, ranks, strict=True):
        groups = np.concatenate([shared, np.setdiff1d(of_side, shared)])
        of_rank = np.full(1 + order.max(), -1)
        of_rank[groups] = np.arange(len(groups)) % 2
        halves.append(np.where(side.fold == 1, of_rank[order], -1))
    return halves


def _last_rank(side: Side, rank: np.ndarray, half: np.ndarray) -> int:
    """The rank up to which fold 1 holds the number of samples that choose, some in each half."""
    target = min(max(len(side.fold) // 10, _SELECT[0]), _SELECT[1])
    ranks = np.sort(rank[side.fold == 1])
    firsts = [int(rank[half == number].min()) for number in (0, 1) if (half == number).any()]
    return max(int(ranks[min(target, len(ranks)) - 1]), *firsts)


def have_both_sets(parts: Parts) -> bool:
    """Whether every choice of a step has samples of both sets: large groups may be too few."""
    return all((np.asarray(choice) > 0).any(axis=1).all() for choice in parts.choices)


def network(
    key: PRNGKeyArray, start: Params, pooled: jax.Array, weights: np.ndarray
) -> tuple[Params, LogRatioFn]:
    """A simple log ratio plus a perceptron of standardized coordinates, which is zero at first."""
    pooled = inside(start, pooled)
    mean, spread = (
        jnp.asarray(moment, pooled.dtype) for moment in moments(np.asarray(pooled), weights)
    )
    params, energy = mlp_energy(key, pooled.shape[1])
    params["output"]["kernel"] = jnp.zeros_like(params["output"]["kernel"])
    return params, _Corrected(start, mean, spread, energy)


@dataclass(frozen=True, eq=False)
class _Corrected:
    """A simple log ratio plus an energy: an object, since local functions cannot be pickled."""

    start: Params
    mean: jax.Array
    spread: jax.Array
    energy: LogRatioFn

    def __call__(self, params: Params, x: jax.Array) -> jax.Array:
        z = (inside(self.start, x) - self.mean[None]) / self.spread[None]
        return log_ratio(self.start, x) + self.energy(params, z)


def is_better(
    descent: Descent,
    log_ratio_fn: LogRatioFn,
    start: Params,
    parts: Parts,
    group: np.ndarray,
    weights: np.ndarray | None = None,
) -> bool:
    """Whether a network lowers the loss of the model that it starts from by a standard error.

    The parameters whose loss on one half is compared were chosen by the other half.
    """
    jitted = jax.jit(log_ratio_fn)
    simple = [np.asarray(log_ratio(start, side), np.float64) for side in parts.select]
    is_data = np.arange(sum(len(side) for side in simple)) < len(simple[0])
    weights = np.ones(len(is_data)) if weights is None else weights
    gains = np.zeros(len(is_data))
    for half in (1, 2):
        params = descent.chosen(half)
        rows = [np.asarray(choice[3 - half]) > 0 for choice in parts.choices]
        of_half = np.split(weights, [len(simple[0])])
        of_half = [side[row] for side, row in zip(of_half, rows, strict=True)]
        fitted = [np.asarray(jitted(params, side), np.float64) for side in parts.select]
        losses = [
            _profiled_terms([s[row] for s, row in zip(ratios, rows, strict=True)], of_half)
            for ratios in (simple, fitted)
        ]
        gains[np.concatenate(rows)] = losses[0] - losses[1]
    error = standard_error(gains, is_data, group, weights)
    return bool(side_mean(gains, is_data, weights) > error)


def excess_of_network(
    excess_loss: float,
    simple: Sequence[Float[ArrayLike, "..."]],
    fitted: Sequence[Float[ArrayLike, "..."]],
    weights: np.ndarray | None = None,
) -> float:
    """The part of a network's loss that more samples would remove, as far as it is known.

    With more samples the simple model alone would lose `excess_loss`. As much of it as the network
    has not gained on held-out samples is left. NaN where nothing is: the network's own excess is
    not known.

    Args:
      excess_loss: that of the simple model.
      simple: log ratios of held-out data and noise by the simple model, which the network corrects.
      fitted: those by the network.
      weights: weights of the samples, the data first; None for equal ones.
    """
    sides = [np.asarray(side, np.float64) for side in (*simple, *fitted)]
    is_data = np.arange(len(sides[0]) + len(sides[1])) < len(sides[0])
    weights = np.ones(len(is_data)) if weights is None else weights
    of_sides = [weights[is_data], weights[~is_data]]
    terms = [_profiled_terms(sides[first : first + 2], of_sides) for first in (0, 2)]
    gain = side_mean(terms[0] - terms[1], is_data, weights)
    left = excess_loss - float(gain)
    return left if left > 0 else np.nan


def _profiled_terms(log_ratios: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Terms of the loss at the F of log ratios of data and of noise."""
    data, noise = (jnp.asarray(side) for side in log_ratios)
    root = float(solve(data, noise, (weights[0], weights[1])).log_partition)
    values = np.concatenate(log_ratios) - root
    return loss_of(values, np.arange(len(values)) < len(log_ratios[0]))
