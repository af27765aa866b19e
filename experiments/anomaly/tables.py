"""The tables: protocol, and detectors made of a density ratio to a widened Gaussian."""

import warnings
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.anomaly.config import TableSettings
from experiments.anomaly.detectors import DETECTORS, area
from experiments.common.datasets.adbench import Table
from experiments.common.over_seeds import cell_seeds
from nce_jax import criteria, fit_log_ratio, models, noise, telescoping, training

CHAINS = ((1, 1.0), (1, 100.0), (3, 1.0), (3, 100.0))
"""Pairs of K and M."""
METHODS = (
    *DETECTORS,
    "Mahalanobis",
    "ratio",
    "ratio alone",
    *(f"K = {stages}, M = {magnification:g}" for stages, magnification in CHAINS),
)
"""The order of the columns of `table_areas`."""


class Split(NamedTuple):
    """Standardized training and test rows, float32, and the labels of the test rows."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def split(settings: TableSettings, table: Table, seed: int) -> Split:
    """Splits a table: a share of the normal rows to train on, all other rows to be scored.

    Rows are standardized by the training rows; a column that is constant there is centered, and one
    that is constant in the whole table is left out.
    """
    rng = np.random.default_rng([seed, len(table.x)])
    normal = rng.permutation(np.flatnonzero(table.labels == 0))
    count = round(settings.train_share * len(normal))
    known, rest = normal[: min(count, settings.max_train)], normal[count:]
    scored = np.concatenate([rest, np.flatnonzero(table.labels == 1)])
    scored = rng.permutation(scored)[: settings.max_test]
    center, spread = table.x[known].mean(axis=0), table.x[known].std(axis=0)
    spread = np.where(spread > 1e-9 * (1 + np.abs(center)), spread, 1)
    kept = np.ptp(table.x, axis=0) > 0
    train, test = (
        ((table.x[rows] - center) / spread)[:, kept].astype(np.float32) for rows in (known, scored)
    )
    return Split(train, test, table.labels[scored])


def widened(settings: TableSettings, train: np.ndarray):
    """The noise: the Gaussian fitted to the training rows, wider by `widening`."""
    wide = settings.widening * jnp.asarray(train)
    return noise.fitted_gaussian(wide, ridge=settings.ridge)


def table_areas(settings: TableSettings, table: Table) -> np.ndarray:
    """Areas under the precision-recall curve, (seed, method)."""
    splits = {seed: split(settings, table, seed) for seed in seeds_of(settings)}
    single = np.array([_single(settings, part, seed) for seed, part in splits.items()])
    return np.concatenate([single, _chains(settings, list(splits.values()))], axis=1)


def seeds_of(settings: TableSettings) -> range:
    return cell_seeds(settings.seed, settings.table_seeds)


def _single(settings: TableSettings, part: Split, seed: int) -> list[float]:
    scores = [detect(part.train, part.test, seed) for detect in DETECTORS.values()]
    fitted = widened(settings, part.train)
    log_noise = np.asarray(fitted.log_prob(part.test))
    with warnings.catch_warnings():
        # Where the ratio is unreliable is not asked here: the score is judged by its area.
        warnings.simplefilter("ignore")
        estimate = fit_log_ratio(
            jax.random.key(seed), jnp.asarray(part.train), fitted, progress=False
        )
    log_ratio = np.asarray(estimate.log_ratio(part.test))
    scores += [-log_noise, -log_noise - log_ratio, -log_ratio]
    return [area(score, part.labels) for score in scores]


def _chains(settings: TableSettings, splits: list[Split]) -> np.ndarray:
    """Areas of the chains, (seed, chain): seeds and M of one K are one program."""
    train, test = (np.stack([getattr(part, name) for part in splits]) for name in Split._fields[:2])
    noises = [widened(settings, part.train) for part in splits]
    log_noise = np.stack(
        [fitted.log_prob(part.test) for fitted, part in zip(noises, splits, strict=True)]
    )
    moments = (
        jnp.stack([fitted.loc for fitted in noises]),
        jnp.stack([fitted.scale_tri for fitted in noises]),
    )
    keys = jax.vmap(jax.random.key)(jnp.array(seeds_of(settings)))
    columns = []
    for num_stages in dict.fromkeys(stages for stages, _ in CHAINS):
        strengths = jnp.array([m for stages, m in CHAINS if stages == num_stages])
        of_seed = jax.vmap(partial(train_chain, settings, num_stages), (0, None, None, None, None))
        lanes = jax.jit(jax.vmap(of_seed, (None, 0, 0, 0, 0)))
        log_ratio = lanes(strengths, keys, train, moments, test)
        columns.append(-np.asarray(log_ratio) - log_noise[:, None])
    scores = np.concatenate(columns, axis=1)
    return np.array(
        [
            [area(score, part.labels) for score in rows]
            for rows, part in zip(scores, splits, strict=True)
        ]
    )


def train_chain(settings: TableSettings, num_stages: int, magnification, key, train, moments, test):
    """Log ratios of test rows to the noise, by a chain of stages with F solved."""
    key_model, key_train = jax.random.split(key)
    energy = partial(models.mlp_energy, dim=train.shape[1], hidden=settings.table_hidden)
    _, of_network = energy(jax.random.key(0))
    stages_fn = telescoping.separate(
        lambda params, x: of_network(params, jnp.clip(x, -settings.clip, settings.clip))
    )
    step = training.make_stage_step(
        stages_fn,
        None,
        optax.adam(optax.cosine_decay_schedule(settings.table_rate, settings.table_steps)),
        noise_levels=np.linspace(0.0, 1.0, num_stages + 1),
        criterion=criteria.nce(magnification=magnification),
    )
    state = step.init(jax.vmap(lambda key: energy(key)[0])(jax.random.split(key_model, num_stages)))

    def advance(state, number):
        key_rows, key_noise = jax.random.split(jax.random.fold_in(key_train, number))
        rows = jax.random.randint(key_rows, (settings.table_batch,), 0, len(train))
        normal = jax.random.normal(key_noise, (settings.table_batch, train.shape[1]))
        batch = training.Batch(train[rows], moments[0] + normal @ moments[1].T)
        return step(state, batch, key_train)[0], None

    state, _ = jax.lax.scan(advance, state, jnp.arange(settings.table_steps))
    whole = telescoping.telescoped(stages_fn, num_stages)
    return whole(state.params, test) - jnp.sum(state.log_partition)
