"""Networks, one per fold, that correct the copula's log ratio by NCE on pairs and shuffled pairs.

All folds train in one program, whose shapes are padded to a few sizes: another number of samples
or of coordinates of the same size compiles nothing.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._numerics import softplus
from nce_jax._padding import padded_size
from nce_jax._promotion import standard_promotion
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.ratio_estimation._information._copula import Copula, log_ratios

STEPS_PER_ROUND = 100
"""Steps between two looks at the held-out loss."""

_WIDTH, _HIDDEN_LAYERS = 64, 3
_BATCH = 256
"""Pairs of a step and fold, and as many shuffled pairs."""

_RATE = 5e-3
_DECAY, _FULL_DECAY_DIM = 0.1, 6
"""Weight decay, in full from so many coordinates of both sides on, and less, as their square, below
that: with many coordinates it is the samples that limit a network, with few its flexibility."""

_AVERAGED = 0.2
"""The share of the steps so far over which parameters are averaged. An average of the last steps
does what a falling rate would do, without the number of steps having to be known."""

_LOW_DIM, _LOW_DIM_SCALE = 3, 2.0
"""Up to so many coordinates the first layer starts with weights so much larger: waves in a plane
are found sooner."""

_BLOCK = 4096
"""Pairs of a fold whose log ratios are computed in one call."""


class Samples(NamedTuple):
    """What the networks see of the samples, padded.

    Attributes:
      w_x: the copula's scores of x, (n, d_x).
      w_y: those of y.
      features_x: normal scores of x and their squared norm, (n, p_x).
      features_y: the same of y.
    """

    w_x: Any
    w_y: Any
    features_x: Any
    features_y: Any


class Networks(NamedTuple):
    """The networks of all folds in training; leaves have a leading axis for the folds."""

    params: Params
    average: Params
    optimizer_state: Any
    num_steps: Any


class Problem(NamedTuple):
    """The arguments of the programs that do not change during the training.

    Attributes:
      samples: what the networks see.
      copulas: the copula of every fold.
      rows: training samples of every fold, padded, (folds, n).
      counts: their numbers, (folds,).
      decay: weight decay.
    """

    samples: Samples
    copulas: Copula
    rows: Any
    counts: Any
    decay: Any


def make_problem(
    w_x: np.ndarray,
    w_y: np.ndarray,
    normal_x: np.ndarray,
    normal_y: np.ndarray,
    copulas: list[Copula],
    fold: np.ndarray,
) -> Problem:
    """Pads the samples and stacks the copulas of the folds, in float32."""
    count, num_folds = padded_size(len(fold)), len(copulas)
    dims = [_padded_dim(side.shape[1]) for side in (w_x, w_y)]
    samples = Samples(
        *(_padded(side, count, dim) for side, dim in zip((w_x, w_y), dims, strict=True)),
        *(
            _padded(with_radius(side), count, _padded_dim(side.shape[1] + 1))
            for side in (normal_x, normal_y)
        ),
    )
    shapes = {"joint_x": (0, 0), "joint_y": (1, 1), "joint_xy": (0, 1), "of_x": (0, 0)}
    shapes["of_y"] = (1, 1)
    stacked = {
        name: np.stack(
            [
                _padded(getattr(params, name), dims[shapes[name][0]], dims[shapes[name][1]])
                if name in shapes
                else np.float32(getattr(params, name))
                for params in copulas
            ]
        )
        for name in Copula._fields
    }
    rows = np.zeros((num_folds, count), np.int32)
    counts = np.array([(fold != number).sum() for number in range(num_folds)], np.int32)
    for number in range(num_folds):
        rows[number, : counts[number]] = np.flatnonzero(fold != number)
    freedom = min(1.0, (normal_x.shape[1] + normal_y.shape[1]) / _FULL_DECAY_DIM) ** 2
    return jax.device_put(
        Problem(samples, Copula(**stacked), rows, counts, np.float32(_DECAY * freedom))
    )


def with_radius(normal: np.ndarray) -> np.ndarray:
    """Normal scores and their squared norm, with mean zero and spread one; one column as it is."""
    if normal.shape[1] == 1:
        return normal
    radius = np.square(normal).sum(axis=1, keepdims=True)
    spread = radius.std()
    return np.concatenate([normal, (radius - radius.mean()) / (spread or 1)], axis=1)


def _padded_dim(dim: int) -> int:
    return max(4, 1 << (dim - 1).bit_length())


def _padded(array: np.ndarray, *shape: int) -> np.ndarray:
    result = np.zeros(shape, np.float32)
    result[tuple(slice(size) for size in array.shape)] = array
    return result


def initial_networks(key: PRNGKeyArray, problem: Problem, dims: tuple[int, int]) -> Networks:
    """Networks of silent output; weights see only the columns that are no padding.

    Args:
      key: typed key.
      problem: the samples.
      dims: numbers of coordinates of x and of y.
    """
    widths = [side.shape[1] for side in problem.samples[2:]]
    used = [dim + (dim > 1) for dim in dims]
    scale = (_LOW_DIM_SCALE if sum(dims) <= _LOW_DIM else 1.0) / np.sqrt(sum(used))
    num_folds = problem.rows.shape[0]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())

    def weights(rows: int, spread: float) -> np.ndarray:
        return (spread * rng.standard_normal((num_folds, rows, _WIDTH))).astype(np.float32)

    bias = np.zeros((num_folds, _WIDTH), np.float32)
    layers = [(weights(sum(widths), float(scale)), bias)]
    layers += [(weights(_WIDTH, _WIDTH**-0.5), bias) for _ in range(_HIDDEN_LAYERS - 1)]
    params = {"hidden": layers, "output": np.zeros((num_folds, _WIDTH), np.float32)}
    params = jax.device_put(params)
    with standard_promotion():
        state = jax.vmap(optax.adamw(_RATE).init)(params)
    return Networks(params, params, state, jnp.float32(0))


def _log_ratio(
    params: Params, copula: Copula, samples: Samples, rows: jax.Array, columns: jax.Array
) -> jax.Array:
    """Log ratios of x in these rows with y in these columns, up to a constant."""
    value = jnp.concatenate([samples.features_x[rows], samples.features_y[columns]], axis=-1)
    for weights, bias in params["hidden"]:
        value = jax.nn.silu(value @ weights + bias)
    return log_ratios(copula, samples.w_x[rows], samples.w_y[columns], jnp) + (
        value @ params["output"]
    )


def _loss(params, copula, samples, rows, columns) -> jax.Array:
    """The NCE loss of rows whose first half is joint pairs, the second half shuffled ones."""
    joint, shuffled = jnp.split(_log_ratio(params, copula, samples, rows, columns), 2)
    return jnp.mean(softplus(-joint)) + jnp.mean(softplus(shuffled))


@jax.jit
def _round(networks: Networks, problem: Problem, key: PRNGKeyArray) -> Networks:
    """`STEPS_PER_ROUND` steps of every fold, each on its own pairs."""
    optimizer = optax.adamw(_RATE, weight_decay=problem.decay)

    def of_fold(params, average, state, copula, rows, columns, keep):
        gradient = jax.grad(_loss)(params, copula, problem.samples, rows, columns)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, average, params)
        return params, average, state

    def step(networks: Networks, key: PRNGKeyArray) -> tuple[Networks, None]:
        num_folds = len(problem.counts)
        drawn = jax.random.uniform(key, (num_folds, 3 * _BATCH), jnp.float32)
        drawn *= problem.counts[:, None].astype(jnp.float32)
        # A product may be rounded up to the count itself.
        drawn = jnp.minimum(drawn.astype(jnp.int32), problem.counts[:, None] - 1)
        chosen = jnp.take_along_axis(problem.rows, drawn, axis=1)
        keep = 1 - 1 / (1 + _AVERAGED * networks.num_steps)
        axes = (0, 0, 0, 0, 0, 0, None)
        params, average, state = jax.vmap(of_fold, in_axes=axes)(
            networks.params,
            networks.average,
            networks.optimizer_state,
            problem.copulas,
            chosen[:, : 2 * _BATCH],
            jnp.concatenate([chosen[:, :_BATCH], chosen[:, 2 * _BATCH :]], axis=1),
            keep,
        )
        return Networks(params, average, state, networks.num_steps + 1), None

    return jax.lax.scan(step, networks, jax.random.split(key, STEPS_PER_ROUND))[0]


def train_round(networks: Networks, problem: Problem, key: PRNGKeyArray) -> Networks:
    """Networks after `STEPS_PER_ROUND` more steps."""
    with standard_promotion():
        return _round(networks, problem, key)


@jax.jit
def _of_pairs(params: Params, problem: Problem, rows: jax.Array, columns: jax.Array) -> jax.Array:
    values = partial(_log_ratio, samples=problem.samples)
    return jax.vmap(lambda p, c, i, j: values(p, c, rows=i, columns=j))(
        params, problem.copulas, rows, columns
    )


def log_ratios_of_pairs(
    params: Params, problem: Problem, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Log ratios of pairs of every fold, (folds, pairs), in float64."""
    num_pairs = rows.shape[1]
    blocks = []
    for start in range(0, num_pairs, _BLOCK):
        block = [side[:, start : start + _BLOCK] for side in (rows, columns)]
        missing = _BLOCK - block[0].shape[1]
        padded = [np.pad(side, ((0, 0), (0, missing))).astype(np.int32) for side in block]
        with standard_promotion():
            values = _of_pairs(params, problem, *jax.device_put(padded))
        blocks.append(np.asarray(values, np.float64)[:, : _BLOCK - missing])
    return np.concatenate(blocks, axis=1)
