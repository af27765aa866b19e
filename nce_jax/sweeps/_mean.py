"""The mean over an axis of a sweep, without the lanes that failed."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._checks import is_key


class FailedLanesWarning(UserWarning):
    """Lanes of a sweep failed and are left out of a mean."""


class LaneMean(NamedTuple):
    """A mean over one axis of a sweep.

    Attributes:
      mean: the pytree of the sweep's values with every leaf averaged over the lanes that did not
        fail; NaN where all did.
      standard_error: of that mean, the sample standard deviation over the root of the number of
        lanes; NaN below two lanes.
      num_lanes: number of lanes in each mean, over the remaining axes of the grid.
      num_failed: number of lanes left out of each mean.
    """

    mean: Any
    standard_error: Any
    num_lanes: np.ndarray
    num_failed: np.ndarray


def failed_lanes(values: Any, num_axes: int) -> np.ndarray:
    """Returns whether a lane has a floating or complex number that is not finite.

    The result is over the grid, the leading `num_axes` axes.
    """
    leaves = jax.tree.leaves(values)
    failed = np.zeros(leaves[0].shape[:num_axes], bool) if leaves else np.zeros((), bool)
    for leaf in leaves:
        if jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact):
            failed |= ~np.isfinite(np.asarray(leaf)).reshape(*failed.shape, -1).all(axis=-1)
    return failed


def lane_mean(
    values: Any, failed: np.ndarray, axis: str, position: int, num_missing: int = 0
) -> LaneMean:
    """Averages every leaf over one axis of the grid, without the failed lanes, which it counts.

    `num_missing` of them have not been computed.
    """
    num_failed = failed.sum(axis=position)
    if failed.any():
        verdict = f"failed or have not been computed ({num_missing})" if num_missing else "failed"
        warnings.warn(
            f"{failed.sum()} of {failed.size} lanes {verdict} and are left out of the mean over"
            f" {axis!r}, at most {num_failed.max()} of {failed.shape[position]} in one mean",
            FailedLanesWarning,
            stacklevel=3,
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(values):
        if is_key(leaf):
            raise TypeError(
                f"values: expected numbers at {jax.tree_util.keystr(path)}, got typed keys, which"
                " have no mean"
            )
    means = jax.tree.map(lambda leaf: _masked(np.asarray(leaf), ~failed, position)[0], values)
    errors = jax.tree.map(lambda leaf: _masked(np.asarray(leaf), ~failed, position)[1], values)
    return LaneMean(means, errors, (~failed).sum(axis=position), num_failed)


def _masked(leaf: np.ndarray, counts: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and its standard error over one axis, in the leaf's precision.

    Both are computed in float64.
    """
    is_inexact = jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)
    counts = counts.reshape(counts.shape + (1,) * (leaf.ndim - counts.ndim))
    wide = leaf.astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)
    number = counts.sum(axis=position)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counts, wide, 0).sum(axis=position) / number
        squares = np.abs(wide - np.expand_dims(mean, position)) ** 2
        sum_of_squares = np.where(counts, squares, 0).sum(axis=position)
        error = np.sqrt(sum_of_squares / (number - 1) / number)
    error = np.where(number > 1, error, np.nan)
    dtypes = (leaf.dtype, np.abs(leaf[:0]).dtype) if is_inexact else (mean.dtype, error.dtype)
    return np.asarray(mean, dtypes[0]), np.asarray(error, dtypes[1])
