"""Headline numbers: final parameter distances, diagnostics, and coverage of the errors."""

import numpy as np

SHORT = {"NCE": "nce", "BAR": "bar", "binary search": "search", "N2CE": "n2ce"}


def distances(theta: np.ndarray, log_partition: np.ndarray, separations: np.ndarray) -> np.ndarray:
    """|(theta, F) - (mu, mu^2 / 2)|, separations on the first axis."""
    target = separations.reshape(-1, *[1] * (theta.ndim - 1))
    return np.hypot(theta - target, log_partition - target**2 / 2)


def headline(arrays) -> dict[str, float]:
    separations = arrays["separations"]
    paper = list(separations).index(16.0)
    ends = distances(arrays["stages_theta"], arrays["stages_log_partition"], separations)
    numbers = {}
    for index, separation in enumerate(separations):
        deviation = arrays["stages_log_partition"][index] - separation**2 / 2
        numbers |= {
            f"stages_distance_{separation:g}": np.nanmean(ends[index]),
            f"stages_number_{separation:g}": np.nanmean(
                np.isfinite(arrays["stages_overlap"][index]).sum(-1)[np.isfinite(ends[index])]
            ),
            f"stages_error_over_spread_{separation:g}": np.nanmean(
                arrays["stages_log_partition_error"][index]
            )
            / np.sqrt(np.nanmean(deviation**2)),
        }
    numbers |= _coverage(arrays)
    numbers["stages_converged"] = np.nanmean(arrays["stages_is_converged"])
    numbers["stages_distance_16_first_runs"] = np.mean(
        ends[paper, : arrays["single_theta"].shape[1]]
    )
    numbers["stages_most_steps"] = np.nanmax(arrays["stages_num_steps"])
    deviations = np.sqrt(np.nanmean(arrays["stages_fixed_deviation"][paper] ** 2))
    numbers["stages_joint_error_over_spread_16"] = (
        np.nanmean(arrays["stages_fixed_error"][paper]) / deviations
    )
    numbers["stages_summed_error_over_spread_16"] = (
        np.nanmean(arrays["stages_summed_error"][paper]) / deviations
    )
    for index, name in enumerate(arrays["methods"]):
        last = (arrays[f"single_{part}"][None, index, :, -1] for part in ("theta", "log_partition"))
        numbers[f"{SHORT[str(name)]}_distance_16"] = distances(*last, separations[[paper]]).mean()
        numbers[f"{SHORT[str(name)]}_no_overlap_16"] = np.mean(arrays["single_status"][index] == 3)
        numbers[f"{SHORT[str(name)]}_overlap_16"] = np.mean(arrays["single_overlap"][index])
        excess = arrays["single_root"][index] - arrays["single_log_z"][index]
        numbers[f"{SHORT[str(name)]}_root_less_log_z_16"] = np.mean(excess)
    return numbers


def _coverage(arrays) -> dict[str, float]:
    """Fraction of deviations within 1.96 standard errors, and their r.m.s., over all runs."""
    truth, numbers = arrays["separations"][:, None] ** 2 / 2, {}  # the true F equals the true KL
    for name, part in (("F", "log_partition"), ("kl", "kl")):
        scores = scores_of(arrays[f"stages_{part}"], truth, arrays[f"stages_{part}_error"])
        numbers[f"stages_coverage_{name}"] = np.mean(np.abs(scores) < 1.96)
        numbers[f"stages_score_{name}"] = np.sqrt(np.mean(scores**2))
    return numbers


def scores_of(values: np.ndarray, truth: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Deviations over their standard errors, without the padding."""
    scores = ((values - truth) / errors).ravel()
    return scores[np.isfinite(scores)]
