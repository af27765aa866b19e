"""Checks of the objects that a user hands in: a noise, a model and its values, parameters, data.

Every message names the argument, what was expected, what came instead, and the likely cure. All
checks read types, shapes and dtypes only, so that they cost nothing in a compiled program.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import describe
from nce_jax._options import check_function

NOISE_METHODS = ("log_prob", "sample_and_log_prob")
ENCODE_CATEGORIES = (
    "pandas.get_dummies(..., dtype=float) or OneHotEncoder makes numbers of categories"
)
LIKELY_FROM_WRONG_ARGUMENTS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Errors from inside a function of the caller that get a note on how it was called."""


def check_noise(
    noise: Any, name: str = "noise", *, methods: tuple[str, ...] = NOISE_METHODS
) -> None:
    """Raises unless `noise` is one distribution with these methods, over whole samples."""
    missing = [method for method in methods if not callable(getattr(noise, method, None))]
    if isinstance(noise, type) or missing:
        raise TypeError(
            f"{name}: expected a distribution with {' and '.join(methods)}, such as"
            f" nce_jax.noise.standard_normal(dim), got {describe(noise)}"
            f"{_noise_cure(noise, methods, missing)}"
        )
    check_whole_samples(noise, name)


def check_whole_samples(noise: Any, name: str = "noise") -> None:
    """Raises where a distribution has a batch shape: it is then several distributions."""
    batch_shape = as_shape(getattr(noise, "batch_shape", None))
    if batch_shape:
        raise ValueError(
            f"{name}: expected one distribution of whole samples, got {describe(noise)} with batch"
            f" shape {batch_shape}, which gives one log density per dimension;"
            f" {_batch_cure(noise, len(batch_shape))}"
        )


def _batch_cure(noise: Any, num_axes: int) -> str:
    """How the library that a distribution comes from joins the axes of its batch shape."""
    package = type(noise).__module__.partition(".")[0]
    if package == "numpyro":
        return f"noise.to_event({num_axes}) joins the dimensions"
    if package == "tensorflow_probability":
        return f"tfd.Independent(noise, {num_axes}) joins the dimensions"
    return (
        f"distrax.Independent(noise, {num_axes}) joins the dimensions, as"
        " distrax.MultivariateNormalDiag does for a Gaussian"
    )


def _noise_cure(noise: Any, methods: tuple[str, ...], missing: list[str]) -> str:
    if isinstance(noise, type):
        return "; call the class with its parameters"
    if isinstance(noise, jax.Array | np.ndarray):
        return "; samples have no density, a distribution fitted to them has one"
    if inspect.isroutine(noise):
        return "; if it makes a distribution, call it; a model comes before the noise"
    if len(missing) < len(methods):
        return f" without {' and '.join(missing)}"
    return ""


def check_noise_values(log_prob: Any, x: Any, name: str = "noise") -> None:
    """Raises unless `log_prob`, what a noise gave for the samples `x`, is one number per sample."""
    x_shape = jnp.shape(jax.tree.leaves(x)[0])
    if getattr(log_prob, "shape", ()) == x_shape and len(x_shape) > 1:
        raise ValueError(
            f"{name}: expected one log density per sample, shape {x_shape[:1]}, got shape"
            f" {x_shape} from log_prob, one per dimension; distrax.Independent(noise,"
            f" {len(x_shape) - 1}) adds them up"
        )
    check_values(f"{name}.log_prob", log_prob, x)


def check_event_shape(name: str, x: Any, noise: Any) -> None:
    """Raises unless the samples `x` have the shape that the noise is a distribution over.

    Data for noises without an `event_shape` pass.
    """
    expected = as_shape(getattr(noise, "event_shape", None))
    leaves = jax.tree.leaves(x)
    if expected is not None and isinstance(x, tuple | list | dict):
        raise TypeError(
            f"{name}: expected one array of samples, since the noise is over samples of shape"
            f" {expected}, got {describe(x)}; training.Batch(x_data, x_noise) holds data and noise"
        )
    if expected is None or len(leaves) != 1 or (shape := jnp.shape(leaves[0]))[1:] == expected:
        return
    samples = ", ".join(["samples", *map(str, expected)])
    raise ValueError(
        f"{name}: expected shape ({samples}{'' if expected else ','}), since the noise is over"
        f" samples of shape {expected}, got shape {shape}{_shape_cure(name, shape, expected)}"
    )


def _shape_cure(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    if shape == expected:
        return f"; {name}[None] is a batch of one sample"
    if shape and math.prod(shape[1:]) == math.prod(expected):
        dims = ", ".join(["len(" + name + ")", *map(str, expected)])
        return f"; {name}.reshape({dims}) has it"
    return ""


def check_log_density_fn(
    log_density_fn: Any,
    name: str = "log_density_fn",
    *,
    arguments: str = "parameters and samples",
    num_arguments: int | None = 2,
) -> None:
    """Raises TypeError unless `log_density_fn` is a function of so many arguments."""
    module = _flax_module(log_density_fn)
    if callable(log_density_fn) and not isinstance(log_density_fn, type) and module is None:
        check_function(name, log_density_fn, arguments, num_arguments=num_arguments)
        return
    cure = ""
    if isinstance(log_density_fn, tuple):
        cure = "; unpack the pair, as in params, log_density_fn = model"
    elif module == "nnx":
        cure = "; params, log_density_fn = nce_jax.models.split_module(module) makes the pair"
    elif module == "linen":
        cure = "; lambda params, x: module.apply(params, x)[:, 0] is such a function"
    elif callable(getattr(log_density_fn, "log_prob", None)):
        cure = "; the model comes before the noise"
    raise TypeError(
        f"{name}: expected a function of {arguments}, got {describe(log_density_fn)}{cure}"
    )


def _flax_module(value: Any) -> str | None:
    """Which of the two kinds of flax modules a value is, without an import of flax."""
    for kind in type(value).__mro__:
        if kind.__name__ == "Module" and kind.__module__.startswith("flax."):
            return "nnx" if ".nnx" in kind.__module__ else "linen"
    return None


def evaluate_model(
    log_density_fn: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    name: str = "log_density_fn",
    *,
    num_batch_axes: int = 0,
) -> jax.Array:
    """Returns `log_density_fn(params, x)`; raises unless that is one floating number per sample.

    An error from inside the model gets a note that says how the model was called.
    """
    try:
        values = log_density_fn(params, x)
    except LIKELY_FROM_WRONG_ARGUMENTS as error:
        error.add_note(
            f"{name}: called as {name}(params, x), with {describe(params)} and"
            f" {describe(x)}; is it a function of these, in this order?"
        )
        raise
    return as_values(name, values, x, num_batch_axes=num_batch_axes)


def as_values(
    name: str, values: Any, x: Any, *, num_batch_axes: int = 0, allow_column: bool = False
) -> jax.Array:
    """Returns what a function gave for the samples `x`, one floating number per sample.

    Args:
      name: the function.
      values: its result.
      x: samples, an array or a pytree of arrays, on the axis after the batch axes.
      num_batch_axes: number of axes before the samples.
      allow_column: whether shape (samples, 1), which neural networks give, is accepted too; the
        result has shape (samples,) all the same.

    Returns:
      The values as an array, of shape (*batch, samples).

    Raises:
      TypeError: `values` is not an array, or not floating.
      ValueError: `values` has another shape.
    """
    if allow_column and getattr(values, "shape", ()) == (*_samples_shape(x, num_batch_axes), 1):
        values = values[..., 0]
    check_values(name, values, x, num_batch_axes=num_batch_axes)
    return jnp.asarray(values)


def check_values(
    name: str, values: Any, x: Any, *, num_batch_axes: int = 0, of: str = "samples"
) -> None:
    """Raises unless `values`, an array or its description, is one floating number per sample.

    `of` is what the message calls x.
    """
    shape = _samples_shape(x, num_batch_axes)
    if not (hasattr(values, "shape") and hasattr(values, "dtype")):
        one_of_batch = f"{name}: expected one value per sample, shape {shape[num_batch_axes:]}"
        raise TypeError(f"{one_of_batch}, got {describe(values)}{_values_cure(values)}")
    if values.shape != shape:
        # Of a function that is mapped over the batch axes the message leaves them out.
        is_mapped = values.shape[:num_batch_axes] == shape[:num_batch_axes]
        first = num_batch_axes if is_mapped else 0
        expected = f"{name}: expected one value per sample, shape {shape[first:]}"
        got, x_shape = values.shape[first:], jnp.shape(jax.tree.leaves(x)[0])[first:]
        raise ValueError(
            f"{expected}, got shape {got} for {of} of shape {x_shape}"
            f"{_values_shape_cure(got, x_shape)}"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(
            f"{name}: expected floating values, got dtype {values.dtype}; convert samples or"
            " parameters to float32"
        )


def _values_cure(values: Any) -> str:
    if values is None:
        return "; does the function return its result?"
    if isinstance(values, tuple):
        return "; return the log density alone"
    return "; return one array" if isinstance(values, list) else ""


def _values_shape_cure(got: tuple[int, ...], x_shape: tuple[int, ...]) -> str:
    if not got:
        return "; reduce the axes of a sample, as in .sum(axis=-1), and not the samples"
    if got == (x_shape[0], 1):
        return "; drop the last axis, as in values[:, 0]"
    if got == x_shape:
        return "; that is one per dimension: add up the last axis, as in .sum(axis=-1)"
    return ""


def _samples_shape(x: Any, num_batch_axes: int) -> tuple[int, ...]:
    return tuple(jnp.shape(jax.tree.leaves(x)[0])[: num_batch_axes + 1])


def check_params(params: Any, name: str = "params") -> None:
    """Raises unless `params` is a pytree of floating arrays or numbers, at least one of them."""
    expected = f"{name}: expected a pytree of floating arrays"
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise TypeError(f"{expected}, got {describe(params)}")
    for path, leaf in leaves:
        position = f" at {name}{jax.tree_util.keystr(path)}" if path else ""
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"{expected}, got dtype {leaf.dtype}{position}; jnp.asarray(values,"
                    " jnp.float32) makes a floating array"
                )
        elif not isinstance(leaf, float):
            is_model = isinstance(params, tuple) and callable(leaf)
            cure = "; unpack the pair, as in params, log_density_fn = model" if is_model else ""
            raise TypeError(f"{expected}, got {describe(leaf)}{position}{cure}")


def check_arrays(name: str, tree: Any, example: str = "train.init(params)") -> None:
    """Raises TypeError unless all leaves of `tree` are arrays, keys or numbers.

    Descriptions of arrays, as `jax.eval_shape` returns them, are arrays here.
    """
    kinds = jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct | bool | int | float
    expected = f"{name}: expected a pytree of arrays such as {example}"
    for path, leaf in jax.tree.leaves_with_path(tree):
        # Texts and objects have a dtype in NumPy, and none in JAX.
        is_other = getattr(getattr(leaf, "dtype", None), "kind", "") in tuple("OSUM")
        if is_other or not isinstance(leaf, kinds):
            position = f" at {name}{jax.tree_util.keystr(path)}" if path else ""
            raise TypeError(f"{expected}, got {describe(leaf)}{position}")


def check_optimizer(optimizer: Any, name: str = "optimizer") -> None:
    """Raises TypeError unless `optimizer` has `init` and `update`, as those of optax have."""
    methods = [getattr(optimizer, method, None) for method in ("init", "update")]
    if isinstance(optimizer, type) or not all(map(callable, methods)):
        raise TypeError(
            f"{name}: expected an optax transformation such as optax.adam(1e-3), got"
            f" {describe(optimizer)}{_optimizer_cure(optimizer)}"
        )


def _optimizer_cure(optimizer: Any) -> str:
    if isinstance(optimizer, int | float):
        return f"; for that learning rate, optax.sgd({optimizer}) or optax.adam({optimizer})"
    if not callable(optimizer):
        return ""
    try:
        names = list(inspect.signature(optimizer).parameters)
    except (TypeError, ValueError):
        return ""
    if names and names[0] in ("count", "step"):
        return "; a learning-rate schedule goes into one, as in optax.adam(schedule)"
    if "learning_rate" in names:
        return f"; call it, as in {getattr(optimizer, '__name__', 'optimizer')}(1e-3)"
    return ""


def check_data(name: str, x: Any) -> None:
    """Raises unless `x` is a pytree of arrays of numbers with samples on the first axis."""
    leaves = jax.tree.leaves(x)
    is_plain = isinstance(x, list | tuple) and not all(hasattr(leaf, "shape") for leaf in leaves)
    for leaf in [x] if is_plain or not leaves else leaves:
        if not isinstance(leaf, jax.Array | np.ndarray):
            raise TypeError(
                f"{name}: expected an array with samples on the first axis, got"
                f" {_describe_data(name, leaf)}"
            )
        if not jnp.issubdtype(leaf.dtype, jnp.number) and leaf.dtype != bool:
            raise TypeError(
                f"{name}: expected numbers, got an array of dtype {leaf.dtype};"
                f" {name}.astype(np.float32) converts numbers that are stored as text or objects,"
                f" and {ENCODE_CATEGORIES}"
            )
        if leaf.ndim == 0:
            raise ValueError(f"{name}: expected samples on the first axis, got a scalar")


def _describe_data(name: str, leaf: Any) -> str:
    """What came in the place of an array, with the cure for the containers of other packages."""
    converter = next((method for method in ("to_numpy", "numpy") if hasattr(leaf, method)), None)
    if converter is not None:
        package, kind = type(leaf).__module__.split(".")[0], type(leaf).__name__
        return f"a {package} {kind}; {name}.{converter}() is the array in it"
    cure = f"; np.asarray({name}) makes one" if isinstance(leaf, list | tuple) else ""
    return describe(leaf) + cure


def as_shape(shape: Any) -> tuple[int, ...] | None:
    """A shape as a tuple of integers, or None where this is none, as of several arrays."""
    try:
        return tuple(int(size) for size in shape)
    except (TypeError, ValueError):
        return None
