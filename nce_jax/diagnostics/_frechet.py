"""The Frechet distance between Gaussians fitted to two sets, in float64 on the host."""

from typing import NamedTuple

import numpy as np

from nce_jax._types import ArrayLike, Float
from nce_jax.diagnostics._features import as_feature_pair


class FrechetDistance(NamedTuple):
    """Squared Frechet distance between Gaussians fitted to two sets.

    Attributes:
      value: the squared distance, in squared units of the features.
      standard_error: the standard error of the value, for independent samples. The bias is not in
        it.
      bias: by how much the value is too high on average, because a distance between few samples is
        never zero: estimated from the halves of both sets, to first order in one over their size.
        It grows with the square of the dimension. Compare values of equal numbers of samples, or
        `value - bias`; where the bias is not small beside the value, neither is more than rough.
    """

    value: float
    standard_error: float
    bias: float


def frechet_distance(x: Float[ArrayLike, "n dim"], y: Float[ArrayLike, "m dim"]) -> FrechetDistance:
    r"""Squared Frechet distance of Gaussians with the means and covariances of two sets.

    .. math::
        D = |m_x - m_y|^2 + \operatorname{tr} C_x + \operatorname{tr} C_y
          - 2 \operatorname{tr} (C_x^{1/2} C_y C_x^{1/2})^{1/2}

    Of features of the Inception network it is the FID; of any others it is not and should not be
    called so. The last trace is the sum of the singular values of :math:`R_x R_y^T` from QR
    decompositions of the centered sets. No covariance is inverted and no root of a general matrix
    is taken, so that the value is real and exact with fewer samples than dimensions, too.

    The standard error has two parts. The first order is the variance of the influence of a sample,

    .. math::
        \psi(x) = 2 (m_x - m_y)^T \tilde x + \tilde x^T (1 - T) \tilde x, \qquad
        \tilde x = x - m_x, \quad T C_x T = C_y,

    which vanishes where both distributions are the same. The second order, which is left there, is
    that of two sets of one Gaussian with the mean of both covariances; the larger of two estimates
    is taken, so that in few dimensions the error is then too large by a quarter on average.

    Args:
      x: features of the first set, (n, dim).
      y: features of the second set, (m, dim), in any order but a sorted one: the bias compares
        samples of even and odd rows.

    Returns:
      A `FrechetDistance`.

    Raises:
      TypeError: features that are no real numbers, or traced by `jit`.
      ValueError: features that are not (n, dim) with at least 4 samples, of different dimensions,
        or not finite.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import diagnostics
      >>> rng = np.random.default_rng(0)
      >>> x, y = rng.normal(1, 1, (4000, 2)), rng.normal(0, 1, (4000, 2))
      >>> distance = diagnostics.frechet_distance(x, y)  # the truth is 2
      >>> print(f"{distance.value:.2f} +- {distance.standard_error:.2f}")
      1.97 +- 0.06

    References:
      Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982.
      Heusel et al., GANs trained by a two time-scale update rule, 2017 (the FID).
      Chong and Forsyth, Effectively unbiased FID and Inception Score, 2020 (the bias).
    """
    x, y = as_feature_pair(x, y, min_samples=4)
    (root_x, axes_x), (root_y, axes_y) = _factors(x), _factors(y)
    left, values, right = np.linalg.svd(root_x @ root_y.T, full_matrices=False)
    shift = x.mean(axis=0) - y.mean(axis=0)
    influences = (
        _influences(x, shift, axes_x @ left, values),
        _influences(y, -shift, axes_y @ right.T, values),
    )
    first = sum(np.var(influence, ddof=1) / len(influence) for influence in influences)
    second = _second_order_variance((root_x, root_y), 1 / len(x) + 1 / len(y))
    # Noise in the estimated influences adds twice the second order to the first.
    variance = max(first - second, second)
    value = _distance(shift, root_x, root_y, values)
    bias = np.mean([_value(x[half::2], y[half::2]) for half in (0, 1)]) - value
    return FrechetDistance(value, float(np.sqrt(variance)), float(bias))


def _factors(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R with R' R the covariance, and the samples whitened by it: centered = whitened @ R."""
    scale = np.sqrt(len(side) - 1)
    whitened, root = np.linalg.qr(side - side.mean(axis=0))
    return root / scale, whitened * scale


def _influences(
    side: np.ndarray, shift: np.ndarray, coordinates: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Influence of every sample, up to a constant.

    x' T x is the sum over the singular values of each times the squared coordinate along its
    vector of the whitened sample.
    """
    centered = side - side.mean(axis=0)
    return 2 * centered @ shift + np.sum(centered**2, axis=1) - coordinates**2 @ values


def _distance(
    shift: np.ndarray, root_x: np.ndarray, root_y: np.ndarray, values: np.ndarray
) -> float:
    value = shift @ shift + np.sum(root_x**2) + np.sum(root_y**2) - 2 * np.sum(values)
    return max(float(value), 0.0)  # below zero it is rounding


def _value(x: np.ndarray, y: np.ndarray) -> float:
    root_x, root_y = _factors(x)[0], _factors(y)[0]
    values = np.linalg.svd(root_x @ root_y.T, compute_uv=False)
    return _distance(x.mean(axis=0) - y.mean(axis=0), root_x, root_y, values)


def _second_order_variance(roots: tuple[np.ndarray, np.ndarray], scale: float) -> float:
    r"""Variance of the distance between two sets of one Gaussian, with scale 1 / n + 1 / m.

    In the eigenbasis of the covariance, with independent differences d of means and dC of
    covariances, D = sum_i d_i^2 + 1/2 sum_ij dC_ij^2 / (l_i + l_j), where the variances are scale
    l_i and scale l_i l_j (twice that where i = j).
    """
    stacked = np.concatenate(roots) / np.sqrt(2)
    spread = np.linalg.svd(stacked, compute_uv=False) ** 2
    total = spread[:, None] + spread[None]
    pairs = spread[:, None] * spread[None] / np.where(total > 0, total, 1)
    # Both orders of a pair are in the sum over the matrix, and the diagonal counts twice.
    of_covariances = np.sum(pairs**2) + np.sum(np.diag(pairs) ** 2)
    return float(scale**2 * (2 * np.sum(spread**2) + of_covariances))
