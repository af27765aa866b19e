"""Headline numbers: final distances, and how many times fewer steps than NCE a method needs for the same distance."""

import numpy as np

SHORT = {"NCE": "nce", "NCE, raised rate": "nce_raised", "BAR": "bar", "binary search": "search", "Newton": "newton"}
THRESHOLDS = (16.0, 15.0, 14.0, 13.0, 12.0, 11.0, 10.0, 8.0, 6.0, 4.0)
"""Parameter distances to reach. The start is 18 away."""


def headline(arrays) -> dict[str, float]:
    distance = np.hypot(arrays["theta_distance"], arrays["log_partition_error"])
    names = [SHORT[str(method)] for method in arrays["methods"]]
    final = {f"{name}_distance": value for name, value in zip(names, distance[..., -1].mean(-1), strict=True)}
    theta = {
        f"{name}_theta_distance": value
        for name, value in zip(names, arrays["theta_distance"][..., -1].mean(-1), strict=True)
    }
    reached = dict(zip(names, steps_to_reach(distance.mean(1), distance[0, :, -1].mean()), strict=True))
    steps = {f"{name}_steps_to_the_distance_of_nce": value for name, value in reached.items() if name != "nce"}
    truth = {
        "overlap_at_the_data": np.median(arrays["checkpoint_overlap"][-1]),
        "effective_sample_size_at_the_data": np.median(arrays["checkpoint_effective_sample_size"][-1]),
    }
    return final | theta | steps | truth


def steps_to_reach(distance: np.ndarray, threshold: float) -> np.ndarray:
    """First step at which a mean curve (..., step) is at most `threshold`; NaN where it never is."""
    below = distance <= threshold
    return np.where(below.any(-1), below.argmax(-1), np.nan)
