r"""Whether an F is right, decided in extended precision from the signs of the equation around it.

With :math:`b = F + \log\kappa`, the equation is :math:`g(F) = \sum_{\mathrm{data}} w \sigma(b - s)
- \kappa \sum_{\mathrm{noise}} w\, \sigma(s - b) = 0`, each side's weights divided by their total,
and :math:`g` increases. Every sigmoid is a step plus a tail. The steps add up to a difference of
two counts; the tails are added on the log scale, relative to the largest, so that a gap of
thousands of nats does not underflow.
"""

from typing import NamedTuple

import numpy as np

from tests.hostile.problems import Problems

_EXACT = 1e-17
"""Below this the difference of counts, of at most some thousand weights, is zero."""


class Line(NamedTuple):
    """slope * (F - center) on the left side of the equation, the effect of a quadratic penalty."""

    slope: float
    center: np.ndarray


class _Terms(NamedTuple):
    """The equation at one F: difference of counts, and the logs of the tails above and below b."""

    count: np.ndarray
    log_above: np.ndarray
    log_below: np.ndarray


def is_root(
    problems: Problems, log_partition: np.ndarray, *, eps: float, line: Line | None = None
) -> np.ndarray:
    """Whether F lies within the default tolerance of the root, per lane.

    Rounding is allowed for where it decides: an F is also right that is the root for a kappa within
    16 eps of the given one. Where the counts agree exactly, the gap balances for the given kappa,
    and this allowance is not made.
    """
    problems = Problems(*(None if a is None else a.astype(np.longdouble) for a in problems))
    is_finite = np.isfinite(log_partition)
    center = np.where(is_finite, log_partition, 0).astype(np.longdouble)
    allowed = _allowed(problems, center, eps)
    low, high = _terms(problems, center - allowed), _terms(problems, center + allowed)
    exact = _is_between(problems, center, allowed, low, high, 0.0, line)
    perturbed = _is_between(problems, center, allowed, low, high, 16 * eps, line)
    is_balanced = (np.abs(low.count) < _EXACT) & (np.abs(high.count) < _EXACT)
    if line is not None:
        is_balanced = np.zeros_like(is_balanced)
    return is_finite & (exact | (perturbed & ~is_balanced))


def _allowed(problems: Problems, log_partition: np.ndarray, eps: float) -> np.ndarray:
    """The default tolerance, and the rounding of F and of the samples nearest to b."""
    log_kappa = np.log(problems.kappa)
    b = (log_partition + log_kappa)[:, None]
    nearest = np.zeros_like(log_partition)
    for side in (problems.data, problems.noise):
        distance = np.where(np.isfinite(side), np.abs(b - side), np.inf).min(-1)
        nearest = np.maximum(nearest, np.where(np.isfinite(distance), distance, 0))
    return eps**0.75 + 4 * eps * (np.abs(log_partition) + np.abs(log_kappa) + nearest)


def _is_between(
    problems: Problems,
    log_partition: np.ndarray,
    allowed: np.ndarray,
    low: _Terms,
    high: _Terms,
    perturbation: float,
    line: Line | None,
) -> np.ndarray:
    """g < 0 at the lower end for the larger kappa, and g > 0 at the upper for the smaller."""
    mass = perturbation * (1 + problems.kappa)
    lines = [0.0, 0.0]
    if line is not None:
        ends = log_partition - allowed, log_partition + allowed
        lines = [line.slope * (end - line.center) for end in ends]
    return _is_negative(low, lines[0] - mass) & ~_is_negative(high, lines[1] + mass)


def _is_negative(terms: _Terms, shift: np.ndarray | float) -> np.ndarray:
    """Whether count + shift + above - below < 0, all four on the log scale."""
    count = np.where(np.abs(terms.count) < _EXACT, 0, terms.count) + shift
    with np.errstate(divide="ignore"):
        log_positive = np.where(count > 0, np.log(np.maximum(count, 0)), -np.inf)
        log_negative = np.where(count < 0, np.log(np.maximum(-count, 0)), -np.inf)
    left = np.logaddexp(terms.log_above, log_positive)
    return left < np.logaddexp(terms.log_below, log_negative)


def _terms(problems: Problems, log_partition: np.ndarray) -> _Terms:
    kappa = problems.kappa
    b = (log_partition + np.log(kappa))[:, None]
    count, above, below = np.zeros_like(log_partition), [], []
    for values, weights, scale in (
        (problems.data, problems.weights_data, np.ones_like(kappa)),
        (problems.noise, problems.weights_noise, kappa),
    ):
        shares = _shares(values, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(shares > 0, b - values, 0)
            log_terms = np.log(shares) + np.log(scale)[:, None] + _log_sigmoid(-np.abs(distance))
        is_below = distance > 0
        above.append(np.where(is_below, -np.inf, log_terms))
        below.append(np.where(is_below, log_terms, -np.inf))
        if values is problems.data:
            count = count + np.where(is_below, shares, 0).sum(-1)
        else:
            count = count - kappa * np.where(is_below, 0, shares).sum(-1)
    return _Terms(count, _log_sum(np.concatenate(above, -1)), _log_sum(np.concatenate(below, -1)))


def _shares(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    weights = np.ones_like(values) if weights is None else weights
    return weights / weights.sum(-1, keepdims=True)


def _log_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _log_sum(x: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(x, axis=-1)
