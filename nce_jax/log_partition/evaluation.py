r"""Evaluations of the equation for F in a form that is accurate everywhere, with error bounds.

With :math:`b = F + \log\kappa`, the stationarity condition of the loss is a statement about the
*pooled* log ratios, data with weight 1 and noise with weight :math:`\kappa`:
:math:`\sum_k w_k \sigma(b - s_k) = \kappa`. So :math:`F_* + \log\kappa` is the
:math:`\kappa / (1 + \kappa)` quantile of the pool, smoothed by a logistic kernel.

Bennett's form, :math:`\rho = \log \operatorname{mean} P - \log(\kappa \operatorname{mean} Q)`,
carries no information wherever both means are close to constants: it rounds to zero over a wide
range of F. Here every sigmoid is written as a step plus a tail,
:math:`\sigma(d) = [d > 0] - \operatorname{sign}(d)\, \sigma(-|d|)`. The steps add up to a
difference C of two weighted counts, which is known exactly. The tails are as small as the slope H
of the equation, so that the *residual* g / H, which is the Newton step, is accurate to rounding
everywhere. The residual also bounds the distance to the root. Sums of sigmoids satisfy
:math:`|H'| \le H`, hence
:math:`\log(1 + |g / H|) \le |F - F_*| \le -\log(1 - |g / H|)`.

Far from the root, in a gap between the samples, g / H saturates. There the tails on either side of
b are compared on the log scale,
:math:`\log(\mathrm{above} + \max(C, 0)) - \log(\mathrm{below} + \max(-C, 0))`, which is nearly
straight in F (its slope is between 1/2 and 2 from one sample to the next). Proofs are in
docs/design.md.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real, as_scalar
from nce_jax._numerics import weighted_sum
from nce_jax._options import check_flag
from nce_jax._types import Array, Float
from nce_jax.log_partition._log_scale import (
    MAX_LINEAR,
    Tails,
    near_or_far,
    scaled_tails,
    select_far,
)
from nce_jax.log_partition.equation import acceptance_logits, log_overlap_from
from nce_jax.log_partition.problem import Problem, Samples, check_problem


class Evaluation(NamedTuple):
    """The equation evaluated at one F; every field has the batch shape.

    Attributes:
      residual: an estimate of F - F* in nats, with its sign.
      newton_step: the step that removes the residual.
      log_overlap: log of the overlap, if F is the root.
    """

    residual: Float[Array, "*batch"]
    newton_step: Float[Array, "*batch"]
    log_overlap: Float[Array, "*batch"]


class _Sums(NamedTuple):
    """Weighted means over one side.

    Of the step [d > 0], of its complement, of the signed tail, and of the slope sigma'(d).
    """

    mass: jax.Array
    complement: jax.Array
    tail: jax.Array
    slope: jax.Array


def evaluate_equation(
    problem: Problem, log_partition: Float[Array, "*batch"], *, is_branchless: bool = False
) -> Evaluation:
    """Evaluates the equation at one F per batch entry: what a step of a solver needs.

    It takes one exponential per sample, and more only where an entry is far from its root.

    Args:
      problem: the equation.
      log_partition: F, one per batch entry.
      is_branchless: whether to scale all tails by the nearest sample in the first place, which
        takes one more pass over the samples. The program then has no branch, and needs none: the
        result far from the root is the same.

    Returns:
      An `Evaluation`.

    Raises:
      TypeError: `problem` is no `Problem`, or `log_partition` no number.
      ValueError: `log_partition` does not broadcast to the batch.

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> problem = log_partition.make_problem(jnp.array([2.0, 1.0]), jnp.array([-1.0, 0.5]))
      >>> evaluation = log_partition.evaluate_equation(problem, jnp.float32(0.0))
      >>> print(f"residual {evaluation.residual:.4f}, Newton step {evaluation.newton_step:.4f}")
      residual -0.6864, Newton step 0.6864

    References:
      The form of the residual is this library's; docs/design.md derives it.
    """
    check_flag("is_branchless", is_branchless)
    check_problem(problem)
    return _evaluate(problem, as_real("log_partition", log_partition), is_branchless=is_branchless)


@functools.partial(jax.jit, static_argnames="is_branchless")
def _evaluate(problem: Problem, log_partition: jax.Array, *, is_branchless: bool) -> Evaluation:
    log_partition = as_scalar("log_partition", log_partition, problem.data.values)
    kappa = jnp.exp(problem.log_kappa)
    logits_data, logits_noise = acceptance_logits(problem, log_partition)
    if is_branchless:
        tails = scaled_tails(logits_data, problem.data), scaled_tails(logits_noise, problem.noise)
        data = _sums_of_tails(logits_data, problem.data, tails[0])
        noise = _sums_of_tails(logits_noise, problem.noise, tails[1])
    else:
        tails = None
        data, noise = _sums(logits_data, problem.data), _sums(logits_noise, problem.noise)
    constant = _count_difference(data, noise, kappa)
    slope = data.slope + kappa * noise.slope
    if problem.pull is not None:
        constant = constant + problem.pull.slope * (log_partition - problem.pull.center)
        slope = slope + problem.pull.slope
    value = constant + (data.tail - kappa * noise.tail)
    # An infinite residual is replaced by that of the log scale.
    is_normal = slope > smallest_slope(slope.dtype) * jnp.maximum(kappa, 1)
    residual = jnp.where(is_normal, value / slope, jnp.inf)
    if tails is None:
        residual, newton_step = near_or_far(problem, log_partition, constant, residual)
    else:
        residual, newton_step = select_far(problem, tails[0], tails[1], constant, residual)
    log_mean_p = jnp.log(jnp.maximum(data.mass + data.tail, 0))
    return Evaluation(residual, newton_step, log_overlap_from(log_mean_p, problem.log_kappa))


def error_bound(residual: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""An upper bound on the distance to the root in nats, from the residual.

    It is :math:`-\log(1 - |r|)`, and infinite where the residual exceeds 0.9.

    Args:
      residual: as in an `Evaluation`.

    Returns:
      A bound on :math:`|F - F_*|` at the F of the evaluation, (*batch).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> print(log_partition.error_bound(jnp.array([0.01, -0.5, 3.0])).round(4))
      [0.0101 0.6931    inf]

    References:
      The bound is this library's; docs/design.md proves it.
    """
    size = jnp.abs(as_real("residual", residual))
    return jnp.where(size <= MAX_LINEAR, -jnp.log1p(-jnp.minimum(size, MAX_LINEAR)), jnp.inf)


def newton_error_bound(residual: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""An upper bound on the distance to the root that one Newton step leaves, in nats.

    It is :math:`\tfrac12 \delta^2 e^\delta`, with :math:`\delta` from `error_bound`, because the
    slope changes by at most a factor :math:`e^{\pm\delta}` over a distance :math:`\delta`.

    Args:
      residual: as in an `Evaluation`, before the step.

    Returns:
      A bound on :math:`|F - F_*|` after F has moved by the evaluation's `newton_step`, (*batch).

    Examples:
      >>> import jax.numpy as jnp
      >>> from nce_jax import log_partition
      >>> print(f"{log_partition.newton_error_bound(jnp.float32(0.01)):.6f}")
      0.000051

    References:
      The bound is this library's; docs/design.md proves it.
    """
    delta = error_bound(residual)
    return 0.5 * jnp.square(delta) * jnp.exp(delta)


def _sums(logits: jax.Array, samples: Samples) -> _Sums:
    is_positive = logits > 0
    decay = jnp.exp(-jnp.abs(logits))
    tail = decay / (1 + decay)
    weighted = tail if samples.weights is None else samples.weights * tail
    # Tails are at most 1/2 and their squares at most half of them: the difference keeps its digits,
    # and the dot product saves a pass.
    slope = jnp.sum(weighted, axis=-1) - jnp.vecdot(
        weighted, tail, precision=jax.lax.Precision.HIGHEST
    )
    signed = jnp.sum(jnp.where(is_positive, -weighted, weighted), axis=-1)
    return _Sums(*_masses(is_positive, samples), signed / samples.total, slope / samples.total)


def _sums_of_tails(logits: jax.Array, samples: Samples, tails: Tails) -> _Sums:
    """The same from tails that are there already."""
    return _Sums(*_masses(logits > 0, samples), *tails.unscaled())


def _masses(is_positive: jax.Array, samples: Samples) -> tuple[jax.Array, jax.Array]:
    """The share of the samples on either side of the step."""
    dtype = samples.values.dtype
    steps = weighted_sum(is_positive.astype(dtype), samples.weights)
    # Counts are exact, so that those of the other side are too; sums of weights are not.
    others = weighted_sum((~is_positive).astype(dtype), samples.weights)
    if samples.weights is None:
        others = samples.total - steps
    return steps / samples.total, others / samples.total


def _count_difference(data: _Sums, noise: _Sums, kappa: jax.Array) -> jax.Array:
    """C = data mass - kappa noise mass, and exactly zero where they agree to rounding.

    The root is then exact for a kappa that differs from the given one by less than its rounding.
    Where the ratios are inverted both masses are near one and the slope is small: what their
    rounding would do to the root is avoided by the difference of the complements.
    """
    size = jnp.maximum(data.mass, kappa * noise.mass)
    excess, noise_below = 1 - kappa, kappa * noise.complement
    other_size = jnp.maximum(jnp.maximum(noise_below, data.complement), jnp.abs(excess))
    difference = jnp.where(
        size <= other_size, data.mass - kappa * noise.mass, excess + (noise_below - data.complement)
    )
    # The rounding of kappa counts too, except that 1 is exact.
    uncertain = jnp.where(kappa == 1, jnp.minimum(size, other_size), size)
    rounding = 4 * jnp.finfo(size.dtype).eps * uncertain
    return jnp.where(jnp.abs(difference) <= rounding, 0, difference)


def smallest_slope(dtype: jnp.dtype) -> float:
    """Below this, the terms of a sum have lost digits to underflow; kappa magnifies the loss."""
    return float(jnp.finfo(dtype).tiny / jnp.finfo(dtype).eps)


def log_kappa_range(dtype: jnp.dtype) -> tuple[float, float]:
    """Logs of the smallest and the largest noise weight, 1e-31 and 8e37 in float32.

    Its product with the share of a single sample has all digits. Acceptances at the root are as
    small as 1 / kappa: sums that have lost digits to underflow give way to the log scale.
    """
    return math.log(smallest_slope(dtype)), -math.log(jnp.finfo(dtype).tiny)
