"""Every public function, with one argument at a time replaced by a hostile one.

A hostile argument is either refused, by an error that names it, or passed through as what it is: a
NaN must not come out as a plausible number. Anything else is a finding.
"""

import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax import Status
from tests.hostile.arguments import call, public_functions, right_arguments
from tests.test_signatures import PARAMETERS

OBJECTS: dict[str, Any] = {
    "a text": "many",
    "a class": dict,
    "a complex number": 1j,
    "a function": len,
    "an object": object(),
    "an array of texts": np.array(["a", "b"]),
    "an empty array": np.zeros((0,), np.float32),
    "an array of five axes": np.zeros((1, 2, 1, 2, 1), np.float32),
}
"""Values that are wrong wherever no entry of `ALLOWED` says otherwise."""

NUMBERS: dict[str, Any] = {
    "NaN": float("nan"),
    "an infinity": float("inf"),
    "a negative number": -1.0,
    "a NaN as a JAX array": jnp.float32(jnp.nan),
}
"""Values of options that are numbers."""


class Finding(NamedTuple):
    """A hostile argument that was answered wrongly."""

    function: str
    argument: str
    value: str
    fault: str


class _Case(NamedTuple):
    function: str
    argument: str
    value: str
    hostile: Any
    must_be_refused: bool


def run(room: str = "") -> Iterator[Finding]:
    """Makes every hostile call of the functions whose path contains `room`, and yields faults."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        for case in (case for case in _cases() if room in case.function):
            fault = _fault(case)
            if fault is not None:
                yield Finding(case.function, case.argument, case.value, fault)


def num_calls() -> int:
    """How many calls `run` makes."""
    return len(_cases())


@functools.cache
def _cases() -> list[_Case]:
    return [case for path in public_functions() for case in _cases_of(path)]


def _cases_of(path: str) -> Iterator[_Case]:
    right = right_arguments(path)
    for parameter in PARAMETERS[path]:
        name = parameter.name
        is_array = isinstance(right.get(name), np.ndarray | jax.Array)
        for value, hostile in OBJECTS.items():
            if not _is_allowed(path, name, value):
                yield _Case(path, name, value, hostile, must_be_refused=True)
        if is_array and jnp.issubdtype(right[name].dtype, jnp.floating):
            spoiled = np.array(right[name], np.float32)
            spoiled.flat[0] = np.nan
            yield _Case(path, name, "a NaN among the values", spoiled, must_be_refused=False)
        elif _is_number(right.get(name, parameter.default)):
            for value, hostile in NUMBERS.items():
                yield _Case(path, name, value, hostile, must_be_refused=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _is_allowed(path: str, name: str, value: str) -> bool:
    """Whether the argument may be of this kind, by its name."""
    return value in ALLOWED.get(f"{path.rpartition('.')[2]}.{name}", ALLOWED.get(name, ()))


ALLOWED: dict[str, tuple[str, ...]] = {
    "folder": ("a text",),
    "fn": ("a class", "a function"),
    "step_size": ("an array of five axes",),
}
"""Values that may be right for an argument of this name: no call is made with them."""


def _fault(case: _Case) -> str | None:
    arguments = right_arguments(case.function) | {case.argument: case.hostile}
    try:
        result = jax.block_until_ready(call(case.function, arguments))
    except (TypeError, ValueError, FloatingPointError) as error:
        return None if _is_named(case.argument, str(error)) else _foreign(error)
    except Exception as error:  # any other error is what is looked for
        return _foreign(error)
    if case.must_be_refused:
        return "taken without a word"
    return "a plausible number" if "NaN" in case.value and _is_plausible(result) else None


def _is_named(argument: str, message: str) -> bool:
    """Whether the error is one of this library, and speaks of the argument."""
    return re.match(r"[\w .()\[\]]+: ", message) is not None and argument in message


def _foreign(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _is_plausible(result: Any) -> bool:
    """Whether every number is finite and no status says otherwise."""
    status = getattr(result, "status", None)
    if status is not None and np.any(np.asarray(status) == Status.NONFINITE):
        return False
    leaves = [leaf for leaf in jax.tree.leaves(result) if _is_floating(leaf)]
    return bool(leaves) and all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
