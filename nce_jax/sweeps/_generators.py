"""Random generators under which a lane's draws depend on the lanes beside it."""

import warnings
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core


class DependentDrawsWarning(UserWarning):
    """Draws of a sweep's lanes depend on the other lanes, and so on chunks and devices."""


_DEPENDENT = {
    "key<rbg>": {"random_bits"},
    "key<urbg>": {"random_bits", "random_split", "random_fold_in"},
}
"""What the generators compute for several keys at once from the first of them alone."""


def warn_of_dependent_draws(program: Any) -> None:
    """Warns where the jaxpr of a mapped function draws for several keys of such a generator."""
    names = sorted({name for name in _dependent(program) if name})
    if names:
        warnings.warn(
            f"fn: expected draws by a generator whose lanes are independent, got {names[0]}; under"
            " vmap its draws depend on the lanes that run together, so that another chunk or number"
            " of devices gives other results. jax.random.key(seed, impl='threefry2x32') makes keys"
            " whose draws are those of a lane alone",
            DependentDrawsWarning,
            stacklevel=3,
        )


def _dependent(program: Any) -> Iterator[str]:
    for equation in program.eqns:
        for variable in equation.invars[:1]:
            kind = str(getattr(variable.aval, "dtype", ""))
            is_batched = getattr(variable.aval, "ndim", 0) > 0
            if is_batched and equation.primitive.name in _DEPENDENT.get(kind, ()):
                yield kind
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                yield from _dependent(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)


def _is_program(value: Any) -> bool:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)
