"""What exact curves say about slopes and the best M, and the headline numbers."""

import itertools

import numpy as np

from experiments.bias_variance.fits import best_magnification, exponent, slope
from experiments.bias_variance.quadrature import TREATMENTS

WINDOWS = ((1.0, 1e2), (1e2, 1e4), (1e5, 1e7))
"""Of M, for slopes of the exact curves."""
FINE = 0.1
"""Decades to either side for a parabola through exact curves, which need no smoothing."""
LARGE = (1e4, 3e4, 1e5, 3e5, 1e6)
"""n beyond those that are sampled; the best M is still within the grid."""


def exact_slopes(arrays, name: str) -> np.ndarray:
    """(treatment, mean, point, window, 2): slope of a field and half of its interval; NaN where it
    is 0.
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
    """(treatment, mean, point, n)."""
    return best_magnification(
        arrays["exact_magnifications"], exact_curves(arrays, sample_sizes), window=FINE
    )


def regret(arrays, sample_sizes, factor: float) -> np.ndarray:
    """Error at M = factor sqrt(n) over the smallest, (treatment, mean, point, n)."""
    curves = exact_curves(arrays, sample_sizes)
    log_m = np.log(arrays["exact_magnifications"])
    ratios = np.empty(curves.shape[:-1])
    for case in np.ndindex(*ratios.shape):
        rule = np.log(factor * np.sqrt(sample_sizes[case[-1]]))
        ratios[case] = np.exp(np.interp(rule, log_m, np.log(curves[case]))) / curves[case].min()
    return ratios


def sampled_mean(arrays) -> int:
    """Where the mean that is sampled lies among those of the exact study."""
    return int(np.argmin(np.abs(arrays["means"] - arrays["mean"])))


def headline(arrays) -> dict[str, float]:
    return _exact(arrays) | _sampled(arrays)


def _exact(arrays) -> dict[str, float]:
    here, sizes = sampled_mean(arrays), arrays["sample_sizes"]
    bias = exact_slopes(arrays, "squared_bias")[:, here]
    variance = exact_slopes(arrays, "variance")[:, here]
    near, far = exact_best(arrays, sizes)[:, here], exact_best(arrays, LARGE)[:, here]
    rule = {factor: regret(arrays, sizes, factor)[:, here] for factor in (1.0, 10.0)}
    found = {}
    for (t, name), (p, point) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["points"][:-1])
    ):
        label = f"{name}_at_{point:g}"
        found |= {
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
    estimator = arrays["exact_estimator"][:, here, -1]
    best = best_magnification(arrays["exact_magnifications"], estimator, window=FINE)
    kept = {"exact_variance_steepest": local.max(), "exact_variance_steepest_fixed": local[0].max()}
    return (
        found
        | kept
        | {"exact_converged_best_fixed": best[0], "exact_converged_best_solved": best[2]}
    )


def _sampled(arrays) -> dict[str, float]:
    found = {}
    for (t, name), (p, point) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["points"][:-1])
    ):
        found[f"gradient_{name}_at_{point:g}_exponent"] = arrays["gradient_exponent"][t, p, 0]
    for (t, name), (b, budget) in itertools.product(
        enumerate(TREATMENTS), enumerate(arrays["budgets"])
    ):
        found[f"descent_{name}_{budget}_steps_exponent"] = arrays["descent_exponent"][t, b, 0]
    for t, name in enumerate(("fixed", "solved")):
        found[f"estimator_{name}_exponent"] = arrays["estimator_exponent"][t, 0]
        found[f"estimator_{name}_best_most_n"] = arrays["estimator_best"][t, -1, 0]
    found["solved_variance_slope_in_n"] = arrays["variance_slope_in_n"][2, 0, 1, 0]
    return found
