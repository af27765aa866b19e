"""Treatments of the normalizer F in a training step, as values."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import as_real, as_scalar, check_positive
from nce_jax._options import check_flag
from nce_jax._partial import EqualPartial, compared_by_parts
from nce_jax._types import Scalars
from nce_jax.criteria import Criterion
from nce_jax.log_partition import (
    Solution,
    Solver,
    Status,
    bennett_residual,
    newton,
    solve_with_last_iterate,
)
from nce_jax.log_partition.solve import check_solver_options
from nce_jax.training._optimizers import apart, as_optimizer


class LogPartitionUpdate(NamedTuple):
    """What a treatment does to F in one step.

    Attributes:
      log_partition: the F at which loss and gradient are taken.
      next_log_partition: the F of the next step; ignored where F follows its gradient.
      num_evaluations: evaluations of the equation, int32.
      status: a `Status`, int32.
      params_wait: where it is true the step moves F alone, and parameters and optimizer stay as
        they are. None stands for never.
    """

    log_partition: jax.Array
    next_log_partition: jax.Array
    num_evaluations: jax.Array
    status: jax.Array
    params_wait: jax.Array | None = None


def params_only(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer of (params, log_partition) that leaves F alone."""
    return apart(optimizer, optax.set_to_zero())


@compared_by_parts
class Treatment(NamedTuple):
    """A way to treat the normalizer during training.

    Attributes:
      name: what error messages call it.
      update: `update(criterion, log_ratios, log_partition) -> LogPartitionUpdate`, from the batch
        alone: `log_ratios` is a dictionary of log_ratio_data, log_ratio_noise and both weights, as
        `criterion.profile(**log_ratios)` takes them.
      pair_optimizer: makes the optimizer of the pair (params, log_partition) from that of the
        parameters; by default F is not moved by it.
      follows_gradient: whether F is what the pair's optimizer makes of it, and not
        `next_log_partition`.
      refuses: `refuses(criterion)` says why the pair is impossible, or returns None.
      is_profiled: whether the F in use minimizes the batch's loss.
    """

    name: str
    update: Callable[..., LogPartitionUpdate]
    pair_optimizer: Callable[[optax.GradientTransformation], optax.GradientTransformation] = (
        params_only
    )
    follows_gradient: bool = False
    refuses: Callable[[Criterion], str | None] = lambda criterion: None
    is_profiled: bool = False

    def __repr__(self) -> str:
        """The name alone: signatures with a treatment as a default stay readable."""
        return f"Treatment({self.name!r})"


def _as_it_is(
    criterion: Criterion, log_ratios: Any, log_partition: jax.Array
) -> LogPartitionUpdate:
    """Loss and gradient at the F of the state."""
    del criterion, log_ratios
    status = finite_status(log_partition)
    return LogPartitionUpdate(log_partition, log_partition, jnp.int32(0), status)


def joint_gradient(optimizer: optax.GradientTransformation | None = None) -> Treatment:
    """F is one more parameter, and follows the gradient of the loss.

    Args:
      optimizer: None lets the step's own optimizer see parameters and F as one tree; a
        transformation of its own, such as `optax.sgd(10.0)`, gives F a learning rate of its own.

    Returns:
      A `Treatment` for `make_train_step`.

    Examples:
      >>> import optax
      >>> from nce_jax import training
      >>> training.joint_gradient().name, training.joint_gradient(optax.sgd(10.0)).name
      ('joint_gradient', 'joint_gradient')

    References:
      Gutmann and Hyvärinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        section 2.
    """
    if optimizer is not None:
        optimizer = as_optimizer("optimizer", optimizer)

    pair_optimizer = EqualPartial(_pair_optimizer, optimizer)
    return Treatment("joint_gradient", _as_it_is, pair_optimizer, follows_gradient=True)


def _pair_optimizer(
    of_log_partition: optax.GradientTransformation | None, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    return optimizer if of_log_partition is None else apart(optimizer, of_log_partition)


def bar_step(learning_rate: Scalars = 1.0) -> Treatment:
    """F takes one step of Bennett's fixed point per training step.

    F moves to F - learning_rate * rho(F), with rho of Bennett's equation. As in algorithm 1 of the
    paper, the parameters' gradient is taken at the F before the step.

    Args:
      learning_rate: of F, a positive number; it may be traced. At a rate above one F may oscillate
        or diverge.

    Returns:
      A `Treatment` for `make_train_step`.

    Raises:
      TypeError: `learning_rate` is no number.
      ValueError: a plain number that is not finite and positive.

    Examples:
      >>> from nce_jax import training
      >>> training.bar_step(learning_rate=0.5).name
      'bar_step'

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, algorithm 1.
    """
    check_positive("learning_rate", learning_rate)
    update = EqualPartial(_bennett_update, as_real("learning_rate", learning_rate))
    return Treatment("bar_step", update, refuses=_lacks_bennett_step)


def _bennett_update(
    learning_rate: Scalars, criterion: Criterion, log_ratios, log_partition: jax.Array
) -> LogPartitionUpdate:
    # `refuses` has made sure of it.
    assert criterion.equation is not None
    problem = criterion.equation(**log_ratios)
    if problem.pull is not None:
        raise ValueError(
            f"criterion {criterion.name}: expected an equation without a pull, as"
            " has_bennett_step=True says, got one with a pull, which Bennett's step leaves out;"
            " make the criterion with has_bennett_step=False"
        )
    # The step of `fixed_point` without its bracket, which would cost more than the step. An F that
    # is not finite starts anew: from far off, one step makes most of the way.
    start = jnp.where(jnp.isfinite(log_partition), log_partition, 0)
    rate = as_scalar("learning_rate", learning_rate, problem.data.values)
    moved = start - rate * bennett_residual(problem, start)
    return LogPartitionUpdate(log_partition, moved, jnp.int32(1), finite_status(moved))


def _lacks_bennett_step(criterion: Criterion) -> str | None:
    if criterion.equation is None:
        return "its normalizer is not the root of an equation"
    if not criterion.has_bennett_step:
        return "Bennett's step does not apply to a regularized equation"
    return None


def solved(
    solver: Solver = newton(),
    *,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
    warm_start: bool = True,
) -> Treatment:
    """F is solved for on every batch, at the kappa of the loss, before the gradient is taken.

    By the envelope theorem the gradient at the solved F is that of the profiled loss. The
    log-ratios are computed once: only F moves during the solve. A failed solve makes loss and
    parameters NaN, and the step's status says why.

    Args:
      solver: `newton()`, `bisection()` (the paper's binary search) or `fixed_point()`; ignored by
        closed forms.
      tolerance: admissible error of F in nats, as in `solve_log_partition`.
      max_steps: evaluations allowed.
      fixed_steps: for accelerators: makes exactly this many evaluations, so that the device never
        waits for the host between them. Three or four of `newton()` are enough from the F of the
        step before. Where they are not, as in the first steps, the status is MAX_STEPS and the
        parameters wait: the step moves only F, and the next step continues from there.
        `bisection()` begins at every step with the whole range of the log ratios, and needs 25 to
        30 evaluations in float32.
      warm_start: whether to start from the F of the step before.

    Returns:
      A `Treatment` for `make_train_step`.

    Raises:
      TypeError: an option of the wrong kind.
      ValueError: a plain number out of its range.

    Examples:
      >>> import nce_jax
      >>> from nce_jax import training
      >>> training.solved(nce_jax.bisection()).name
      'solved'

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, section 3.5.
    """
    check_solver_options(solver, tolerance, max_steps, fixed_steps)
    check_flag("warm_start", warm_start)
    options: dict[str, Any] = {"solver": solver, "tolerance": tolerance, "max_steps": max_steps}
    update = EqualPartial(_solved_update, fixed_steps, warm_start, **options)
    return Treatment("solved", update, refuses=_lacks_profile, is_profiled=True)


def _solved_update(
    fixed_steps: int | None,
    warm_start: bool,
    criterion: Criterion,
    log_ratios: dict[str, Any],
    log_partition: jax.Array,
    **options: Any,
) -> LogPartitionUpdate:
    options["initial"] = log_partition if warm_start else None
    if fixed_steps is not None and criterion.equation is not None:
        problem = criterion.equation(**log_ratios)
        return _in_steps(*solve_with_last_iterate(problem, **options, fixed_steps=fixed_steps))
    solution = criterion.profile(**log_ratios, **options)
    root = solution.log_partition
    return LogPartitionUpdate(root, root, solution.num_evaluations, solution.status)


def _lacks_profile(criterion: Criterion) -> str | None:
    has_profile = criterion.equation is not None or criterion.closed_form is not None
    return None if has_profile else "it has no normalizer to solve for"


def _in_steps(solution: Solution, reached: jax.Array) -> LogPartitionUpdate:
    """The update of a solve whose evaluations may have run out: then the parameters wait."""
    is_short = solution.status == Status.MAX_STEPS
    estimate = jnp.where(is_short, reached, solution.log_partition)
    return LogPartitionUpdate(
        estimate, estimate, solution.num_evaluations, solution.status, params_wait=is_short
    )


def held() -> Treatment:
    """F stays where it was initialized, for models that are or learn to be normalized.

    Returns:
      A `Treatment` for `make_train_step`.

    Examples:
      >>> from nce_jax import training
      >>> training.held().name
      'held'

    References:
      Mnih and Teh, A fast and simple algorithm for training neural probabilistic language models,
        2012 (F fixed at 0).
    """

    return Treatment("held", _as_it_is)


def finite_status(log_partition: jax.Array) -> jax.Array:
    """CONVERGED where F is finite, else NONFINITE."""
    return jnp.where(jnp.isfinite(log_partition), Status.CONVERGED, Status.NONFINITE).astype(
        jnp.int32
    )
