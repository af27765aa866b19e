"""Headline numbers: distances of (theta, F) from the data's parameters, means over seeds."""

import numpy as np

from experiments.gaussian_1d.lanes import REPORTED

SHORT = {
    "NCE": "nce",
    "NCE, raised rate": "nce_raised",
    "BAR": "bar",
    "binary search": "search",
    "Newton": "newton",
}
NCE, BAR, NEWTON = range(3)
"""Indices of the three treatments in the additional studies."""


def headline(arrays) -> dict[str, float]:
    return _finals(arrays) | _orders(arrays) | _open_settings(arrays) | _magnification(arrays)


def _finals(arrays) -> dict[str, float]:
    """Distances after the last step."""
    final = arrays["parameter_distance"][..., -1].mean(-1)
    return {
        f"{SHORT[str(method)]}_at_{distance:g}": final[i, j]
        for i, method in enumerate(arrays["methods"])
        for j, distance in enumerate(arrays["distances"])
    }


def _orders(arrays) -> dict[str, float]:
    """Binary search minus BAR on the same draws, and how often five runs show the paper's order."""
    final, methods = arrays["parameter_distance"][..., -1], list(arrays["methods"])
    bar, search, newton = (
        final[methods.index(name)] for name in ("BAR", "binary search", "Newton")
    )
    at_4, at_16 = map(list(arrays["distances"]).index, (4, 16))
    return {
        "search_minus_bar_at_4": (search - bar)[at_4].mean(),
        "search_minus_bar_at_16": (search - bar)[at_16].mean(),
        "share_of_five_runs_with_search_best_at_16": five_runs(search[at_16], bar[at_16]),
        "largest_difference_search_newton": np.abs(search - newton).max(),
    }


def five_runs(first: np.ndarray, second: np.ndarray, num_draws: int = 20_000) -> float:
    """Fraction of random sets of five seeds whose mean of `first` is below that of `second`."""
    chosen = np.random.default_rng(0).integers(first.size, size=(num_draws, 5))
    return float(np.mean(first[chosen].mean(-1) < second[chosen].mean(-1)))


def _open_settings(arrays) -> dict[str, float]:
    """Settings with the paper's order at distance 16: a loss without 1/2, and a wrong start."""
    names, distances = list(arrays["settings"]), arrays["setting_distance"]
    without_half, from_minus_1 = (
        names.index(name) for name in ("loss without its 1/2", "without 1/2, theta0 = -1")
    )
    return {
        "bar_without_half": distances[BAR, without_half].mean(),
        "newton_without_half": distances[NEWTON, without_half].mean(),
        "newton_without_half_spread": distances[NEWTON, without_half].std(ddof=1),
        "share_of_five_runs_with_newton_best_without_half": five_runs(
            distances[NEWTON, without_half], distances[BAR, without_half]
        ),
        "bar_without_half_from_minus_1": distances[BAR, from_minus_1].mean(),
        "newton_without_half_from_minus_1": distances[NEWTON, from_minus_1].mean(),
    }


def _magnification(arrays) -> dict[str, float]:
    """Effect of M at distance 4 after the first budget: on a solved F and on a free one."""
    step_index = int(np.searchsorted(arrays["kept_steps"], REPORTED[0]))
    distances = arrays["magnified_distance"][:, list(arrays["distances"]).index(4)]
    mean, fraction_farther = (
        distances[..., step_index].mean(-1),
        np.mean(distances[..., step_index] > distances[..., 0], axis=-1),
    )
    one, hundred = map(list(arrays["magnifications"]).index, (1, 100))
    return {
        "newton_at_4_after_50_m_1": mean[NEWTON, one],
        "newton_at_4_after_50_m_100": mean[NEWTON, hundred],
        "share_of_nce_thrown_out_at_4_m_largest": fraction_farther[NCE, -1],
        "share_of_newton_thrown_out_at_4_m_largest": fraction_farther[NEWTON, -1],
    }
