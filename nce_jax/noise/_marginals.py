"""Noise that keeps every marginal of the data and destroys the dependence between dimensions."""

import distrax
import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive_int
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray
from nce_jax.noise._checks import as_points
from nce_jax.noise._moments import exceeds_rounding, mean_and_variance, positive_variance

NORMAL_INTERQUARTILE_RANGE = 1.349


def product_of_marginals(
    x_data: Float[ArrayLike, "samples dim"], *, num_components: int = 64
) -> distrax.Independent:
    """Noise with the marginals of the data, smoothed, and independent dimensions.

    q(x) = prod_k 1/K sum_j N(x_k; c_jk, h_jk^2), with K = `num_components`. The centers c_1k ..
    c_Kk are the quantiles of dimension k of `x_data` at levels (j - 1/2) / K, and each bandwidth is
    the larger of two:

    - Silverman's rule, 0.9 min(sd_k, IQR_k / 1.349) n^(-1/5) with n samples (sd_k alone where the
      interquartile range IQR_k is zero; the average of the other dimensions, or one, where a
      dimension is constant);
    - half the width of the component's cell, from the quantile at (j - 1) / K to the one at j / K:
      no gaps between components, and the outermost ones reach the extremes of the data however
      heavy the tails.

    The density is smooth, normalized, and positive everywhere, as NCE needs. Against this noise an
    energy has to learn the dependence between dimensions and little else. Drawing a sample costs
    O(dim) and evaluating one O(dim K).

    Args:
      x_data: data, shape (samples, dim), at least two samples. Half precision is computed, and
        drawn, in float32.
      num_components: K, the number of Gaussians for each dimension.

    Returns:
      A distrax distribution with event shape (dim,).

    Raises:
      TypeError: `x_data` is not floating or `num_components` is not an integer.
      ValueError: `x_data` is not (samples, dim) or has fewer than two samples, or `num_components`
        is less than one.

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
      Silverman, Density Estimation for Statistics and Data Analysis, 1986 (the bandwidth).
      Gutmann and Hyvarinen, Noise-Contrastive Estimation of Unnormalized Statistical Models, with
        Applications to Natural Image Statistics, 2012 (noise close to the data).
    """
    x_data = as_points("x_data", x_data, min_samples=2)
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
    """A mixture that draws one component per value; distrax draws all K and masks, which is K times
    the work.

    It also keeps the dtype: distrax's mask has JAX's default float, which makes float32 float64
    under x64.
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
