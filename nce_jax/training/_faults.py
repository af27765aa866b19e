"""Samples for which a loss has no finite value: how many, on which side, and for which reason."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class SampleFaults(NamedTuple):
    """Samples of nonzero weight whose log ratio is NaN or infinite; int32 counts of a batch.

    A noise sample to which the model gives no mass, with a log density of -inf, is none of them:
    it adds exactly zero to every loss.

    Attributes:
      has_log_noise: whether log density and log noise are told apart, as they are for a
        log_density_fn on one device. Elsewhere the log ratio counts as the model.
      data_model_nan: data samples at which the model is NaN.
      data_model_infinite: data samples at which the model is infinite.
      data_noise_nan: data samples at which the log density of the noise is NaN or +inf.
      data_noise_infinite: data samples that the noise does not cover: its log density is -inf.
      data_row: the first of these rows of the batch.
      num_data: data samples of nonzero weight.
      noise_model_nan: noise samples at which the model is NaN.
      noise_model_infinite: noise samples at which the model is +inf.
      noise_noise_nan: noise samples at which the log density of the noise is NaN or +inf.
      noise_noise_infinite: noise samples at which it is -inf.
      noise_row: the first of these rows of the batch.
      num_noise: noise samples of nonzero weight.
    """

    has_log_noise: jax.Array
    data_model_nan: jax.Array
    data_model_infinite: jax.Array
    data_noise_nan: jax.Array
    data_noise_infinite: jax.Array
    data_row: jax.Array
    num_data: jax.Array
    noise_model_nan: jax.Array
    noise_model_infinite: jax.Array
    noise_noise_nan: jax.Array
    noise_noise_infinite: jax.Array
    noise_row: jax.Array
    num_noise: jax.Array


_NUM_COUNTS = (len(SampleFaults._fields) - 1) // 2
"""Numbers per side."""


def find_faults(
    inputs: Mapping[str, Any], log_noise: tuple[jax.Array | None, jax.Array | None]
) -> tuple[SampleFaults, jax.Array]:
    """The faults of a batch, and whether it has data that the noise does not cover.

    `inputs` holds log ratios and weights by the names of a criterion's arguments, `log_noise` the
    log noise densities of data and noise, or None. They are counted without a branch, at which an
    accelerator would wait for the host.
    """
    data, noise = (
        _weighted(inputs[f"log_ratio_{side}"], inputs[f"weights_{side}"])
        for side in ("data", "noise")
    )
    faults = SampleFaults(
        jnp.int32(log_noise[0] is not None),
        *_count(data, log_noise[0], inputs["weights_data"], jnp.isinf(data)),
        *_count(noise, log_noise[1], inputs["weights_noise"], jnp.isposinf(noise)),
    )
    # A NaN beside it does not hide a data sample that is not covered.
    return faults, jnp.any(jnp.isposinf(data))


def _weighted(log_ratio: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The log ratios, with zero in the place of those that are ignored."""
    return log_ratio if weights is None else jnp.where(weights == 0, 0, log_ratio)


def _count(log_ratio, log_noise, weights, is_infinite) -> tuple[jax.Array, ...]:
    is_counted = jnp.ones(log_ratio.shape, bool) if weights is None else weights != 0
    log_noise = jnp.zeros_like(log_ratio) if log_noise is None else log_noise
    is_finite, is_zero = jnp.isfinite(log_noise), jnp.isneginf(log_noise)
    masks = (
        jnp.isnan(log_ratio) & is_finite,
        is_infinite & is_finite,
        ~is_finite & ~is_zero,
        is_zero,
    )
    faults = [is_counted & mask for mask in masks]
    row = jnp.argmax(functools.reduce(jnp.logical_or, faults)).astype(jnp.int32)
    return (*map(_num, faults), row, _num(is_counted))


def _num(mask: jax.Array) -> jax.Array:
    return jnp.sum(mask, dtype=jnp.int32)


def explain(faults: Mapping[str, int]) -> str:
    """The faults in words, or nothing where there are none or none were counted."""
    if not faults:
        return ""
    has_log_noise, *values = (int(faults[name]) for name in SampleFaults._fields)
    model = "log_density_fn" if has_log_noise else "the log ratio"
    sides = (("data", values[:_NUM_COUNTS]), ("noise", values[_NUM_COUNTS:]))
    return "; ".join(text for side, counts in sides for text in _explain_side(model, side, counts))


def _explain_side(model: str, side: str, counts: list[int]) -> list[str]:
    *numbers, row, total = counts
    # At +inf either the model has an infinite density or the noise has none; known is the sum.
    hint = "" if model == "log_density_fn" or side == "noise" else _UNCOVERED_HINT
    causes = (
        f"{model} is NaN at {{}}",
        f"{model} is {'infinite' if side == 'data' else '+inf'} at {{}}{hint}",
        "log_prob of the noise is NaN or +inf at {} (are these samples finite?)",
        "the noise does not cover {} (its log_prob is -inf there)"
        if side == "data"
        else "log_prob of the noise is -inf at {}",
    )
    texts = [
        cause.format(f"{number} of {total} {side} samples")
        for cause, number in zip(causes, numbers, strict=True)
        if number
    ]
    return [f"{', '.join(texts)}, first in row {row} of the batch"] if texts else []


_UNCOVERED_HINT = " (+inf where the noise does not cover them)"
