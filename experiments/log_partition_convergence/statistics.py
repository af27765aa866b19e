"""Steps needed, lemma B.1, headline numbers and failed lanes. NumPy alone."""

from typing import Any

import numpy as np

from nce_jax import Status

ROUNDING = 1e-12
"""Nats by which rounding alone may seem to violate lemma B.1 in float64, with log ratios of up to
200 nats."""


def settled_after(error: np.ndarray, tolerance: float) -> np.ndarray:
    """Steps (last axis) after which the error stays within the tolerance, inf where it does not."""
    far = error > tolerance
    last_far = np.where(far.any(-1), error.shape[-1] - 1 - np.argmax(far[..., ::-1], axis=-1), -1)
    return np.where(far[..., -1], np.inf, last_far + 1)


def growths(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Change of |F - F*| in every BAR step, and the largest change in every long run."""
    parts = [arrays["pairs_bar_growth"].ravel()]
    for problem in ("ring", "pairs"):
        error = np.abs(arrays[f"{problem}_bar"] - arrays[f"{problem}_root"][..., None])
        parts.append(np.diff(error, axis=-1).ravel())
    return np.concatenate(parts)


def headline(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Numbers in the README and in `make check`."""
    numbers: dict[str, Any] = {"lemma_violations": np.sum(growths(arrays) > ROUNDING)}
    for name in ("nce", "nce_raised", "bar", "bisection", "newton"):
        numbers[f"ring_{name}_median_steps"] = np.median(arrays[f"ring_{name}_steps"])
    for limit in (5, 6, 9):
        numbers[f"ring_bar_share_within_{limit}_steps"] = np.mean(arrays["ring_bar_steps"] <= limit)
    for separation in (1, 4, 8, 16):
        row = np.flatnonzero(arrays["separations"] == separation)
        if len(row) == 0:
            continue
        steps = arrays["pairs_bar_steps"][row[0]]
        numbers[f"pairs_bar_share_arrived_{separation}_apart"] = np.mean(np.isfinite(steps))
        if np.isfinite(np.median(steps)):
            numbers[f"pairs_bar_median_steps_{separation}_apart"] = np.median(steps)
        no_overlap = arrays["solve_newton_status"][row[0]] == Status.NO_OVERLAP
        numbers[f"pairs_no_overlap_share_{separation}_apart"] = np.mean(no_overlap)
    numbers["pairs_newton_most_evaluations"] = np.max(arrays["solve_newton_steps"])
    numbers["pairs_newton_largest_error"] = np.max(arrays["solve_newton_error"])
    # Where only the tails overlap, BAR reflects F at F*, so that two steps return to the same F.
    largest = arrays["pairs_bar"][-1]
    numbers["pairs_cycle_closes_to"] = np.max(np.abs(largest[:, -1] - largest[:, -3]))
    return {name: float(value) for name, value in numbers.items()}


def failed_lanes(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Batches where `solve_log_partition` did not converge, by method, separation and status."""
    failed = {}
    for name in ("bar", "bisection", "newton"):
        for separation, row in zip(
            arrays["separations"], arrays[f"solve_{name}_status"], strict=True
        ):
            for status in (Status.MAX_STEPS, Status.NONFINITE, Status.NO_OVERLAP):
                if lanes := np.flatnonzero(row == status).tolist():
                    failed[f"{name}, {separation:g} apart, {status.name}"] = lanes
    return failed
