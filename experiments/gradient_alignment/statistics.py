"""Distances between paths, slopes with their intervals, and the headline numbers."""

import numpy as np


def stray(path: np.ndarray, reference: np.ndarray) -> float:
    """The farthest that a path (step, parameter) gets from the reference's curve, wherever along
    it.
    """
    start, edge = reference[:-1], np.diff(reference, axis=0)
    length = np.maximum(np.sum(edge**2, axis=-1), 1e-300)
    along = np.clip(np.einsum("psk,sk->ps", path[:, None] - start[None], edge) / length[None], 0, 1)
    nearest = start[None] + along[..., None] * edge[None]
    return float(np.linalg.norm(path[:, None] - nearest, axis=-1).min(axis=1).max())


def lag(path: np.ndarray, reference: np.ndarray) -> float:
    """The largest distance between two paths at equal steps."""
    return float(np.linalg.norm(path - reference, axis=-1).max())


def slope(
    magnifications: np.ndarray, values: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    """Slope of log values against log M within [low, high], and half of its 95 % interval.

    Nothing is random here: the interval is about how straight the line is.
    """
    inside = (magnifications >= low * 0.999) & (magnifications <= high * 1.001)
    x, y = np.log(magnifications[inside]), np.log(values[inside])
    x, y = x - x.mean(), y - y.mean()
    estimate = x @ y / (x @ x)
    return float(estimate), float(
        1.96 * np.sqrt(np.sum((y - estimate * x) ** 2) / (x.size - 2) / (x @ x))
    )
