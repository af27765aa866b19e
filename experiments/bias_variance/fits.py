"""Slopes, the best M of a curve and its flat range, and exponents with bootstrap intervals."""

import itertools

import numpy as np

WINDOW = 0.5
"""Half width, in decades, of the window around the smallest entry in which a parabola is fitted."""


def slope(x: np.ndarray, y: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Slope of log y against log x within [low, high], and half of its 95 % interval.

    For exact curves the interval describes how straight the line is.
    """
    inside = (x >= low * 0.999) & (x <= high * 1.001) & (y > 0)
    if inside.sum() < 3:
        return float("nan"), float("nan")
    x, y = np.log(x[inside]), np.log(y[inside])
    x, y = x - x.mean(), y - y.mean()
    estimate = x @ y / (x @ x)
    return float(estimate), float(
        1.96 * np.sqrt(np.sum((y - estimate * x) ** 2) / (x.size - 2) / (x @ x))
    )


def best_magnification(
    magnifications: np.ndarray, curves: np.ndarray, window: float = WINDOW
) -> np.ndarray:
    """The M that minimizes each curve (..., M), from a parabola fitted around its smallest entry.

    The curves are flat, so that single grid points would be erratic. The vertex of the log-log
    parabola is limited to the points of the fit: a curve that falls to the end of the grid has its
    best M there.
    """
    log_m = np.log10(magnifications)
    spacing = log_m[1] - log_m[0]
    reach = min(max(round(window / spacing), 1), (len(log_m) - 1) // 2)
    smallest_value = curves.min(axis=-1, keepdims=True)
    # Infinite entries far from the minimum must not influence the parabola.
    y = np.log(np.minimum(curves, 10 * smallest_value))
    smallest = y.argmin(axis=-1)
    middle = np.clip(smallest, reach, len(log_m) - 1 - reach)
    offsets = np.arange(-reach, reach + 1)
    local = np.take_along_axis(y, middle[..., None] + offsets, axis=-1)
    _, linear, square = np.moveaxis(
        local @ np.linalg.pinv(np.vander(offsets, 3, increasing=True)).T, -1, 0
    )
    vertex = np.where(
        square > 0, -linear / (2 * np.where(square > 0, square, 1.0)), smallest - middle
    )
    return 10 ** (log_m[middle] + spacing * np.clip(vertex, -reach, reach))


def flat_range(
    magnifications: np.ndarray, curve: np.ndarray, factor: float = 1.05
) -> tuple[float, float]:
    """Range of M around the best where the interpolated curve is within `factor` of its minimum."""
    fine = np.linspace(*np.log10(magnifications[[0, -1]]), 4001)
    values = np.interp(
        fine, np.log10(magnifications), np.log(np.minimum(np.asarray(curve, float), 1e300))
    )
    outside = np.flatnonzero(values > values.min() + np.log(factor))
    best = values.argmin()
    low = max(outside[outside < best], default=-1) + 1
    high = min(outside[outside > best], default=len(fine)) - 1
    return float(10 ** fine[low]), float(10 ** fine[high])


def exponent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of log y (..., x) against log x."""
    centered = np.log(x) - np.log(x).mean()
    return np.log(y) @ centered / (centered @ centered)


def reduce(errors: np.ndarray, measure: str) -> np.ndarray:
    """Mean or median over seeds, the last axis."""
    return errors.mean(axis=-1) if measure == "mean" else np.median(errors, axis=-1)


def bootstrap(
    errors: np.ndarray, measure: str, num_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Curves of resampled seeds, (resample, M), from errors (M, seed).

    All M use the same seeds, since they share draws.
    """
    num_seeds = errors.shape[-1]
    if measure == "mean":
        counts = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
        return counts.astype(float) @ errors.T / num_seeds
    rows = rng.integers(num_seeds, size=(num_resamples, num_seeds))
    return np.median(errors[:, rows], axis=-1).T


def fitted(
    magnifications: np.ndarray,
    sample_sizes,
    errors: list[np.ndarray],
    measure: str,
    num_resamples: int,
) -> dict:
    """Best M per n and the exponent, as (estimate, 2.5 %, 97.5 %), from errors (M, seed) per n."""
    rng = np.random.default_rng(0)
    sizes = np.asarray(sample_sizes, float)
    best = best_magnification(magnifications, np.stack([reduce(e, measure) for e in errors]))
    resampled = np.stack(
        [
            best_magnification(magnifications, bootstrap(e, measure, num_resamples, rng))
            for e in errors
        ],
        axis=-1,
    )
    return {
        "best": with_interval(best, resampled),
        "exponent": with_interval(exponent(sizes, best), exponent(sizes, resampled)),
    }


def with_interval(value: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """An estimate with the 2.5 % and 97.5 % quantiles of its resamples, (..., 3).

    Resamples are on the first axis.
    """
    return np.stack([value, *np.quantile(resampled, [0.025, 0.975], axis=0)], axis=-1)


def variance_slopes(
    x: np.ndarray,
    sizes: np.ndarray,
    deviations: list[np.ndarray],
    nodes: list[int],
    num_resamples: int,
):
    """Slopes of the mean deviation against n, (node, 3), and against M, (n, window, 3).

    The first are at the nodes of M, and the second between neighboring nodes.
    """
    rng = np.random.default_rng(0)
    curves = np.stack([seed_deviations.mean(-1) for seed_deviations in deviations])[None]
    # (resample, n, M).
    resampled_curves = np.stack(
        [bootstrap(seed_deviations, "mean", num_resamples, rng) for seed_deviations in deviations],
        axis=1,
    )

    def slopes(curves):
        in_n = exponent(sizes, np.moveaxis(curves[..., nodes], 1, -1))
        windows = [slice(low, high + 1) for low, high in itertools.pairwise(nodes)]
        return in_n, np.stack(
            [exponent(x[window], curves[..., window]) for window in windows], axis=-1
        )

    return tuple(
        with_interval(estimate[0], resampled)
        for estimate, resampled in zip(slopes(curves), slopes(resampled_curves), strict=True)
    )
