"""Eager calls of public functions: one program per function and size class.

Without this, every operation of an eager call would be compiled on its own, and all of them anew
for every number of samples: seconds and tens of megabytes per call of `bar`. Arrays on the host are
padded here to one of a few sizes, with samples of weight zero, and the whole function is one jitted
program. Inside a transformation of JAX nothing is padded, and the function runs as it is written.

The host also has the samples in their own precision. Where they are float64 and the program
computes in float32, `_offset` takes a common offset out of them before they are rounded.
"""

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_sample_array,
    as_scalar_array,
    as_weight_array,
    check_key,
    check_positive,
    check_same_batch,
    is_key,
    relative_weights,
)
from nce_jax._dtypes import compute_dtype
from nce_jax._offset import Effect, Split, add_constant, find_split

_Function = TypeVar("_Function", bound=Callable[..., Any])

_POSITIVE = {"magnification", "noise_ratio", "tolerance", "statistical_inefficiency"}
"""Arguments that are refused at the call if they are plain numbers that are not positive."""

_SMALLEST, _LARGEST_SHARED, _LARGEST_BY_ROOT = 1 << 8, 1 << 16, 1 << 20
"""Size classes are powers of four from the first number to the second, where a call takes about as
long at any size; powers of sqrt(2) up to the third; and of the fourth root of two above it. Up to
the second, all sets of a call share one size."""


class SampleSet(NamedTuple):
    """The arguments of a function that hold one set of samples.

    Attributes:
      values: name of the argument with one number per sample, on the last axis.
      weights: name of the argument with the weights of the samples.
      sign: 1 where a constant in the values adds to the normalizer, -1 where it is subtracted.
      is_total: whether the values are sums over the batch entries of the other sets.
    """

    values: str
    weights: str
    sign: int = 1
    is_total: bool = False


PAIR = (SampleSet("log_ratio_data", "weights_data"), SampleSet("log_ratio_noise", "weights_noise"))
"""The sets of a function of two arrays of log ratios."""


def padded_size(count: int) -> int:
    """The size class of a number of samples: the smallest size that holds them all."""
    if count <= _SMALLEST:
        return _SMALLEST
    per_octave = 0.5 if count <= _LARGEST_SHARED else 2 if count <= _LARGEST_BY_ROOT else 4
    exponent = math.ceil(math.log2(count) * per_octave - 1e-9) / per_octave
    return max(count, round(2**exponent))


def one_program(
    *sets: SampleSet, static: Sequence[str] = (), effect: Effect | None = None
) -> Callable[[_Function], _Function]:
    """Makes eager calls of a function of samples one program for each size class.

    Args:
      *sets: the sets of samples among its arguments. A sample of weight zero must have no effect on
        the result.
      static: arguments that are part of the program. All others are numbers, one per batch entry,
        or keys.
      effect: what a constant in all values does to the result. None where the result is one of the
        differences of the values to the argument `log_partition`.

    Returns:
      The decorator.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)

        def run(inputs: _Inputs, *, options):
            return function(**_with_weights(sets, inputs), **dict(options))

        # The name of the program in profiles and in the log of compilations.
        run.__name__ = function.__name__
        program = jax.jit(run, static_argnames="options")

        @functools.wraps(function)
        def call(*args, **kwargs):
            arguments = _eager_arguments(signature, args, kwargs)
            if arguments is None:
                return function(*args, **kwargs)
            options = tuple((name, arguments.pop(name)) for name in static)
            prepared = _prepare(sets, arguments, effect)
            return prepared.restore(program(prepared.inputs, options=options))

        return call  # type: ignore[return-value]

    return decorate


class _Inputs(NamedTuple):
    """The arguments of a program by their names; `counts` are of sets whose weights are ones."""

    values: dict[str, Any]
    weights: dict[str, Any]
    counts: dict[str, Any]
    scalars: dict[str, Any]


class _Prepared(NamedTuple):
    """The arguments of a program, and what makes the result one of the values as given."""

    inputs: _Inputs
    restore: Callable[[Any], Any]


def _with_weights(sets: Sequence[SampleSet], inputs: _Inputs) -> dict[str, Any]:
    """The arguments of the function, with weights of zero for the padding."""
    weights = dict(inputs.weights)
    for side in sets:
        if side.weights in inputs.counts:
            index = jnp.arange(inputs.values[side.values].shape[-1])
            weights[side.weights] = index < inputs.counts[side.weights]
    return {**inputs.values, **weights, **inputs.scalars}


def _eager_arguments(signature: inspect.Signature, args: Any, kwargs: Any) -> dict | None:
    """All arguments by name; None where the call is traced or not as the signature says."""
    # Inside a caller's `jit` the arguments may be constants, but what is made of them is a tracer.
    made = jax.device_put(np.float32(0))
    if any(isinstance(value, jax.core.Tracer) for value in (made, *args, *kwargs.values())):
        return None
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    named = dict(bound.arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(name)
    return named


def _prepare(
    sets: Sequence[SampleSet], arguments: dict[str, Any], effect: Effect | None
) -> _Prepared:
    """Checks the arguments as they were given, pads them, and takes a constant out of them."""
    values, weights, scalars = _checked(sets, arguments)
    if not all(map(_is_on_host, (*values.values(), *weights.values()))):
        given = {name: array for name, array in weights.items() if array is not None}
        return _Prepared(_Inputs(values, given, {}, scalars), lambda result: result)
    values = {name: np.asarray(array) for name, array in values.items()}
    dtype = _compute_dtype(values.values())
    split = None
    if any(array.dtype.itemsize > dtype.itemsize for array in values.values()):
        batched = [side for side in sets if not side.is_total]
        split = find_split(
            [values[side.values] for side in batched],
            [side.sign for side in batched],
            scalars.get("log_partition"),
            effect,
        )
        for side in sets:
            shift = side.sign * (split.given + split.constant)
            shift = np.sum(shift) if side.is_total else shift[..., None]
            values[side.values] = values[side.values] - shift
    scalars = {name: _host_scalar(name, value, dtype, split) for name, value in scalars.items()}
    # An explicit transfer, which `jax.transfer_guard("disallow")` permits.
    inputs = jax.device_put(_pad(sets, values, weights, dtype)._replace(scalars=scalars))

    def restore(result: Any) -> Any:
        if split is None or effect is None:
            return result
        return add_constant(result, split.constant, effect, sets[0].values)

    return _Prepared(inputs, restore)


def _checked(
    sets: Sequence[SampleSet], arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The values, the weights and all other arguments, or the error that the function raises."""
    values = {side.values: as_sample_array(side.values, arguments[side.values]) for side in sets}
    for first, second in itertools.pairwise(side for side in sets if not side.is_total):
        names = first.values, second.values
        check_same_batch(names, values[names[0]], values[names[1]])
    weights = {
        side.weights: arguments.get(side.weights)
        if arguments.get(side.weights) is None
        else as_weight_array(side.weights, arguments[side.weights], values[side.values].shape)
        for side in sets
    }
    batch = values[sets[0].values].shape[:-1]
    scalars = {
        name: value for name, value in arguments.items() if name not in {**values, **weights}
    }
    for name, value in scalars.items():
        if name in _POSITIVE and value is not None:
            check_positive(name, value)
        if name == "key":
            check_key(value)
        if value is not None and not is_key(value):
            scalars[name] = as_scalar_array(name, value, batch)
    return values, weights, scalars


def _is_on_host(array: Any) -> bool:
    """Whether an array lies in the memory of the host, where padding it costs one copy."""
    if not isinstance(array, jax.Array):
        return True
    default = getattr(jax.config, "jax_default_device", None)
    if default is None or isinstance(default, str):
        default = jax.local_devices(backend=default)[0]
    is_default = array.is_fully_addressable and array.devices() == {default}
    return is_default and default.platform == "cpu"


def _compute_dtype(arrays: Iterable[np.ndarray]) -> np.dtype:
    """The dtype of the program: float64 only where x64 is on, and at least float32."""
    return np.dtype(compute_dtype(*map(_canonical, arrays)))


def _canonical(array: np.ndarray) -> np.dtype:
    """The dtype that JAX would give an array, whose own may be wider than float64."""
    is_known = array.dtype.itemsize <= 8
    return jax.dtypes.canonicalize_dtype(array.dtype if is_known else np.float64)


def _host_scalar(name: str, value: Any, dtype: np.dtype, split: Split | None) -> Any:
    """A number in the dtype of the program, relative to what was subtracted from the samples."""
    if value is None or is_key(value):
        return value
    if split is not None and name in ("log_partition", "initial"):
        constant = split.given if name == "log_partition" else split.constant
        return (np.asarray(value, constant.dtype) - constant).astype(dtype)
    return value if isinstance(value, jax.Array) else np.asarray(value, dtype)


def _pad(
    sets: Sequence[SampleSet],
    values: dict[str, np.ndarray],
    weights: dict[str, Any],
    dtype: np.dtype,
) -> _Inputs:
    """Pads every set to its size class."""
    inputs = _Inputs({}, {}, {}, {})
    largest = max(array.shape[-1] for array in values.values())
    for side in sets:
        array, given = values[side.values], weights[side.weights]
        count = array.shape[-1]
        size = padded_size(largest if largest <= _LARGEST_SHARED else count)
        # The first sample fills the padding: its own value is in the range of the others.
        inputs.values[side.values] = _padded(array, size, array[..., :1], dtype)
        if given is None:
            inputs.counts[side.weights] = np.int32(count)
        else:
            scaled = relative_weights(np.asarray(given), np)
            inputs.weights[side.weights] = _padded(scaled, size, 0, dtype)
    return inputs


def _padded(array: np.ndarray, size: int, fill: Any, dtype: np.dtype) -> np.ndarray:
    padded = np.empty((*array.shape[:-1], size), dtype)
    # Values beyond the range of the dtype become infinite, as they do in JAX.
    with np.errstate(over="ignore"):
        padded[..., : array.shape[-1]] = array
        padded[..., array.shape[-1] :] = fill
    return padded
