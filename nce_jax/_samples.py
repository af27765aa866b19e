"""Sets of samples as users give them: drawn, converted to floats, and split in two.

Several rooms take a set of samples in one of three forms: an array, a distribution, or a function
that draws. This module converts them, so that the rooms accept the same forms with the same
messages.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_not_record, compute_dtype, describe
from nce_jax._contracts import check_data
from nce_jax._distributions import draw_fn
from nce_jax._options import other_parameters
from nce_jax._ranges import check_integers
from nce_jax._types import PRNGKeyArray

SampleSource: TypeAlias = Any
"""Samples on the first axis of an array; a distribution with `sample(seed=key,
sample_shape=(count,))` or, as of numpyro and flowjax, `sample(key, (count,))`; or a `DrawFn`."""

DrawFn: TypeAlias = Callable[[PRNGKeyArray, int], Any]
"""`draw(key, count)`: `count` independent samples, on the first axis of an array."""


class HoldOut(NamedTuple):
    """A set of samples in two parts: one to train on, and one that is kept from training."""

    train: jax.Array
    held_out: jax.Array


def hold_out(key: PRNGKeyArray, samples: jax.Array, num_held_out: int) -> HoldOut:
    """Splits samples at random: `num_held_out` of them are kept from training."""
    order = jax.random.permutation(key, len(samples))
    return HoldOut(samples[order[num_held_out:]], samples[order[:num_held_out]])


def as_draw_fn(name: str, source: Any) -> DrawFn | None:
    """Returns the function that draws from a distribution or a function, and None for an array.

    Objects that convert to arrays count as arrays here, even if they have a method `sample` (a
    pandas DataFrame, for example); `as_float_samples` refuses them by name.
    """
    is_class = isinstance(source, type)
    if not is_class and (hasattr(source, "__array__") or isinstance(source, list | tuple)):
        return None
    if not is_class and hasattr(source, "sample"):
        draw = draw_fn(source)
        if draw is None:  # of unknown arguments: those of the field
            return lambda key, count: source.sample(seed=key, sample_shape=(count,))
        return lambda key, count: draw(key, (count,))
    if not is_class and callable(source):
        _check_draws(name, source)
        return source
    raise TypeError(
        f"{name}: expected an array, a distribution or a function of key and count, got"
        f" {describe(source)}"
    )


def _check_draws(name: str, draw: Callable[..., Any]) -> None:
    """Raises unless `draw` can be called with a key and a count."""
    others = other_parameters(draw, 2)
    if others is not None:
        raise TypeError(
            f"{name}: expected a function of key and count, got {describe(draw)} with parameters"
            f" ({', '.join(others)}); if it makes a distribution, call it"
        )


def as_float_samples(name: str, samples: Any) -> jax.Array:
    """Returns samples, on the first axis, in the default float type.

    Raises if the samples are not finite real numbers, or if the conversion would merge samples that
    differ.
    """
    given = as_host_samples(name, samples)
    floats = jnp.asarray(samples, compute_dtype(given))
    _check_rounding(name, given, floats)
    return floats


def as_host_samples(name: str, samples: Any) -> np.ndarray:
    """Returns samples, on the first axis, on the host as they are.

    Raises if the samples are not finite real numbers.
    """
    check_not_record(name, samples, "an array of samples")
    check_data(name, samples)
    given = np.asarray(samples)
    if 0 in given.shape:
        raise ValueError(f"{name}: expected at least one sample, got shape {given.shape}")
    if jnp.issubdtype(given.dtype, jnp.complexfloating):
        raise TypeError(f"{name}: expected real numbers, got dtype {given.dtype}")
    is_finite = np.isfinite(given.astype(np.float64)).reshape(len(given), -1).all(axis=1)
    if not is_finite.all():
        raise ValueError(
            f"{name}: expected finite samples, got {np.sum(~is_finite)} of {len(given)} that are"
            " not"
        )
    return given


def check_wide_samples(name: str, samples: Any) -> None:
    """Raises where JAX would merge samples of the host by rounding, or wrap integers around."""
    check_integers(name, samples)
    is_floating = isinstance(samples, np.ndarray) and samples.dtype.kind == "f"
    if is_floating and samples.ndim > 0 and samples.size > 0:
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        if samples.dtype.itemsize > dtype.itemsize:
            with np.errstate(invalid="ignore"):  # what is not finite is refused elsewhere
                _check_rounding(name, samples, samples.astype(dtype))


def _check_rounding(name: str, given: np.ndarray, floats: Any) -> None:
    rounding = np.abs(np.asarray(floats, np.float64) - given).max(axis=0)
    # A coordinate that is constant has no differences to lose, whatever its value.
    is_constant = given.max(axis=0) == given.min(axis=0)
    if (~is_constant & (rounding > 1e-3 * given.std(axis=0, dtype=np.float64))).any():
        raise ValueError(
            f"{name}: expected samples that {floats.dtype} can represent, got differences below its"
            " rounding error; subtract the mean of the samples, or enable x64"
        )
