"""A rule for M inside a train step, for one pair of sides or for every stage of a chain."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nce_jax._types import Params
from nce_jax.criteria import Criterion
from nce_jax.magnification import Choice, MagnificationRule
from nce_jax.training._momentum import pending, response
from nce_jax.training._stages import Stages
from nce_jax.training._state import TrainState

_OF_ALL_STAGES = ("last_measurement", "pending", "response")
_OF_ALL_WINDOWS = ("short", "long")


def init_rule(
    rule: MagnificationRule | None, params: Params, dtype: Any, stages: Stages | None
) -> Any:
    """The state of the rule before the first step; () without a rule."""
    if rule is None:
        return ()
    state: Any = rule.init(params, dtype)
    if stages is not None:
        repeat = jax.vmap(lambda _: state, out_axes=_axes(state))
        state = repeat(jnp.arange(stages.num_stages))
    # A state that is donated must hold no array twice.
    return jax.tree.map(jnp.copy, state)


def _axes(state: Any) -> Any:
    """Where the states of K stages that are trained together have their axis, for `jax.vmap`.

    Every stage has its own M, and all have the same parameters and the same optimizer.
    """

    def axes(fields: Any, of_all: tuple[str, ...]) -> Any:
        return fields._replace(**{name: None if name in of_all else 0 for name in fields._fields})

    found = axes(state, _OF_ALL_STAGES)
    if not hasattr(state, "windows"):
        return found
    return found._replace(windows=axes(state.windows, _OF_ALL_WINDOWS))


def choose(
    rule: MagnificationRule,
    criterion: Criterion,
    state: TrainState,
    inputs: dict[str, Any],
    forward: Callable[[Params], dict[str, jax.Array]],
    stages: Stages | None,
) -> Choice:
    """The rule's choice of M, (K,) for stages, from log ratios and weights of a batch."""
    # `check_composition` has made sure that there is one.
    make_criterion: Any = criterion.at_magnification
    weights = {name: inputs[name] for name in ("weights_data", "weights_noise")}
    fixed = {name: value for name, value in inputs.items() if name not in weights}

    def of_stage(remembered: Any, stage: Any) -> Choice:
        def take(ratios: dict[str, jax.Array]) -> dict[str, jax.Array]:
            return ratios if stage is None else jax.tree.map(lambda ratio: ratio[stage], ratios)

        def equation_at(ratios: dict[str, jax.Array]) -> Any:
            return lambda m: make_criterion(m).equation(**take(ratios), **weights)

        def linearize(offset: Params) -> Any:
            ratios, push = jax.linearize(forward, optax.apply_updates(state.params, offset))
            return equation_at(ratios), lambda direction: tuple(take(push(direction)).values())

        return rule.choose(remembered, state.step, equation_at(fixed), linearize)

    if stages is None:
        return of_stage(state.magnification_state, None)
    axes = _axes(state.magnification_state)
    over_stages = jax.vmap(of_stage, in_axes=(axes, 0), out_axes=Choice(0, 0, axes))  # type: ignore[arg-type]
    return over_stages(state.magnification_state, jnp.arange(stages.num_stages))


def respond(
    choice: Choice, optimizer: optax.GradientTransformation, state: TrainState, gradient: Any
) -> Choice:
    """The choice with the scaling of the optimizer's updates with the gradient.

    It is measured at the first step and then read from the state.
    """
    known = state.magnification_state.response

    def attempt() -> jax.Array:
        pair = state.params, state.log_partition
        return response(optimizer, state.opt_state, pair, gradient).astype(known.dtype)

    measured = jax.lax.cond(jnp.isnan(known), attempt, lambda: known)
    return choice._replace(state=choice.state._replace(response=measured))


def rescale(choice: Choice, gradient: Any, slopes: Any, pull_back: Any, stages: Stages | None):
    """The gradient times a number; each stage has its own, before their sum is taken."""
    scale = choice.target_acceptance ** (choice.state.response - 1)
    if stages is not None:
        scaled = {
            name: (scale[:, None] * slope).astype(slope.dtype) for name, slope in slopes.items()
        }
        return pull_back(scaled)[0], gradient[1]
    return jax.tree.map(
        lambda leaf: (scale * leaf.astype(scale.dtype)).astype(leaf.dtype), gradient
    )


def follow(
    rule: MagnificationRule,
    optimizer: optax.GradientTransformation,
    choice: Choice,
    updates: Params,
    new: TrainState,
    stages: Stages | None,
) -> Any:
    """The state of the rule after an update; `new` is the state of the step after it.

    The step number is that of the update.
    """
    ahead = pending(optimizer, new.opt_state, (new.params, new.log_partition))[0]
    following = rule.follow
    if stages is not None:
        axes = _axes(choice.state)
        of_choice: Any = Choice(0, 0, axes)  # type: ignore[arg-type]
        following = jax.vmap(rule.follow, (of_choice, None, None, None), axes)
    return following(choice, updates, ahead, new.step - 1)


def mean_magnification(choice: Choice | None) -> jax.Array | None:
    """M, of several stages the geometric mean."""
    if choice is None or choice.magnification.ndim == 0:
        return None if choice is None else choice.magnification
    return jnp.exp(jnp.mean(jnp.log(choice.magnification)))
