"""Noise with the marginals of the data, but with independent dimensions."""

import distrax
import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._numerics import exceeds_rounding
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray
from nce_jax.noise._checks import as_points, check_finite
from nce_jax.noise._moments import mean_and_variance, positive_variance

NORMAL_INTERQUARTILE_RANGE = 1.349
"""Interquartile range of the standard normal distribution."""


def product_of_marginals(
    x_data: Float[ArrayLike, "samples dim"], *, num_components: int = 64
) -> distrax.Independent:
    r"""Noise with the smoothed marginals of the data and independent dimensions.

    .. math::

       q(x) = \prod_k \frac1K \sum_{j=1}^K N(x_k;\, c_{jk}, h_{jk}^2), \qquad
       K = \text{num\_components}.

    The centers :math:`c_{jk}` are the quantiles of dimension k of `x_data` at the levels (j - 1/2)
    / K, and each bandwidth :math:`h_{jk}` is the larger of two:

    - Silverman's rule for n samples, :math:`0.9 \min(\sigma_k, R_k / 1.349)\, n^{-1/5}`, with
      the standard deviation :math:`\sigma_k` and the interquartile range :math:`R_k` (the standard
      deviation alone where that range is zero; the average of all other dimensions, or one, where a
      dimension is constant);
    - half the width of the component's cell, from the quantile at (j - 1) / K to the one at j / K,
      which leaves no gaps between components, and lets the outermost components reach the extremes
      of the data however heavy the tails are.

    The density is smooth, normalized, and positive everywhere, as NCE needs. Against this noise an
    energy has to learn the dependence between dimensions and little else. A draw costs O(dim), and
    an evaluation of the density O(dim K).

    Args:
      x_data: data, shape (samples, dim), at least two samples. For half precision, bandwidths and
        samples are in float32.
      num_components: K, the number of Gaussians per dimension.

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: `x_data` is not floating or `num_components` is not an integer.
      ValueError: `x_data` is not (samples, dim), has fewer than two samples or, unless it is
        traced, samples that are not finite; or `num_components` is less than one.

    Examples:
      Two correlated dimensions become independent ones:

      >>> import jax
      >>> import jax.numpy as jnp
      >>> first = jax.random.normal(jax.random.key(0), (1000,))
      >>> from nce_jax import noise
      >>> independent = noise.product_of_marginals(jnp.stack([first, first], axis=-1))
      >>> x_noise = independent.sample(seed=jax.random.key(1), sample_shape=10_000)
      >>> bool(abs(jnp.corrcoef(x_noise.T)[0, 1]) < 0.03)
      True

    References:
      Silverman, Density estimation for statistics and data analysis, 1986 (the bandwidth).
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, with
        applications to natural image statistics, 2012 (noise close to the data).
    """
    x_data = as_points("x_data", x_data, min_samples=2)
    check_finite("x_data", x_data)
    check_positive_int("num_components", num_components)
    levels = jnp.linspace(0, 1, 2 * num_components + 1, dtype=x_data.dtype)
    quantiles = jnp.quantile(x_data, levels, axis=0).T  # cell edges and, between them, centers
    half_cells = jnp.diff(quantiles[:, ::2], axis=-1) / 2
    bandwidths = jnp.maximum(_silverman_bandwidth(x_data)[:, None], half_cells)
    components = distrax.Normal(quantiles[:, 1::2], bandwidths)
    weights = distrax.Categorical(logits=jnp.zeros_like(bandwidths))
    return distrax.Independent(
        EquallyWeightedNormals(weights, components), reinterpreted_batch_ndims=1
    )


def _silverman_bandwidth(points: Array) -> Array:
    mean, variance = mean_and_variance(points)
    deviation = jnp.sqrt(positive_variance(variance, mean))
    lower, upper = jnp.quantile(points, jnp.array([0.25, 0.75], points.dtype), axis=0)
    robust = jnp.minimum(deviation, (upper - lower) / NORMAL_INTERQUARTILE_RANGE)
    spread = jnp.where(exceeds_rounding(upper - lower, upper), robust, deviation)
    return 0.9 * spread * points.shape[0] ** -0.2


class EquallyWeightedNormals(distrax.MixtureSameFamily):
    """A mixture that draws one component per value, where distrax draws all K and masks them.

    It also preserves the dtype: the mask of distrax has JAX's default float, which turns float32
    into float64 under x64.
    """

    def _sample_n(self, key: PRNGKeyArray, n: int) -> Array:
        key_component, key_value = jax.random.split(key)
        loc, scale = self.components_distribution.loc, self.components_distribution.scale
        shape = (n, *loc.shape[:-1])
        component = jax.random.randint(key_component, (*shape, 1), 0, loc.shape[-1])
        loc, scale = (
            jnp.take_along_axis(values[None], component, axis=-1)[..., 0] for values in (loc, scale)
        )
        return loc + scale * jax.random.normal(key_value, shape, loc.dtype)
