"""Statistics of many states: z-scores, coverage, baselines. NumPy alone."""

from statistics import NormalDist
from typing import Any

import numpy as np

from nce_jax import Status

SYSTEMS = ("oscillators_good", "oscillators_poor", "exponentials_good", "exponentials_poor")
"""Axis of the systems: kind and overlap."""

LEVELS = (0.95, 0.68)
"""Levels of the intervals."""

MBAR = ("delta_f", "standard_error")
SANDWICH = ("delta_f", "sandwich_error")
CHAIN = ("chain_delta_f", "chain_error")
INDEPENDENT = ("chain_delta_f", "chain_error_if_independent")


def scores(arrays: dict[str, np.ndarray], method: tuple[str, str]) -> np.ndarray:
    """Error in standard errors, (number of states, system, repetition); NaN without an estimate."""
    value, error = (arrays[f"states_{name}"] for name in method)
    return (value - arrays["states_exact"][..., None]) / error


def quantile(level: float) -> float:
    """Half width of an interval in standard errors."""
    return NormalDist().inv_cdf((1 + level) / 2)


def coverage(z: np.ndarray, level: float = LEVELS[0]) -> np.ndarray:
    """Share of the intervals given that hold the truth; NaN where none is given."""
    return _mean(np.abs(z) < quantile(level), np.isfinite(z))


def interval_coverage(intervals: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The same of intervals (system, repetition, level, end), (system, level)."""
    lower, upper = np.moveaxis(intervals, -1, 0)
    exact = exact[:, None, None]
    is_given = np.isfinite(lower) & np.isfinite(upper)
    return _mean((lower < exact) & (exact < upper), is_given, axis=1)


def _mean(values: np.ndarray, is_given: np.ndarray, axis: int = -1) -> np.ndarray:
    number = np.sum(is_given, axis=axis)
    total = np.sum(np.where(is_given, values, 0), axis=axis)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def moments(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the repetitions with an estimate."""
    is_given = np.isfinite(z)
    mean = _mean(z, is_given)
    return mean, np.sqrt(_mean(np.square(z - mean[..., None]), is_given))


def variance_ratio(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Variance of MBAR over that of the chain, where both have an estimate."""
    mbar, chain = (
        arrays[f"states_{name}"] - arrays["states_exact"][..., None]
        for name in ("delta_f", "chain_delta_f")
    )
    is_given = np.isfinite(mbar) & np.isfinite(chain)
    spreads = [moments(np.where(is_given, error, np.nan))[1] for error in (mbar, chain)]
    return np.square(spreads[0] / spreads[1])


def status_counts(arrays: dict[str, np.ndarray], name: str = "status") -> dict[str, np.ndarray]:
    """Number of repetitions by status, (number of states, system)."""
    status = arrays[f"states_{name}"]
    return {member.name: np.sum(status == member, axis=-1) for member in Status}


def numbers(arrays: dict[str, np.ndarray], num_states: tuple[int, ...]) -> dict[str, Any]:
    """Headline numbers, by number of states and system."""
    mean, spread = moments(scores(arrays, MBAR))
    tables = {
        "z_mean": mean,
        "z_sd": spread,
        "coverage": coverage(scores(arrays, MBAR)),
        "coverage_68": coverage(scores(arrays, MBAR), LEVELS[1]),
        "sandwich_coverage": coverage(scores(arrays, SANDWICH)),
        "chain_coverage": coverage(scores(arrays, CHAIN)),
        "coverage_if_independent": coverage(scores(arrays, INDEPENDENT)),
        "variance_ratio": variance_ratio(arrays),
        "low_overlap": status_counts(arrays)["LOW_OVERLAP"] / arrays["states_status"].shape[-1],
    }
    per_system = {
        f"states_{count}_{system}_{name}": table[row, column]
        for row, count in enumerate(num_states)
        for column, system in enumerate(SYSTEMS)
        for name, table in tables.items()
    }
    return per_system | _bootstrap(arrays, num_states[0])


def _bootstrap(arrays: dict[str, np.ndarray], count: int) -> dict[str, Any]:
    """Coverage, and the share of repetitions that have an interval: all replicates have an f."""
    exact = arrays["states_exact"][0]
    tables = {
        f"{kind}_coverage": interval_coverage(arrays[f"states_{kind}"], exact)[:, 0]
        for kind in ("percentile", "studentized")
    }
    tables["bootstrap_share"] = np.mean(np.isfinite(arrays["states_bootstrap_error"]), axis=-1)
    return {
        f"states_{count}_{system}_{name}": table[column]
        for column, system in enumerate(SYSTEMS)
        for name, table in tables.items()
    }
