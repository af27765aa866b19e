"""Penalties on the gradient of a critic in its samples."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from nce_jax._checks import (
    as_floating,
    as_positive,
    as_weights,
    check_instance,
    check_key,
    check_positive,
    describe,
)
from nce_jax._contracts import check_log_density_fn
from nce_jax._numerics import fill_padding, has_no_weight, ignore_unweighted, weighted_mean
from nce_jax._options import check_choice
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
) -> Callable[[Params, Batch, PRNGKeyArray], Array]:
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
      `penalty_fn(params, batch, key)`, of a `training.Batch` with `x_noise`. Of samples that are
      pytrees, such as pairs of an image and a label, one array must be floating: the gradient is
      taken in it, and "between" takes the other arrays of the data. Samples of weight zero are left
      out; of pairs of datum and sample, those with a datum of weight zero, and "between" takes as
      many data as samples. Where all weights are zero it is zero.

    Raises:
      TypeError: `log_ratio_fn` is no function of parameters and samples; when it runs: samples of
        which not exactly one array is floating, or a critic that gives no floating array.
      ValueError: a plain number that is out of its range, or another `where`; when it runs: arrays
        without entries, weights of another shape, data and samples of different shapes "between"
        them, or a critic that does not give every sample a value.

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
    check_choice("where", where, PLACES)
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
        return jnp.sum(_log_ratios(log_ratio_fn(params, rebuild(x)), x.shape[0]))

    with standard_promotion():
        x, rebuild, weights, name = _samples(batch, where, key)
        like = jnp.zeros(x.shape[:1], jnp.promote_types(x.dtype, jnp.float32))
        weights = as_weights(name, weights, like)
        gradient = jax.grad(total)(fill_padding(x, weights))
        gradient = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
        squares = jnp.sum(gradient.reshape(x.shape[0], -1) ** 2, axis=1)
        terms = squares if target_norm == 0 else (_root(squares) - target_norm) ** 2
        terms = ignore_unweighted(terms, weights)
        is_empty = has_no_weight(terms, weights)
        if weights is not None:
            weights = jnp.where(is_empty, 1, weights)  # a mean without samples has no derivative
        value = as_positive("strength", strength, terms) * weighted_mean(terms, weights)
        return jnp.where(is_empty, 0, value)


def _log_ratios(values: Any, count: int) -> jax.Array:
    """What the critic gave for samples: one floating number, or one per place, for each."""
    values = as_floating("log_ratio_fn", values)
    if values.shape[:1] != (count,):
        expected = f"({count},) or of a spatial critic ({count}, ...)"
        raise ValueError(
            f"log_ratio_fn: expected one value per sample, {expected}, got shape {values.shape}"
        )
    return values


def _root(squares: jax.Array) -> jax.Array:
    """The square root, whose derivative at zero is zero."""
    is_zero = squares == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squares)))


def _samples(
    batch: Batch, where: str, key: PRNGKeyArray
) -> tuple[jax.Array, Callable[[jax.Array], Any], Any, str]:
    """Where the gradient is taken, what makes samples of it, their weights, and the weights' name.

    "between" goes with the data's weights, and with all that is not floating in them.
    """
    side = "samples" if where == "samples" else "data"
    parts = {"data": batch.x_data}
    if where != "data":
        parts["samples"] = batch.x_noise
    floating = {name: _floating(name, x) for name, x in parts.items()}
    x, rebuild = floating[side]
    if where == "between":
        x = _between(x, floating["samples"][0], key)
    if side == "samples":
        return x, rebuild, batch.weights_noise, "weights_noise"
    return x, rebuild, batch.weights_data, "weights_data"


def _floating(name: str, x: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """The one floating array of samples, and what puts another one in its place."""
    leaves, tree = jax.tree.flatten(x)
    places = [
        place
        for place, leaf in enumerate(leaves)
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating) and jnp.ndim(leaf)
    ]
    if len(places) != 1:
        raise TypeError(
            f"batch: expected {name} with one array of floating samples, got {describe(x)}; of"
            " several, write a penalty_fn(params, batch, key) of your own"
        )
    (place,) = places
    if leaves[place].size == 0:
        shape = leaves[place].shape
        raise ValueError(f"batch: expected {name} with at least one entry, got shape {shape}")
    before, after = leaves[:place], leaves[place + 1 :]
    return leaves[place], lambda x: jax.tree.unflatten(tree, [*before, x, *after])


def _between(data: jax.Array, samples: jax.Array, key: PRNGKeyArray) -> jax.Array:
    """Uniform places on straight lines between pairs."""
    if data.shape != samples.shape:
        raise ValueError(
            f"batch: expected as many data as samples, got shapes {data.shape} and {samples.shape}"
        )
    place = jax.random.uniform(key, (data.shape[0],) + (1,) * (data.ndim - 1), data.dtype)
    return place * data + (1 - place) * samples
