"""Exponential families: log densities that are linear in their parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nce_jax._checks import as_samples, compute_dtype
from nce_jax._options import check_function
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params, Real
from nce_jax.models._checks import as_module_values, check_inputs


def exponential_family(
    sufficient_statistics: Callable[[Array], Real[Array, "samples num_statistics"]],
    initial_params: Float[ArrayLike, " num_statistics"],
    *,
    log_base_measure: Callable[[Array], Float[Array, " samples"]] | None = None,
) -> tuple[Params, LogDensityFn]:
    """Exponential family with the given sufficient statistics.

    phi(x) = <T(x), theta> + log h(x), with T = `sufficient_statistics`, theta = `params` and log h
    = `log_base_measure`. The normalizer F is not a coordinate of theta. Sevekari et al. append it
    to theta, with a constant -1 appended to T; here F is an argument of the loss or the result of a
    solver, so that phi stays unnormalized.

    Args:
      sufficient_statistics: function T from samples (samples, dim) to statistics (samples,
        num_statistics).
      initial_params: initial value of theta, shape (num_statistics,).
      log_base_measure: function log h from samples (samples, dim) to floating values (samples,);
        None means log h = 0.

    Returns:
      `(params, log_density_fn)`: theta as an array, and phi as a function `log_density_fn(params,
      x)` of theta and of samples (samples, dim), with values (samples,).

    Raises:
      TypeError: `initial_params` is not floating.
      ValueError: `initial_params` is empty or not a vector; when `log_density_fn` is called: `x` is
        not (samples, dim), or T or log h return another shape.

    Examples:
      A Gaussian with mean theta, without its normalizer theta^2 / 2 and the constant in h:

      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> params, log_density_fn = models.exponential_family(
      ...     models.linear_statistics,
      ...     jnp.array([2.0]),
      ...     log_base_measure=lambda x: -0.5 * x[:, 0] ** 2,
      ... )
      >>> print([f"{value:.4f}" for value in log_density_fn(params, jnp.array([[0.0], [1.0]]))])
      ['0.0000', '1.5000']

    References:
      Sevekari et al., Accelerating NCE convergence with adaptive normalizing constant computation,
        2024.
    """
    check_function("sufficient_statistics", sufficient_statistics)
    if log_base_measure is not None:
        check_function("log_base_measure", log_base_measure)
    params = as_samples("initial_params", initial_params)
    if params.ndim != 1:
        raise ValueError(
            f"initial_params: expected shape (num_statistics,), got shape {params.shape}"
        )

    def log_density_fn(params: Params, x: Array) -> Array:
        check_inputs(x)
        log_density = _inner_products(
            sufficient_statistics(x), jnp.asarray(params), num_samples=jnp.shape(x)[0]
        )
        if log_base_measure is None:
            return log_density
        return log_density + as_module_values("log_base_measure", log_base_measure(x), x)

    return params, log_density_fn


def _inner_products(statistics: Array, params: Array, *, num_samples: int) -> Array:
    expected = (num_samples, *jnp.shape(params))
    if jnp.ndim(params) != 1 or jnp.shape(statistics) != expected:
        raise ValueError(
            "sufficient_statistics: expected an output of shape (samples, num_statistics), in this"
            f" call {expected}, got shape {jnp.shape(statistics)}"
        )
    dtype = compute_dtype(statistics, params)
    # Full precision: the default of accelerators, ten bits, causes errors of whole nats where the
    # statistics are large.
    return jnp.matmul(
        statistics.astype(dtype), params.astype(dtype), precision=jax.lax.Precision.HIGHEST
    )


def linear_statistics(x: Real[Array, "samples dim"]) -> Real[Array, "samples dim"]:
    """Sufficient statistics of a Gaussian with known covariance.

    T(x) = x.

    Args:
      x: samples, shape (samples, dim).

    Returns:
      `x` itself, shape (samples, dim).

    Raises:
      ValueError: `x` is not (samples, dim).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> models.linear_statistics(jnp.array([[1.0, 2.0]])).tolist()
      [[1.0, 2.0]]
    """
    check_inputs(x)
    return x


def quadratic_statistics(x: Real[Array, "samples dim"]) -> Real[Array, "samples num_statistics"]:
    """Sufficient statistics of a Gaussian with independent dimensions.

    T(x) = (x_1^2, ..., x_d^2, x_1, ..., x_d). The Gaussian with means mu and variances v has theta
    = (-1 / (2 v), mu / v).

    Args:
      x: samples, shape (samples, dim).

    Returns:
      Statistics, shape (samples, 2 dim).

    Raises:
      ValueError: `x` is not (samples, dim).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> models.quadratic_statistics(jnp.array([[2.0, 3.0]])).tolist()
      [[4.0, 9.0, 2.0, 3.0]]
    """
    check_inputs(x)
    return jnp.concatenate([x**2, x], axis=-1)
