"""Gaussian noise: standard, or fitted to the data."""

import distrax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from nce_jax._checks import as_weights, check_positive_int, compute_dtype
from nce_jax._dtypes import is_narrow
from nce_jax._numerics import fill_padding
from nce_jax._options import check_float_dtype
from nce_jax._ranges import known_values
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray, Real
from nce_jax.noise._checks import as_points, check_finite, check_one_positive, check_squares
from nce_jax.noise._moments import positive_variance, weighted_moments


def standard_normal(dim: int, *, dtype: DTypeLike | None = None) -> distrax.Independent:
    r"""Standard normal noise over vectors of `dim` dimensions.

    .. math::

       \log q(x) = -\tfrac12 |x|^2 - \tfrac d2 \log 2\pi, \qquad d = \text{dim}.

    Args:
      dim: number of dimensions of a sample.
      dtype: dtype of the samples; None takes JAX's default float. In half precision, draws of
        float32 are rounded, and log densities are float32.

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: `dim` is not an integer.
      ValueError: `dim` is less than one.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise
      >>> normal = noise.standard_normal(2)
      >>> print(f"{normal.log_prob(jnp.zeros(2)):.4f}")
      -1.8379
    """
    check_positive_int("dim", dim)
    if dtype is not None:
        check_float_dtype("dtype", dtype)
        if is_narrow(jnp.dtype(dtype)):
            raise TypeError(f"dtype: expected at least 16 bits, got {jnp.dtype(dtype)}")
    dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    wide = compute_dtype(dtype)
    moments = jnp.zeros(dim, wide), jnp.ones(dim, wide)
    normal = distrax.Normal(*moments) if wide == dtype else RoundedNormal(*moments, dtype)
    return distrax.Independent(normal, reinterpreted_batch_ndims=1)


class RoundedNormal(distrax.Normal):
    """A normal distribution in float32 whose draws are rounded to half precision.

    Draws that are made in bfloat16 have a mean of -0.01 and end at 2.9 standard deviations, since
    they come from 128 uniform numbers; a log density in it has an error of nats in many dimensions.
    """

    def __init__(self, loc: Array, scale: Array, rounded_to: jnp.dtype) -> None:
        super().__init__(loc, scale)
        self._rounded_to = rounded_to

    def _sample_n(self, key: PRNGKeyArray, n: int) -> Array:
        return super()._sample_n(key, n).astype(self._rounded_to)

    def _sample_n_and_log_prob(self, key: PRNGKeyArray, n: int) -> tuple[Array, Array]:
        draws = self._sample_n(key, n)
        return draws, self.log_prob(draws)

    def _standardize(self, value: Array) -> Array:
        value = jnp.asarray(value)
        return super()._standardize(value.astype(compute_dtype(value)))


def fitted_gaussian(
    x_data: Float[ArrayLike, "samples dim"],
    *,
    weights_data: Real[ArrayLike, " samples"] | None = None,
    ridge: Float[ArrayLike, ""] | float | None = None,
) -> distrax.MultivariateNormalTri:
    """Gaussian noise with the mean and the full covariance of the data.

    q = N(m, C + r D), where m and C are the (weighted) maximum likelihood mean and covariance of
    `x_data`, r = `ridge`, and D is the diagonal of C. Where a dimension is constant, D has the
    average variance of all other dimensions instead (one, if all are constant). The ridge therefore
    scales with the units of each dimension and increases every variance by the same relative
    amount r. It keeps the covariance positive definite when pixels are constant, dimensions are
    copies of each other, or there are fewer samples than dimensions, so that q has full support,
    which NCE needs. It does not make such a noise a *good* one: in a direction in which the data do
    not vary, the standard deviation of q is about sqrt(r) of a typical one. A larger ridge (0.01,
    for example) then gives noise that is harder to distinguish from the data.

    Args:
      x_data: data, shape (samples, dim), at least two samples. For half precision, moments and
        samples are in float32.
      weights_data: weights >= 0 of the data, shape (samples,); only their ratios matter, and a
        sample of weight zero is ignored, even if it is NaN.
      ridge: r, relative to the variances; None takes the square root of the dtype's epsilon (3.5e-4
        in float32, 1.5e-8 in float64), which outweighs the rounding of C.

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: `x_data` is not floating.
      ValueError: `x_data` is not (samples, dim), has fewer than two samples or, unless it is
        traced, samples that are not finite or whose variances the dtype cannot hold; the weights do
        not fit, are negative or leave no sample; or `ridge` is not positive, or too small.

    Examples:
      >>> import jax.numpy as jnp
      >>> x_data = jnp.array([[0.0, 1.0], [2.0, 1.0], [0.0, 5.0], [2.0, 5.0]])
      >>> from nce_jax import noise
      >>> fitted = noise.fitted_gaussian(x_data, ridge=1e-6)
      >>> print(
      ...     [f"{value:.4f}" for value in fitted.mean()],
      ...     [f"{value:.4f}" for value in fitted.variance()],
      ... )
      ['1.0000', '3.0000'] ['1.0000', '4.0000']
    """
    x_data = as_points("x_data", x_data, min_samples=2)
    weights = as_weights("weights_data", weights_data, x_data[:, 0])
    points: Array = fill_padding(x_data, weights)
    check_finite("x_data", points)
    check_squares("x_data", points, weights)
    if ridge is None:
        ridge = float(jnp.finfo(points.dtype).eps) ** 0.5
    check_one_positive("ridge", ridge)
    mean, covariance = weighted_moments(points, weights)
    deviation = jnp.sqrt(positive_variance(jnp.diagonal(covariance), mean))
    factor = _scaled_cholesky(covariance, deviation, jnp.asarray(ridge, points.dtype))
    known = known_values(factor)
    if known is not None and not np.isfinite(known).all():
        raise ValueError(
            f"ridge: expected one that makes the covariance positive definite in {points.dtype},"
            f" got {ridge}"
        )
    return distrax.MultivariateNormalTri(mean, factor)


def _scaled_cholesky(covariance: Array, deviation: Array, ridge: Array) -> Array:
    # The Cholesky factorization depends on the conditioning of the *correlation* matrix, so the
    # ridge is added there. In the original units it would dominate a dimension of small variance.
    correlation = covariance / (deviation[:, None] * deviation[None])
    factor = jnp.linalg.cholesky(
        correlation + ridge * jnp.eye(deviation.size, dtype=deviation.dtype)
    )
    return deviation[:, None] * factor
