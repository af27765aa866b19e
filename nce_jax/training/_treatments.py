"""What a training step does with the normalizer F: the paper's treatments, as values."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from nce_jax._checks import check_positive_int
from nce_jax._types import Scalars
from nce_jax.criteria import Criterion
from nce_jax.log_partition import (
    Solution,
    Solver,
    Status,
    fixed_point,
    newton,
    solve_with_last_iterate,
)

_NEWTON = newton()


class LogPartitionUpdate(NamedTuple):
    """What a treatment does in one step: the F at which the loss is taken, the F to keep, and how
    it was found.

    Where `waits` is true the step moves F alone: parameters and optimizer stay as they are. None
    stands for never.
    """

    used: jax.Array
    kept: jax.Array
    num_evaluations: jax.Array
    status: jax.Array
    waits: jax.Array | None = None


class Treatment(NamedTuple):
    """A way to treat the normalizer during training.

    Attributes:
      name: what error messages call it.
      update: `update(criterion, log_ratios, log_partition) -> LogPartitionUpdate`, from the batch
        alone: `log_ratios` is a dictionary of log_ratio_data, log_ratio_noise and both weights, as
        `criterion.profile(**log_ratios)` takes them. None where F is a parameter that follows its
        gradient.
      optimizer: of F, where it follows its gradient apart from the parameters.
      refuses: `refuses(criterion)` says why the pair is impossible, or returns None.
      is_profiled: whether the F in use minimizes the batch's loss.
    """

    name: str
    update: Callable[..., LogPartitionUpdate] | None = None
    optimizer: optax.GradientTransformation | None = None
    refuses: Callable[[Criterion], str | None] = lambda criterion: None
    is_profiled: bool = False


def joint_gradient(optimizer: optax.GradientTransformation | None = None) -> Treatment:
    """F is one more parameter and follows the gradient of the loss.

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
      Gutmann and Hyvarinen, Noise-contrastive estimation of unnormalized statistical models, 2012,
        section 2.
    """
    return Treatment("joint_gradient", optimizer=optimizer)


def bar_step(learning_rate: Scalars = 1.0) -> Treatment:
    """One step of Bennett's fixed point per training step: F <- F - learning_rate * rho(F), by
    plain descent.

    As in algorithm 1 of the paper, the parameters' gradient is taken at the F before the step.

    Args:
      learning_rate: of F; a traced number.

    Returns:
      A `Treatment` for `make_train_step`.

    Examples:
      >>> from nce_jax import training
      >>> training.bar_step(learning_rate=0.5).name
      'bar_step'

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, algorithm 1.
    """
    solver = fixed_point(learning_rate)

    def update(criterion: Criterion, log_ratios, log_partition: jax.Array) -> LogPartitionUpdate:
        assert criterion.equation is not None  # `refuses` has seen to it
        problem = criterion.equation(**log_ratios)
        kept = solver.step(problem, solver.init(problem, log_partition)).estimate
        return LogPartitionUpdate(log_partition, kept, jnp.int32(1), finite_status(kept))

    def refuses(criterion: Criterion) -> str | None:
        if criterion.equation is None:
            return "its normalizer is not the root of an equation"
        return None if criterion.has_bennett_step else "Bennett's step knows no regularizer"

    return Treatment("bar_step", update, refuses=refuses)


def solved(
    solver: Solver = _NEWTON,
    *,
    tolerance: Scalars | None = None,
    max_steps: int = 200,
    fixed_steps: int | None = None,
    warm_start: bool = True,
) -> Treatment:
    """F is solved for on every batch, at the loss's own kappa, before the gradient is taken.

    By the envelope theorem the gradient at the solved F is that of the profiled loss. The
    log-ratios are computed once: only F moves during the solve. A failed solve makes loss and
    parameters NaN, and the step's status says why.

    Args:
      solver: `newton()`, `bisection()` (the paper's binary search) or `fixed_point()`; ignored by
        closed forms.
      tolerance: admissible error of F in nats, as in `solve_log_partition`.
      max_steps: evaluations allowed.
      fixed_steps: for accelerators: makes exactly that many evaluations, with nothing to decide in
        between, so that the device never waits for the host to say whether to go on. Three or four
        are enough from the F of the step before. Where they are not, as in the first steps, the
        status is MAX_STEPS and the parameters wait: the step moves F alone, and the next one goes
        on from there.
      warm_start: whether to start from the F of the step before.

    Returns:
      A `Treatment` for `make_train_step`.

    Examples:
      >>> import nce_jax
      >>> from nce_jax import training
      >>> training.solved(nce_jax.bisection()).name
      'solved'

    References:
      Sevekari et al., Accelerating NCE Convergence with Adaptive Normalizing Constant Computation,
        2024, section 3.5.
    """
    if fixed_steps is not None:
        check_positive_int("fixed_steps", fixed_steps)
    options: dict[str, Any] = {"solver": solver, "tolerance": tolerance, "max_steps": max_steps}

    def update(criterion: Criterion, log_ratios, log_partition: jax.Array) -> LogPartitionUpdate:
        given = options | {"initial": log_partition if warm_start else None}
        if fixed_steps is not None and criterion.equation is not None:
            return _in_steps(
                *solve_with_last_iterate(
                    criterion.equation(**log_ratios), **given, fixed_steps=fixed_steps
                )
            )
        solution = criterion.profile(**log_ratios, **given)
        root = solution.log_partition
        return LogPartitionUpdate(root, root, solution.num_evaluations, solution.status)

    def refuses(criterion: Criterion) -> str | None:
        has_profile = criterion.equation is not None or criterion.closed_form is not None
        return None if has_profile else "it has no normalizer to solve for"

    return Treatment("solved", update, refuses=refuses, is_profiled=True)


def _in_steps(solution: Solution, reached: jax.Array) -> LogPartitionUpdate:
    """From a solve whose steps may have run out: the parameters then wait, and F goes on from where
    it came to.
    """
    is_short = solution.status == Status.MAX_STEPS
    estimate = jnp.where(is_short, reached, solution.log_partition)
    return LogPartitionUpdate(
        estimate, estimate, solution.num_evaluations, solution.status, waits=is_short
    )


def held() -> Treatment:
    """F stays where it was initialized: a model that is normalized already, or made to normalize
    itself.

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

    def update(criterion: Criterion, log_ratios, log_partition: jax.Array) -> LogPartitionUpdate:
        return LogPartitionUpdate(
            log_partition, log_partition, jnp.int32(0), finite_status(log_partition)
        )

    return Treatment("held", update)


def finite_status(log_partition: jax.Array) -> jax.Array:
    """CONVERGED where F is a number."""
    return jnp.where(jnp.isfinite(log_partition), Status.CONVERGED, Status.NONFINITE).astype(
        jnp.int32
    )
