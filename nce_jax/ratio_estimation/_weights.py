"""Weights of samples: as users give them, and as the solver and the losses take them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_weight_array, describe
from nce_jax._samples import as_draw_fn, as_float_samples


def weighted_samples(side: str, x: Any, weights: Any) -> tuple[Any, np.ndarray | None, Any]:
    """The samples of weight above zero, their weights with a mean of one, and which they are.

    Samples of weight zero are removed before anything else, so that they have no influence, be
    they NaN. Weights that are all equal are None. Without weights the samples remain as they are.

    Args:
      side: "data" or "noise".
      x: the samples as they were given.
      weights: one weight per sample, or None.
    """
    if weights is None:
        return x, None, slice(None)
    name = f"weights_{side}"
    if as_draw_fn(f"x_{side}", x) is not None:
        raise ValueError(
            f"{name}: expected None where x_{side} is drawn from a distribution, got"
            f" {describe(weights)}; weights belong to the rows of an array"
        )
    if not isinstance(x, jax.Array | np.ndarray) or x.ndim == 0:
        x = as_float_samples(f"x_{side}", x)  # raises, as a rule: these are no samples
    if isinstance(weights, jax.core.Tracer):
        raise TypeError(f"{name}: expected values that are known, got {describe(weights)}")
    values = np.asarray(as_weight_array(name, weights, (len(x),)), np.float64)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise ValueError(f"{name}: expected finite weights >= 0, got {values[row]} in row {row}")
    if not values.max(initial=0) > 0:
        raise ValueError(f"{name}: expected weights of which some are positive, got zeros alone")
    is_kept = values > 0
    relative = mean_one(values[is_kept])
    are_equal = bool((relative == 1).all())
    return (x if is_kept.all() else x[is_kept]), None if are_equal else relative, is_kept


def mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights of one set with a mean of one; exactly ones where all are equal."""
    relative = weights / weights.max(initial=0)
    return relative / relative.mean()


def kish(weights: np.ndarray) -> float:
    """Kish's effective number of samples; their number where all weights are one."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def as_jax(weights: np.ndarray, dtype: Any) -> jax.Array | None:
    """Weights for losses and solvers; None for ones, which need no program of their own."""
    return None if (weights == 1).all() else jnp.asarray(weights, dtype)


def both_as_jax(weights: tuple[np.ndarray, np.ndarray], dtype: Any) -> dict[str, Any]:
    """The weights of both sets, by the names of the arguments that take them."""
    names = ("weights_data", "weights_noise")
    return {name: as_jax(side, dtype) for name, side in zip(names, weights, strict=True)}
