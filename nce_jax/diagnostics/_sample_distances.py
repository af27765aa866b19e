"""Distances between two sets of samples or of features, in float64 on the host."""

from typing import Any, NamedTuple

import numpy as np

from nce_jax._checks import describe
from nce_jax._types import ArrayLike, Float

_BLOCK = 1024
"""Rows of a kernel matrix that are held at once."""

_MAX_FOR_MEDIAN = 1000
"""Samples of each set whose distances the default bandwidth is the median of."""


class FrechetDistance(NamedTuple):
    """Frechet distance between Gaussians fitted to two sets, squared.

    Attributes:
      value: the squared distance, in squared units of the features.
      standard_error: its standard error to first order in the samples. It does not include the
        bias, and is too small where the two distributions are nearly the same.
      bias: by how much the value is too high for want of samples, estimated from halves: a distance
        between few samples is never zero. Compare values of equal numbers of samples only.
    """

    value: float
    standard_error: float
    bias: float


class KernelDistance(NamedTuple):
    """Squared maximum mean discrepancy between two sets.

    Attributes:
      value: the unbiased estimate; it may be negative where the distributions are the same.
      standard_error: its standard error, also where the distributions are the same.
      bandwidth: of the Gaussian kernel, in units of the features; NaN for the polynomial one.
    """

    value: float
    standard_error: float
    bandwidth: float


def frechet_distance(x: Float[ArrayLike, "n dim"], y: Float[ArrayLike, "m dim"]) -> FrechetDistance:
    r"""Squared Frechet distance of Gaussians with the means and covariances of two sets.

    .. math::
        D = |m_x - m_y|^2 + \operatorname{tr}\big[C_x + C_y
          - 2 (C_x^{1/2} C_y C_x^{1/2})^{1/2}\big]

    Of features of the Inception network it is the FID; of any others it must not be called so. The
    square root is taken of symmetric matrices alone, by their eigenvalues in float64, so that it is
    real. The influence of a sample on D, from which the standard error follows, is

    .. math::
        \psi(x) = 2 (m_x - m_y)^\top \tilde x + \tilde x^\top (1 - T) \tilde x
          - \operatorname{tr}[(1 - T) C_x], \qquad \tilde x = x - m_x,

    where T maps the one Gaussian to the other, :math:`T C_x T = C_y`.

    Args:
      x: features of the first set, (n, dim).
      y: features of the second set, (m, dim).

    Returns:
      A `FrechetDistance`.

    Raises:
      TypeError: features that are no real numbers.
      ValueError: features that are not (n, dim) with at least 4 samples, of different dimensions,
        or not finite.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import diagnostics
      >>> rng = np.random.default_rng(0)
      >>> x, y = rng.normal(1, 1, (4000, 2)), rng.normal(0, 1, (4000, 2))
      >>> distance = diagnostics.frechet_distance(x, y)  # the truth is 2
      >>> print(f"{distance.value:.2f} +- {distance.standard_error:.2f}")
      1.95 +- 0.06

    References:
      Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982.
      Heusel et al., GANs trained by a two time-scale update rule, 2017 (the FID).
      Chong and Forsyth, Effectively unbiased FID and Inception Score, 2020 (the bias).
    """
    x, y = _as_pair(x, y, min_samples=4)
    value, influences = _frechet(x, y)
    variance = sum(np.var(side, ddof=1) / len(side) for side in influences)
    of_halves = np.mean([_frechet(x[half::2], y[half::2])[0] for half in (0, 1)])
    return FrechetDistance(value, float(np.sqrt(variance)), float(of_halves - value))


def _frechet(x: np.ndarray, y: np.ndarray) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """The squared distance, and the influence of every sample of either set."""
    means, centered = zip(*((side.mean(0), side - side.mean(0)) for side in (x, y)), strict=True)
    covariances = [side.T @ side / (len(side) - 1) for side in centered]
    root, inverse_root = _roots(covariances[0])
    middle, inverse_middle = _roots(root @ covariances[1] @ root)
    shift = means[0] - means[1]
    traces = sum(np.trace(covariance) for covariance in covariances)
    value = float(shift @ shift + traces - 2 * np.trace(middle))
    maps = inverse_root @ middle @ inverse_root, root @ inverse_middle @ root
    influences = [
        2 * sign * side @ shift + np.sum(side * (side - side @ transport), axis=1)
        for sign, side, transport in zip((1, -1), centered, maps, strict=True)
    ]
    return max(value, 0.0), (influences[0], influences[1])


def _roots(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square root of a symmetric matrix and its pseudoinverse, without what is rounding."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    floor = max(values[-1], 0) * len(values) * np.finfo(float).eps
    root = np.sqrt(np.where(values > floor, values, 0))
    inverse = np.where(root > 0, 1 / np.where(root > 0, root, 1), 0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def kernel_distance(
    x: Float[ArrayLike, "n dim"],
    y: Float[ArrayLike, "m dim"],
    *,
    kernel: str = "polynomial",
    bandwidth: float | None = None,
) -> KernelDistance:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two sets.

    .. math::
        \widehat{\mathrm{MMD}}^2 = \frac{\sum_{i \ne j} k(x_i, x_j)}{n (n - 1)}
          + \frac{\sum_{i \ne j} k(y_i, y_j)}{m (m - 1)} - \frac{2 \sum_{ij} k(x_i, y_j)}{n m}

    With the polynomial kernel :math:`(x \cdot y / \mathrm{dim} + 1)^3` of Inception features it is
    the KID. Unlike the Frechet distance it has no bias that depends on the number of samples.

    Args:
      x: features of the first set, (n, dim).
      y: features of the second set, (m, dim).
      kernel: "polynomial", or "gaussian" for :math:`\exp(-|x - y|^2 / (2 h^2))`.
      bandwidth: h > 0 of the Gaussian kernel, in units of the features; None takes the median
        distance within the joint set.

    Returns:
      A `KernelDistance`. The kernel matrices are computed in blocks of rows: the memory is
      O(1,024 (n + m)).

    Raises:
      TypeError: features that are no real numbers.
      ValueError: features that are not (n, dim) with at least 2 samples, of different dimensions,
        or not finite; another kernel; or a bandwidth that is not positive.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import diagnostics
      >>> rng = np.random.default_rng(0)
      >>> x, y = rng.normal(1, 1, (1000, 2)), rng.normal(0, 1, (1000, 2))
      >>> distance = diagnostics.kernel_distance(x, y)
      >>> distance.value > 10 * distance.standard_error
      True
      >>> same = diagnostics.kernel_distance(x[::2], x[1::2])
      >>> abs(same.value) < 3 * same.standard_error
      True

    References:
      Gretton et al., A kernel two-sample test, 2012, lemma 6.
      Binkowski et al., Demystifying MMD GANs, 2018 (the KID).
    """
    x, y = _as_pair(x, y, min_samples=2)
    if kernel not in ("polynomial", "gaussian"):
        raise ValueError(f"kernel: expected 'polynomial' or 'gaussian', got {kernel!r}")
    width = np.nan
    if kernel == "gaussian":
        width = _median_distance(x, y) if bandwidth is None else bandwidth
        _check_bandwidth(width)
    elif bandwidth is not None:
        raise ValueError("bandwidth: expected None with the polynomial kernel, got a number")
    pooled, is_x = np.concatenate([x, y]), np.arange(len(x) + len(y)) < len(x)
    means = _row_means(pooled, is_x, width)
    within = [means[is_x, 0], means[~is_x, 1]]
    across = [means[is_x, 1], means[~is_x, 0]]
    value = within[0].mean() + within[1].mean() - across[0].mean() - across[1].mean()
    first = sum(
        4 * np.var(own - other, ddof=1) / len(own)
        for own, other in zip(within, across, strict=True)
    )
    variance = first + _degenerate_variance(pooled, is_x, width)
    return KernelDistance(float(value), float(np.sqrt(variance)), float(width))


def _kernel_rows(rows: np.ndarray, pooled: np.ndarray, width: float) -> np.ndarray:
    product = rows @ pooled.T
    if np.isnan(width):
        return (product / pooled.shape[1] + 1) ** 3
    squares = np.sum(rows**2, axis=1)[:, None] + np.sum(pooled**2, axis=1)[None]
    return np.exp(-np.maximum(squares - 2 * product, 0) / (2 * width**2))


def _row_means(pooled: np.ndarray, is_x: np.ndarray, width: float) -> np.ndarray:
    """Mean kernel of every sample with the other samples of x and of y, (n + m, 2)."""
    sums, sizes = [], np.array([is_x.sum(), (~is_x).sum()], float)
    for start in range(0, len(pooled), _BLOCK):
        block = _kernel_rows(pooled[start : start + _BLOCK], pooled, width)
        block[np.arange(len(block)), start + np.arange(len(block))] = 0
        sums.append(np.stack([block[:, is_x].sum(1), block[:, ~is_x].sum(1)], axis=1))
    own = np.stack([is_x, ~is_x], axis=1)
    return np.concatenate(sums) / (sizes[None] - own)


def _degenerate_variance(pooled: np.ndarray, is_x: np.ndarray, width: float) -> float:
    """Variance of the estimate where the distributions are the same: that of second order."""
    n, m = is_x.sum(), (~is_x).sum()
    total, row_means = 0.0, []
    for start in range(0, len(pooled), _BLOCK):
        row_means.append(_kernel_rows(pooled[start : start + _BLOCK], pooled, width).mean(axis=1))
    means = np.concatenate(row_means)
    for start in range(0, len(pooled), _BLOCK):
        block = _kernel_rows(pooled[start : start + _BLOCK], pooled, width)
        block += means.mean() - means[None] - means[start : start + len(block), None]
        block[np.arange(len(block)), start + np.arange(len(block))] = 0
        total += float(np.sum(block**2))
    square = total / (len(pooled) * (len(pooled) - 1))
    return square * (2 / (n * (n - 1)) + 2 / (m * (m - 1)) + 4 / (n * m))


def _median_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The median distance of distinct samples of both sets, of at most some thousand of them."""
    pooled = np.concatenate(
        [side[:: -(-len(side) // _MAX_FOR_MEDIAN)] for side in (x, y)]
    )
    squares = np.sum(pooled**2, axis=1)
    distances = squares[:, None] + squares[None] - 2 * pooled @ pooled.T
    return float(np.sqrt(np.median(distances[np.triu_indices(len(pooled), 1)])))


def _check_bandwidth(width: Any) -> None:
    if not isinstance(width, int | float | np.number) or isinstance(width, bool):
        raise TypeError(f"bandwidth: expected a number, got {describe(width)}")
    if not (np.isfinite(width) and width > 0):
        raise ValueError(
            f"bandwidth: expected a finite positive number, got {width}; the default is zero where"
            " half of the samples are the same"
        )


def _as_pair(x: Any, y: Any, *, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets in float64; raises by name on anything else than two tables of finite numbers."""
    sides = [_as_features(name, side, min_samples) for name, side in (("x", x), ("y", y))]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(
            f"y: expected shape (m, {sides[0].shape[1]}) as x has it, got shape {sides[1].shape}"
        )
    return sides[0], sides[1]


def _as_features(name: str, samples: Any, min_samples: int) -> np.ndarray:
    array = np.asarray(samples)
    if array.dtype.kind not in "fiub" and str(array.dtype) != "bfloat16":
        raise TypeError(f"{name}: expected real numbers (n, dim), got {describe(samples)}")
    if array.ndim != 2 or array.shape[0] < min_samples or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected shape (n, dim) with at least {min_samples} samples, got shape"
            f" {array.shape}"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ValueError(f"{name}: expected finite numbers, got {array[row]} in row {row}")
    return array
