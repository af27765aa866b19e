"""Optimizers as users bring them, and one of parameters and F made of two."""

from typing import Any, NamedTuple

import optax

from nce_jax._contracts import check_optimizer
from nce_jax._updates import update_fn


def as_optimizer(name: str, optimizer: Any) -> optax.GradientTransformation:
    """An optax transformation; other objects with `init` and `update` are wrapped in one."""
    check_optimizer(optimizer, name)
    if isinstance(optimizer, optax.GradientTransformation):
        return optimizer
    plain = optax.GradientTransformation(optimizer.init, optimizer.update)
    return optax.with_extra_args_support(plain)


class PartState(NamedTuple):
    """The state of the optimizer of one part."""

    inner_state: Any


class PairState(NamedTuple):
    """The states of both optimizers, of "params" and of "log_partition"."""

    inner_states: dict[str, PartState]


_PARTS = ("params", "log_partition")


def apart(
    optimizer: optax.GradientTransformation, of_log_partition: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of (params, log_partition) in which each of two sees its own part alone.

    Masks and labels of the user's are therefore trees over the parameters, and norms those of the
    parameters; `optax.partition` would hand on the pair with a mask in it.
    """
    both = optimizer, of_log_partition
    moves = [update_fn(part) for part in both]

    def init(pair: Any) -> PairState:
        states = [PartState(part.init(own)) for part, own in zip(both, pair, strict=True)]
        return PairState(dict(zip(_PARTS, states, strict=True)))

    def update(updates: Any, state: PairState, pair: Any = None, **extra: Any) -> Any:
        moved, states = [], {}
        for index, (name, move) in enumerate(zip(_PARTS, moves, strict=True)):
            own = None if pair is None else pair[index]
            inner = state.inner_states[name].inner_state
            change, inner = move(updates[index], inner, own, **_of_part(extra, index))
            moved.append(change)
            states[name] = PartState(inner)
        return tuple(moved), PairState(states)

    return optax.GradientTransformationExtraArgs(init, update)


def _of_part(extra: dict[str, Any], index: int) -> dict[str, Any]:
    """Gradient and loss, which are of the pair, as those of one part; the other stays masked."""
    own = dict(extra)
    if "grad" in extra:
        own["grad"] = extra["grad"][index]
    if "value_fn" in extra:
        value_fn, other = extra["value_fn"], optax.MaskedNode()
        own["value_fn"] = lambda part: value_fn((part, other) if index == 0 else (other, part))
    return own
