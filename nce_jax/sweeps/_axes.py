"""Checks of the axes of a grid: a mapping whose names are the parameters of the function."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_not_record, describe
from nce_jax._options import check_flag, check_function
from nce_jax._ranges import check_integers


def check_axes(fn: Callable[..., Any], axes: Any) -> None:
    """Raises unless `axes` is a mapping that has exactly the parameters that `fn` needs."""
    if not callable(fn):
        raise TypeError(
            f"fn: expected a function of keyword arguments, got {describe(fn)}; pass the function"
            " itself, not its result"
        )
    if not isinstance(axes, Mapping):
        raise TypeError(
            "axes: expected a mapping from names to values, such as {'seed': jnp.arange(5)}, got"
            f" {describe(axes)}"
        )
    if not axes:
        raise ValueError("axes: expected at least one named axis, got none")
    parameters = _parameters(fn)
    if parameters is None:
        return
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [name for name in axes if name not in by_name]
    if unknown and not takes_any:
        raise TypeError(
            f"axes: expected names among the parameters of fn, ({', '.join(by_name)}), got"
            f" {unknown[0]!r}; give fn this parameter, or leave the axis out"
        )
    required = [p.name for p in parameters if _is_required(p)]
    missing = [name for name in required if name not in axes]
    if missing:
        raise TypeError(
            f"axes: expected an axis for every parameter of fn, ({', '.join(required)}), got none"
            f" for {missing[0]!r}; functools.partial(fn, {missing[0]}=...) fixes its value"
        )


def check_progress(progress: Any) -> None:
    """Raises TypeError unless this is True, False, or a function of two counts of lanes."""
    if callable(progress):
        check_function("progress", progress, "finished lanes and all lanes", num_arguments=2)
    else:
        check_flag("progress", progress)


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of `fn`, or None where Python cannot tell them, as of some built-ins."""
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        return None


def _is_required(parameter: inspect.Parameter) -> bool:
    is_variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not is_variadic


def as_axis(name: str, values: Any) -> jax.Array:
    """Returns the values of one axis as an array; raises unless it has an entry."""
    check_not_record(f"axes[{name!r}]", values, "an array of numbers or of typed keys")
    check_integers(f"axes[{name!r}]", _integers_as_array(values))
    try:
        array = jnp.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(
            f"axes[{name!r}]: expected an array of numbers or of typed keys, got"
            f" {describe(values)}{_entries(values)}"
        ) from None
    if name == "key" and array.dtype == jnp.uint32 and array.shape[1:] == (2,):
        raise TypeError(
            "axes['key']: expected typed keys, got keys of jax.random.PRNGKey; jax.random.split("
            "jax.random.key(seed), count) makes typed ones"
        )
    if array.ndim == 0 or array.shape[0] == 0:
        raise ValueError(
            f"axes[{name!r}]: expected an array with at least one entry on its first axis, got"
            f" shape {array.shape}{_scalar_cure(values)}"
        )
    return array


def _integers_as_array(values: Any) -> Any:
    is_list = isinstance(values, list | tuple) and all(isinstance(value, int) for value in values)
    return np.asarray(values) if is_list else values


def _entries(values: Any) -> str:
    """The types in a list or tuple that does not convert to an array."""
    if not isinstance(values, list | tuple):
        return ""
    return f" of {', '.join(sorted({type(value).__name__ for value in values}))}"


def _scalar_cure(values: Any) -> str:
    """The cure for a number: a count of seeds is the likely meaning of an integer."""
    if isinstance(values, int) and not isinstance(values, bool) and values > 0:
        return f"; jnp.arange({values}) has {values} entries"
    return f"; jnp.array([{values}]) has one entry" if isinstance(values, float) else ""


def check_returned(returned: Any) -> None:
    """Raises TypeError if `returned`, what the function of a sweep returned, holds no array."""
    if not jax.tree.leaves(returned):
        raise TypeError(
            "fn: expected a function that returns a pytree of arrays, got one that returns"
            f" {describe(returned)}; does it end in a return statement?"
        )
