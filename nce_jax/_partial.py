"""Functions with some of their arguments given, which are equal if they do the same.

JAX compiles once per *equal* static argument. Functions that are made at every call of a factory
are never equal, and neither are those of `functools.partial`; those of `EqualPartial` are. Objects
that can be called may on the other hand be equal and do different things, as tuples of equal fields
and different classes, or of 1 and True: they are compared by identity, also as parts of a solver or
a criterion.
"""

import functools
from types import MethodType
from typing import Any, NamedTuple, TypeVar

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
        names = tuple(sorted(self.keywords))
        parts = self.func, *self.args, *(self.keywords[name] for name in names)
        return names, tuple(map(_comparable, parts))


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


class _Itself:
    """A value that is equal to itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return hash(self.value)  # an object without a hash may change, and has none here either


def _comparable(value: Any) -> Any:
    """What is equal for values that do the same; with the type, since 1 equals True."""
    if isinstance(value, jax.Array | np.ndarray):
        return _Values(value)
    if isinstance(value, EqualPartial | MethodType):  # a method is made anew at every access
        return type(value), value
    if callable(value):
        return _Itself(value)
    if isinstance(value, tuple):
        return type(value), tuple(map(_comparable, value))
    return type(value), value


_Class = TypeVar("_Class", bound=type)


def compared_by_parts(kind: _Class) -> _Class:
    """Makes values of a NamedTuple equal where their parts do the same, as in an `EqualPartial`."""

    def equals(self: Any, other: object) -> bool:
        return _comparable(self) == _comparable(other)

    def differs(self: Any, other: object) -> bool:
        return not equals(self, other)

    def digest(self: Any) -> int:
        return hash(_comparable(self))

    methods = {"__eq__": equals, "__ne__": differs, "__hash__": digest}
    for name, method in methods.items():
        setattr(kind, name, method)
    return kind


@compared_by_parts
class Parts(NamedTuple):
    """A value of another package as a static argument, such as an optimizer.

    Attributes:
      value: a tuple of functions.
    """

    value: Any
