"""z-scores, coverage, headline numbers and failed lanes. NumPy alone."""

from typing import Any, NamedTuple

import numpy as np

from experiments.free_energy import benzene_states, many_statistics
from experiments.free_energy.config import Config
from nce_jax import Status

QUANTILE = 1.959964
"""Half width of a 95 % interval, in standard errors."""


def z_scores(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Error in standard errors, (spring constant, separation, seed); NaN without an estimate."""
    error = arrays["oscillators_delta_f"] - arrays["exact"][:, None, None]
    return error / arrays["oscillators_standard_error"]


class Quality(NamedTuple):
    """Fractions of the seeds of a pair of states by outcome, (spring constant, separation).

    `right` and `wrong` count 95 % intervals that hold the truth and that miss it, `without` seeds
    with no number. `overlap` is the mean over seeds: a selection of seeds by their own overlap
    would be a selection of errors.
    """

    overlap: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    without: np.ndarray


def quality(arrays: dict[str, np.ndarray]) -> Quality:
    z = z_scores(arrays)
    right, wrong = np.abs(z) < QUANTILE, np.abs(z) >= QUANTILE  # both False where z is NaN
    parts = arrays["oscillators_overlap"], right, wrong, ~np.isfinite(z)
    return Quality(*(np.mean(part, axis=-1) for part in parts))


def headline(arrays: dict[str, np.ndarray], config: Config) -> dict[str, float]:
    """Numbers in the README and in `make check`."""
    return {
        name: float(value)
        for name, value in (
            _oscillators(arrays, config)
            | _unequal(arrays)
            | many_statistics.numbers(arrays, config.num_states)
            | _benzene(arrays)
            | benzene_states.numbers(arrays)
        ).items()
    }


def _oscillators(arrays: dict[str, np.ndarray], config: Config) -> dict[str, Any]:
    qualities = quality(arrays)
    good_scores = z_scores(arrays)[qualities.overlap >= config.good_overlap]
    is_without = arrays["oscillators_status"] == Status.NO_OVERLAP
    numbers = {
        "good_overlap_z_mean": np.mean(good_scores),
        "good_overlap_z_sd": np.std(good_scores),
        "good_overlap_coverage": np.mean(np.abs(good_scores) < QUANTILE),
        "largest_share_of_wrong_intervals": np.max(qualities.wrong),
        "numbers_without_overlap": np.sum(np.isfinite(arrays["oscillators_delta_f"][is_without])),
        "no_overlap_share_at_largest_separation": np.mean(is_without[:, -1]),
        "unguarded_error_at_largest_separation": np.median(_unguarded_error(arrays)[:, -1]),
    }
    # The few numbers where most seeds end with NO_OVERLAP.
    mostly_without = qualities.without > 0.5
    if (num_given := np.sum((qualities.right + qualities.wrong)[mostly_without])) > 0:
        numbers["coverage_where_mostly_no_overlap"] = (
            np.sum(qualities.right[mostly_without]) / num_given
        )
    return numbers


def _unguarded_error(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.abs(arrays["oscillators_unguarded"] - arrays["exact"][:, None, None])


def _unequal(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    sd, at_one = (np.std(arrays[f"unequal_delta_f{suffix}"]) for suffix in ("", "_at_one"))
    reported, reported_at_one = (
        np.sqrt(np.mean(np.square(arrays[f"unequal_standard_error{suffix}"])))
        for suffix in ("", "_at_one")
    )
    return {
        "unequal_sd": sd,
        "unequal_sd_at_kappa_one": at_one,
        "unequal_reported_over_sd": reported / sd,
        "unequal_reported_over_sd_at_kappa_one": reported_at_one / at_one,
    }


def _benzene(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if "benzene_delta_f" not in arrays:
        return {}
    values, errors = arrays["benzene_delta_f"], arrays["benzene_standard_error"]
    reference, blocks = arrays["benzene_reference"], arrays["benzene_block_standard_error"]
    return {
        "benzene_sum": arrays["benzene_sum"],
        "benzene_standard_error": arrays["benzene_sum_standard_error"],
        "benzene_bootstrap_error": arrays["benzene_sum_bootstrap_error"],
        "benzene_error_without_shared_states": np.linalg.norm(errors),
        "benzene_largest_deviation": np.max(np.abs(values - reference[:, 0])),
        "benzene_largest_deviation_of_error": np.max(np.abs(errors - reference[:, 1])),
        "benzene_block_error_over_independent": np.max(np.linalg.norm(blocks, axis=-1))
        / np.linalg.norm(errors),
    }


def failed_lanes(arrays: dict[str, np.ndarray], config: Config) -> dict[str, Any]:
    """Number of seeds without an estimate, by pair or number of states and status."""
    rows = {
        f"k = {spring:g}, mu = {separation:g}": arrays["oscillators_status"][index, column]
        for index, spring in enumerate(arrays["spring_constants"])
        for column, separation in enumerate(arrays["separations"])
    } | {
        f"{count} states, {system}": arrays["states_status"][index, column]
        for index, count in enumerate(config.num_states)
        for column, system in enumerate(many_statistics.SYSTEMS)
    }
    failed = {}
    for label, row in rows.items():
        for status in (Status.MAX_STEPS, Status.NONFINITE, Status.NO_OVERLAP):
            if count := int(np.sum(row == status)):
                failed[label] = f"{count} of {row.size} seeds {status.name}"
    return failed
