"""Headline numbers: the error of log s, its predicted size, and detected failures."""

import numpy as np

SHORT = {
    "NCE": "nce",
    "N2CE": "n2ce",
    "TRE": "tre",
    "TRE, magnified": "tre_magnified",
    "automatic": "automatic",
    "automatic, magnified": "automatic_magnified",
}
REPORTED = 10_000
"""n of the published experiment."""


def median_error(arrays) -> np.ndarray:
    """Median of |log(s_hat / s)| over runs, (method, spread, n).

    A run without a finite normalizer counts as infinite.
    """
    size, is_run = np.abs(arrays["error"]), _is_run(arrays)
    size = np.where(is_run & np.isnan(size), np.inf, size)
    return np.nanmedian(size, axis=-1)


def known_failures(arrays) -> np.ndarray:
    """Fraction of runs whose standard error is infinite or missing, (method, spread, n)."""
    is_run = _is_run(arrays)
    return (is_run & ~np.isfinite(arrays["standard_error"])).sum(-1) / is_run.sum(-1)


def _is_run(arrays) -> np.ndarray:
    seeds = np.arange(arrays["error"].shape[-1])
    return np.broadcast_to(seeds < arrays["num_seeds"][:, None], arrays["error"].shape)


def headline(arrays) -> dict[str, float]:
    sizes, numbers = list(arrays["num_samples"]), {}
    column = sizes.index(REPORTED) if REPORTED in sizes else len(sizes) - 1
    error, failures = median_error(arrays), known_failures(arrays)
    for row, name in enumerate(arrays["methods"]):
        for spread_index, spread in enumerate(arrays["spreads"]):
            numbers[f"{SHORT[str(name)]}_error_{spread:.0e}"] = error[row, spread_index, column]
            numbers[f"{SHORT[str(name)]}_known_failures_{spread:.0e}"] = failures[
                row, spread_index, column
            ]
    automatic = list(arrays["methods"]).index("automatic")
    scores = arrays["error"][automatic, :, 1:] / arrays["standard_error"][automatic, :, 1:]
    numbers["automatic_spread_over_error"] = np.sqrt(
        np.nanmean(np.where(np.isfinite(scores), scores, np.nan) ** 2)
    )
    for spread_index, spread in enumerate(arrays["spreads"]):
        numbers[f"automatic_number_{spread:.0e}"] = np.nanmean(
            arrays["num_stages"][automatic, spread_index, column]
        )
    return numbers
