"""A normalizing flow as noise: spline couplings around a Gaussian fitted to the data."""

from collections.abc import Callable, Sequence
from typing import Any

import distrax
import flax
import jax.numpy as jnp
from flax import nnx

from nce_jax._checks import check_key, check_positive, check_positive_int
from nce_jax._options import as_sizes
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, ArrayLike, Float, Params, PRNGKeyArray
from nce_jax.adaptive_noise._conditioner import Conditioners, coupling_masks
from nce_jax.noise import fitted_gaussian

_MIN_BIN_SIZE = _MIN_SLOPE = 1e-3
"""Smallest size of a bin and smallest slope at a knot, as in the paper: with smaller ones the
inverse is inaccurate in float32."""


@flax.struct.dataclass
class FlowNoise:
    """A flow with its parameters: a noise distribution over vectors (dim,), and a pytree.

    x = m + L g(z) with z ~ N(0, I), so that log q(x) = log N(z; 0, I) + log |det dz/dx| at z =
    g^-1(L^-1 (x - m)). As a pytree it can be an argument or a result of a transformed function.

    Attributes:
      params: parameters of the splines' conditioners, nested dictionaries of arrays.
      gaussian: N(m, L L'), the Gaussian fitted to the data.
      bijector_fn: function from `params` to g, a distrax bijector; static.
    """

    params: Params
    gaussian: distrax.MultivariateNormalTri
    bijector_fn: Callable[[Params], Any] = flax.struct.field(pytree_node=False)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(dim,)."""
        return self.gaussian.event_shape

    def log_prob(self, value: Float[ArrayLike, "... dim"]) -> Float[Array, "..."]:
        """Returns log q at `value`, (..., dim) -> (...), exactly normalized."""
        with standard_promotion():
            return self._distribution().log_prob(jnp.asarray(value))

    def sample(self, *, seed: PRNGKeyArray, sample_shape: Any = ()) -> Float[Array, "... dim"]:
        """Draws samples, (*sample_shape, dim)."""
        return self.sample_and_log_prob(seed=seed, sample_shape=sample_shape)[0]

    def sample_and_log_prob(
        self, *, seed: PRNGKeyArray, sample_shape: Any = ()
    ) -> tuple[Float[Array, "... dim"], Float[Array, "..."]]:
        """Draws samples and returns log q of each, at the cost of the draw alone."""
        with standard_promotion():
            return self._distribution().sample_and_log_prob(seed=seed, sample_shape=sample_shape)

    def _distribution(self) -> distrax.Transformed:
        # A distrax Gaussian is itself a transformation, m + L z; the splines are applied before it.
        bijector = distrax.Chain([self.gaussian.bijector, self.bijector_fn(self.params)])
        return distrax.Transformed(self.gaussian.distribution, bijector)


def flow(
    key: PRNGKeyArray,
    x_data: Float[ArrayLike, "samples dim"],
    *,
    num_layers: int = 4,
    hidden: Sequence[int] = (64, 64),
    num_bins: int = 8,
    bound: float = 5.0,
    ridge: Float[ArrayLike, ""] | float | None = None,
) -> tuple[Params, Callable[[Params], FlowNoise]]:
    """Neural spline flow on whitened data, which is the fitted Gaussian before training.

    g is a chain of `num_layers` couplings. Each coupling leaves half of the dimensions unchanged
    and transforms each of the others by a monotone rational-quadratic spline on [-B, B] with
    `num_bins` bins, where B = `bound`. The knots of the splines are the output of a perceptron of
    the unchanged half. Outside [-B, B] a spline is the identity, so that the tails are those of the
    Gaussian, and q has full support. The density and a draw both cost one pass. In one dimension
    the splines are unconditional.

    Args:
      key: typed key for the initial weights.
      x_data: data from which the mean m and the covariance L L' are computed, (samples, dim), at
        least two samples. Both are fixed: training changes the splines alone.
      num_layers: number of couplings; at least two where dim > 1, so that every dimension is
        transformed.
      hidden: widths of the conditioners' hidden layers.
      num_bins: number of bins of every spline.
      bound: B, in standard deviations of the whitened data. Data beyond it are described by the
        Gaussian tails only.
      ridge: ridge of the covariance, as in `noise.fitted_gaussian`.

    Returns:
      `(params, noise_fn)`: the initial parameters, nested dictionaries of arrays in the dtype of
      the data, and a function such that `noise_fn(params)` is a `FlowNoise`.

    Raises:
      TypeError: `key` is not a typed key, `x_data` is not floating, or a count is not an integer.
      ValueError: `x_data` is not (samples, dim) with two samples or more, or a count or number is
        out of its range.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import adaptive_noise, noise
      >>> x_data = 3 + 2 * jax.random.normal(jax.random.key(0), (1000, 2))
      >>> params, noise_fn = adaptive_noise.flow(
      ...     jax.random.key(1), x_data, num_layers=2, hidden=(8,)
      ... )
      >>> log_q = jax.jit(noise_fn(params).log_prob)(x_data)  # without jit, a flow is slow
      >>> bool(jnp.allclose(log_q, noise.fitted_gaussian(x_data).log_prob(x_data), atol=1e-5))
      True

    References:
      Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, 2019, section 3.
    """
    check_key(key)
    gaussian = fitted_gaussian(x_data, ridge=ridge)
    dim = gaussian.loc.shape[0]
    for name, count in (("num_layers", num_layers), ("num_bins", num_bins)):
        check_positive_int(name, count)
    hidden = as_sizes("hidden", hidden)
    check_positive("bound", bound)
    if num_layers < min(dim, 2):
        raise ValueError(
            f"num_layers: expected at least 2 for {dim} dimensions, to transform all of them, got"
            f" {num_layers}"
        )
    if num_bins * _MIN_BIN_SIZE >= 2 * bound:
        raise ValueError(
            f"bound: expected more than {num_bins * _MIN_BIN_SIZE / 2} for {num_bins} bins, got"
            f" {bound}"
        )
    module = Conditioners(key, dim, num_layers, hidden, 3 * num_bins + 1, gaussian.loc.dtype)
    graphdef, variables = nnx.split(module, nnx.Param)
    masks = coupling_masks(dim, num_layers)

    def bijector_fn(params: Params) -> distrax.Bijector:
        conditioners = nnx.merge(graphdef, params)
        layers = [
            _coupling(mask, getattr(conditioners, f"layer_{index}"), bound)
            for index, mask in enumerate(masks)
        ]
        # A spline is cheaper and better conditioned in its forward direction. This is therefore the
        # direction of the density, which training evaluates.
        return distrax.Inverse(distrax.Chain(layers))

    def noise_fn(params: Params) -> FlowNoise:
        return FlowNoise(params, gaussian, bijector_fn)

    return nnx.to_pure_dict(variables), noise_fn


def _coupling(
    mask: Any, conditioner: Callable[[Array], Array], bound: float
) -> distrax.MaskedCoupling:
    def spline(params: Array) -> distrax.RationalQuadraticSpline:
        return distrax.RationalQuadraticSpline(
            params,
            -bound,
            bound,
            boundary_slopes="identity",
            min_bin_size=_MIN_BIN_SIZE,
            min_knot_slope=_MIN_SLOPE,
        )

    return distrax.MaskedCoupling(jnp.asarray(mask), conditioner, spline)
