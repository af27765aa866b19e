"""Functions with some of their arguments given, which are equal if they do the same.

JAX compiles once per *equal* static argument. Functions that are made at every call of a factory
are never equal, and neither are those of `functools.partial`; those of `EqualPartial` are.
"""

import functools
from typing import Any

import jax
import numpy as np


class EqualPartial(functools.partial):
    """A `functools.partial` that equals any other of the same function and equal arguments.

    Arrays are equal if they hold the same values in the same shape and dtype; traced ones only if
    they are identical. Any other arguments are equal only if they have the same type.
    """

    def __eq__(self, other: object) -> bool:
        """Whether function and arguments are equal."""
        if not isinstance(other, EqualPartial):
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        """A hash of function and arguments; it does not read the values of arrays."""
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        arguments = (*self.args, *(value for _, value in sorted(self.keywords.items())))
        return self.func, tuple(sorted(self.keywords)), tuple(map(_comparable, arguments))


class _Values:
    """An array that is compared by its values."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.kind = (np.shape(array), str(array.dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Values):
            return NotImplemented
        if self.array is other.array:
            return True
        is_traced = any(isinstance(side.array, jax.core.Tracer) for side in (self, other))
        return (
            not is_traced
            and self.kind == other.kind
            and np.asarray(self.array).tobytes() == np.asarray(other.array).tobytes()
        )

    def __hash__(self) -> int:
        return hash(self.kind)


def _comparable(value: Any) -> Any:
    """With the type: a callable tuple equals any other of the same fields, and 1 equals True."""
    is_array = isinstance(value, jax.Array | np.ndarray)
    return _Values(value) if is_array else (type(value), value)
