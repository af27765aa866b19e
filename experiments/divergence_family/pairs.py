"""Pairs of distributions with known divergences: samples, log ratio and quadrature."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Quadrature(NamedTuple):
    """Log ratios at the points, with weights of data and noise.

    The integral of f over p is sum f(s) p.
    """

    log_ratio: np.ndarray
    p: np.ndarray
    q: np.ndarray

    def padded(self, size: int) -> "Quadrature":
        """Adds points of zero weight, so that all pairs share one compiled program."""
        return Quadrature(*(np.pad(part, (0, size - part.size)) for part in self))


class Pair(NamedTuple):
    """Data p and noise q, and their divergences.

    `draw(key, is_data, shape)` returns the true log p / q at samples of p or of q.
    """

    name: str
    kl: float
    """KL(p || q)."""
    reverse_kl: float
    """KL(q || p)."""
    draw: Callable[[jax.Array, bool, tuple[int, ...]], jax.Array]
    quadrature: Callable[[int], Quadrature]


def gaussians(name: str, mean: float, width: float) -> Pair:
    """p = N(mean, width^2), q = N(0, 1)."""

    def log_ratio(x):
        return x**2 / 2 - ((x - mean) / width) ** 2 / 2 - np.log(width)

    def draw(key, is_data: bool, shape) -> jax.Array:
        x = jax.random.normal(key, shape)
        return log_ratio(mean + width * x if is_data else x)

    def quadrature(num_grid: int) -> Quadrature:
        # Twelve standard deviations of either; the mass beyond is below rounding.
        x = np.linspace(min(-12.0, mean - 12 * width), max(12.0, mean + 12 * width), num_grid)
        log_q = -(x**2) / 2 - np.log(2 * np.pi) / 2
        step = x[1] - x[0]
        return Quadrature(log_ratio(x), step * np.exp(log_q + log_ratio(x)), step * np.exp(log_q))

    kl = (mean**2 + width**2 - 1) / 2 - np.log(width)
    reverse_kl = (1 + mean**2) / (2 * width**2) - 0.5 + np.log(width)
    return Pair(name, float(kl), float(reverse_kl), draw, quadrature)


def discrete(name: str, p: tuple[float, ...], q: tuple[float, ...]) -> Pair:
    """Two distributions over a few symbols, whose divergences are finite sums."""
    p_array, q_array = np.array(p), np.array(q)
    ratios = np.log(p_array / q_array)

    def draw(key, is_data: bool, shape) -> jax.Array:
        logits = jnp.log(jnp.asarray(p_array if is_data else q_array))
        return jnp.asarray(ratios)[jax.random.categorical(key, logits, shape=shape)]

    return Pair(
        name,
        float(p_array @ ratios),
        float(-q_array @ ratios),
        draw,
        lambda num_grid: Quadrature(ratios, p_array, q_array),
    )


def pairs() -> list[Pair]:
    return [
        discrete("three symbols", (0.7, 0.2, 0.1), (0.1, 0.3, 0.6)),
        gaussians("1 apart", 1.0, 1.0),
        gaussians("2 apart", 2.0, 1.0),
        gaussians("4 apart", 4.0, 1.0),
        gaussians("twice as wide", 0.0, 2.0),
    ]


FARTHEST = "4 apart"
"""Name of the pair with the largest divergence."""


def exact_divergence(quadrature: Quadrature, kappa: float) -> float:
    """D_kappa by its definition, KL(p || m) + kappa KL(q || m), m = (p + kappa q) / (1 + kappa)."""
    _, p, q = quadrature
    m = (p + kappa * q) / (1 + kappa)
    return float(p @ np.log(p / m) + kappa * (q @ np.log(q / m)))
