"""Pairs of a data and a noise sample, from arrays, distributions or functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import describe
from nce_jax._contracts import check_data
from nce_jax._folds import hold_out_groups
from nce_jax._samples import DrawFn, HoldOut, SampleSource, as_draw_fn, as_float_samples, hold_out
from nce_jax._types import PRNGKeyArray

DrawPairs = Callable[[PRNGKeyArray, int], tuple[jax.Array, jax.Array]]
"""`draw(key, count)`: samples of data and of noise, `count` of each."""

_HELD_OUT_FRACTION = 0.2
"""The fraction of an array that is kept from training."""


class PairSampler(NamedTuple):
    """Draws pairs to train on, and pairs that are never trained on.

    Attributes:
      draw: draws pairs to train on.
      draw_held_out: draws pairs that are kept from training.
      num_data: how many data samples there are to train on; None if every draw is fresh.
      num_held_out: how many data samples are held out; None if every draw is fresh.
    """

    draw: DrawPairs
    draw_held_out: DrawPairs
    num_data: int | None
    num_held_out: int | None


class _Side(NamedTuple):
    """The two draw functions and the two numbers of samples of data or of noise."""

    draw: DrawFn
    draw_held_out: DrawFn
    num_train: int | None
    num_held_out: int | None


def make_pair_sampler(
    key: PRNGKeyArray,
    x_data: SampleSource,
    x_noise: SampleSource,
    *,
    is_holding_out: bool,
    labels: tuple[Any, Any] = (None, None),
) -> PairSampler:
    """Checks both sides and joins them to pairs.

    Args:
      key: key for the split of arrays.
      x_data: an array, a distribution, or a function of key and count.
      x_noise: the same.
      is_holding_out: whether a part of an array is kept from training; otherwise training and
        held-out pairs come from the same samples.
      labels: groups of the samples of both arrays, which are held out whole; None for none.
    """
    _check_labels(labels, (x_data, x_noise), is_holding_out)
    is_grouped = any(side is not None for side in labels)
    key_data, key_noise = jax.random.split(key)
    data = _make_side(key_data, "x_data", x_data, is_holding_out and not is_grouped)
    noise = _make_side(key_noise, "x_noise", x_noise, is_holding_out and not is_grouped)
    _check_counts(data, noise)
    if is_grouped:
        data, noise = _grouped_sides(key, (x_data, x_noise), labels)
    return PairSampler(
        _paired(data.draw, noise.draw),
        _paired(data.draw_held_out, noise.draw_held_out),
        data.num_train,
        data.num_held_out,
    )


def _check_labels(labels: tuple[Any, Any], sources: tuple[Any, Any], is_holding_out: bool) -> None:
    """Raises where labels would have no effect."""
    for side, source, given in zip(("data", "noise"), sources, labels, strict=True):
        if given is None:
            continue
        if not is_holding_out:
            raise ValueError(
                f"groups_{side}: expected None for Newton's method, which holds nothing out, got"
                f" {describe(given)}; pass one sample per group, or an optimizer"
            )
        if as_draw_fn(f"x_{side}", source) is not None:
            raise ValueError(
                f"groups_{side}: expected None where x_{side} is drawn, got {describe(given)}"
            )


def _grouped_sides(
    key: PRNGKeyArray, sources: tuple[Any, Any], labels: tuple[Any, Any]
) -> tuple[_Side, _Side]:
    """Both sides with whole groups held out; data are an array, as the labels are checked."""
    data = as_float_samples("x_data", sources[0])
    draw = as_draw_fn("x_noise", sources[1])
    if draw is not None:
        split, _ = hold_out_groups(key, (data, data), (labels[0], labels[0]), _HELD_OUT_FRACTION)
        return _split_side(split), _Side(draw, draw, None, None)
    noise = as_float_samples("x_noise", sources[1])
    splits = hold_out_groups(key, (data, noise), labels, _HELD_OUT_FRACTION)
    of_data, of_noise = map(_split_side, splits)
    # No noise sample may serve two pairs of an evaluation: its errors presume independent pairs.
    count = min(len(split.held_out) for split in splits)
    return of_data._replace(num_held_out=count), of_noise


def _check_counts(data: _Side, noise: _Side) -> None:
    """Raises unless every pair can have a noise sample of its own.

    All standard errors presume independent pairs.
    """
    if noise.num_train is None:
        return
    if data.num_train is None:
        raise ValueError(
            "x_noise: expected a distribution or a function where x_data is one, got an array; only"
            " the samples of two arrays can be paired"
        )
    if noise.num_train < data.num_train:
        raise ValueError(
            f"x_noise: expected at least as many samples as x_data to train on, {data.num_train},"
            f" got {noise.num_train}; a distribution or a function gives as many as are needed"
        )


def _paired(draw_data: DrawFn, draw_noise: DrawFn) -> DrawPairs:
    def draw(key: PRNGKeyArray, count: int) -> tuple[jax.Array, jax.Array]:
        key_data, key_noise = jax.random.split(key)
        data, noise = draw_data(key_data, count), draw_noise(key_noise, count)
        if jnp.shape(data)[:1] != (count,):
            raise ValueError(
                f"x_data: expected {count} samples on the first axis, got shape {jnp.shape(data)}"
            )
        if jnp.shape(data) != jnp.shape(noise):
            raise ValueError(
                f"x_noise: expected samples like the data's, {jnp.shape(data)}, got shape"
                f" {jnp.shape(noise)}"
            )
        _check_finite("x_data", data)
        _check_finite("x_noise", noise)
        return data, noise

    return draw


def _check_finite(name: str, samples: jax.Array) -> None:
    """Raises on draws that are not finite: one of them would make all parameters NaN."""
    if not bool(jnp.isfinite(samples).all()):
        raise ValueError(f"{name}: expected finite samples, got some that are not")


def _make_side(key: PRNGKeyArray, name: str, source: SampleSource, is_holding_out: bool) -> _Side:
    draw = as_draw_fn(name, source)
    if draw is not None:
        return _Side(draw, draw, None, None)
    samples = as_float_samples(name, source)
    if len(samples) < 2:
        raise ValueError(
            f"{name}: expected at least 2 samples on the first axis, got shape {samples.shape}"
        )
    if not is_holding_out:
        draw = _shuffled(samples)
        return _Side(draw, draw, len(samples), len(samples))
    return _split_side(hold_out(key, samples, max(round(_HELD_OUT_FRACTION * len(samples)), 1)))


def _split_side(parts: HoldOut) -> _Side:
    return _Side(
        _shuffled(parts.train), _shuffled(parts.held_out), len(parts.train), len(parts.held_out)
    )


def _shuffled(samples: jax.Array) -> DrawFn:
    """Draws from an array without replacement.

    One permutation follows another, so that no sample is drawn twice as often as another.
    """

    def draw(key: PRNGKeyArray, count: int) -> jax.Array:
        num_rounds = -(-count // len(samples))
        orders = [
            jax.random.permutation(jax.random.fold_in(key, index), len(samples))
            for index in range(num_rounds)
        ]
        return samples[jnp.concatenate(orders)[:count]]

    return draw


def sample_shape(x_data: SampleSource, x_noise: SampleSource) -> tuple[int, ...]:
    """The shape of one sample, from an array if one is given, and otherwise from a draw."""
    draw_data, draw_noise = as_draw_fn("x_data", x_data), as_draw_fn("x_noise", x_noise)
    for name, source, draw in (("x_data", x_data, draw_data), ("x_noise", x_noise, draw_noise)):
        if draw is None:
            check_data(name, source)
    if draw_data is None:
        return jnp.shape(x_data)[1:]
    if draw_noise is None:
        return jnp.shape(x_noise)[1:]
    # A constant key: the values of this draw are not used.
    return jnp.shape(draw_data(jax.random.key(0), 2))[1:]
