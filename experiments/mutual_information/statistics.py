"""Criteria for convergence, failure and coverage, and the headline numbers."""

import numpy as np

SHORT = {
    "NCE": "nce",
    "NWJ": "nwj",
    "DV": "dv",
    "TRE": "tre",
    "N2CE + TRE": "ours",
    "plug-in": "plug_in",
}
REPORTED = 5
"""Number of seeds in the table of all methods; the coverage of some methods has more."""
DRIFT = 0.005
"""Largest relative change between quarters of a trace that counts as converged: half of the
smallest goal."""
FEWEST_SAMPLES = 50.0
"""Smallest effective sample size that an error bar requires (`docs/choosing`)."""
COVERING = 1.959964
"""Half width of a 95 % interval, in standard errors."""
SILENT = 0.02
"""Relative error, the largest goal, beyond which a run that is neither covered nor flagged fails
silently."""


def drift(trace: np.ndarray) -> np.ndarray:
    """Relative difference between the means of the last two quarters of a trace.

    Traces are padded with NaN at their end. A single record, as of the plug-in, has no drift.
    """
    flat = np.asarray(trace, np.float64).reshape(-1, np.shape(trace)[-1])
    return np.array([_drift(_unpadded(row)) for row in flat]).reshape(np.shape(trace)[:-1])


def _unpadded(row: np.ndarray) -> np.ndarray:
    is_padding = np.cumprod(np.isnan(row[::-1]))[::-1].astype(bool)
    return row[~is_padding]


def _drift(row: np.ndarray) -> float:
    if row.size < 2:
        return 0.0 if row.size else np.nan
    quarter = max(row.size // 4, 1)
    last, third = row[-quarter:].mean(), row[-2 * quarter : -quarter].mean()
    return (last - third) / max(abs(last), np.finfo(float).tiny)


def is_stationary(trace: np.ndarray) -> np.ndarray:
    return np.abs(drift(trace)) <= DRIFT


def is_flagged(arrays) -> np.ndarray:
    """Whether a run reports its own failure: not finite, not converged, or too few samples."""
    is_finite = np.isfinite(arrays["estimate"]) & np.isfinite(arrays["standard_error"])
    return ~(
        is_finite & is_stationary(arrays["trace"]) & (arrays["effective_samples"] >= FEWEST_SAMPLES)
    )


def is_covered(estimate: np.ndarray, standard_error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the stated 95 % interval holds the truth; a missing estimate does not."""
    return np.abs(estimate - truth) <= COVERING * standard_error


def is_run(arrays) -> np.ndarray:
    """Whether a seed was run, (method, dimension, seed)."""
    return np.isfinite(arrays["seconds"])


def fraction(condition: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Mean of a condition over the seeds that were run."""
    return (condition & run).sum(-1) / np.maximum(run.sum(-1), 1)


def relative_errors(arrays) -> np.ndarray:
    """(estimate - truth) / truth."""
    truth = arrays["truth"][:, None]
    return (arrays["estimate"] - truth) / truth


def headline(arrays) -> dict[str, float]:
    run, flagged, errors, numbers = is_run(arrays), is_flagged(arrays), relative_errors(arrays), {}
    covered = is_covered(arrays["estimate"], arrays["standard_error"], arrays["truth"][:, None])
    for row, name in enumerate(map(str, arrays["methods"])):
        label = SHORT.get(name, name.lower().replace(", m = ", "_").replace(" ", "_"))
        for column, dim in enumerate(arrays["dims"]):
            numbers[f"{label}_ratio_{dim}"] = 1 + np.nanmean(errors[row, column, :REPORTED])
        numbers[f"{label}_flagged"] = fraction(flagged[row].ravel(), run[row].ravel())
        numbers[f"{label}_covered"] = fraction(covered[row].ravel(), run[row].ravel())
    chain = list(map(str, arrays["methods"])).index("N2CE + TRE")
    for column, dim in enumerate(arrays["dims"]):
        numbers[f"ours_worst_{dim}"] = np.nanmax(np.abs(errors[chain, column, :REPORTED]))
        numbers[f"ours_stages_{dim}"] = np.nanmean(arrays["num_stages"][chain, column])
    numbers["silent_failures"] = np.sum(run & ~flagged & ~covered & (np.abs(errors) > SILENT))
    return numbers
