"""Distances between paths, slopes with their intervals, and the headline numbers."""

import numpy as np

NEAR, FAR = (1e2, 1e4), (1e6, 1e8)
"""Ranges of M for a slope: that of the paper's figure, and one where the leading order may
dominate."""


def stray(path: np.ndarray, reference: np.ndarray) -> float:
    """Largest distance of a path (step, parameter) from the reference's curve at any step."""
    start, edge = reference[:-1], np.diff(reference, axis=0)
    length = np.maximum(np.sum(edge**2, axis=-1), 1e-300)
    along = np.clip(np.einsum("psk,sk->ps", path[:, None] - start[None], edge) / length[None], 0, 1)
    nearest = start[None] + along[..., None] * edge[None]
    return float(np.linalg.norm(path[:, None] - nearest, axis=-1).min(axis=1).max())


def lag(path: np.ndarray, reference: np.ndarray) -> float:
    """Largest distance between two paths at equal steps."""
    return float(np.linalg.norm(path - reference, axis=-1).max())


def slope(
    magnifications: np.ndarray, values: np.ndarray, low: float, high: float
) -> tuple[float, float]:
    """Slope of log values against log M within [low, high], and half of its 95 % interval.

    Nothing is random here: the interval describes how straight the line is.
    """
    inside = (magnifications >= low * 0.999) & (magnifications <= high * 1.001)
    x, y = np.log(magnifications[inside]), np.log(values[inside])
    x, y = x - x.mean(), y - y.mean()
    estimate = x @ y / (x @ x)
    return float(estimate), float(
        1.96 * np.sqrt(np.sum((y - estimate * x) ** 2) / (x.size - 2) / (x @ x))
    )


def headline(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for family in ("mean", "covariance"):
        numbers |= _distances(arrays, family) | _slopes(arrays, family)
        numbers[f"{family}_quadrature_error"] = float(arrays[f"{family}_quadrature_error"])
    return numbers | _tails(arrays)


def _distances(arrays, family: str) -> dict[str, float]:
    """Distances at the smallest and largest M; of the joint gradient also at infinite M."""
    numbers = {}
    for name in ("fixed", "solved", "joint"):
        for kind in ("stray", "lag"):
            values = arrays[f"{family}_{name}_{kind}"]
            ends = {"first": values[0], "last": values[arrays["magnifications"].size - 1]}
            ends |= {"limit": values[-1]} if name == "joint" else {}
            numbers |= {
                f"{family}_{name}_{kind}_{end}": float(value) for end, value in ends.items()
            }
    return numbers


def _slopes(arrays, family: str) -> dict[str, float]:
    """Smallest and largest slope over the points, in either range of M."""
    numbers = {}
    for name in ("fixed", "solved", "joint", "joint_off"):
        for range_name, limits in (("near", NEAR), ("far", FAR)):
            values = arrays[f"{family}_bias_magnifications"]
            slopes = [slope(values, bias, *limits)[0] for bias in arrays[f"{family}_{name}_bias"]]
            numbers |= {
                f"{family}_{name}_slope_{range_name}_least": max(slopes),
                f"{family}_{name}_slope_{range_name}_most": min(slopes),
            }
    return numbers


def _tails(arrays) -> dict[str, float]:
    """Slopes between M = 1e6 and 1e8 with F = log Z, and the largest error of the closed form."""
    values = arrays["tail_magnifications"]
    measured = arrays["tail_bias"][0]
    predicted = arrays["tail_predicted"]
    numbers = {
        f"tail_slope_{model:g}_{data:g}": slope(values, row, 1e6, 1e8)[0]
        for (model, data), row in zip(arrays["tails"], measured, strict=True)
    }
    return numbers | {
        "tail_closed_form_error": float(
            np.nanmax(np.abs(measured / predicted - 1)[:, values > 0.99e6])
        )
    }
