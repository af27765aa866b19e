"""What an optimizer needs beside gradient, state and parameters, and the states that fit it."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._dtypes import compute_dtype
from nce_jax._promotion import standard_promotion

_MISSING = re.compile(r"missing \d+ required keyword-only arguments?: (.*)")
_REFUSED = re.compile(r"got an unexpected keyword argument '(\w+)'")


def _missing_arguments(error: TypeError) -> list[str]:
    """The keywords that a call lacked, by its error; empty for errors of other kinds."""
    found = _MISSING.search(str(error))
    return re.findall(r"'(\w+)'", found.group(1)) if found else []


def update_fn(optimizer: Any) -> Callable[..., Any]:
    """The update, which leaves out those of value, grad and value_fn that it does not take.

    `optax.with_extra_args_support` does so for plain transformations alone. One with keywords of
    its own may refuse all others, as `optax.contrib.sam` does, also as a part of a chain, which
    hands all of them to each of its parts. Then only the call can tell.
    """
    parameters = inspect.signature(optimizer.update).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())

    def update(updates: Any, state: Any, params: Any = None, **objective: Any) -> Any:
        known = {name: v for name, v in objective.items() if takes_all or name in parameters}
        refused: list[str] = []
        while True:
            try:
                return optimizer.update(updates, state, params, **known)
            except TypeError as error:
                name = _refused_argument(error)
                if name not in known:
                    _name_conflict(error, refused)
                    raise
                refused.append(name)
                del known[name]

    return update


def _refused_argument(error: TypeError) -> str:
    found = _REFUSED.search(str(error))
    return found.group(1) if found else ""


def _name_conflict(error: TypeError, refused: list[str]) -> None:
    """Raises where one part of an optimizer needs what another one has refused."""
    needed = [name for name in _missing_arguments(error) if name in refused]
    if needed:
        raise ValueError(
            f"optimizer: expected parts that go together, got one that needs {', '.join(needed)}"
            " and another one that refuses it, such as a line search after optax.contrib.sam"
        ) from None


def with_present(value_fn: Callable[[Any], Any], present: Any) -> Callable[[Any], Any]:
    """The loss for a line search, whose parameters may be a part of those that the loss takes.

    Where another optimizer moves the rest, optax puts a `MaskedNode`: it stays as it is at present.
    """

    def value_of_part(part: Any) -> Any:
        return value_fn(
            jax.tree.map(
                lambda new, old: old if _is_masked(new) else new, part, present, is_leaf=_is_masked
            )
        )

    return value_of_part


def _is_masked(node: Any) -> bool:
    return type(node).__name__ == "MaskedNode"  # of optax, which this module does without


def norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves, in float32 at least: float16 squares end at 65,504."""
    with standard_promotion():
        wide = (leaf.astype(compute_dtype(leaf)) for leaf in jax.tree.leaves(tree))
        return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in wide))


def refuse_arguments(optimizer: Any, params: Any, reason: str) -> None:
    """Raises where an optimizer needs the value of the loss, or the loss as a function.

    Args:
      optimizer: its update is traced once, with the parameters in the place of a gradient.
      params: the parameters.
      reason: why there is none, after "got one that needs ...".
    """
    try:
        with standard_promotion():
            state = jax.eval_shape(optimizer.init, params)
            jax.eval_shape(optimizer.update, params, state, params)
    except TypeError as error:
        names = _missing_arguments(error)
        if names:  # other errors are those of the update itself, and come where it is called
            raise ValueError(
                "optimizer: expected one that needs gradient, state and parameters alone, such as"
                f" optax.adam(1e-3), got one that needs {', '.join(names)}: {reason}"
            ) from None


def init_optimizer(optimizer: Any, params: Any) -> Any:
    """The first state of an optimizer, in which no array is one of the parameters or occurs twice.

    A compiled step could not be given the memory of such an array, as that of `optax.lbfgs`. Raises
    for an optimizer that keeps two sets of parameters.
    """
    state = optimizer.init(params)
    if any(map(_has_two_sets, jax.tree.leaves(state, is_leaf=_has_two_sets))):
        raise ValueError(
            "optimizer: expected one that keeps one set of parameters, such as optax.adam(1e-3),"
            " got optax.lookahead; training.with_average keeps an average beside the parameters"
        )
    held = set(map(id, jax.tree.leaves(params)))

    def own(leaf: Any) -> Any:
        if id(leaf) in held:
            return jnp.copy(leaf)
        held.add(id(leaf))
        return leaf

    return jax.tree.map(own, state)


def check_opt_state(state: Any, optimizer: Any) -> None:
    """Raises unless `state.opt_state` is one that the optimizer makes for `state.params`."""
    if tree_shapes(state.opt_state) != tree_shapes(jax.eval_shape(optimizer.init, state.params)):
        raise ValueError(
            "state: expected one from the init of this train step, got another opt_state: that of a"
            " step with another optimizer"
        )


def tree_shapes(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """The structure of a tree, and the shapes of its leaves."""
    return jax.tree.structure(tree), [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _has_two_sets(node: Any) -> bool:
    return type(node).__name__ == "LookaheadState"
