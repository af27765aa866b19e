"""Headline numbers: final distances, and the steps each method needs for NCE's final distance."""

import numpy as np

SHORT = {
    "NCE": "nce",
    "NCE, raised rate": "nce_raised",
    "BAR": "bar",
    "binary search": "search",
    "Newton": "newton",
}
THRESHOLDS = (16.0, 15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 8.0, 6.0, 4.0)
"""Parameter distances to reach. The start is about 17 away."""


def headline(arrays) -> dict[str, float]:
    distance = np.hypot(arrays["theta_distance"], arrays["log_partition_error"])
    names = [SHORT[str(method)] for method in arrays["methods"]]
    finals = distance[..., -1].mean(-1), arrays["theta_distance"][..., -1].mean(-1)
    final = {f"{name}_distance": value for name, value in zip(names, finals[0], strict=True)}
    theta = {f"{name}_theta_distance": value for name, value in zip(names, finals[1], strict=True)}
    reached = dict(
        zip(names, steps_to_reach(distance.mean(1), distance[0, :, -1].mean()), strict=True)
    )
    steps = {
        f"{name}_steps_to_the_distance_of_nce": value
        for name, value in reached.items()
        if name != "nce"
    }
    truth = {
        "overlap_at_the_data": np.median(arrays["checkpoint_overlap"][-1]),
        "effective_sample_size_at_the_data": np.median(
            arrays["checkpoint_effective_sample_size"][-1]
        ),
    }
    return final | theta | steps | truth | _unnormalizable(arrays)


def _unnormalizable(arrays) -> dict[str, float]:
    """Fraction of runs from theta0 = 0 that end without a finite log Z."""
    start = list(arrays["starts"]).index("theta0 = 0, F0 = 0")
    fractions = arrays["start_unnormalizable"][:, start, :, -1].mean(-1)
    return {
        f"{SHORT[str(m)]}_unnormalizable_from_zero": fractions[i]
        for i, m in enumerate(arrays["start_methods"])
    }


def steps_to_reach(distance: np.ndarray, threshold: float) -> np.ndarray:
    """Step from which a mean curve (..., step) stays within `threshold`; NaN if it ends above.

    The first step below the threshold would count the overshoot of an oscillating F as success.
    """
    above = distance > threshold
    last = above.shape[-1] - 1 - above[..., ::-1].argmax(-1)
    steps = np.where(above.any(-1), last + 1, 0)
    return np.where(above[..., -1], np.nan, steps)
