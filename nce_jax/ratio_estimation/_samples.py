"""The two sets of samples of a ratio, each split into a part to train on and a part held out."""

from typing import Any, NamedTuple

import jax

from nce_jax._samples import DrawFn, HoldOut, as_draw_fn, as_float_samples, check_fraction, hold_out
from nce_jax._types import PRNGKeyArray

_MAX_DRAWN = 100_000
"""The largest number of samples drawn of each side where both sides are drawn."""

_MIN_HELD_OUT = 4
"""The smallest number of samples held out of each set: two halves, with an error bar for each."""


class Sets(NamedTuple):
    """Data and noise, each in its two parts."""

    data: HoldOut
    noise: HoldOut


def make_sets(
    key_data: PRNGKeyArray,
    key_noise: PRNGKeyArray,
    x_data: Any,
    x_noise: Any,
    *,
    held_out: float,
    num_visited: int,
) -> Sets:
    """Converts, draws and splits both sets.

    Args:
      key_data: key for the split of the data, or for drawing them.
      key_noise: the same for the noise.
      x_data: an array, a distribution, or a function of key and count.
      x_noise: the same.
      held_out: the fraction of each set that is kept from training.
      num_visited: how many samples of a set the training visits, counted with repetitions: the size
        of both sets, up to a limit, where both are drawn.
    """
    check_fraction("held_out", held_out)
    given = {"x_data": x_data, "x_noise": x_noise}
    draw_fns = {name: as_draw_fn(name, source) for name, source in given.items()}
    arrays = {
        name: as_float_samples(name, given[name]) for name, draw in draw_fns.items() if draw is None
    }
    # A drawn set is as large as the other one.
    count = min(num_visited, _MAX_DRAWN) if not arrays else len(next(iter(arrays.values())))
    parts = {}
    for name, key in (("x_data", key_data), ("x_noise", key_noise)):
        draw = draw_fns[name]
        samples = arrays[name] if draw is None else _drawn(draw, name, key, count)
        parts[name] = _split(name, key, samples, held_out, is_drawn=draw is not None)
    _check_same_shape(parts["x_data"].train, parts["x_noise"].train)
    return Sets(parts["x_data"], parts["x_noise"])


def _drawn(draw: DrawFn, name: str, key: PRNGKeyArray, count: int) -> jax.Array:
    samples = as_float_samples(name, draw(key, count))
    if len(samples) != count:
        raise ValueError(
            f"{name}: expected {count} samples on the first axis, got shape {samples.shape}"
        )
    return samples


def _split(
    name: str, key: PRNGKeyArray, samples: jax.Array, held_out: float, *, is_drawn: bool
) -> HoldOut:
    num_held_out = max(round(held_out * len(samples)), _MIN_HELD_OUT)
    if len(samples) <= num_held_out:
        raise ValueError(
            f"{name}: expected more than {num_held_out} samples, of which {num_held_out} are held"
            f" out, got {len(samples)}"
        )
    if is_drawn:
        # Independent samples come in random order, and the key has been used for drawing them.
        return HoldOut(samples[num_held_out:], samples[:num_held_out])
    return hold_out(key, samples, num_held_out)


def _check_same_shape(data: jax.Array, noise: jax.Array) -> None:
    if data.shape[1:] != noise.shape[1:]:
        raise ValueError(
            f"x_noise: expected samples of the shape of x_data's, {data.shape[1:]}, got"
            f" {noise.shape[1:]}"
        )
