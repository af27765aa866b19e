r"""Penalized logistic regression of two sets on the same features, without each fold at once.

The loss is NCE's at magnification 1, which is convex in a log ratio that is linear in its
parameters, :math:`s = \theta' \phi(x) + b`:

.. math::

   L = \operatorname{mean}_i \log(1 + e^{-s(x_i)}) + \operatorname{mean}_j \log(1 + e^{s(y_j)})
       + \tfrac{\lambda}{2} |\theta|^2.

A *lane* is one such problem: the weights of its samples, zero for those that are left out. All
lanes share the features, so that an iteration is two products of matrices. NumPy computes them: a
JAX program would have to be compiled for every number of samples.
"""

from typing import NamedTuple

import numpy as np

from nce_jax._numerics import host_products

_TOLERANCE = 3e-4
"""A lane is done where its next step would change the log ratios by less than this number of nats,
root mean square."""

_MAX_STEPS = 200
"""Sets that a lane separates, at a small penalty, would take thousands. A lane that has not come to
its end has the effect of a larger penalty; it is compared by its loss like all others."""


class Basis(NamedTuple):
    """Features rotated to their principal axes, in which one diagonal matrix bounds all Hessians.

    Attributes:
      features: centered features of unit spread along their principal axes, (n, r).
      variances: variance along each axis, (r,).
      is_data: which samples are data, (n,).
      weights: weights of the samples, which add up to one in each set, (n,).
      mean: mean of the features as they came, (p,).
      rotation: from features as they came, centered, to principal axes, (p, r).
    """

    features: np.ndarray
    variances: np.ndarray
    is_data: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    rotation: np.ndarray


class Fits(NamedTuple):
    """The solution of every lane: `theta`, (r, lanes), and `intercept`, (lanes,)."""

    theta: np.ndarray
    intercept: np.ndarray

    @host_products
    def log_ratios(self, basis: Basis) -> np.ndarray:
        """Log ratios of the basis' samples, (n, lanes)."""
        return basis.features @ self.theta.astype(np.float32) + self.intercept

    @host_products
    def coefficients(self, basis: Basis, lane: int) -> tuple[np.ndarray, float]:
        """Coefficients and intercept of a lane, for the features as they came."""
        values = basis.rotation @ self.theta[:, lane]
        return values, float(self.intercept[lane] - basis.mean @ values)


def side_weights(
    is_used: np.ndarray, is_data: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Weights of the used samples, equal ones by default, that add up to one in each set."""
    given = np.ones(len(is_data)) if weights is None else weights
    of_data, of_noise = (np.where(is_used & side, given, 0) for side in (is_data, ~is_data))
    sums = [side.sum() for side in (of_data, of_noise)]
    return of_data / (sums[0] or 1) + of_noise / (sums[1] or 1)


@host_products
def rotated(
    features: np.ndarray,
    is_data: np.ndarray,
    *,
    is_scaled: np.ndarray,
    weights: np.ndarray | None = None,
) -> Basis:
    """The basis of features, (n, p), of which those in `is_scaled` are first given unit spread."""
    of_all = side_weights(np.ones(len(is_data), bool), is_data, weights)
    weights = (of_all / 2).astype(np.float32)
    mean = weights @ features
    centered = features - mean
    spread = np.sqrt(weights @ np.square(centered))
    scale = np.where(is_scaled & (spread > 1e-6), 1 / np.maximum(spread, 1e-6), 1)
    centered *= scale
    variances, rotation = _principal_axes(centered * np.sqrt(weights)[:, None])
    return Basis(
        features=centered @ rotation.astype(np.float32),
        variances=variances,
        is_data=is_data,
        weights=of_all,
        mean=mean,
        rotation=scale[:, None] * rotation,
    )


def _principal_axes(centered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances and axes, from the smaller one of the two matrices of inner products."""
    count, dim = centered.shape
    if dim <= count:
        variances, axes = np.linalg.eigh((centered.T @ centered).astype(np.float64))
        return np.maximum(variances, 0), axes
    variances, vectors = np.linalg.eigh((centered @ centered.T).astype(np.float64))
    is_used = variances > 1e-6 * max(variances[-1], 1e-30)
    variances, vectors = variances[is_used], vectors[:, is_used]
    return variances, centered.T @ vectors / np.sqrt(variances)


@host_products
def fit_lanes(basis: Basis, weights: np.ndarray, penalty: float, start: Fits | None = None) -> Fits:
    """Minimizes the loss of all lanes, with weights (n, lanes), from a start.

    The Hessian of a lane is at most its penalty plus a quarter of its weighted second moments.
    These are at most its largest relative weight times those of all samples: diagonal here. Steps
    by this bound need no line search; Nesterov's momentum, dropped wherever it points uphill, makes
    them fast. Lanes that are done are left out of the products.
    """
    excess = (weights / basis.weights[:, None]).max(axis=0)
    # The intercept is the last coordinate: a feature that is one and has no penalty.
    second_moments = np.append(2 * basis.variances, 2.0)[:, None]
    penalties = np.append(np.full(len(basis.variances), penalty), 0.0)[:, None]
    step = 1 / (0.25 * excess * second_moments + penalties)
    solution = (
        np.zeros(step.shape)
        if start is None
        else np.concatenate([start.theta, start.intercept[None]])
    )
    active = np.arange(step.shape[1])
    state = _Momentum(solution, solution, np.ones(len(active)))
    solution = solution.copy()
    residuals = _Residuals.of(basis, weights)
    for _ in range(_MAX_STEPS):
        descent = -_gradient(basis, residuals, state.ahead) - penalties * state.ahead
        change = step * descent
        new = state.ahead + change
        is_open = (second_moments / 2 * change**2).sum(axis=0) > _TOLERANCE**2
        state = state.advance(new, descent)
        solution[:, active] = new
        if not is_open.any():
            break
        if not is_open.all():
            active, step = active[is_open], step[:, is_open]
            state = state.lanes(is_open)
            residuals = residuals.lanes(is_open)
    return Fits(solution[:-1], solution[-1])


class _Residuals(NamedTuple):
    """Weighted residuals w (P - 1) of data and w P of noise as `slope * tanh(s / 2) + level`."""

    slope: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, basis: Basis, weights: np.ndarray) -> "_Residuals":
        half = (weights / 2).astype(np.float32)
        return cls(half, np.where(basis.is_data[:, None], -half, half))

    def lanes(self, is_kept: np.ndarray) -> "_Residuals":
        return _Residuals(self.slope[:, is_kept], self.level[:, is_kept])


def _gradient(basis: Basis, residuals: _Residuals, theta: np.ndarray) -> np.ndarray:
    half = (theta / 2).astype(np.float32)
    values = basis.features @ half[:-1]
    values += half[-1]
    np.tanh(values, out=values)
    values *= residuals.slope
    values += residuals.level
    of_features = basis.features.T @ values
    return np.concatenate([of_features, values.sum(axis=0, dtype=np.float64)[None]])


class _Momentum(NamedTuple):
    """Nesterov's sequence: the last point, the point where the next gradient is taken, its age."""

    last: np.ndarray
    ahead: np.ndarray
    age: np.ndarray

    def advance(self, new: np.ndarray, descent: np.ndarray) -> "_Momentum":
        """The state after a step along `descent`, the negative gradient, to `new`."""
        is_uphill = (descent * (new - self.last)).sum(axis=0) < 0
        age = np.where(is_uphill, 1, self.age)
        next_age = (1 + np.sqrt(1 + 4 * age**2)) / 2
        factor = np.where(is_uphill, 0, (age - 1) / next_age)
        return _Momentum(new, new + factor * (new - self.last), next_age)

    def lanes(self, is_kept: np.ndarray) -> "_Momentum":
        """The state of some lanes."""
        return _Momentum(self.last[:, is_kept], self.ahead[:, is_kept], self.age[is_kept])
