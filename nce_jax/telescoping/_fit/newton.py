r"""Newton's method for stages with few parameters: on one set of pairs, and on a stream of batches.

Both variants take steps :math:`-C^{-1} g` with the Gauss-Newton matrix of `curvature`, all stages
at once.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from nce_jax._types import Params
from nce_jax.log_partition import solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.telescoping._fit.curvature import (
    Curvature,
    StageArrays,
    curvature_of,
    loss_gradients,
    num_params,
    stage_arrays,
)
from nce_jax.telescoping._fit.stage_model import Moments, StageModel, standardize

_MAX_CHANGE = 2.0
"""A step changes the log ratios by at most this number of nats, root mean square, more than their
own standard deviation."""

_CONVERGED_CHANGE = 0.01
"""A fit has converged where the next step would change the log ratios by less than this number of
nats."""


class NewtonFit(NamedTuple):
    """The state of all stages after a fit by Newton's method.

    Attributes:
      theta: parameters, (K, P).
      log_partition: normalizers F_k, (K,).
      curvature: the curvature at these values.
      is_converged: whether they are the optimum, (K,).
    """

    theta: jax.Array
    log_partition: jax.Array
    curvature: Curvature
    is_converged: jax.Array


class _Iterate(NamedTuple):
    """Parameters of all stages with what was computed for them.

    Attributes:
      theta: parameters, (K, P).
      log_partition: the roots F_k at these parameters, (K,).
      loss: the profiled loss, (K,).
      gradient: its gradient, (K, P).
      curvature: its curvature.
      deviation: standard deviation of the log ratios of both sets, (K,).
    """

    theta: jax.Array
    log_partition: jax.Array
    loss: jax.Array
    gradient: jax.Array
    curvature: Curvature
    deviation: jax.Array


class _LineSearch(NamedTuple):
    """The state of Newton's method with a step length per stage.

    Attributes:
      proposal: the parameters to evaluate next, (K, P).
      best: the iterate of the lowest loss.
      step_fraction: the fraction of Newton's step that is tried, (K,).
      is_done: whether nothing would change any more, (K,).
      is_converged: whether the next step would be negligible, (K,).
      num_steps: evaluations so far.
    """

    proposal: jax.Array
    best: _Iterate
    step_fraction: jax.Array
    is_done: jax.Array
    is_converged: jax.Array
    num_steps: jax.Array


class _Objective(NamedTuple):
    """The profiled loss of all stages on one set of pairs."""

    model: StageModel
    template: Params
    z_data: jax.Array
    z_noise: jax.Array
    kappa: jax.Array

    def arrays(self, theta: jax.Array) -> tuple[StageArrays, StageArrays]:
        """Log ratios and derivatives of both sides."""
        return (
            stage_arrays(self.model, self.template, theta, self.z_data),
            stage_arrays(self.model, self.template, theta, self.z_noise),
        )

    def evaluate(self, theta: jax.Array) -> _Iterate:
        """Solves for every F_k and computes the profiled loss with its derivatives.

        At the root the gradient of the profiled loss is dL/dtheta (envelope theorem). The chain
        rule's other term, dF*/dtheta dL/dF, removes what an inexact root leaves.
        """
        arrays, log_kappa = self.arrays(theta), jnp.log(self.kappa)
        data, noise = arrays[0][0], arrays[1][0]
        roots = solve_log_partition(data, noise, magnification=self.kappa).log_partition
        curvature = curvature_of(arrays, roots, log_kappa)
        in_theta, in_root = loss_gradients(arrays, roots, log_kappa)
        return _Iterate(
            theta=theta,
            log_partition=roots,
            loss=nce_loss(data, noise, log_partition=roots, magnification=self.kappa),
            gradient=in_theta + curvature.mean_jacobian * in_root[:, None],
            curvature=curvature,
            deviation=jnp.std(jnp.concatenate([data, noise], axis=-1), axis=-1),
        )


def check_dtypes(template: Params) -> None:
    """Raises on parameters of a precision too low for linear systems."""
    for leaf in jax.tree.leaves(template):
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                "model: expected parameters in float32 or float64 for Newton's method, got dtype"
                f" {leaf.dtype}; convert them, or pass an optimizer"
            )


def repeated(template: Params, num_stages: int) -> jax.Array:
    """The template's parameters for every stage, (K, P)."""
    return jnp.broadcast_to(ravel_pytree(template)[0], (num_stages, num_params(template)))


@partial(jax.jit, static_argnames="model")
def newton_fit(
    model: StageModel,
    template: Params,
    moments: Moments,
    start: jax.Array,
    x: jax.Array,
    kappa: jax.Array,
    num_steps: jax.Array | int,
) -> NewtonFit:
    """Fits all stages to one set of pairs, with F_k solved for at every step.

    Every evaluation tries a fraction of Newton's step. Where the loss has not risen, the proposal
    is accepted and the next fraction is four times as large, at most 1; elsewhere it is a fourth.
    Sets without overlap have no finite optimum, hence the limit `_MAX_CHANGE`: on such sets the
    log ratios about double at every step until the overlap reveals the gap.

    Args:
      model: the stages' model.
      template: initial parameters of one stage; only its structure matters.
      moments: the stages' standardization.
      start: initial parameters of all stages, (K, P).
      x: bridges, (K + 1, n, ...).
      kappa: M of every stage, (K,).
      num_steps: largest number of evaluations.
    """
    z_data, z_noise = standardize(moments, x[:-1]), standardize(moments, x[1:])
    objective = _Objective(model, template, z_data, z_noise, kappa)

    def is_running(search: _LineSearch) -> jax.Array:
        return (search.num_steps < num_steps) & ~jnp.all(search.is_done)

    search = jax.lax.while_loop(
        is_running, partial(_advance, objective), _start_search(objective, start)
    )
    best = search.best
    return NewtonFit(best.theta, best.log_partition, best.curvature, search.is_converged)


def _start_search(objective: _Objective, start: jax.Array) -> _LineSearch:
    """Before the first evaluation: a loss of infinity, which any proposal improves on."""
    shapes = jax.eval_shape(objective.evaluate, start)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    unevaluated = zeros._replace(theta=start, loss=jnp.full_like(zeros.loss, jnp.inf))
    no = jnp.zeros(start.shape[0], bool)
    return _LineSearch(start, unevaluated, jnp.ones_like(zeros.loss), no, no, jnp.int32(0))


def _advance(objective: _Objective, search: _LineSearch) -> _LineSearch:
    """Evaluates the proposals of all stages, and makes the next ones."""
    trial = objective.evaluate(search.proposal)
    is_better = trial.loss <= search.best.loss  # False for NaN
    best = jax.tree.map(lambda new, old: _where(is_better, new, old), trial, search.best)
    step_fraction = jnp.where(
        is_better, jnp.minimum(1, 4 * search.step_fraction), search.step_fraction / 4
    )
    step = best.curvature.newton_step(best.gradient)
    change = best.curvature.log_ratio_change(step)
    # The division is safe for a change of zero, where the limit is not reached either.
    limit = jnp.minimum(1, (_MAX_CHANGE + best.deviation) / jnp.maximum(change, 1e-30))
    used_fraction = step_fraction * limit
    eps = jnp.finfo(objective.z_data.dtype).eps
    proposal = best.theta + used_fraction[:, None] * step
    return _LineSearch(
        # Log ratios may be more precise than the parameters, which keep their dtype in the loop.
        proposal=proposal.astype(best.theta.dtype),
        best=best,
        step_fraction=step_fraction,
        is_done=(change < eps**0.5) | (step_fraction < eps**0.5),
        # Large log ratios are known up to their own rounding only. Without a finite loss, nothing
        # has been found.
        is_converged=(change < _CONVERGED_CHANGE + 100 * eps * best.deviation)
        & jnp.isfinite(best.loss),
        num_steps=search.num_steps + 1,
    )


def _where(condition: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Selects per stage, on the first axis."""
    return jnp.where(condition.reshape(-1, *[1] * (new.ndim - 1)), new, old)


@partial(jax.jit, static_argnames=("model", "batch_size"))
def newton_stream(
    model: StageModel,
    template: Params,
    moments: Moments,
    fit: NewtonFit,
    x: jax.Array,
    kappa: jax.Array,
    first_number: jax.Array,
    *,
    batch_size: int,
) -> NewtonFit:
    r"""Takes one Newton step of (theta, F) per batch of fresh pairs.

    Step t has the weight 1 / t and uses the mean curvature of all batches so far. Every batch then
    counts the same in the end, and to first order the error is that of one fit to all of them. F
    moves with theta and is not solved for on each batch: that would bias theta by
    :math:`O(1 / \text{batch size})`, however many batches there are.

    Args:
      model: the stages' model.
      template: initial parameters of one stage; only its structure matters.
      moments: the stages' standardization.
      fit: the state to start from, which counts as batch number `first_number` - 1.
      x: bridges of all batches, (K + 1, batches * batch_size, ...).
      kappa: M of every stage, (K,).
      first_number: t of the first batch.
      batch_size: pairs of one batch.
    """
    batches = jnp.moveaxis(x.reshape(x.shape[0], -1, batch_size, *x.shape[2:]), 1, 0)

    def body(carry: tuple[NewtonFit, jax.Array], batch: jax.Array) -> tuple[Any, None]:
        fit, number = carry
        z_data, z_noise = standardize(moments, batch[:-1]), standardize(moments, batch[1:])
        arrays = _Objective(model, template, z_data, z_noise, kappa).arrays(fit.theta)
        return (_stream_step(fit, arrays, jnp.log(kappa), number), number + 1), None

    return jax.lax.scan(body, (fit, first_number), batches)[0][0]


def _stream_step(
    fit: NewtonFit, arrays: tuple[StageArrays, StageArrays], log_kappa: jax.Array, number: jax.Array
) -> NewtonFit:
    r"""One step of (theta, F), from the arrays of batch number t.

    Newton's step on the loss in both is, by elimination of F,

    .. math::
        \Delta\theta = -C^{-1} \Big( \frac{\partial L}{\partial\theta}
          + \bar J \frac{\partial L}{\partial F} \Big), \qquad
        \Delta F = \bar J^\top \Delta\theta - \frac{1}{H} \frac{\partial L}{\partial F}.

    The factor 1 / t is reduced where the whole step would change the log ratios or F by more than
    one nat. A stage whose step is not finite stays where it is, and has not converged.
    """
    of_batch = curvature_of(arrays, fit.log_partition, log_kappa)
    in_theta, in_root = loss_gradients(arrays, fit.log_partition, log_kappa)
    curvature = jax.tree.map(lambda old, new: old + (new - old) / number, fit.curvature, of_batch)
    mean = curvature.mean_jacobian
    step = curvature.newton_step(in_theta + mean * in_root[:, None])
    slope = jnp.maximum(curvature.slope, jnp.finfo(in_root.dtype).tiny)
    root_step = jnp.sum(mean * step, axis=-1) - in_root / slope
    change = jnp.maximum(curvature.log_ratio_change(step), jnp.abs(in_root / curvature.slope))
    rate = jnp.minimum(1, 1 / change) / number
    moved = NewtonFit(
        fit.theta + rate[:, None] * step,
        fit.log_partition + rate * root_step,
        curvature,
        fit.is_converged,
    )
    is_finite = jnp.isfinite(change)
    kept = jax.tree.map(lambda new, old: _where(is_finite, new.astype(old.dtype), old), moved, fit)
    return kept._replace(is_converged=kept.is_converged & is_finite)
