"""The assessment of a fitted ratio on held-out samples: errors, calibration and ROC curve."""

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import expit

from nce_jax._grouped import grouped_variance
from nce_jax._types import ArrayLike
from nce_jax.log_partition import (
    MIN_EFFECTIVE_SAMPLES,
    Solution,
    check_solution,
    make_problem,
    solve_log_partition,
)
from nce_jax.ratio_estimation._weights import both_as_jax, kish, mean_one


class Calibration(NamedTuple):
    """Calibration curve of the classifier behind a log ratio, on held-out samples.

    Held-out samples are grouped by their predicted probability of being data.

    Attributes:
      predicted: mean predicted probability of each group, (groups,), ascending.
      observed: fraction of data among the group's samples, (groups,).
      num_samples: size of each group, (groups,), with weights Kish's effective one; the standard
        error of `observed` is about sqrt(p (1 - p) / num_samples).
    """

    predicted: np.ndarray
    observed: np.ndarray
    num_samples: np.ndarray


class RocCurve(NamedTuple):
    """Receiver operating characteristic of the classifier behind a log ratio, on held-out samples.

    Attributes:
      false_positive_rate: fraction of noise classified as data, (points,), ascending from 0 to 1.
      true_positive_rate: fraction of data classified as data, (points,).
      area: area under the curve: 0.5 for guessing, 1 for sets that are separated perfectly.
    """

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    area: float


Weights = tuple[np.ndarray, np.ndarray]
"""Weights of the data and of the noise."""


def solve(
    log_ratio_data: jax.Array, log_ratio_noise: jax.Array, weights: Weights | None = None
) -> Solution:
    """Solves for F at kappa = 1; raises where the solver failed.

    Sets without any overlap do not count as a failure: F is then the exact minimizer but carries
    little information, which shows in the status, the overlap and the standard error.
    """
    given = {} if weights is None else both_as_jax(weights, log_ratio_data.dtype)
    solution = solve_log_partition(log_ratio_data, log_ratio_noise, **given)
    check_solution(solution, problem=make_problem(log_ratio_data, log_ratio_noise, **given))
    return solution


class Errors(NamedTuple):
    """Standard errors in nats, for the log ratio as it is; inf where too few samples determine F.

    Attributes:
      log_partition: of F.
      kl: of mean s(x) - F over the data. The same data carry the mean and F.
      effective_samples: the effective number of samples (or groups) behind the error of F.
    """

    log_partition: float
    kl: float
    effective_samples: float


def sampling_errors(
    log_ratio_data: jax.Array,
    log_ratio_noise: jax.Array,
    group: np.ndarray,
    weights: Weights | None = None,
) -> Errors:
    r"""Standard errors of F and of mean s(x) - F over the data, for groups of dependent samples.

    With weights :math:`a_i` of the data and :math:`b_j` of the noise, ones by default, the
    influences of the mean are

    .. math::
        \psi_i = a_i \frac{\partial}{\partial a_i}
          \Big[ \frac{\sum_i a_i s(x_i)}{\sum_i a_i} - F_*(a, b) \Big], \qquad
        \psi_j = -b_j \frac{\partial F_*(a, b)}{\partial b_j},

    and those of F are its derivatives. They sum to zero on each side, and the variance is the sum
    of the squares of the groups' sums, corrected for the fitted means (the infinitesimal
    jackknife).
    """

    sides = [np.asarray(side, np.float64) for side in (log_ratio_data, log_ratio_noise)]
    given = [np.ones(len(side)) for side in sides] if weights is None else list(weights)
    shares = [np.asarray(side, np.float64) / np.sum(side, dtype=np.float64) for side in given]
    root = float(solve(log_ratio_data, log_ratio_noise, weights).log_partition)
    # The equation of F sets the means of both wrong probabilities equal; its derivatives by weights
    # over its derivative by F are those of F.
    wrong = [expit(root - sides[0]), expit(sides[1] - root)]
    slope = sum(float(share @ (p * (1 - p))) for share, p in zip(shares, wrong, strict=True))
    excess = [share * (p - share @ p) for share, p in zip(shares, wrong, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_root = np.concatenate([-excess[0], excess[1]]) / slope
    of_mean = -of_root
    of_mean[: len(sides[0])] += shares[0] * (sides[0] - shares[0] @ sides[0])
    is_data = np.arange(len(group)) < len(log_ratio_data)
    _, members = np.unique(group, return_inverse=True)
    number = _effective_number(np.bincount(members, of_root))
    if number < MIN_EFFECTIVE_SAMPLES:
        return Errors(np.inf, np.inf, number)
    error, error_of_mean = (
        float(np.sqrt(grouped_variance(side, is_data, group))) for side in (of_root, of_mean)
    )
    return Errors(error, error_of_mean, number)


def _effective_number(influences: np.ndarray) -> float:
    """`_numerics.effective_samples` on the host, where it is no program for every length."""
    sizes = np.abs(influences)
    largest = sizes.max()
    if len(sizes) == 1:
        return 1.0
    return float(len(sizes) if largest == 0 else np.square(sizes / largest).sum())


def loss_terms(
    log_ratio_data: ArrayLike, log_ratio_noise: ArrayLike, log_partition: float
) -> tuple[np.ndarray, np.ndarray]:
    """Terms of the NCE loss at kappa = 1, one per sample; the loss is the sum of both means."""
    data, noise = (np.asarray(side, np.float64) for side in (log_ratio_data, log_ratio_noise))
    root = float(log_partition)
    return np.logaddexp(0, root - data), np.logaddexp(0, noise - root)


def predictions(
    log_ratio_data: jax.Array, log_ratio_noise: jax.Array, weights: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted probability that a held-out sample is data, whether it is, and its weight.

    The prior odds are the proportion of the two sets, in each of which weights have a mean of one.
    The F used for one half of the samples is solved on the other half, so that no sample is judged
    by a level that it has helped to fit.
    """
    log_odds = np.log(log_ratio_data.shape[0] / log_ratio_noise.shape[0])
    sides = [np.asarray(side) for side in (log_ratio_data, log_ratio_noise)]
    halves = [(sides[0][half::2], sides[1][half::2]) for half in (0, 1)]
    of_halves = [(weights[0][half::2], weights[1][half::2]) for half in (0, 1)]
    roots = [
        float(solve(jax.device_put(half[0]), jax.device_put(half[1]), of_half).log_partition)
        for half, of_half in zip(halves, of_halves, strict=True)
    ]
    shift = [log_odds - roots[1], log_odds - roots[0]]
    logits = [side.astype(np.float64) + shift[half] for half in (0, 1) for side in halves[half]]
    is_data = [np.full(logit.shape, position % 2 == 0) for position, logit in enumerate(logits)]
    probability = expit(np.concatenate(logits))
    relative = [mean_one(side) for side in weights]
    ordered = [side[half::2] for half in (0, 1) for side in relative]
    return probability, np.concatenate(is_data), np.concatenate(ordered)


def calibration_curve(
    probability: np.ndarray, is_data: np.ndarray, num_groups: int, weights: np.ndarray | None = None
) -> Calibration:
    """Calibration curve with groups of about equal size, or equal weight.

    scikit-learn's curve returns no group sizes, without which there are no error bars.
    """
    if weights is None:
        weights = np.ones(len(probability))
    _, tie = np.unique(probability, return_inverse=True)
    size = np.bincount(tie, weights)
    # Samples that tie go into the group of their common middle rank: equal predictions are never
    # separated.
    middle = np.cumsum(size) - size / 2
    group = np.minimum(middle * num_groups / size.sum(), num_groups - 1).astype(int)[tie]
    members = [group == number for number in np.unique(group)]
    columns = [
        (
            np.average(probability[member], weights=weights[member]),
            np.average(is_data[member], weights=weights[member]),
            _number(weights[member]),
        )
        for member in members
    ]
    return Calibration(*(np.asarray(column) for column in zip(*columns, strict=True)))


def _number(weights: np.ndarray) -> int | float:
    """The number of samples, an effective one where weights differ."""
    return len(weights) if (weights == weights[0]).all() else kish(weights)


def roc_curve(
    probability: np.ndarray, is_data: np.ndarray, weights: np.ndarray | None = None
) -> RocCurve:
    """ROC curve with one point per distinct probability, from the largest down.

    Samples that tie make one diagonal step.
    """
    if weights is None:
        weights = np.ones(len(probability))
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    true, false = (
        np.append(0, np.cumsum(side[order])[last_of_ties]) / side.sum()
        for side in (np.where(is_data, weights, 0), np.where(is_data, 0, weights))
    )
    return RocCurve(false, true, float(np.trapezoid(true, false)))


def log_ratio_error(
    excess_loss: float, ratios: tuple[jax.Array, jax.Array], root: jax.Array, weights: Weights
) -> float:
    """The r.m.s. error of the log ratio that raises the loss by `excess_loss`.

    To second order the loss rises by half the mean of the squared error, weighted by its curvature
    P (1 - P).
    """
    probability = [expit(np.asarray(side, np.float64) - float(root)) for side in ratios]
    curvature = sum(
        float(np.average(side * (1 - side), weights=of_side))
        for side, of_side in zip(probability, weights, strict=True)
    )
    return float(np.sqrt(2 * excess_loss / curvature)) if curvature > 0 else np.inf


def effective_fraction(log_ratios: jax.Array, weights: np.ndarray) -> float:
    """Kish's effective number of samples of these log ratios and weights, over their number."""
    logs = np.asarray(log_ratios, np.float64)
    return kish(weights * np.exp(logs - logs.max())) / len(logs)
