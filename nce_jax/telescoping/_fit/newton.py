"""Newton's method for stages with few parameters: on one set of pairs, and one step per fresh
batch.

Of the profiled loss both take the Gauss-Newton matrix C = E_w[(J - mean J)(J - mean J)'], J =
ds/dtheta, with the weights w = P(1 - P) of the data and kappa Q(1 - Q) of the noise and mean J =
E_w[J] / H = dF*/dtheta. It is positive semi-definite, and the Hessian itself for exponential
families.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from nce_jax._types import Params
from nce_jax.log_partition import solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.telescoping._fit.model import Spec, as_values, standardize


class Curvature(NamedTuple):
    """Of every stage: H, E_w[J], E_w[J J'], and the plain covariance of J over the pooled
    samples.
    """

    slope: jax.Array
    first: jax.Array
    second: jax.Array
    spread: jax.Array

    @property
    def mean_jacobian(self) -> jax.Array:
        """dF*/dtheta, (K, P)."""
        return self.first / jnp.maximum(self.slope, jnp.finfo(self.slope.dtype).tiny)[:, None]

    def solve(self, gradients: jax.Array) -> jax.Array:
        """C^-1 times vectors, (K, P, any number)."""
        mean = self.mean_jacobian
        matrix = self.second - self.slope[:, None, None] * mean[:, :, None] * mean[:, None, :]
        size = jnp.sqrt(jnp.diagonal(matrix, axis1=1, axis2=2))
        # A stage without any overlap has neither matrix nor gradient.
        size = jnp.where(size > 0, size, 1)
        # Where a direction is blind, Newton's step along it would be rounding.
        ridge = 8 * jnp.finfo(matrix.dtype).eps * jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
        scaled = matrix / (size[:, :, None] * size[:, None, :]) + ridge[None]
        return jnp.linalg.solve(scaled, gradients / size[..., None]) / size[..., None]

    def newton_step(self, gradient: jax.Array) -> jax.Array:
        """-C^-1 times one vector per stage, (K, P)."""
        return -self.solve(gradient[..., None])[..., 0]

    def length(self, step: jax.Array) -> jax.Array:
        """Root mean square change of the log ratio that a step of theta makes, (K,), in nats."""
        return jnp.sqrt(jnp.maximum(jnp.einsum("kp,kpq,kq->k", step, self.spread, step), 0))


class Fit(NamedTuple):
    """Parameters (K, P) and normalizers (K,) of all stages, the curvature there, and whether it is
    the optimum (K,).
    """

    theta: jax.Array
    log_partition: jax.Array
    curvature: Curvature
    is_converged: jax.Array


class _Point(NamedTuple):
    theta: jax.Array
    log_partition: jax.Array
    loss: jax.Array
    gradient: jax.Array
    curvature: Curvature
    size: jax.Array
    """Standard deviation of the log ratios of both sets."""


class _Search(NamedTuple):
    proposal: jax.Array
    best: _Point
    share: jax.Array
    """Of Newton's step that is tried."""
    is_done: jax.Array
    is_converged: jax.Array
    """The next step would change the log ratios by less than 0.01 nats, or than their rounding."""
    num_steps: jax.Array


def num_params(template: Params) -> int:
    """Of one stage."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(template))


def check_dtypes(template: Params) -> None:
    """Raises on parameters that are too coarse to solve linear systems in."""
    for leaf in jax.tree.leaves(template):
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                "model: Newton's method expected parameters in float32 or float64, got dtype"
                f" {leaf.dtype}; convert them, or give an optimizer"
            )


def unravelled(template: Params, theta: jax.Array) -> Params:
    """The parameters of all stages as the model takes them, from (K, P)."""
    return jax.vmap(ravel_pytree(template)[1])(theta)


def repeated(template: Params, num_stages: int) -> jax.Array:
    """The template's parameters for every stage, (K, P)."""
    return jnp.broadcast_to(ravel_pytree(template)[0], (num_stages, num_params(template)))


def stage_arrays(
    spec: Spec, template: Params, theta: jax.Array, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log ratios (K, n) and their derivatives in theta (K, n, P), of standardized samples."""
    unravel = ravel_pytree(template)[1]

    def log_ratio(theta: jax.Array, z: jax.Array) -> jax.Array:
        return spec.log_density_fn(unravel(theta), z)

    return as_values(jax.vmap(log_ratio)(theta, z), z), jax.vmap(jax.jacfwd(log_ratio))(theta, z)


def stage_distances(
    data: jax.Array, noise: jax.Array, roots: jax.Array, log_kappa: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Arguments of the sigmoids: P = sigma(first), Q = sigma(second)."""
    shift = (roots + log_kappa)[:, None]
    return shift - data, noise - shift


def curvature_of(arrays: Any, roots: jax.Array, log_kappa: jax.Array) -> Curvature:
    """Of all stages, from their log ratios and derivatives for data and for noise."""
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    count, distances = data.shape[-1], stage_distances(data, noise, roots, log_kappa)
    of_data, of_noise = (jax.nn.sigmoid(d) * jax.nn.sigmoid(-d) / count for d in distances)
    weights = jnp.concatenate([of_data, jnp.exp(log_kappa)[:, None] * of_noise], axis=-1)
    jacobian = jnp.concatenate([jacobian_data, jacobian_noise], axis=1)
    centered = jacobian - jnp.mean(jacobian, axis=1, keepdims=True)
    return Curvature(
        slope=jnp.sum(weights, axis=-1),
        first=jnp.einsum("kn,knp->kp", weights, jacobian, precision="highest"),
        second=jnp.einsum("kn,knp,knq->kpq", weights, jacobian, jacobian, precision="highest"),
        spread=jnp.einsum("knp,knq->kpq", centered, centered, precision="highest") / (2 * count),
    )


def _gradients(arrays: Any, roots: jax.Array, log_kappa: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradient of the plain loss in theta, (K, P), and in F, (K,)."""
    (data, jacobian_data), (noise, jacobian_noise) = arrays
    p, q = (jax.nn.sigmoid(d) for d in stage_distances(data, noise, roots, log_kappa))
    q = jnp.exp(log_kappa)[:, None] * q
    sides = [
        jnp.einsum("kn,knp->kp", *side, precision="highest")
        for side in ((p, jacobian_data), (q, jacobian_noise))
    ]
    count = data.shape[-1]
    return (sides[1] - sides[0]) / count, jnp.sum(p - q, axis=-1) / count


@partial(jax.jit, static_argnames="spec")
def newton_fit(
    spec: Spec,
    template: Params,
    moments: dict[str, jax.Array],
    start: jax.Array,
    x: jax.Array,
    kappa: jax.Array,
    num_steps: jax.Array | int,
) -> Fit:
    """All stages on one set of pairs, from `start` (K, P), F solved at every step; steps that raise
    the loss are taken back.

    A step changes the log ratios by at most 2 nats more than they vary already: sets without
    overlap have no finite optimum, and there the ratios double until the overlap says so.
    """
    z_data, z_noise = standardize(moments, x[:-1]), standardize(moments, x[1:])
    log_kappa, tolerance = jnp.log(kappa), jnp.finfo(x.dtype).eps ** 0.5

    def evaluate(theta: jax.Array) -> _Point:
        arrays = (
            stage_arrays(spec, template, theta, z_data),
            stage_arrays(spec, template, theta, z_noise),
        )
        data, noise = arrays[0][0], arrays[1][0]
        roots = solve_log_partition(data, noise, magnification=kappa).log_partition
        curvature, (gradient, value) = (
            curvature_of(arrays, roots, log_kappa),
            _gradients(arrays, roots, log_kappa),
        )
        gradient = gradient + curvature.mean_jacobian * value[:, None]
        size = jnp.std(jnp.concatenate([data, noise], axis=-1), axis=-1)
        return _Point(
            theta,
            roots,
            nce_loss(data, noise, log_partition=roots, magnification=kappa),
            gradient,
            curvature,
            size,
        )

    def is_running(search: _Search) -> jax.Array:
        return (search.num_steps < num_steps) & ~jnp.all(search.is_done)

    def body(search: _Search) -> _Search:
        trial = evaluate(search.proposal)
        is_better = trial.loss <= search.best.loss  # False for NaN
        best = jax.tree.map(lambda new, old: _where(is_better, new, old), trial, search.best)
        share = jnp.where(is_better, jnp.minimum(1, 4 * search.share), search.share / 4)
        step = best.curvature.newton_step(best.gradient)
        length = best.curvature.length(step)
        used = share * jnp.minimum(1, (2 + best.size) / jnp.maximum(length, 1e-30))
        is_done = (length < tolerance) | (share < tolerance)
        is_converged = length < 0.01 + 100 * jnp.finfo(x.dtype).eps * best.size
        return _Search(
            best.theta + used[:, None] * step,
            best,
            share,
            is_done,
            is_converged,
            search.num_steps + 1,
        )

    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(evaluate, start)
    )
    nowhere = blank._replace(theta=start, loss=jnp.full_like(blank.loss, jnp.inf))
    no = jnp.zeros(start.shape[0], bool)
    search = jax.lax.while_loop(
        is_running, body, _Search(start, nowhere, jnp.ones_like(blank.loss), no, no, jnp.int32(0))
    )
    return Fit(
        search.best.theta, search.best.log_partition, search.best.curvature, search.is_converged
    )


def _where(condition: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)


@partial(jax.jit, static_argnames=("spec", "batch_size"))
def newton_stream(
    spec: Spec,
    template: Params,
    moments: dict[str, jax.Array],
    fit: Fit,
    x: jax.Array,
    kappa: jax.Array,
    first: jax.Array,
    *,
    batch_size: int,
) -> Fit:
    """One Newton step of (theta, F) per batch of fresh pairs, the t-th with weight 1 / t and the
    curvature of all before.

    So every batch counts the same in the end, and the error is that of one fit to all of them, to
    first order. F moves with theta and is not solved on each batch: that would bias theta by O(1 /
    batch size), however many batches there are.
    """
    log_kappa = jnp.log(kappa)
    batches = jnp.moveaxis(x.reshape(x.shape[0], -1, batch_size, *x.shape[2:]), 1, 0)

    def body(carry, batch):
        fit, count = carry
        z_data, z_noise = standardize(moments, batch[:-1]), standardize(moments, batch[1:])
        arrays = (
            stage_arrays(spec, template, fit.theta, z_data),
            stage_arrays(spec, template, fit.theta, z_noise),
        )
        seen = curvature_of(arrays, fit.log_partition, log_kappa)
        gradient, value = _gradients(arrays, fit.log_partition, log_kappa)
        curvature = jax.tree.map(lambda old, new: old + (new - old) / count, fit.curvature, seen)
        mean = curvature.mean_jacobian
        step = curvature.newton_step(gradient + mean * value[:, None])
        shift = jnp.sum(mean * step, axis=-1) - value / jnp.maximum(
            curvature.slope, jnp.finfo(value.dtype).tiny
        )
        share = (
            jnp.minimum(
                1, 1 / jnp.maximum(curvature.length(step), jnp.abs(value / curvature.slope))
            )
            / count
        )
        share = jnp.where(jnp.isfinite(share), share, 0)
        moved = Fit(
            fit.theta + share[:, None] * step,
            fit.log_partition + share * shift,
            curvature,
            fit.is_converged,
        )
        return (moved, count + 1), None

    return jax.lax.scan(body, (fit, first), batches)[0][0]
