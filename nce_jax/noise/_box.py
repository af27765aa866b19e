"""Uniform noise on a box."""

from collections.abc import Sequence

import distrax
import jax.numpy as jnp

from nce_jax._numerics import highest, lowest
from nce_jax._types import ArrayLike, Float, Real
from nce_jax.noise._checks import as_bounds, as_points, check_finite, check_one_positive


def uniform_box(
    low: Real[ArrayLike, "*#dim"] | Sequence[int | float],
    high: Real[ArrayLike, "*#dim"] | Sequence[int | float],
) -> distrax.Independent:
    r"""Uniform noise on the box between `low` and `high`.

    .. math:: \log q(x) = -\sum_k \log(\text{high}_k - \text{low}_k)

    inside the closed box, and -inf outside.

    NCE needs the support of the noise to contain the support of the data: a data point outside the
    box has an infinite log ratio, and mass that the model has outside has no effect on the loss.
    Use bounds that are known to hold, or `uniform_box_around` the data.

    Args:
      low: lower bounds, shape (dim,), or a number for all dimensions.
      high: upper bounds, shape (dim,), or a number; at least one of the two has shape (dim,).

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: a bound is an array that is not floating, or not numeric.
      ValueError: shapes do not agree; or, for bounds that are not traced, one is not finite,
        `low` >= `high`, or the dtype of the box changes a width by more than a thousandth.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> box = noise.uniform_box(0.0, [2.0, 5.0])
      >>> print(f"{box.log_prob(jnp.array([1.0, 1.0])):.4f}")
      -2.3026
      >>> print(box.log_prob(jnp.array([3.0, 1.0])))
      -inf
    """
    low, high = as_bounds(low, high)
    return distrax.Independent(distrax.Uniform(low, high), reinterpreted_batch_ndims=1)


def uniform_box_around(
    x_data: Float[ArrayLike, "samples dim"], *, margin: Float[ArrayLike, ""] | float = 0.1
) -> distrax.Independent:
    """Uniform noise on a box that is slightly larger than the range of the data.

    low_k = min_i x_ik - c w_k and high_k = max_i x_ik + c w_k, with x = `x_data`, c = `margin`, and
    w_k the range of dimension k (the largest range where a dimension is constant, or one if all
    dimensions are), plus a few units of rounding, so that every point of `x_data` lies inside.
    Other data need not: held-out points outside the box have log q = -inf.

    Args:
      x_data: data, shape (samples, dim).
      margin: the margin on each side, as a fraction of the range.

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: `x_data` is not floating.
      ValueError: `x_data` is empty, not (samples, dim) or, unless it is traced, not finite; or
        `margin` is a number that is not positive.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> box = noise.uniform_box_around(jnp.array([[0.0], [10.0]]))
      >>> print(f"{box.log_prob(jnp.array([10.9])):.4f} {box.log_prob(jnp.array([11.1])):.4f}")
      -2.4849 -inf
    """
    x_data = as_points("x_data", x_data)
    check_one_positive("margin", margin)
    check_finite("x_data", x_data)
    low, high = lowest(x_data, axis=0), highest(x_data, axis=0)
    width = high - low
    largest = jnp.max(width)
    width = jnp.where(width > 0, width, jnp.where(largest > 0, largest, 1))
    rounding = 4 * jnp.finfo(x_data.dtype).eps * jnp.maximum(jnp.abs(low), jnp.abs(high))
    pad = jnp.asarray(margin, x_data.dtype) * width + rounding
    return uniform_box(low - pad, high + pad)
