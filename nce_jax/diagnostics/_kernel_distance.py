"""The squared maximum mean discrepancy of two sets, in float64 on the host, in blocks of rows."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from nce_jax._checks import check_positive_int, describe
from nce_jax._options import check_number
from nce_jax._types import ArrayLike, Float
from nce_jax.diagnostics._features import as_feature_pair

_BLOCK = 1024
"""Rows of a kernel matrix that are held at once."""

_MAX_FOR_MEDIAN = 1000
"""Samples of each set whose distances the default bandwidth is the median of."""


class KernelDistance(NamedTuple):
    """Squared maximum mean discrepancy between two sets.

    Attributes:
      value: the unbiased estimate; it may be negative where the distributions are the same.
      standard_error: its standard error for independent samples, also where the distributions are
        the same.
      bandwidth: of the Gaussian kernel, in units of the features; NaN for the polynomial one.
    """

    value: float
    standard_error: float
    bandwidth: float


def kernel_distance(
    x: Float[ArrayLike, "n dim"],
    y: Float[ArrayLike, "m dim"],
    *,
    metric: str = "polynomial",
    bandwidth: float | None = None,
    subset_size: int | None = None,
) -> KernelDistance:
    r"""Unbiased estimate of the squared maximum mean discrepancy of two sets.

    .. math::
        \widehat{\mathrm{MMD}}^2 = \frac{\sum_{i \ne j} k(x_i, x_j)}{n (n - 1)}
          + \frac{\sum_{i \ne j} k(y_i, y_j)}{m (m - 1)} - \frac{2 \sum_{ij} k(x_i, y_j)}{n m}

    With the polynomial kernel :math:`(x \cdot y / \mathrm{dim} + 1)^3` of Inception features it is
    the KID. Unlike the Frechet distance it has no bias that depends on the number of samples. The
    standard error is that of a U-statistic of two samples, with the first and the second order, of
    which the latter alone is left where the distributions are the same. There the larger of two
    estimates is taken, which is too large by a quarter on average. The polynomial kernel depends on
    the origin of the features, and the Gaussian one does not.

    Args:
      x: features of the first set, (n, dim).
      y: features of the second set, (m, dim).
      metric: "polynomial", or "gaussian" for :math:`\exp(-|x - y|^2 / (2 h^2))`.
      bandwidth: h > 0 of the Gaussian kernel, in units of the features; None takes the median
        distance within the joint set. Give it where values are to be compared.
      subset_size: None takes all pairs, in a time of O((n + m)^2). A number takes the mean over
        disjoint subsets of about so many consecutive samples of the smaller set, as the KID is
        usually computed; the standard error is larger. The larger set is divided into as many
        subsets, so that no sample is left out: for m >= n the time is O(subset_size m^2 / n),
        which is O(subset_size (n + m)) for sets of about one size.

    Returns:
      A `KernelDistance`. The kernel matrices are computed in blocks of rows: the memory is
      O(1,024 (n + m)) beside the features.

    Raises:
      TypeError: features that are no real numbers, or traced by `jit`; a bandwidth that is no
        number; or a size that is no integer.
      ValueError: features that are not (n, dim) with at least 4 samples, of different dimensions,
        or not finite; another kernel; a bandwidth that is not positive, or with the polynomial
        kernel; or subsets of fewer than 4 samples, or of more than a set has.

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
      Sutherland et al., Generative models and model criticism via optimized maximum mean
        discrepancy, 2017 (the variance).
    """
    features = as_feature_pair(x, y, min_samples=4)
    width = _as_bandwidth(metric, bandwidth, *features)
    if not np.isnan(width):
        # Distances do not depend on the origin, and squares lose digits far from it.
        origin = (features[0].mean(axis=0) + features[1].mean(axis=0)) / 2
        features = features[0] - origin, features[1] - origin
    estimates = [_estimate(*subset, width) for subset in _subsets(*features, subset_size)]
    values, variances = np.array(estimates).T
    error = np.sqrt(variances.mean() / len(variances))
    return KernelDistance(float(values.mean()), float(error), float(width))


def _subsets(
    x: np.ndarray, y: np.ndarray, subset_size: int | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    if subset_size is None:
        return [(x, y)]
    check_positive_int("subset_size", subset_size)
    smaller = min(len(x), len(y))
    if not 4 <= subset_size <= smaller:
        raise ValueError(
            f"subset_size: expected 4 to {smaller}, the samples of the smaller set, got"
            f" {subset_size}"
        )
    number = smaller // subset_size
    return list(zip(np.array_split(x, number), np.array_split(y, number), strict=True))


def _estimate(x: np.ndarray, y: np.ndarray, width: float) -> tuple[float, float]:
    """The unbiased estimate and its variance."""
    means = {pair: _row_means(*sides, width) for pair, sides in _pairs(x, y).items()}
    value = means["xx"].mean() + means["yy"].mean() - means["xy"].mean() - means["yx"].mean()
    n, m = len(x), len(y)
    first = 4 * np.var(means["xx"] - means["xy"], ddof=1) / n
    first += 4 * np.var(means["yy"] - means["yx"], ddof=1) / m
    rest = {
        pair: _variance_beyond_rows(*_pairs(x, y)[pair], (means[pair], means[pair[::-1]]), width)
        for pair in ("xx", "yy", "xy")
    }
    second = 2 * rest["xx"] / (n * (n - 1)) + 2 * rest["yy"] / (m * (m - 1))
    second += 4 * rest["xy"] / (n * m)
    # Noise in the means of rows adds twice the second order to the first.
    return value, max(first - second, second)


def _pairs(x: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"xx": (x, x), "yy": (y, y), "xy": (x, y), "yx": (y, x)}


def _blocks(rows: np.ndarray, columns: np.ndarray, width: float) -> Iterator[Any]:
    """Blocks of rows of the kernel matrix, with their slices."""
    squares = np.sum(columns**2, axis=1)[None]
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(rows)))
        product = rows[part] @ columns.T
        if np.isnan(width):
            yield part, (product / columns.shape[1] + 1) ** 3
        else:
            distances = np.sum(rows[part] ** 2, axis=1)[:, None] + squares - 2 * product
            yield part, np.exp(-np.maximum(distances, 0) / 2 / width / width)


def _row_means(rows: np.ndarray, columns: np.ndarray, width: float) -> np.ndarray:
    """Mean kernel of every row with the columns, within one set with the others."""
    is_within = rows is columns
    means = np.empty(len(rows))
    for part, block in _blocks(rows, columns, width):
        if is_within:
            block[np.arange(len(block)), np.arange(part.start, part.stop)] = 0
        means[part] = block.sum(axis=1) / (len(columns) - is_within)
    return means


def _variance_beyond_rows(
    rows: np.ndarray, columns: np.ndarray, means: tuple[np.ndarray, np.ndarray], width: float
) -> float:
    """Variance of the kernel of a pair that the means of its row and column do not explain."""
    is_within = rows is columns
    n, m = len(rows), len(columns)
    total, grand = 0.0, means[0].mean()
    # Within one set, the mean over the other columns must be scaled for residuals that sum to zero.
    scale = (n - 1) / (n - 2) if is_within else 1.0
    effects = [scale * (side - grand) for side in means]
    for part, block in _blocks(rows, columns, width):
        block -= effects[0][part, None] + effects[1][None] + grand
        if is_within:
            block[np.arange(len(block)), np.arange(part.start, part.stop)] = 0
        total += float(np.sum(block**2))
    freedom = n * (n - 3) if is_within else (n - 1) * (m - 1)
    return total / freedom


def _as_bandwidth(metric: Any, bandwidth: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The bandwidth of the Gaussian kernel, or NaN for the polynomial one."""
    if not isinstance(metric, str) or metric not in ("polynomial", "gaussian"):
        raise ValueError(f"metric: expected 'polynomial' or 'gaussian', got {_text(metric)}")
    expected = "a finite positive number"
    if bandwidth is not None:
        check_number("bandwidth", bandwidth, expected, lambda h: 0 < h < np.inf)
    if metric == "polynomial":
        if bandwidth is not None:
            raise ValueError(
                f"bandwidth: expected None with the polynomial kernel, got {bandwidth}"
            )
        return np.nan
    width = _median_distance(x, y) if bandwidth is None else float(bandwidth)
    if width <= 0:
        raise ValueError(
            f"bandwidth: expected {expected}, got None where half of the samples are equal"
        )
    return width


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else describe(value)


def _median_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The median distance between samples of both sets, of at most some thousand of them."""
    pooled = np.concatenate([side[:: -(-len(side) // _MAX_FOR_MEDIAN)] for side in (x, y)])
    pooled = pooled - pooled.mean(axis=0)
    squares = np.sum(pooled**2, axis=1)
    distances = squares[:, None] + squares[None] - 2 * pooled @ pooled.T
    median = np.median(distances[np.triu_indices(len(pooled), 1)])
    # Below this it is the rounding of equal samples.
    is_zero = median <= 1e-13 * np.max(squares, initial=0)
    return 0.0 if is_zero else float(np.sqrt(median))
