"""The equation for the profiled normalizer, in a form that can be solved anywhere.

With b = F + log kappa the stationarity condition of the loss is a statement about the *pooled*
log-ratios, data with weight 1 and noise with weight kappa: sum_k w_k sigma(b - s_k) = kappa. F* +
log kappa is the kappa / (1 + kappa) quantile of the pool, smoothed by a logistic kernel.

Bennett's form, rho = log mean P - log(kappa mean Q), is blind wherever both means are close to
constants: it rounds to zero over a wide range of F. Here every sigmoid is a step plus a tail,
sigma(d) = [d > 0] - sign(d) sigma(-|d|). The steps add up to a difference C of two weighted counts,
known exactly, and the tails are as small as the slope H of the equation, so that the *residual* g /
H, the Newton step, is accurate to rounding everywhere. It also says how far the root is: sums of
sigmoids satisfy |H'| <= H, hence log(1 + |g / H|) <= |F - F*| <= -log(1 - |g / H|).

Far from the root, in a gap between the samples, g / H says little: there the tails on either side
of b are compared on the log scale, log(above + max(C, 0)) - log(below + max(-C, 0)), which is
nearly straight in F (slope between 1/2 and 2 from one sample to the next). Proofs are in
docs/design.md.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax.log_partition.problem import Problem, Samples
from nce_jax.numerics import expand, sample_count, scaled_sigmoid, weighted_sum

_NEAR = 0.9
"""Residuals up to this size are g / H, which saturates at 1 in a gap; larger ones are compared on
the log scale."""


class Balance(NamedTuple):
    """The equation evaluated at one F; every field has the batch shape.

    `residual` estimates F - F* in nats and has its sign, `newton_move` is the step that removes it,
    and `log_overlap` is the log of the overlap if F is the root.
    """

    residual: jax.Array
    newton_move: jax.Array
    log_overlap: jax.Array


class _Sums(NamedTuple):
    """Weighted means over one side: of the step [d > 0], of the signed tail, and of the slope
    sigma'(d).
    """

    mass: jax.Array
    tail: jax.Array
    slope: jax.Array


@functools.partial(jax.jit, static_argnames="is_branchless")
def evaluate(problem: Problem, log_partition: jax.Array, is_branchless: bool = False) -> Balance:
    """Evaluates the equation at `log_partition`: one exponential per sample, and more only far from
    the root.

    Without the branch for what is far, the residual saturates at one there, and says no more than
    on which side the root is.
    """
    kappa = jnp.exp(problem.log_kappa)
    data_distance, noise_distance = distances(problem, log_partition)
    data, noise = _sums(data_distance, problem.data), _sums(noise_distance, problem.noise)
    count = _count_difference(data.mass, kappa * noise.mass)
    slope = data.slope + kappa * noise.slope
    value = count + (data.tail - kappa * noise.tail)
    if problem.pull is not None:
        value = value + problem.pull.slope * (log_partition - problem.pull.center)
        slope = slope + problem.pull.slope
    residual = value / slope
    # Two plain infinities would be float64.
    unbounded = jnp.where(value < 0, -jnp.inf, jnp.asarray(jnp.inf, value.dtype))
    residual = jnp.where(slope > _underflow(slope.dtype), residual, unbounded)
    newton_move = -residual
    # A pull has no log scale; its slope keeps the residual telling in gaps.
    if problem.pull is None and not is_branchless:
        residual, newton_move = _near_or_far(problem, log_partition, count, residual)
    log_mean_p = jnp.log(jnp.maximum(data.mass + data.tail, 0))
    return Balance(residual, newton_move, _log_overlap(log_mean_p, problem.log_kappa))


def log_overlap_at(problem: Problem, log_partition: jax.Array) -> jax.Array:
    """log O = log((1 + kappa) / kappa) + log mean P at the root, differentiable in every
    argument.
    """
    return _log_overlap(
        _log_mean(distances(problem, log_partition)[0], problem.data), problem.log_kappa
    )


def _log_overlap(log_mean_p: jax.Array, log_kappa: jax.Array) -> jax.Array:
    return log_mean_p + jnp.logaddexp(log_kappa, 0.0) - log_kappa


def log_overlap_bound(problem: Problem, log_partition: jax.Array) -> jax.Array:
    """A lower bound on log O from any F, exact at the root: mean P grows with F, kappa mean Q
    falls, at F* they meet.
    """
    data_distance, noise_distance = distances(problem, log_partition)
    log_mean_q = problem.log_kappa + _log_mean(noise_distance, problem.noise)
    return _log_overlap(
        jnp.minimum(_log_mean(data_distance, problem.data), log_mean_q), problem.log_kappa
    )


def lacks_overlap(problem: Problem, log_overlap: jax.Array) -> jax.Array:
    """The rule of `Status.NO_OVERLAP`, O (n + m) < 1: hardly any sample of one set is plausible
    under the other.
    """
    counts = (sample_count(side.values, side.weights) for side in (problem.data, problem.noise))
    return log_overlap + jnp.log(sum(counts)) < 0


def bennett_residual(problem: Problem, log_partition: jax.Array) -> jax.Array:
    """rho(F) = log mean_i sigma(log kappa - u(x_i)) - log(kappa mean_j sigma(u(y_j) - log kappa)),
    Bennett's own form.
    """
    data_distance, noise_distance = distances(problem, log_partition)
    log_mean_p = _log_mean(data_distance, problem.data)
    log_mean_q = _log_mean(noise_distance, problem.noise)
    return log_mean_p - problem.log_kappa - log_mean_q


def _log_mean(distance: jax.Array, samples: Samples) -> jax.Array:
    acceptance, log_scale = scaled_sigmoid(distance)
    return jnp.log(weighted_sum(acceptance, samples.weights) / samples.total) + log_scale


def distances(problem: Problem, log_partition: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Arguments of the sigmoids: b - s for the data (P) and s - b for the noise (Q)."""
    # F - s first: it is exact near the root, whatever common offset both carry, so that nothing
    # needs centering.
    shift, offset = expand(log_partition), expand(problem.log_kappa)
    return (shift - problem.data.values) + offset, (problem.noise.values - shift) - offset


def _sums(distance: jax.Array, samples: Samples) -> _Sums:
    is_positive = distance > 0
    decay = jnp.exp(-jnp.abs(distance))
    tail = decay / (1 + decay)
    weighted = tail if samples.weights is None else samples.weights * tail
    # Tails are at most 1/2, their squares at most half of them: the difference keeps its digits,
    # the dot saves a pass.
    slope = jnp.sum(weighted, axis=-1) - jnp.vecdot(
        weighted, tail, precision=jax.lax.Precision.HIGHEST
    )
    signed = jnp.sum(jnp.where(is_positive, -weighted, weighted), axis=-1)
    steps = weighted_sum(is_positive.astype(tail.dtype), samples.weights)
    return _Sums(*(part / samples.total for part in (steps, signed, slope)))


def _count_difference(first: jax.Array, second: jax.Array) -> jax.Array:
    """first - second, and exactly zero where they agree to rounding: the answer is then exact for a
    kappa a few ulp away.
    """
    difference = first - second
    rounding = 4 * jnp.finfo(first.dtype).eps * jnp.maximum(first, second)
    return jnp.where(jnp.abs(difference) <= rounding, 0, difference)


@jax.custom_batching.custom_vmap
def _near_or_far(problem: Problem, log_partition, count, residual) -> tuple[jax.Array, jax.Array]:
    """Residual and Newton step: those given where the residual is small, from the log scale where
    it is not.

    The log scale costs twice the rest and is rarely needed, so that it stands behind a `cond`.
    Under `vmap` a `cond` would compute both branches always: hence the rule below, which turns the
    mapped axis into a leading batch axis instead.
    """
    is_near = jnp.abs(residual) <= _NEAR

    def with_far():
        far_residual, far_move = _far(problem, log_partition, count)
        return jnp.where(is_near, residual, far_residual), jnp.where(is_near, -residual, far_move)

    return jax.lax.cond(jnp.all(is_near), lambda: (residual, -residual), with_far)


@_near_or_far.def_vmap
def _near_or_far_vmap(axis_size, in_batched, *args):
    def add_batch(leaf, is_batched):
        return leaf if is_batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

    return _near_or_far(*jax.tree.map(add_batch, args, tuple(in_batched))), (True, True)


def _underflow(dtype: jnp.dtype) -> float:
    """Below this, sums of tails have lost digits to underflow."""
    return float(jnp.finfo(dtype).tiny / jnp.finfo(dtype).eps)


class _LogTails(NamedTuple):
    """Logs of the weighted mean tails where d > 0 and where d <= 0, and of the slopes there."""

    positive: jax.Array
    negative: jax.Array
    positive_slope: jax.Array
    negative_slope: jax.Array


def _far(
    problem: Problem, log_partition: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The same from the log scale: g / H where that is small, else the difference of the logs and
    its own Newton step.
    """
    log_kappa = problem.log_kappa
    data_distance, noise_distance = distances(problem, log_partition)
    data, noise = _log_tails(data_distance, problem.data), _log_tails(noise_distance, problem.noise)
    left = jnp.logaddexp(
        jnp.logaddexp(data.negative, log_kappa + noise.positive), jnp.log(jnp.maximum(count, 0))
    )
    right = jnp.logaddexp(
        jnp.logaddexp(data.positive, log_kappa + noise.negative), jnp.log(jnp.maximum(-count, 0))
    )
    left_slope = jnp.logaddexp(data.negative_slope, log_kappa + noise.positive_slope)
    right_slope = jnp.logaddexp(data.positive_slope, log_kappa + noise.negative_slope)
    difference = left - right
    far_move = -difference / (jnp.exp(left_slope - left) + jnp.exp(right_slope - right))
    residual = jnp.expm1(difference) * jnp.exp(right - jnp.logaddexp(left_slope, right_slope))
    is_near = jnp.abs(difference) <= _NEAR
    return jnp.where(is_near, residual, difference), jnp.where(is_near, -residual, far_move)


def _log_tails(distance: jax.Array, samples: Samples) -> _LogTails:
    is_positive, size = distance > 0, jnp.abs(distance)
    # Each side is scaled by its nearest sample, so that a gap of thousands of nats does not
    # underflow.
    nearest = [
        jnp.min(size, axis=-1, initial=jnp.inf, where=mask) for mask in (is_positive, ~is_positive)
    ]
    decay = jnp.exp(jnp.where(is_positive, expand(nearest[0]), expand(nearest[1])) - size)
    body = 1 / (1 + jnp.exp(-size))
    log_total = jnp.log(samples.total)

    def log_sum(values, mask, nearest):
        total = weighted_sum(jnp.where(mask, values, 0), samples.weights)
        return jnp.where(total == 0, -jnp.inf, jnp.log(total) - nearest - log_total)

    sides = (is_positive, nearest[0]), (~is_positive, nearest[1])
    return _LogTails(
        *(
            log_sum(values, *side)
            for values in (decay * body, decay * body * body)
            for side in sides
        )
    )


def error_bound(residual: jax.Array) -> jax.Array:
    """A bound on |F - F*| in nats from the residual at F; infinite where the residual is too large
    to tell.
    """
    size = jnp.abs(residual)
    return jnp.where(size <= _NEAR, -jnp.log1p(-jnp.minimum(size, _NEAR)), jnp.inf)


def newton_error_bound(residual: jax.Array) -> jax.Array:
    """A bound on the error *after* the Newton step: delta^2 exp(delta) / 2, since |H'| <= H."""
    delta = error_bound(residual)
    return 0.5 * jnp.square(delta) * jnp.exp(delta)
