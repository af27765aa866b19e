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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import (
    as_sample_array,
    as_scalar_array,
    as_weight_array,
    check_key,
    check_number,
    check_same_batch,
    is_key,
    relative_weights,
)
from nce_jax._offset import Effects, Split, add_constant, find_split
from nce_jax._padding import (
    LARGEST_SHARED,
    cut,
    is_number_or_array,
    pad_rows,
    padded_size,
    padded_to,
    program_dtype,
)
from nce_jax._ranges import check_weight_values

_Function = TypeVar("_Function", bound=Callable[..., Any])


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


def one_program(
    *sets: SampleSet,
    static: Sequence[str] = (),
    rows: Sequence[str] = (),
    is_per_sample: bool = False,
    effect: Effects | None = None,
) -> Callable[[_Function], _Function]:
    """Makes eager calls of a function of samples one program for each size class.

    Args:
      *sets: the sets of samples among its arguments. A sample of weight zero must have no effect on
        the result.
      static: arguments that are part of the program. All others are numbers, one per batch entry,
        or keys.
      rows: arguments that may have a row for each sample of the first set, (*batch, n, K), and are
        padded with it then.
      is_per_sample: whether the result has one number per sample, in one array for each of the
        first sets.
      effect: what a constant in all values does to the result. None where the result is one of the
        differences of the values to the argument `log_partition`.

    Returns:
      The decorator.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)

        program = _as_program(function, functools.partial(_with_weights, sets))

        @functools.wraps(function)
        def call(*args, **kwargs):
            arguments = _eager_arguments(signature, args, kwargs)
            if arguments is None:
                return function(*args, **kwargs)
            options = tuple((name, arguments.pop(name)) for name in static)
            table = {name: arguments.pop(name) for name in rows}
            for name in filter(lambda name: name.startswith("weights"), table):
                check_weight_values(name, table[name])
            if not all(map(is_number_or_array, table.values())):
                return function(*args, **kwargs)
            prepared = _prepare(sets, arguments, table, effect)
            try:
                result = program(prepared.inputs, options=options)
            except (TypeError, ValueError):
                # The shapes in the message have to be those of the caller.
                return function(*args, **kwargs)
            return cut(result, prepared.counts) if is_per_sample else prepared.restore(result)

        return call  # type: ignore[return-value]

    return decorate


def as_one_program(*static: str) -> Callable[[_Function], _Function]:
    """Makes eager calls of a function of vectors one program for each set of shapes.

    Nothing is padded: the number of pairs grows with the square of the number of vectors.

    Args:
      *static: arguments that are part of the program. All others are arrays, numbers or None.

    Returns:
      The decorator.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)

        program = _as_program(function, dict)

        @functools.wraps(function)
        def call(*args, **kwargs):
            arguments = _eager_arguments(signature, args, kwargs)
            if arguments is None:
                return function(*args, **kwargs)
            options = tuple((name, arguments.pop(name)) for name in static)
            if not all(map(is_number_or_array, arguments.values())):
                return function(*args, **kwargs)
            # Checks the values that are known, which are not inside of the program.
            jax.eval_shape(lambda: function(*args, **kwargs))
            return program(jax.device_put(arguments), options=options)

        return call  # type: ignore[return-value]

    return decorate


def _as_program(function: Callable[..., Any], bind: Callable[[Any], dict[str, Any]]) -> Any:
    """The function as a program of inputs and options; `bind` makes its arguments of the inputs."""

    def run(inputs: Any, *, options: Any) -> Any:
        return function(**bind(inputs), **dict(options))

    # The name of the program in profiles and in the log of compilations.
    run.__name__ = function.__name__
    return jax.jit(run, static_argnames="options")


class _Inputs(NamedTuple):
    """The arguments of a program by their names; `counts` are of sets whose weights are ones."""

    values: dict[str, Any]
    weights: dict[str, Any]
    counts: dict[str, Any]
    scalars: dict[str, Any]


class _Prepared(NamedTuple):
    """The arguments of a program, and what makes the result one of the values as given.

    Attributes:
      inputs: the arguments.
      restore: takes the result and adds what was subtracted from the values.
      counts: the number of samples of every set that was padded, in order.
    """

    inputs: _Inputs
    restore: Callable[[Any], Any]
    counts: list[int]


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
    sets: Sequence[SampleSet],
    arguments: dict[str, Any],
    rows: dict[str, Any],
    effect: Effects | None,
) -> _Prepared:
    """Checks the arguments as they were given, pads them, and takes a constant out of them."""
    values, weights, scalars = _checked(sets, arguments)
    are_on_host = all(map(is_on_host, (*values.values(), *weights.values(), *rows.values())))
    if not (are_on_host or _has_wide_samples(values)):
        given = {name: array for name, array in weights.items() if array is not None}
        return _Prepared(_Inputs(values, given, {}, scalars | rows), lambda result: result, [])
    values = {name: np.asarray(array) for name, array in values.items()}
    dtype = program_dtype(values.values())
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
    scalars |= pad_rows(sets[0].values, values[sets[0].values], rows, dtype)
    # An explicit transfer, which `jax.transfer_guard("disallow")` permits.
    inputs = jax.device_put(_pad(sets, values, weights, dtype)._replace(scalars=scalars))

    def restore(result: Any) -> Any:
        if split is None or effect is None:
            return result
        return add_constant(result, split.constant, effect, sets[0].values)

    return _Prepared(inputs, restore, [values[side.values].shape[-1] for side in sets])


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
        if value is not None:
            check_number(name, value, program_dtype(values.values()))
        if name == "key":
            check_key(value)
        if value is not None and not is_key(value):
            scalars[name] = as_scalar_array(name, value, batch)
    return values, weights, scalars


def is_on_host(array: Any) -> bool:
    """Whether an array lies in the memory of the host, where padding it costs one copy."""
    if not isinstance(array, jax.Array):
        return True
    default = default_device()
    is_default = array.is_fully_addressable and array.devices() == {default}
    return is_default and default.platform == "cpu"


def default_device() -> jax.Device:
    """The device that JAX computes on where nothing else is said."""
    default = getattr(jax.config, "jax_default_device", None)
    if default is None or isinstance(default, str):
        default = jax.local_devices(backend=default)[0]
    return default


def _has_wide_samples(values: dict[str, Any]) -> bool:
    """Whether the host has samples in a precision that the program would round.

    Such a call takes the host's path, wherever its other arrays are.
    """
    dtype = program_dtype(values.values())
    return any(
        isinstance(array, np.ndarray) and array.dtype.itemsize > dtype.itemsize
        for array in values.values()
    )


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
        size = padded_size(largest if largest <= LARGEST_SHARED else count)
        # The first sample fills the padding: its own value is in the range of the others.
        inputs.values[side.values] = padded_to(array, size, array[..., :1], dtype)
        if given is None:
            inputs.counts[side.weights] = np.int32(count)
        else:
            scaled = relative_weights(np.asarray(given), np)
            inputs.weights[side.weights] = padded_to(scaled, size, 0, dtype)
    return inputs
