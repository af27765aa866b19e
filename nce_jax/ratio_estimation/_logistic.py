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
    for _ in range(_MAX_STEPS):
        gradient = _gradient(basis, weights[:, active], state.ahead) + penalties * state.ahead
        change = -step[:, active] * gradient
        new = state.ahead + change
        distance = np.sqrt((second_moments / 2 * change**2).sum(axis=0))
        state = state.advance(new, change / step[:, active])
        solution[:, active] = new
        is_open = distance > _TOLERANCE
        if not is_open.any():
            break
        active, state = active[is_open], state.of(is_open)
    return Fits(solution[:-1], solution[-1])


def _gradient(basis: Basis, weights: np.ndarray, theta: np.ndarray) -> np.ndarray:
    log_ratios = basis.features @ theta[:-1].astype(np.float32) + theta[-1].astype(np.float32)
    residuals = weights * (_sigmoid(log_ratios) - basis.is_data[:, None])
    of_features = basis.features.T @ residuals.astype(np.float32)
    return np.concatenate([of_features, residuals.sum(axis=0)[None]])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * values)


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

    def of(self, is_kept: np.ndarray) -> "_Momentum":
        """The state of some lanes."""
        return _Momentum(self.last[:, is_kept], self.ahead[:, is_kept], self.age[is_kept])
