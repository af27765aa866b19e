r"""The short way to F for sets that overlap: plain sums of powers of the acceptances.

Where data and noise overlap, neither the bracket nor the form of `evaluation` is needed. The sums
of :math:`\sigma^j` over both sides give the equation and its next derivatives at once. The
derivatives of the logistic function obey :math:`|\sigma^{(j)}| \le \sigma'` (j = 2, 3, 4), so that
a step of order p, to the root of the Taylor polynomial, leaves an error that is *proven* to be
about :math:`|t|^p / p!` for a step t (docs/design.md). The first point comes from a thinned sample,
and in float64 a first evaluation is made in float32, where it costs a third: the certificate of the
last evaluation speaks for the result, whatever the first point was.

A lane that is not certified in this way, because it has no overlap, no root, or rounding would
spoil the sums, is left to the bracketed iteration.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._numerics import total_weight, weighted_mean
from nce_jax._types import Scalars
from nce_jax.log_partition._bracket import midpoint
from nce_jax.log_partition._loop import Run, iterate, start_run
from nce_jax.log_partition.equation import acceptance_logits, log_overlap_from
from nce_jax.log_partition.evaluation import error_bound, smallest_slope
from nce_jax.log_partition.problem import Problem, Samples, State

_ORDER = 4
"""Order of the step: with four sums a side, a tenth of a nat ends below float32's tolerance, and
0.002 nats below that of float64."""

_MAX_EVALUATIONS = 3
"""A lane that is not certified after so many is left to the bracketed iteration."""

_THINNED_SIZE = 4096
"""Samples of a side, at least, for the first point: it is then off by a few hundredths of a nat."""

_LARGEST_TAYLOR = 0.5
"""Up to this residual the step is that of the Taylor polynomial. A larger residual r takes the step
log(1 + |r|), which never goes beyond the root."""

_SINGLE = jnp.dtype("float32")

_ROUNDING = 4
"""Rounding error of a mean of acceptances, in units of eps times the mean."""


class _Sums(NamedTuple):
    """Mean acceptance of a side and its derivatives in the logit, or the equation and those in F.

    Derivatives that a step of the given order does not need are zero.
    """

    value: jax.Array
    slope: jax.Array
    second: jax.Array
    third: jax.Array


def attempt(
    problem: Problem, initial: jax.Array | None, tolerance: Scalars | None, max_steps: int
) -> Run:
    """Tries to solve every lane by plain sums, from `initial` or, if None, from a thinned sample.

    Returns:
      The `Run` of these evaluations. The lanes that are done are certified and their equations
      valid; nothing is known of the others, whose estimate may be NaN.
    """
    limit = min(max_steps, _MAX_EVALUATIONS)
    is_summable = _is_summable(problem)
    estimate = _first_point(problem) if initial is None else initial
    run, order = start_run(_state_at(estimate), is_summable), _ORDER
    if limit > 1 and _is_large(problem) and estimate.dtype == jnp.float64:
        state = _move(problem, run.state, _ORDER, _SINGLE)
        run = run._replace(state=state, num_evaluations=run.num_evaluations + 1)
        order = 2  # A millionth of a nat is left, and two sums a side are enough.
    run = iterate(
        lambda state: _move(problem, state, order, estimate.dtype),
        run,
        tolerance=tolerance,
        max_steps=limit,
    )
    return run._replace(is_done=run.is_done & is_summable)


def _state_at(estimate: jax.Array) -> State:
    unknown = jnp.full_like(estimate, jnp.inf)
    return State(estimate, -unknown, unknown, unknown, unknown, -unknown)


def _is_large(problem: Problem) -> bool:
    return max(side.values.shape[-1] for side in (problem.data, problem.noise)) > 2 * _THINNED_SIZE


def _first_point(problem: Problem) -> jax.Array:
    """Two steps on a thinned sample, in float32, from halfway between its means."""
    data, noise = _thinned(problem.data), _thinned(problem.noise)
    means = (weighted_mean(side.values, side.weights) for side in (data, noise))
    state = _state_at(midpoint(*means))
    if not _is_large(problem):
        return state.estimate
    thinned = problem._replace(data=data, noise=noise)
    for _ in range(2):
        state = _move(thinned, state, _ORDER, _SINGLE)
    return state.estimate


def _thinned(samples: Samples) -> Samples:
    stride = max(1, samples.values.shape[-1] // _THINNED_SIZE)
    values = samples.values[..., ::stride]
    weights = None if samples.weights is None else samples.weights[..., ::stride]
    return Samples(values, weights, total_weight(values, weights))


def _is_summable(problem: Problem) -> jax.Array:
    """Whether weights, kappa and pull are such that the equation has its usual form."""
    # Products of kappa with a mean neither underflow nor overflow.
    largest = 0.5 * math.log(jnp.finfo(problem.log_kappa.dtype).max)
    is_summable = jnp.abs(problem.log_kappa) <= largest
    for side in (problem.data, problem.noise):
        if side.weights is not None:
            is_summable &= jnp.all(side.weights >= 0, axis=-1)
    if problem.pull is not None:
        is_summable &= (problem.pull.slope >= 0) & jnp.isfinite(problem.pull.slope)
    return is_summable


def _move(problem: Problem, state: State, order: int, dtype: jnp.dtype) -> State:
    """One evaluation of the sums in `dtype`, and the step of that order with its certificate."""
    data, noise, kappa = _sides(problem, state.estimate, order, dtype)
    equation = _equation(problem, state.estimate, data, noise, kappa)
    is_normal = equation.slope > smallest_slope(dtype) * jnp.maximum(kappa, 1)
    residual = jnp.where(is_normal, equation.value / equation.slope, jnp.inf)
    step, error = _taylor_step(residual, equation, order)
    eps = jnp.finfo(dtype).eps * (data.value + kappa * noise.value) / equation.slope
    error += _ROUNDING * eps
    # A residual of rounding alone moves nothing: constant log ratios have an exact root.
    is_root = jnp.abs(residual) <= 2 * eps
    step, error = jnp.where(is_root, 0, step), jnp.where(is_root, error + 2 * eps, error)
    is_taylor = jnp.abs(residual) <= _LARGEST_TAYLOR
    step = jnp.where(is_taylor, step, jnp.sign(residual) * jnp.log1p(jnp.abs(residual)))
    # The mean acceptance at the new point, up to the third order of the step.
    mean = data.value - step * data.slope + 0.5 * jnp.square(step) * data.second
    exact = state.estimate.dtype
    log_mean = jnp.log(jnp.maximum(mean, 0)).astype(exact)
    return state._replace(
        estimate=state.estimate - step.astype(exact),
        error=jnp.where(is_taylor, error, jnp.inf).astype(exact),
        residual=residual.astype(exact),
        log_overlap=log_overlap_from(log_mean, problem.log_kappa),
    )


def _equation(
    problem: Problem, log_partition: jax.Array, data: _Sums, noise: _Sums, kappa: jax.Array
) -> _Sums:
    """g and its derivatives in F; those of the noise side change their sign with the order."""
    value, slope = data.value - kappa * noise.value, data.slope + kappa * noise.slope
    if problem.pull is not None:
        line = problem.pull.slope * (log_partition - problem.pull.center)
        value, slope = (
            value + line.astype(slope.dtype),
            slope + problem.pull.slope.astype(slope.dtype),
        )
    return _Sums(value, slope, data.second - kappa * noise.second, data.third + kappa * noise.third)


def _taylor_step(residual: jax.Array, equation: _Sums, order: int) -> tuple[jax.Array, jax.Array]:
    """The step to the root of the Taylor polynomial, and a bound on the error that it leaves.

    What is left of the polynomial and the remainder of the series bound the equation at the new
    point, whose slope is at least H exp(-|step|).
    """
    second, third = equation.second / equation.slope, equation.third / equation.slope

    def polynomial(step: jax.Array) -> jax.Array:
        return residual + step * (-1 + step * (second / 2 - step * third / 6))

    step = residual
    for _ in range(2):
        step = step - polynomial(step) / (-1 + step * (second - step * third / 2))
    size = jnp.abs(step)
    remainder = size**order / math.factorial(order) * jnp.exp(size)
    return step, error_bound((jnp.abs(polynomial(step)) + remainder) * jnp.exp(size))


def _sides(
    problem: Problem, log_partition: jax.Array, order: int, dtype: jnp.dtype
) -> tuple[_Sums, _Sums, jax.Array]:
    logits = acceptance_logits(problem, log_partition)
    pairs = zip(logits, (problem.data, problem.noise), strict=True)
    data, noise = (_sums(logit.astype(dtype), samples, order) for logit, samples in pairs)
    return data, noise, jnp.exp(problem.log_kappa.astype(dtype))


def _sums(logits: jax.Array, samples: Samples, order: int) -> _Sums:
    # No F solves the equation with a logit of +inf: a data sample of -inf, a noise sample of +inf.
    sigma = jnp.where(logits == jnp.inf, jnp.nan, jax.nn.sigmoid(logits))
    weights = None if samples.weights is None else samples.weights.astype(logits.dtype)
    weighted, square = sigma if weights is None else weights * sigma, sigma * sigma
    total = samples.total.astype(logits.dtype)

    def mean(first: jax.Array, second: jax.Array) -> jax.Array:
        return jnp.vecdot(first, second, precision=jax.lax.Precision.HIGHEST) / total

    one, two = jnp.sum(weighted, axis=-1) / total, mean(weighted, sigma)
    second, third = jnp.zeros_like(one), jnp.zeros_like(one)
    if order > 2:
        three = mean(weighted, square)
        second = one - 3 * two + 2 * three
    if order > 3:
        third = one - 7 * two + 12 * three - 6 * mean(weighted * sigma, square)
    return _Sums(one, one - two, second, third)
