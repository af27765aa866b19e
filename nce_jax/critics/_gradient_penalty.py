"""Penalties on the gradient of a critic in its samples."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from nce_jax._checks import (
    as_positive,
    as_weights,
    check_instance,
    check_key,
    check_positive,
    describe,
)
from nce_jax._contracts import check_log_density_fn
from nce_jax._numerics import has_no_weight, ignore_unweighted, weighted_mean
from nce_jax._partial import EqualPartial
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, LogRatioFn, Params, PRNGKeyArray, Scalars
from nce_jax.training import Batch

PLACES = ("data", "samples", "between")


def gradient_penalty(
    log_ratio_fn: LogRatioFn,
    *,
    strength: Scalars,
    where: Literal["data", "samples", "between"] = "data",
    target_norm: float = 0.0,
) -> Any:
    r"""A penalty on the gradient of a critic in its samples, for `training.make_critic_step`.

    It is :math:`\gamma\, E[(\lVert \nabla_x s(x) \rVert - c)^2]` with the norm over all entries of
    a sample. With c = 0 at the data it is the zero-centered penalty that makes the game of two
    players stable near its equilibrium, where they would circle without one. At `"between"`, with
    c = 1, it is that of the Wasserstein distance. The critic's step then costs about three more
    passes of the model.

    Args:
      log_ratio_fn: `log_ratio_fn(params, x)`, that of the critic, (n, ...) -> (n,), each value a
        function of its own sample. Of a spatial critic, (n, h, w), the sum over places is
        differentiated.
      strength: gamma > 0, a number; it may be traced. It is :math:`\gamma / 2` of Mescheder et al.
        (2018), and lambda of Gulrajani et al. (2017).
      where: the place at which the gradient is taken: at "data", at the generated "samples", or
        "between" pairs of them, on straight lines at uniform places.
      target_norm: c >= 0, the norm that costs nothing, per unit of x.

    Returns:
      `penalty_fn(params, batch, key)`, of a `training.Batch` with `x_noise`, arrays of floating
      samples. Samples of weight zero are left out; of pairs, those with a datum of weight zero, and
      "between" takes as many data as samples. Where all weights are zero it is zero.

    Raises:
      TypeError: `log_ratio_fn` is no function of parameters and samples; when it runs: samples that
        are not one floating array.
      ValueError: a plain number that is out of its range, or another `where`; when it runs: arrays
        without entries, weights of another shape, or data and samples of different shapes "between"
        them.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import critics, training
      >>> penalty_fn = critics.gradient_penalty(lambda theta, x: x @ theta, strength=0.5)
      >>> batch = training.Batch(jnp.ones((8, 2)), jnp.zeros((8, 2)))
      >>> print(penalty_fn(jnp.array([3.0, 4.0]), batch, jax.random.key(0)))
      12.5

    References:
      Gulrajani et al., Improved training of Wasserstein GANs, 2017, eq. 3.
      Mescheder, Geiger and Nowozin, Which training methods for GANs do actually converge?, 2018,
        eq. 9.
    """
    check_log_density_fn(log_ratio_fn, "log_ratio_fn")
    check_positive("strength", strength)
    if not isinstance(where, str) or where not in PLACES:
        got = repr(where) if isinstance(where, str) else describe(where)
        raise ValueError(f"where: expected one of {', '.join(PLACES)}, got {got}")
    if isinstance(target_norm, bool) or not isinstance(target_norm, int | float):
        raise TypeError(f"target_norm: expected a number, got {describe(target_norm)}")
    if not 0 <= target_norm < float("inf"):
        raise ValueError(f"target_norm: expected a number >= 0, got {target_norm}")
    return EqualPartial(_penalty, log_ratio_fn, where, float(target_norm), strength)


def _penalty(
    log_ratio_fn: LogRatioFn,
    where: str,
    target_norm: float,
    strength: Scalars,
    params: Params,
    batch: Batch,
    key: PRNGKeyArray,
) -> Array:
    check_instance("batch", batch, Batch, "training.Batch(x_data, x_samples)")
    check_key(key)

    def total(x: jax.Array) -> jax.Array:
        return jnp.sum(log_ratio_fn(params, x))

    with standard_promotion():
        x, weights, name = _samples(batch, where, key)
        gradient = jax.grad(total)(x)
        gradient = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
        squares = jnp.sum(gradient.reshape(x.shape[0], -1) ** 2, axis=1)
        terms = squares if target_norm == 0 else (_root(squares) - target_norm) ** 2
        weights = as_weights(name, weights, terms)
        terms = ignore_unweighted(terms, weights)
        is_empty = has_no_weight(terms, weights)
        if weights is not None:
            weights = jnp.where(is_empty, 1, weights)  # a mean without samples has no derivative
        value = as_positive("strength", strength, terms) * weighted_mean(terms, weights)
        return jnp.where(is_empty, 0, value)


def _root(squares: jax.Array) -> jax.Array:
    """The square root, whose derivative at zero is zero."""
    is_zero = squares == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squares)))


def _samples(batch: Batch, where: str, key: PRNGKeyArray) -> tuple[jax.Array, Any, str]:
    """Where the gradient is taken, the weights of these places, and the weights' name."""
    sides = {"data": (batch.x_data, batch.weights_data)}
    if where != "data":
        sides["samples"] = batch.x_noise, batch.weights_noise
    for name, (x, _) in sides.items():
        if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating) and jnp.ndim(x)):
            raise TypeError(
                f"batch: expected {name} that are one array of floating samples, got {describe(x)}"
            )
        if x.size == 0:
            raise ValueError(f"batch: expected {name} with at least one entry, got shape {x.shape}")
    if where != "between":
        return *sides[where], "weights_data" if where == "data" else "weights_noise"
    (data, weights), (samples, _) = sides.values()
    if data.shape != samples.shape:
        raise ValueError(
            f"batch: expected as many data as samples, got shapes {data.shape} and {samples.shape}"
        )
    place = jax.random.uniform(key, (data.shape[0],) + (1,) * (data.ndim - 1), data.dtype)
    return place * data + (1 - place) * samples, weights, "weights_data"
