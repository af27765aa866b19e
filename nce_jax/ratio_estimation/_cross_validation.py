"""The choice among simple log ratios by cross-validation, and their cross-fitted values.

The families, from the simplest on: constant (ratio 1), linear, linear with squares of the
coordinates, quadratic, and the richest of these with Gaussian kernels. Every sample's loss is that
of a fit without its fold. Between families the one-standard-error rule decides.
"""

from typing import Any, NamedTuple

import numpy as np

from nce_jax._grouped import side_mean, standard_error
from nce_jax.ratio_estimation._features import FeatureMap
from nce_jax.ratio_estimation._logistic import Basis, fit_lanes, rotated, side_weights

PENALTIES = 10.0 ** np.arange(1, -5.25, -0.5)
"""From the largest, which leaves next to nothing of the log ratio, to one that hardly matters."""


_PATIENCE = 4
"""A path of penalties ends after this number of losses of which the first is the lowest."""


_SEPARATED = 0.05
"""A loss of two sets that hardly overlap, in nats. A smaller penalty extrapolates further."""

_EQUAL = 0.25
"""Losses of two penalties count as equal up to this number of standard errors of the difference."""

_MAX_DRAWS = 100
"""Draws of two halves. With four groups of a set, the fewest there are, most draws will do."""


class Pool(NamedTuple):
    """Samples of both sets, the data first, with their groups and folds.

    Attributes:
      x: samples, (n + m, d).
      is_data: which are data.
      group: number of every sample's group.
      fold: number of every sample's fold.
      weights: weight of every sample, positive; their scale in each set does not matter.
    """

    x: np.ndarray
    is_data: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    weights: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Pool":
        """Some of the samples."""
        return Pool(*(field[chosen] for field in self))


class Candidate(NamedTuple):
    """One simple model: its family, features (None for the constant) and penalty."""

    family: str
    features: FeatureMap | None
    penalty: float


class CrossFit(NamedTuple):
    """All candidates, and their log ratios of all samples by fits without the sample's fold.

    Attributes:
      candidates: from the simplest one on.
      log_ratios: (samples, candidates), each with the normalizer of its fit.
      losses: their terms of the loss, (samples, candidates).
    """

    candidates: list[Candidate]
    log_ratios: np.ndarray
    losses: np.ndarray


def loss_of(log_ratios: np.ndarray, is_data: np.ndarray) -> np.ndarray:
    """Terms of the NCE loss at magnification 1, of normalized log ratios (samples, ...)."""
    side = is_data.reshape(-1, *[1] * (log_ratios.ndim - 1))
    return np.logaddexp(0, np.where(side, -log_ratios, log_ratios))


def cross_fit(pool: Pool, maps: dict[str, list[FeatureMap]]) -> CrossFit:
    """Fits every candidate once without each fold."""
    candidates = [Candidate("constant", None, np.inf)]
    columns = [np.zeros(len(pool.x))]
    for family, of_family in maps.items():
        for features in of_family:
            path = _penalty_path(pool, basis_of(features, pool))
            columns += path
            candidates += [
                Candidate(family, features, float(value)) for value in PENALTIES[: len(path)]
            ]
    log_ratios = np.stack(columns, axis=1)
    return CrossFit(candidates, log_ratios, loss_of(log_ratios, pool.is_data))


def basis_of(features: FeatureMap, pool: Pool) -> Basis:
    """The features of all samples; those of kernels keep their scale."""
    values = features(pool.x)
    num_kernels = 0 if features.whitening is None else features.whitening.shape[1]
    is_scaled = np.arange(values.shape[1]) < values.shape[1] - num_kernels
    return rotated(values, pool.is_data, is_scaled=is_scaled, weights=pool.weights)


def _penalty_path(pool: Pool, basis: Basis) -> list[np.ndarray]:
    """Log ratios by fits without the sample's fold, for the penalties from the largest down.

    Every penalty starts from the optimum of the last. The path ends where three penalties in a row
    have not lowered the loss, since what follows overfits, and where the sets are separated.
    """
    folds = range(int(pool.fold.max()) + 1)
    weights = np.stack(
        [side_weights(pool.fold != fold, pool.is_data, pool.weights) for fold in folds], axis=1
    )
    path: list[np.ndarray] = []
    losses: list[float] = []
    fits = None
    for penalty in PENALTIES:
        fits = fit_lanes(basis, weights, penalty, fits)
        path.append(fits.log_ratios(basis)[np.arange(len(pool.x)), pool.fold])
        losses.append(float(side_mean(loss_of(path[-1], pool.is_data), pool.is_data, pool.weights)))
        if int(np.argmin(losses)) <= len(losses) - _PATIENCE or losses[-1] < _SEPARATED:
            break
    return path


def choose(crossed: CrossFit, pool: Pool, rows: np.ndarray) -> int:
    """The chosen candidate, by the losses of some samples.

    The family is the simplest one whose lowest loss exceeds the lowest of all by at most one
    standard error of the difference, which is far smaller than the standard error of either loss.
    Within it, the penalty is the smallest one whose loss cannot be told from the family's lowest: a
    penalty biases large log ratios most, to which the loss is least sensitive.
    """
    losses, chosen = crossed.losses[rows], pool.rows(rows)
    means = side_mean(losses, chosen.is_data, chosen.weights)

    def exceeds(candidate: int, other: int, tolerance: int | float) -> bool:
        difference = losses[:, candidate] - losses[:, other]
        error = standard_error(difference, chosen.is_data, chosen.group, chosen.weights)
        return bool(means[candidate] - means[other] > tolerance * error)

    best = int(np.argmin(means))
    for members in _families(crossed.candidates).values():
        lowest = int(members[np.argmin(means[members])])
        if not exceeds(lowest, best, 1):
            of_features = crossed.candidates[lowest].features
            smaller = [
                int(member)
                for member in members
                if member > lowest and crossed.candidates[member].features is of_features
            ]
            equal = [member for member in smaller if not exceeds(member, lowest, _EQUAL)]
            return max(equal, default=lowest)
    return best


def lowest_losses(crossed: CrossFit, pool: Pool) -> dict[str, float]:
    """The lowest cross-validated loss of every family."""
    means = side_mean(crossed.losses, pool.is_data, pool.weights)
    return {
        family: float(means[members].min())
        for family, members in _families(crossed.candidates).items()
    }


def _families(candidates: list[Candidate]) -> dict[str, np.ndarray]:
    families = np.array([candidate.family for candidate in candidates], object)
    return {family: np.flatnonzero(families == family) for family in dict.fromkeys(families)}


def nested_log_ratios(crossed: CrossFit, pool: Pool) -> np.ndarray:
    """Cross-fitted log ratios of the procedure: no sample takes part in the choice made for it.

    For every fold the candidate is chosen by the losses of the other folds, so that what is
    assessed includes the choice.
    """
    values = np.empty(len(pool.x))
    for fold in np.unique(pool.fold):
        rows = pool.fold == fold
        values[rows] = crossed.log_ratios[rows, choose(crossed, pool, ~rows)]
    return values


def excess_loss(rng: np.random.Generator, crossed: CrossFit, chosen: int, pool: Pool) -> float:
    """The part of a candidate's loss, in nats, that more samples would remove.

    A loss falls with the number of samples n as a constant plus c / n, to first order. The losses
    of fits to either half of the samples, at the best penalty down to the candidate's, yield c. One
    standard error of the difference is added, so that the value is rather too high than too low.
    """
    candidate = crossed.candidates[chosen]
    if candidate.features is None:
        return 0.0
    weights = _weights_of_halves(rng, pool)
    if weights is None:
        return np.inf
    num_folds = weights.shape[1] // 2
    rows, basis, fits = np.arange(len(pool.x)), basis_of(candidate.features, pool), None
    columns = []
    for penalty in PENALTIES[0.99 * candidate.penalty <= PENALTIES]:
        fits = fit_lanes(basis, weights, penalty, fits)
        values = fits.log_ratios(basis)
        parts = [values[rows, pool.fold + part * num_folds] for part in range(2)]
        columns.append(np.mean([loss_of(part, pool.is_data) for part in parts], axis=0))
    best = min(columns, key=lambda column: float(side_mean(column, pool.is_data, pool.weights)))
    change = best - crossed.losses[:, chosen]
    error = standard_error(change, pool.is_data, pool.group, pool.weights)
    # The last fit has all samples, the cross-validated ones lack a fold.
    return (max(float(side_mean(change, pool.is_data, pool.weights)), 0) + error) * (
        1 - 1 / num_folds
    )


def _weights_of_halves(rng: np.random.Generator, pool: Pool) -> np.ndarray | None:
    """Weights for a fit to each half of the groups without each fold, (samples, 2 folds).

    A few groups are drawn again until every fit has samples of both sets; None if no draw does.
    """
    _, numbers = np.unique(pool.group, return_inverse=True)
    folds = range(int(pool.fold.max()) + 1)
    for _ in range(_MAX_DRAWS):
        half = rng.permutation(numbers.max() + 1)[numbers] % 2
        is_used = [(pool.fold != fold) & (half == part) for part in range(2) for fold in folds]
        if all(rows[pool.is_data].any() and rows[~pool.is_data].any() for rows in is_used):
            lanes = [side_weights(rows, pool.is_data, pool.weights) for rows in is_used]
            return np.stack(lanes, axis=1)
    return None


def refit(candidate: Candidate, pool: Pool, dtype: Any) -> Any:
    """Parameters of the candidate's log ratio, fitted to all samples of the pool.

    The penalties are followed down to the candidate's, as in the cross-validation.
    """
    if candidate.features is None:
        dim = pool.x.shape[1]
        nothing = FeatureMap(np.zeros(dim), np.ones(dim), np.zeros((2, 0), int))
        return nothing.log_ratio_params(np.zeros(dim), 0.0, dtype)
    basis = basis_of(candidate.features, pool)
    weights = basis.weights[:, None]
    fits = None
    for penalty in PENALTIES[0.99 * candidate.penalty <= PENALTIES]:
        fits = fit_lanes(basis, weights, penalty, fits)
    assert fits is not None
    return candidate.features.log_ratio_params(*fits.coefficients(basis, 0), dtype)
