"""What counts as arrived, as failed and as covered, and the headline numbers."""

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
"""Seeds behind the table of all methods; more stand behind the coverage of some."""
DRIFT = 0.005
"""Relative change from one quarter of a trace to the next that counts as none: half of the smallest
goal."""
FEWEST_SAMPLES = 50.0
"""Effective samples that an error bar needs (`docs/choosing`)."""
COVERING = 1.959964
SILENT = 0.02
"""An error beyond the largest goal, outside the interval and not flagged, is a silent failure."""


def drift(trace: np.ndarray) -> np.ndarray:
    """Mean of the last quarter less that of the third, relative to the last; traces are padded with
    NaN at their end.

    One record is no trace, and has no drift: the plug-in.
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
    """Whether a run says of itself that it failed: not finite, not arrived, or carried by hardly
    any samples.
    """
    is_finite = np.isfinite(arrays["estimate"]) & np.isfinite(arrays["standard_error"])
    return ~(
        is_finite & is_stationary(arrays["trace"]) & (arrays["effective_samples"] >= FEWEST_SAMPLES)
    )


def is_covered(estimate: np.ndarray, standard_error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the stated 95 % interval holds the truth; no estimate holds nothing."""
    return np.abs(estimate - truth) <= COVERING * standard_error


def is_run(arrays) -> np.ndarray:
    """(method, dimension, seed): seeds that were run."""
    return np.isfinite(arrays["seconds"])


def share(condition: np.ndarray, run: np.ndarray) -> np.ndarray:
    """Mean over the seeds that were run."""
    return (condition & run).sum(-1) / np.maximum(run.sum(-1), 1)


def relative_errors(arrays) -> np.ndarray:
    """(estimate - truth) / truth."""
    truth = arrays["truth"][:, None]
    return (arrays["estimate"] - truth) / truth


def headline(arrays) -> dict[str, float]:
    run, flagged, errors, numbers = is_run(arrays), is_flagged(arrays), relative_errors(arrays), {}
    covered = is_covered(arrays["estimate"], arrays["standard_error"], arrays["truth"][:, None])
    for row, name in enumerate(map(str, arrays["methods"])):
        short = SHORT.get(name, name.lower().replace(", m = ", "_").replace(" ", "_"))
        for column, dim in enumerate(arrays["dims"]):
            numbers[f"{short}_ratio_{dim}"] = 1 + np.nanmean(errors[row, column, :REPORTED])
        numbers[f"{short}_flagged"] = share(flagged[row].ravel(), run[row].ravel())
        numbers[f"{short}_covered"] = share(covered[row].ravel(), run[row].ravel())
    chain = list(map(str, arrays["methods"])).index("N2CE + TRE")
    for column, dim in enumerate(arrays["dims"]):
        numbers[f"ours_worst_{dim}"] = np.nanmax(np.abs(errors[chain, column, :REPORTED]))
        numbers[f"ours_stages_{dim}"] = np.nanmean(arrays["num_stages"][chain, column])
    numbers["silent_failures"] = np.sum(run & ~flagged & ~covered & (np.abs(errors) > SILENT))
    return numbers
