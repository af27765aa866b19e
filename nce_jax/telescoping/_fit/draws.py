"""Pairs of a data and a noise sample: from arrays, or from whatever draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import PRNGKeyArray

Draw = Callable[[PRNGKeyArray, int], tuple[jax.Array, jax.Array]]
_HELD_OUT = 0.2


class Source(NamedTuple):
    """Where pairs come from: those to train on, those never trained on, and how many data are in
    each (None: fresh ones).
    """

    draw: Draw
    draw_held_out: Draw
    num_data: int | None
    num_held_out: int | None


def make_source(key: PRNGKeyArray, x_data: Any, noise: Any, *, hold_out: bool) -> Source:
    """Checks both and joins them; a callable draws, an array is drawn from, or split in two
    first.
    """
    key_data, key_noise = jax.random.split(key)
    data = _drawers(key_data, "x_data", x_data, hold_out)
    others = _drawers(key_noise, "noise", noise, hold_out)
    _check_counts(data.counts, others.counts)
    draw, draw_held_out = (_pair(*sides) for sides in zip(data.draws, others.draws, strict=True))
    return Source(draw, draw_held_out, data.counts[0], data.counts[1])


def _check_counts(
    data: tuple[int | None, int | None], noise: tuple[int | None, int | None]
) -> None:
    """Every error given here takes pairs for independent: no noise sample may serve in two of
    them.
    """
    if noise[0] is None:
        return
    if data[0] is None:
        raise ValueError(
            "noise: an array serves beside an array of data only; give a distribution, or a"
            " function"
        )
    if noise[0] < data[0]:
        raise ValueError(
            f"noise: expected at least as many samples as x_data to train on, {data[0]}, got"
            f" {noise[0]}; a distribution or a function gives as many as are needed"
        )


class _Drawers(NamedTuple):
    draws: tuple[Any, Any]
    counts: tuple[int | None, int | None]


def _pair(draw_data: Any, draw_noise: Any) -> Draw:
    def draw(key: PRNGKeyArray, count: int) -> tuple[jax.Array, jax.Array]:
        key_data, key_noise = jax.random.split(key)
        data, noise = draw_data(key_data, count), draw_noise(key_noise, count)
        if jnp.shape(data)[:1] != (count,):
            raise ValueError(
                f"x_data: expected {count} samples on the first axis, got shape {jnp.shape(data)}"
            )
        if jnp.shape(data) != jnp.shape(noise):
            raise ValueError(
                f"noise: expected samples like the data's, {jnp.shape(data)}, got shape"
                f" {jnp.shape(noise)}"
            )
        return data, noise

    return draw


def _drawers(key: PRNGKeyArray, name: str, source: Any, hold_out: bool) -> _Drawers:
    if hasattr(source, "sample") and not isinstance(source, jax.Array):

        def sample(key: PRNGKeyArray, count: int) -> jax.Array:
            return source.sample(seed=key, sample_shape=(count,))

        return _Drawers((sample, sample), (None, None))
    if callable(source):
        return _Drawers((source, source), (None, None))
    samples = _as_samples(name, source)
    if not hold_out:
        return _Drawers((_from_array(samples),) * 2, (len(samples),) * 2)
    order = jax.random.permutation(key, len(samples))
    count = max(round(_HELD_OUT * len(samples)), 1)
    parts = samples[order[count:]], samples[order[:count]]
    return _Drawers((_from_array(parts[0]), _from_array(parts[1])), (len(parts[0]), len(parts[1])))


def _as_samples(name: str, samples: Any) -> jax.Array:
    if not isinstance(samples, jax.Array | np.ndarray):
        raise TypeError(
            f"{name}: expected an array or a function of key and count, got"
            f" {type(samples).__name__}"
        )
    if not jnp.issubdtype(samples.dtype, jnp.floating):
        raise TypeError(f"{name}: expected a floating array, got dtype {samples.dtype}")
    if samples.ndim == 0 or len(samples) < 2:
        raise ValueError(
            f"{name}: expected at least 2 samples on the first axis, got shape {samples.shape}"
        )
    num_bad = int(
        np.sum(~np.isfinite(np.asarray(samples, np.float32)).reshape(len(samples), -1).all(axis=1))
    )
    if num_bad:
        raise ValueError(
            f"{name}: expected finite samples, got {num_bad} of {len(samples)} that are not"
        )
    return jnp.asarray(samples)


def _from_array(samples: jax.Array) -> Callable[[PRNGKeyArray, int], jax.Array]:
    def draw(key: PRNGKeyArray, count: int) -> jax.Array:
        """A permutation, and another where more are asked for than there are: every sample comes as
        often as any other.
        """
        rounds = -(-count // len(samples))
        orders = [
            jax.random.permutation(jax.random.fold_in(key, index), len(samples))
            for index in range(rounds)
        ]
        return samples[jnp.concatenate(orders)[:count]]

    return draw
