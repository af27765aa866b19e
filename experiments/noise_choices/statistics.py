"""Means and errors over seeds, the rule for withheld numbers, and the headline numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]


def mean_and_error(values: Any) -> tuple[float, float]:
    """Mean and standard error over seeds, the last axis; NaN where any seed is NaN."""
    values = np.asarray(values, np.float64)
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def log_partition_error(arrays: Arrays, problem: str) -> np.ndarray:
    """Final F minus the model's log Z, (noise, magnification, seed)."""
    log_z = arrays[f"{problem}_log_partition"]
    return arrays[f"{problem}_in_use"][..., -1] - (log_z[..., -1] if problem == "plane" else log_z)


def is_trusted(arrays: Arrays) -> np.ndarray:
    """Whether results are trusted, (noise, magnification, seed).

    A noise is withheld as a whole if any seed is: seeds that missed the tail look good.
    """
    size = arrays["digits_effective_samples"]
    return np.broadcast_to(
        (size >= arrays["min_effective_samples"]).all(axis=-1, keepdims=True), size.shape
    )


def gain(arrays: Arrays) -> np.ndarray:
    """Test log-likelihood minus the Gaussian's, (noise, magnification, seed); NaN if withheld."""
    log_likelihood = arrays["digits_log_density"].mean(axis=-1) - arrays["digits_log_partition"]
    return np.where(
        is_trusted(arrays), log_likelihood - arrays["digits_log_gaussian"].mean(), np.nan
    )


def by_seed(arrays: Arrays) -> dict[str, np.ndarray]:
    """Values whose means are the headline numbers; withheld ones are left out."""
    named = {}
    for index, noise in enumerate(arrays["noises"]):
        label = str(noise).replace(" ", "_").lower()
        for row, kappa in enumerate(arrays["magnifications"]):
            named[f"plane_kl_{label}_kappa_{kappa:g}"] = arrays["plane_divergence"][
                index, row, :, -1
            ]
        named[f"plane_overlap_{label}"] = arrays["plane_overlap"][index, 0, :, -1]
        named[f"plane_f_error_{label}"] = np.abs(log_partition_error(arrays, "plane")[index, 0])
        named[f"digits_overlap_{label}"] = arrays["digits_overlap"][index, 0, :, -1]
        named[f"digits_gain_{label}"] = gain(arrays)[index, 0]
    return {name: values for name, values in named.items() if np.isfinite(values).all()}


def headline(arrays: Arrays) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in by_seed(arrays).items()}
