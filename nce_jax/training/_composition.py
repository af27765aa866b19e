"""Which model, noise, criterion, treatment of F, optimizer and rule for M go together.

Each is refused by name when a step is built, or, where only a batch can show it, when it is first
called.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import as_real, broadcasts, check_instance, check_key, describe, is_key
from nce_jax._contracts import check_arrays, check_log_density_fn
from nce_jax._distributions import as_noise
from nce_jax._options import other_parameters
from nce_jax._updates import tree_shapes
from nce_jax.criteria import Criterion
from nce_jax.magnification import MagnificationRule
from nce_jax.training._state import TrainState
from nce_jax.training._treatments import LogPartitionUpdate, Treatment, bar_step, solved


def as_model(log_density_fn: Any, log_ratio_fn: Any) -> tuple[Callable[..., Any], bool]:
    """The one function that was given, and whether it is the log ratio."""
    given = {"log_density_fn": log_density_fn, "log_ratio_fn": log_ratio_fn}
    given = {name: fn for name, fn in given.items() if fn is not None}
    if len(given) != 1:
        raise TypeError(
            "log_density_fn, log_ratio_fn: expected one of the two, got"
            f" {'both' if given else 'neither'}"
        )
    ((name, fn),) = given.items()
    check_log_density_fn(fn, name)
    return fn, name == "log_ratio_fn"


def as_source(noise: Any, is_ratio: bool) -> Any:
    """A noise that can be drawn from, and whose density can be evaluated where that is needed.

    None passes for a log ratio, whose batches can bring noise samples.
    """
    if noise is None and is_ratio:
        return None
    methods = ("log_prob", "sample_and_log_prob")
    return as_noise(noise, methods=methods[1:] if is_ratio else methods)


def check_rule(rule: Any) -> None:
    """Raises unless this is a rule for M, or None."""
    if isinstance(rule, int | float):
        raise TypeError(
            "magnification_rule: expected a rule such as nce_jax.adaptive_magnification(), got"
            f" {rule}; a fixed M goes into the criterion, nce(magnification={rule})"
        )
    if rule is not None:
        check_instance(
            "magnification_rule", rule, MagnificationRule, "nce_jax.adaptive_magnification()"
        )


def check_composition(criterion: Any, treatment: Any, rule: Any) -> None:
    """Raises unless the three are what they should be, and go together."""
    check_instance("criterion", criterion, Criterion, "nce_jax.criteria.nce()")
    check_instance("treatment", treatment, Treatment, "training.solved()")
    reason = treatment.refuses(criterion)
    if reason is not None:
        raise ValueError(
            f"treatment: expected one that supports criterion {criterion.name}, got"
            f" {treatment.name}: {reason}; {_supported(criterion)}"
        )
    check_rule(rule)
    if rule is None:
        return
    if criterion.at_magnification is None:
        raise ValueError(
            "magnification_rule: expected None for a criterion without a magnification, got a rule"
            f" and criterion {criterion.name}; criteria.nce() has a magnification"
        )
    if not treatment.is_profiled:
        raise ValueError(
            "magnification_rule: expected a solved F, as by solved(), got treatment"
            f" {treatment.name}"
        )


def _supported(criterion: Criterion) -> str:
    """The treatments that a criterion supports, for an error."""
    names = [make().name for make in (solved, bar_step) if make().refuses(criterion) is None]
    return f"training.{'(), '.join([*names, 'joint_gradient', 'held'])}() do"


def check_state(state: Any, init: Callable[[Any], TrainState]) -> None:
    """Raises unless `state` is one that `init` makes: another step's state has other leaves."""
    check_instance("state", state, TrainState, "train.init(params)")
    expected = jax.eval_shape(init, state.params)
    for name in ("opt_state", "magnification_state"):
        if tree_shapes(getattr(state, name)) != tree_shapes(getattr(expected, name)):
            raise ValueError(
                f"state: expected one from the init of this train step, got another {name}: that"
                " of a step with another optimizer, treatment or magnification rule"
            )


def as_initial(log_partition: Any, dtype: Any, shape: tuple[int, ...]) -> jax.Array:
    """A copy of the initial F, one number or of this shape; raises for any other."""
    given = as_real("log_partition", log_partition)
    if not broadcasts(jnp.shape(given), shape):
        expected = "one number" + (f" or one per stage, shape {shape}" if shape else "")
        raise ValueError(f"log_partition: expected {expected}, got shape {jnp.shape(given)}")
    return jnp.copy(jnp.broadcast_to(jnp.asarray(given, dtype), shape))


def check_arguments(state: Any, batch: Any, key: Any) -> None:
    """Raises where the state is no tree of arrays, or the key is none; names exchanged ones."""
    check_arrays("state", state)
    if not is_key(key) and is_key(batch):
        raise TypeError(
            f"key: expected a typed key, got {describe(key)}; the batch comes before the key"
        )
    check_key(key)


def check_update(treatment: Treatment, update: Any) -> None:
    """Raises unless a treatment's `update` has returned a `LogPartitionUpdate`."""
    if not isinstance(update, LogPartitionUpdate):
        raise TypeError(
            f"treatment {treatment.name}: expected update to return a LogPartitionUpdate, got"
            f" {describe(update)}"
        )


def check_loss(criterion: Criterion, loss: jax.Array, shape: tuple[int, ...]) -> None:
    """Raises unless a criterion's `loss` has returned one number, or one per stage, `shape`."""
    if jnp.shape(loss) != shape:
        expected = "one number" if shape == () else f"one number per stage, shape {shape}"
        raise ValueError(
            f"criterion {criterion.name}: expected loss to return {expected}, got shape"
            f" {jnp.shape(loss)}; take the mean over the samples, the last axis"
        )


def check_step(step: Any) -> None:
    """Raises unless `step` can be called as a train step."""
    if not callable(step) or isinstance(step, type):
        raise TypeError(
            "step: expected a train step such as training.make_train_step(...), got"
            f" {describe(step)}"
        )
    others = other_parameters(step, 3)
    if others is not None:
        raise TypeError(
            f"step: expected a function of state, batch and key, got {describe(step)} with"
            f" parameters ({', '.join(others)})"
        )
    if inspect.isfunction(step) and step.__name__ == "make_train_step":
        raise TypeError("step: expected a train step, got the function make_train_step: call it")
