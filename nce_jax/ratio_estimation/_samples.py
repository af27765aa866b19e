"""The two sets of samples of a ratio: converted, or drawn."""

from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._samples import DrawFn, as_draw_fn, as_float_samples
from nce_jax._types import PRNGKeyArray

_MAX_DRAWN = 100_000
"""The largest number of samples drawn of each side where both sides are drawn."""

_MIN_SAMPLES = 6
"""The smallest number of samples of a set: four to assess, one to choose by, one to fit."""


class Sets(NamedTuple):
    """Samples of both sets, (n, ...) and (m, ...)."""

    data: jax.Array
    noise: jax.Array


def make_sets(
    key_data: PRNGKeyArray, key_noise: PRNGKeyArray, x_data: Any, x_noise: Any, *, num_visited: int
) -> Sets:
    """Converts or draws both sets.

    Args:
      key_data: key for drawing the data.
      key_noise: the same for the noise.
      x_data: an array, a distribution, or a function of key and count.
      x_noise: the same.
      num_visited: how many samples of a set the training visits, counted with repetitions: the size
        of both sets, up to a limit, where both are drawn.
    """
    given = {"x_data": x_data, "x_noise": x_noise}
    draw_fns = {name: as_draw_fn(name, source) for name, source in given.items()}
    arrays = {
        name: as_float_samples(name, given[name]) for name, draw in draw_fns.items() if draw is None
    }
    # A drawn set is as large as the other one.
    count = min(num_visited, _MAX_DRAWN) if not arrays else len(next(iter(arrays.values())))
    for name, key in (("x_data", key_data), ("x_noise", key_noise)):
        draw = draw_fns[name]
        if draw is not None:
            arrays[name] = _drawn(draw, name, key, count)
        _check_size(name, arrays[name])
    _check_same_shape(arrays["x_data"], arrays["x_noise"])
    if not any(draw_fns.values()):
        _check_constants(given, arrays)
    return Sets(arrays["x_data"], arrays["x_noise"])


def _drawn(draw: DrawFn, name: str, key: PRNGKeyArray, count: int) -> jax.Array:
    samples = as_float_samples(name, draw(key, count))
    if len(samples) != count:
        raise ValueError(
            f"{name}: expected {count} samples on the first axis, got shape {samples.shape}"
        )
    return samples


def _check_size(name: str, samples: jax.Array) -> None:
    if len(samples) < _MIN_SAMPLES:
        raise ValueError(
            f"{name}: expected more than {_MIN_SAMPLES - 1} samples of positive weight, of which"
            f" some are held out, got {len(samples)}"
        )


def _check_constants(given: dict[str, Any], arrays: dict[str, jax.Array]) -> None:
    """Raises where a coordinate has one value in the data and another in the noise, but one float.

    `as_float_samples` looks at one set alone.
    """
    before, after = ([np.asarray(side[name]) for name in arrays] for side in (given, arrays))
    ends = [[side.min(axis=0), side.max(axis=0)] for side in before]
    is_constant = (ends[0][0] == ends[0][1]) & (ends[1][0] == ends[1][1])
    is_merged = (ends[0][0] != ends[1][0]) & (after[0][0] == after[1][0])
    if (is_constant & is_merged).any():
        raise ValueError(
            f"x_noise: expected samples that {after[0].dtype} can tell from x_data's, got constants"
            " that differ by less than its rounding error; subtract the mean of the samples, or"
            " enable x64"
        )


def _check_same_shape(data: jax.Array, noise: jax.Array) -> None:
    if data.shape[1:] != noise.shape[1:]:
        raise ValueError(
            f"x_noise: expected samples of the shape of x_data's, {data.shape[1:]}, got"
            f" {noise.shape[1:]}"
        )
