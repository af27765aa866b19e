"""Checks of options: truth values, functions, fractions, sizes, dtypes and folders.

Options are structure and not numbers of a program: they are plain Python values, and none is
traced.
"""

import inspect
from collections.abc import Callable, Collection, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from nce_jax._checks import as_real, check_positive_int
from nce_jax._describe import describe

PARTS = (
    "model", "noise", "optimizer", "criterion", "treatment", "stages", "penalty",
    "magnification_rule", "step",
)  # fmt: skip
"""What the step of a run is made of."""

CHANGES = ("batch_size", "batches", "key", "state", *PARTS)
"""What the argument `allow_changes` takes."""

FORMS = ("non_saturating", "reverse_kl")
"""What the argument `form` of a generator's loss takes."""


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raises ValueError unless `value` is one of these strings."""
    if not isinstance(value, str) or value not in choices:
        got = repr(value) if isinstance(value, str) else describe(value)
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {got}")


def check_flag(name: str, value: Any) -> None:
    """Raises TypeError unless `value` is True or False, of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")


def check_resume(resume: Any, folder: Any) -> None:
    """Raises unless `resume` is True or False, and there is a folder to continue from if True."""
    check_flag("resume", resume)
    if resume and folder is None:
        raise ValueError("resume: expected a folder to continue from, got folder=None")


def check_changes(allow_changes: Any) -> None:
    """Raises unless these are names of what may change."""
    wrong = (
        [allow_changes]
        if not isinstance(allow_changes, Collection) or isinstance(allow_changes, str | np.ndarray)
        else [name for name in allow_changes if name not in CHANGES]
    )
    if wrong:
        raise ValueError(
            f"allow_changes: expected a tuple of names among {', '.join(CHANGES)}, got {wrong[0]!r}"
        )


def as_folder(folder: Any, name: str = "folder") -> Path | None:
    """The path of a folder, or None for None; raises TypeError for what is no path."""
    if folder is None:
        return None
    if not isinstance(folder, str | PathLike):
        raise TypeError(f"{name}: expected a path such as 'runs/first', got {describe(folder)}")
    return Path(folder)


def check_fraction(name: str, value: Any) -> None:
    """Raises unless `value` is one number strictly between 0 and 1."""
    check_number(name, value, "a number between 0 and 1", lambda x: 0 < x < 1)


def check_number(
    name: str, value: Any, expected: str, is_valid: Callable[[Any], Any] = lambda x: True
) -> None:
    """Raises unless `value` is one real number, and valid."""
    if np.shape(as_real(name, value, expected)) != ():
        raise ValueError(f"{name}: expected {expected}, got {describe(value)}")
    if not is_valid(value):
        raise ValueError(f"{name}: expected {expected}, got {value}")


def check_function(
    name: str, value: Any, arguments: str = "samples", *, num_arguments: int | None = 1
) -> None:
    """Raises TypeError unless `value` is a function that can be called with so many arguments.

    Where Python cannot tell the parameters of a function, as of some built-ins, it passes.
    """
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name}: expected a function of {arguments}, got {describe(value)}")
    others = None if num_arguments is None else other_parameters(value, num_arguments)
    if others is not None:
        raise TypeError(
            f"{name}: expected a function of {arguments}, got {describe(value)} with parameters"
            f" ({', '.join(others)})"
        )


def other_parameters(function: Any, num_arguments: int) -> list[str] | None:
    """The parameters of a function that so many arguments do not fit; None where they do."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*[None] * num_arguments)
    except TypeError:
        return list(signature.parameters)
    return None


def as_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Integers of at least one as a tuple, such as the widths of layers."""
    is_array = isinstance(sizes, np.ndarray) and sizes.ndim == 1 and sizes.dtype.kind in "iu"
    is_sequence = isinstance(sizes, Iterable) and not isinstance(sizes, str | bytes | type)
    if not is_sequence or (hasattr(sizes, "dtype") and not is_array):
        raise TypeError(f"{name}: expected a tuple of integers, got {describe(sizes)}")
    sizes = tuple(sizes)
    for index, size in enumerate(sizes):
        check_positive_int(f"{name}[{index}]", size)
    return sizes


def check_float_dtype(name: str, dtype: Any) -> None:
    """Raises TypeError unless `dtype` is a floating dtype, such as jnp.float32 or "bfloat16"."""
    try:
        kind = None if dtype is None else jnp.dtype(dtype)  # NumPy takes None for float64
    except TypeError:
        kind = None
    if kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise TypeError(
            f"{name}: expected a floating dtype such as jnp.float32, got {describe(dtype)}"
        )
