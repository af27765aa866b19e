"""Transformations of images, from integer levels to a real vector and back."""

import math

import jax
import jax.numpy as jnp

from nce_jax._checks import as_array, as_samples, check_key, check_positive_int, compute_dtype
from nce_jax._options import check_number
from nce_jax._ranges import check_range, saturated
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray, Real

_BITS_WITHIN_BIN = 7
"""Bits of a number that are left for its place within the bin of a level, at least."""


def dequantize(
    key: PRNGKeyArray, images: Real[ArrayLike, "*shape"], *, num_levels: int = 256
) -> Float[Array, "*shape"]:
    r"""Spreads integer levels uniformly over their bins.

    A level k becomes :math:`x = (k + u) / L` with :math:`u \sim U[0, 1)` and L = `num_levels`. The
    integral of a density p_x over the bin of k is a probability of k, whose log is at least
    :math:`E_u[\log p_x(x)] - \log L`.

    Args:
      key: a typed PRNG key.
      images: integers from 0 to L - 1, of any shape.
      num_levels: the number of levels, L, up to 65,536 in float32 (2^45 in float64): beyond that
        the dtype has hardly a number within a bin.

    Returns:
      x in [0, 1), of the same shape, with floor(L x) = k wherever L is a power of two.

    Raises:
      TypeError: `images` does not hold integers, `num_levels` is no integer, or `key` no typed key.
      ValueError: `num_levels` is out of its range, or there are several keys; or a level is out of
        its range, unless the images are traced.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> x = likelihood.dequantize(jax.random.key(0), jnp.array([0, 128, 255], jnp.uint8))
      >>> (256 * x).astype(int).tolist()
      [0, 128, 255]

    References:
      Uria, Murray and Larochelle, RNADE: the real-valued neural autoregressive density-estimator,
        2013.
      Theis, van den Oord and Bethge, A note on the evaluation of generative models, 2016.
    """
    check_key(key)
    check_positive_int("num_levels", num_levels)
    given = as_array("images", images, "an array of integers")
    images = jnp.asarray(saturated(given))  # what is out of range is named below
    if not jnp.issubdtype(images.dtype, jnp.integer):
        raise TypeError(f"images: expected integers, got dtype {images.dtype}")
    dtype = jnp.result_type(float)
    largest = 2 ** (jnp.finfo(dtype).nmant - _BITS_WITHIN_BIN)
    if num_levels > largest:
        raise ValueError(f"num_levels: expected at most {largest} in {dtype}, got {num_levels}")
    check_range(
        "images",
        given,
        f"levels from 0 to {num_levels - 1}",
        lambda level: (level >= 0) & (level < num_levels),
    )
    levels = images.astype(dtype)
    spread = levels + jax.random.uniform(key, levels.shape, levels.dtype)
    # 255 + u rounds to 256 once in 1e5 float32 draws, which would be the next level, or give an
    # infinite logit.
    return jnp.minimum(spread, jnp.nextafter(levels + 1, levels)) / num_levels


def logit_transform(
    x: Float[ArrayLike, "samples ..."], *, alpha: float = 1e-6
) -> tuple[Float[Array, "samples ..."], Float[Array, " samples"]]:
    r"""Maps the unit cube to the whole space, with the log determinant of the map.

    With :math:`p = \alpha + (1 - 2 \alpha) x` it is :math:`y = \operatorname{logit} p`, and log_det
    is the sum over the dimensions of :math:`\log(1 - 2 \alpha) - \log p - \log(1 - p)`, so that
    log p_x(x) = log p_y(y) + log_det.

    Args:
      x: points in [0, 1], (samples, ...); all axes but the first are dimensions.
      alpha: distance of p from the ends of the unit interval, at least 0 and less than 1/2; 1e-6 is
        customary for MNIST, 0.05 for CIFAR-10.

    Returns:
      `(y, log_det)`, of shapes (samples, ...) and (samples,), in float32 at least.

    Raises:
      TypeError: `x` is not floating.
      ValueError: `x` has no axis or, unless it is traced, values out of [0, 1]; or `alpha` is out
        of its range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> y, log_det = likelihood.logit_transform(jnp.array([[0.5, 0.9]]), alpha=0.05)
      >>> [f"{value:.4f}" for value in (*y[0].tolist(), *log_det.tolist())]
      ['0.0000', '1.8153', '3.2925']

    References:
      Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017, section 4.1.
      Papamakarios, Pavlakou and Murray, Masked autoregressive flow for density estimation, 2017.
    """
    given, x = x, _as_cube("x", x, alpha)
    # What `inverse_logit_transform` gives may leave the cube by as much as alpha allows.
    end = alpha / (1 - 2 * alpha) + 4 * float(jnp.finfo(x.dtype).eps)
    inside = "points in [0, 1]"
    check_range("x", given, inside, lambda x: ~((x < -end) | (x > 1 + end)))
    # Both are sums of positive terms: 1 - p would lose the digits of x near one.
    log_p, log_q = (jnp.log(alpha + (1 - 2 * alpha) * part) for part in (x, 1 - x))
    return log_p - log_q, _total(math.log1p(-2 * alpha) - log_p - log_q)


def inverse_logit_transform(
    y: Float[ArrayLike, "samples ..."], *, alpha: float = 1e-6
) -> tuple[Float[Array, "samples ..."], Float[Array, " samples"]]:
    r"""Maps the whole space back to the unit cube, with the log determinant of the map.

    It is :math:`x = (\sigma(y) - \alpha) / (1 - 2 \alpha)`, and log_det is the sum over the
    dimensions of :math:`\log \sigma(y) + \log \sigma(-y) - \log(1 - 2 \alpha)`: minus the log_det
    of `logit_transform`, so that log p_y(y) = log p_x(x) + log_det.

    Args:
      y: points, (samples, ...); all axes but the first are dimensions.
      alpha: as in `logit_transform`.

    Returns:
      `(x, log_det)`, of shapes (samples, ...) and (samples,), in float32 at least. Where |y|
      exceeds logit(1 - alpha), x leaves [0, 1] by at most alpha / (1 - 2 alpha): a model of y can
      have mass there, although data cannot.

    Raises:
      TypeError: `y` is not floating.
      ValueError: `y` has no axis, or `alpha` is out of its range.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import likelihood
      >>> x, log_det = likelihood.inverse_logit_transform(jnp.array([[0.0, 1.8153]]), alpha=0.05)
      >>> [f"{value:.4f}" for value in (*x[0].tolist(), *log_det.tolist())]
      ['0.5000', '0.9000', '-3.2925']

    References:
      Dinh, Sohl-Dickstein and Bengio, Density estimation using Real NVP, 2017, section 4.1.
    """
    y = _as_cube("y", y, alpha)
    x = (jax.nn.sigmoid(y) - alpha) / (1 - 2 * alpha)
    return x, _total(jax.nn.log_sigmoid(y) + jax.nn.log_sigmoid(-y) - math.log1p(-2 * alpha))


def _as_cube(name: str, points: Float[ArrayLike, "samples ..."], alpha: float) -> jax.Array:
    points = as_samples(name, points)
    expected = "a number from 0 up to, not including, 0.5"
    check_number("alpha", alpha, expected, lambda x: 0 <= x < 0.5)
    return points.astype(compute_dtype(points))


def _total(values: jax.Array) -> jax.Array:
    """Sum over all axes but the first, the samples."""
    return jnp.sum(values, axis=tuple(range(1, values.ndim)))
