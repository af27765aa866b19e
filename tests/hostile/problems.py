"""Random problems for F, many lanes at once, of the kinds that lead a solver astray in silence."""

from typing import NamedTuple

import numpy as np

TAILS = ("normal", "heavy", "lattice", "constant")
MAX_EXPONENT = {"float32": 30.0, "float64": 290.0, "bfloat16": 30.0}
"""Weights are scaled by up to 10 to this power: their sums stay within the range of the dtype."""


class Problems(NamedTuple):
    """One problem per lane.

    Attributes:
      data: log ratios of the data, (lanes, n).
      noise: log ratios of the noise, (lanes, m).
      weights_data: weights >= 0, or None where all samples count alike.
      weights_noise: the same for the noise.
      kappa: the weight of the noise, (lanes).
    """

    data: np.ndarray
    noise: np.ndarray
    weights_data: np.ndarray | None
    weights_noise: np.ndarray | None
    kappa: np.ndarray


def draw_problems(
    generator: np.random.Generator,
    num_lanes: int,
    num_data: int,
    num_noise: int,
    *,
    dtype: str,
    weighting: str,
) -> Problems:
    """Draws problems as a solver sees them: every number is exact in float32 or float64.

    Args:
      generator: of the draws.
      num_lanes: number of problems.
      num_data: samples per lane; with the weighting "padded", the most that a lane has.
      num_noise: the same for the noise.
      dtype: "float32", "float64" or "bfloat16", in which the log ratios are exact.
      weighting: "none"; "outside", none, and some noise samples at -inf; "padded", weights one and
        zero, with NaN where they are zero; "random", between 0.1 and 3; "scaled", the same times a
        power of ten per side; "wide", over eight decades within a lane; "lost", none, and up to
        99 % of the data at +inf and of the noise at -inf; "unused", random, with infinities of
        either sign where they are zero.
    """
    separation = _separation(generator, num_lanes, dtype)
    tails = generator.choice(TAILS, num_lanes)
    shifted = np.where(generator.random(num_lanes) < 0.3, 10.0 ** generator.uniform(0, 4), 0.0)
    sides = []
    for center, size in ((separation / 2, num_data), (-separation / 2, num_noise)):
        x = _standardized(generator, tails, size)
        width = np.minimum(np.maximum(np.abs(separation), 0.1), 20.0)
        sides.append(_rounded(center[:, None] + width[:, None] * x + shifted[:, None], dtype))
    data, noise = sides
    if weighting == "outside":
        _remove_mass(generator, noise)
    if weighting == "lost":
        _lose(generator, data, np.inf)
        _lose(generator, noise, -np.inf)
    weights = [_weights(generator, side, weighting, dtype) for side in sides]
    kappa = _kappa(generator, num_lanes, num_data, num_noise)
    return Problems(data, noise, weights[0], weights[1], _rounded(kappa, dtype, is_computed=True))


def _separation(generator: np.random.Generator, num_lanes: int, dtype: str) -> np.ndarray:
    """Nats between the two sides, negative where the data lie below the noise."""
    largest = 4.0 if dtype == "float64" else 3.5
    return generator.choice([-1, 1], num_lanes) * 10.0 ** generator.uniform(-2, largest, num_lanes)


def _standardized(generator: np.random.Generator, tails: np.ndarray, size: int) -> np.ndarray:
    shape = (len(tails), size)
    draws = {
        "normal": generator.normal(size=shape),
        "heavy": generator.standard_t(1.2, size=shape),
        "lattice": generator.integers(-2, 3, size=shape).astype(float),
        "constant": np.zeros(shape),
    }
    return np.stack([draws[name][lane] for lane, name in enumerate(tails)])


def _remove_mass(generator: np.random.Generator, noise: np.ndarray) -> None:
    """Sets about a third of the noise samples to -inf: the model has no mass there."""
    is_outside = generator.random(noise.shape) < 0.3
    is_outside[:, 0] = False  # one sample of every lane keeps its value
    noise[is_outside] = -np.inf


def _lose(generator: np.random.Generator, values: np.ndarray, vanishing: float) -> None:
    """Sets 0 to 99 % of every lane to the log ratio that vanishes from the equation."""
    fraction = generator.uniform(0, 0.99, (len(values), 1))
    is_lost = generator.random(values.shape) < fraction
    is_lost[:, 0] = False  # one sample of every lane keeps its value
    values[is_lost] = vanishing


def _kappa(
    generator: np.random.Generator, num_lanes: int, num_data: int, num_noise: int
) -> np.ndarray:
    """One in three a ratio of counts, at which a gap between samples balances; else at random."""
    ratios = generator.integers(1, num_data + 1, num_lanes) / num_data
    ratios /= generator.integers(1, num_noise + 1, num_lanes) / num_noise
    kind = generator.integers(0, 3, num_lanes)
    spread = 10.0 ** generator.uniform(-6, 6, num_lanes)
    return np.choose(kind, [np.ones(num_lanes), ratios, spread])


def _weights(
    generator: np.random.Generator, values: np.ndarray, weighting: str, dtype: str
) -> np.ndarray | None:
    if weighting in ("none", "outside", "lost"):
        return None
    lanes = len(values)
    if weighting == "padded":
        size = generator.integers(1, values.shape[1] + 1, lanes)
        weights = (np.arange(values.shape[1]) < size[:, None]).astype(float)
        values[weights == 0] = np.nan
        return _rounded(weights, dtype, is_computed=True)
    weights = generator.uniform(0.1, 3, values.shape)
    if weighting == "unused":
        is_unused = generator.random(values.shape) < 0.5
        is_unused[:, 0] = False
        weights[is_unused] = 0
        values[is_unused] = generator.choice([-np.inf, np.inf], int(is_unused.sum()))
    if weighting == "wide":
        weights = weights * 10.0 ** generator.uniform(-8, 0, values.shape)
    if weighting == "scaled":
        limit = MAX_EXPONENT[dtype]
        weights = weights * 10.0 ** generator.uniform(-limit, limit, lanes)[:, None]
    return _rounded(weights, dtype, is_computed=True)


def _rounded(values: np.ndarray, dtype: str, *, is_computed: bool = False) -> np.ndarray:
    """Values in the dtype of the computation, rounded to bfloat16 where that is the input's."""
    if dtype == "float64":
        return values.astype(np.float64)
    single = values.astype(np.float32)
    if dtype == "bfloat16" and not is_computed:
        # The upper half of the bits, rounded towards zero.
        single = (single.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return single
