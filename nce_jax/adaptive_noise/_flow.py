"""A normalizing flow as noise: rational-quadratic spline couplings around a Gaussian fitted to the
data.
"""

from collections.abc import Callable, Sequence
from typing import Any

import distrax
import flax
import jax.numpy as jnp
from flax import nnx

from nce_jax._checks import check_key, check_positive, check_positive_int
from nce_jax._types import Array, ArrayLike, Float, Params, PRNGKeyArray
from nce_jax.adaptive_noise._conditioner import Conditioners, coupling_masks
from nce_jax.noise import fitted_gaussian

_MIN_BIN_SIZE = _MIN_SLOPE = 1e-3
"""Of a bin of the spline and of a slope at a knot, as in the paper: in float32 smaller ones lose
the inverse."""


@flax.struct.dataclass
class FlowNoise:
    """A flow with its parameters: a noise distribution over vectors (dim,), and a pytree.

    x = m + L g(z) with z ~ N(0, I), so that log q(x) = log N(z; 0, I) + log |det dz/dx|, z =
    g^-1(L^-1 (x - m)). It may be closed over, or passed to and returned from transformed functions
    as an argument.

    Attributes:
      params: of the splines' conditioners, nested dictionaries of arrays.
      gaussian: N(m, L L'), the Gaussian fitted to the data.
      bijector_fn: from params to g, a distrax bijector; static.
    """

    params: Params
    gaussian: distrax.MultivariateNormalTri
    bijector_fn: Callable[[Params], Any] = flax.struct.field(pytree_node=False)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(dim,)."""
        return self.gaussian.event_shape

    def log_prob(self, value: Float[ArrayLike, "... dim"]) -> Float[Array, "..."]:
        """log q at `value`, (..., dim) -> (...), exactly normalized."""
        return self._distribution().log_prob(jnp.asarray(value))

    def sample(self, *, seed: PRNGKeyArray, sample_shape: Any = ()) -> Float[Array, "... dim"]:
        """Draws samples, (*sample_shape, dim)."""
        return self.sample_and_log_prob(seed=seed, sample_shape=sample_shape)[0]

    def sample_and_log_prob(
        self, *, seed: PRNGKeyArray, sample_shape: Any = ()
    ) -> tuple[Float[Array, "... dim"], Float[Array, "..."]]:
        """Draws samples and gives log q of each, at the cost of the draw alone."""
        return self._distribution().sample_and_log_prob(seed=seed, sample_shape=sample_shape)

    def _distribution(self) -> distrax.Transformed:
        # A distrax Gaussian is m + L z itself: the splines come between its two parts.
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
    """Neural spline flow on whitened data; before training it is the fitted Gaussian.

    g is a chain of `num_layers` couplings. Each leaves half of the dimensions alone and moves every
    other one by a monotone rational-quadratic spline on [-B, B] with `num_bins` bins, whose knots a
    perceptron of the first half gives; B = `bound`. Outside [-B, B] a spline is the identity, so
    that the tails are those of the Gaussian, and q has full support. Density and draws are both one
    pass. A single dimension has no half to look at: its splines are unconditional.

    Args:
      key: typed key for the initial weights.
      x_data: data that the mean m and the covariance L L' are taken from, (samples, dim), at least
        two samples. They stay as they are: training moves the splines alone.
      num_layers: couplings; at least two where dim > 1, so that every dimension is moved.
      hidden: widths of the conditioners' hidden layers.
      num_bins: bins of every spline.
      bound: B, in standard deviations of the whitened data. Data beyond it are seen by the Gaussian
        tails only.
      ridge: of the covariance, as in `noise.fitted_gaussian`.

    Returns:
      `(params, noise_fn)`: the initial parameters, nested dictionaries of arrays in the dtype of
      the data, and `noise_fn(params)`, a `FlowNoise`.

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
      >>> log_q = jax.jit(noise_fn(params).log_prob)(x_data)  # uncompiled, a flow is slow
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
    for index, width in enumerate(hidden):
        check_positive_int(f"hidden[{index}]", width)
    check_positive("bound", bound)
    if num_layers < min(dim, 2):
        raise ValueError(
            f"num_layers: expected at least 2 for {dim} dimensions, so that all are moved, got"
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
        # A spline is cheaper and better conditioned forward: that way round goes the density, which
        # training evaluates.
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
