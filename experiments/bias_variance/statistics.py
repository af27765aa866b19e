"""Slopes and the best M of the exact curves, and the headline numbers."""

import itertools

import numpy as np

from experiments.bias_variance.fits import best_magnification, exponent, slope
from experiments.bias_variance.quadrature import TREATMENTS

WINDOWS = ((1.0, 1e2), (1e2, 1e4), (1e5, 1e7))
"""Ranges of M for slopes of the exact curves."""
FINE = 0.1
"""Half width, in decades, of the parabola for exact curves, which need no smoothing."""
LARGE = (1e4, 3e4, 1e5, 3e5, 1e6)
"""n beyond the sampled ones; the best M is still within the grid."""


def exact_slopes(arrays, name: str) -> np.ndarray:
    """Slope of a field and half of its interval, (treatment, mean, point, window, 2).

    It is NaN where the field is zero.
    """
    curves, magnifications = arrays[f"exact_{name}"], arrays["exact_magnifications"]
    slopes = [
        [
            slope(magnifications, np.where(curves[case] > 1e-20, curves[case], 0), *window)
            for window in WINDOWS
        ]
        for case in np.ndindex(*curves.shape[:-1])
    ]
    return np.array(slopes).reshape(*curves.shape[:-1], len(WINDOWS), 2)


def exact_curves(arrays, sample_sizes) -> np.ndarray:
    """Mean squared error of the gradient, (treatment, mean, point, n, M)."""
    sizes = np.asarray(sample_sizes, float)[:, None]
    return (
        arrays["exact_squared_bias"][..., None, :] + arrays["exact_variance"][..., None, :] / sizes
    )


def exact_best(arrays, sample_sizes) -> np.ndarray:
    """Best M of the exact curves, (treatment, mean, point, n)."""
    return best_magnification(
        arrays["exact_magnifications"], exact_curves(arrays, sample_sizes), window=FINE
    )


def regret(arrays, sample_sizes, factor: float) -> np.ndarray:
    """Error at M = factor sqrt(n) over the smallest error, (treatment, mean, point, n)."""
    curves = exact_curves(arrays, sample_sizes)
    log_m = np.log(arrays["exact_magnifications"])
    ratios = np.empty(curves.shape[:-1])
    for case in np.ndindex(*ratios.shape):
        rule = np.log(factor * np.sqrt(sample_sizes[case[-1]]))
        ratios[case] = np.exp(np.interp(rule, log_m, np.log(curves[case]))) / curves[case].min()
    return ratios


def sampled_mean(arrays) -> int:
    """Index of the sampled mean among those of the exact study."""
    return int(np.argmin(np.abs(arrays["means"] - arrays["mean"])))


def headline(arrays) -> dict[str, float]:
    return _exact(arrays) | _sampled(arrays)


def _exact(arrays) -> dict[str, float]:
    mean_index, sizes = sampled_mean(arrays), arrays["sample_sizes"]
    bias = exact_slopes(arrays, "squared_bias")[:, mean_index]
    variance = exact_slopes(arrays, "variance")[:, mean_index]
    near, far = exact_best(arrays, sizes)[:, mean_index], exact_best(arrays, LARGE)[:, mean_index]
    rule = {factor: regret(arrays, sizes, factor)[:, mean_index] for factor in (1.0, 10.0)}
    numbers = {}
    for (t, name), (p, point) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["points"][:-1])
    ):
        label = f"{name}_at_{point:g}"
        numbers |= {
            f"exact_{label}_bias_slope_near": bias[t, p, 1, 0],
            f"exact_{label}_bias_slope_far": bias[t, p, 2, 0],
            f"exact_{label}_variance_slope": variance[t, p, 0, 0],
            f"exact_{label}_best_least_n": near[t, p, 0],
            f"exact_{label}_best_most_n": near[t, p, -1],
            f"exact_{label}_exponent": exponent(sizes, near[t, p]),
            f"exact_{label}_exponent_large_n": exponent(np.array(LARGE), far[t, p]),
            f"exact_{label}_regret_root_n": rule[1.0][t, p].max(),
            f"exact_{label}_regret_ten_root_n": rule[10.0][t, p].max(),
        }
    m, v = np.log(arrays["exact_magnifications"]), np.log(arrays["exact_variance"])
    local = np.gradient(v, m, axis=-1)[..., m >= 0]
    estimator = arrays["exact_estimator"][:, mean_index, -1]
    best = best_magnification(arrays["exact_magnifications"], estimator, window=FINE)
    steepest = {
        "exact_variance_steepest": local.max(),
        "exact_variance_steepest_fixed": local[0].max(),
    }
    return (
        numbers
        | steepest
        | {"exact_converged_best_fixed": best[0], "exact_converged_best_solved": best[2]}
    )


def _sampled(arrays) -> dict[str, float]:
    numbers = {}
    for (t, name), (p, point) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["points"][:-1])
    ):
        numbers[f"gradient_{name}_at_{point:g}_exponent"] = arrays["gradient_exponent"][t, p, 0]
    for (t, name), (b, budget) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["budgets"])
    ):
        numbers[f"descent_{name}_{budget}_steps_exponent"] = arrays["descent_exponent"][t, b, 0]
    for t, name in enumerate(("fixed", "solved")):
        numbers[f"estimator_{name}_exponent"] = arrays["estimator_exponent"][t, 0]
        numbers[f"estimator_{name}_best_most_n"] = arrays["estimator_best"][t, -1, 0]
    numbers["solved_variance_slope_in_n"] = arrays["variance_slope_in_n"][2, 0, 1, 0]
    return numbers
