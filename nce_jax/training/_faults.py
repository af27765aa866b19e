"""Samples for which a loss has no finite value: how many, on which side, and for which reason."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class SampleFaults(NamedTuple):
    """Samples of nonzero weight whose log ratio is NaN or infinite, of one batch.

    A noise sample to which the model gives no mass, with a log density of -inf, is none of them:
    it adds exactly zero to every loss. Of a spatial critic an image is one sample, and of several
    stages a pair: what counts is its log ratio that is farthest from finite.

    Each field is an int32 array of seven numbers: how many samples have a model that is NaN, a
    model that is infinite (of the noise samples: +inf), a log noise density that is NaN or +inf,
    and one of -inf (of the data samples: the noise does not cover them); the first of these rows
    of the batch; the number of samples; and 1 where log density and log noise are told apart, as
    they are for a log_density_fn on one device. Elsewhere the log ratio counts as the model.

    Attributes:
      data: of the data samples.
      noise: of the noise samples.
    """

    data: jax.Array
    noise: jax.Array


NUM_COLUMNS = 7
"""Numbers per side."""


def find_faults(
    inputs: Mapping[str, Any], log_noise: tuple[jax.Array | None, jax.Array | None]
) -> tuple[SampleFaults, jax.Array]:
    """The faults of a batch, and whether it has data that the noise does not cover.

    `inputs` holds log ratios and weights by the names of a criterion's arguments, `log_noise` the
    log noise densities of data and noise, or None. They are counted without a branch, at which an
    accelerator would wait for the host, and in few operations.
    """
    data, noise = (
        _weighted(inputs[f"log_ratio_{side}"], inputs[f"weights_{side}"])
        for side in ("data", "noise")
    )
    of_data, num_positive = _count(data, log_noise[0], inputs["weights_data"], jnp.isinf(data))
    of_noise, _ = _count(noise, log_noise[1], inputs["weights_noise"], jnp.isposinf(noise))
    # A NaN beside it does not hide a data sample that is not covered.
    return SampleFaults(of_data, of_noise), num_positive > 0


def _weighted(log_ratio: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The log ratios, with zero in the place of those that are ignored."""
    return log_ratio if weights is None else jnp.where(weights == 0, 0, log_ratio)


def _count(log_ratio, given_noise, weights, is_infinite) -> tuple[jax.Array, jax.Array]:
    """The numbers of one side, and how many log ratios are +inf."""
    is_counted = jnp.ones(log_ratio.shape, bool) if weights is None else weights != 0
    log_noise = jnp.zeros_like(log_ratio) if given_noise is None else given_noise
    is_finite, is_zero = jnp.isfinite(log_noise), jnp.isneginf(log_noise)
    masks = (
        jnp.isnan(log_ratio) & is_finite,
        is_infinite & is_finite,
        ~is_finite & ~is_zero,
        is_zero,
    )
    faults = [is_counted & mask for mask in masks]
    rows = jnp.arange(log_ratio.shape[-1], dtype=jnp.int32)
    is_fault = functools.reduce(jnp.logical_or, faults)
    first = jnp.min(jnp.where(is_fault, rows, rows.size))
    # One sum over all masks.
    columns = jnp.stack([*faults, is_counted, jnp.isposinf(log_ratio)])
    counts = jnp.sum(columns, axis=-1, dtype=jnp.int32)
    known = jnp.int32(given_noise is not None)
    return jnp.stack([*counts[:4], first, counts[4], known]), counts[5]


def explain(data: Sequence[int], noise: Sequence[int]) -> str:
    """The faults in words, from the numbers of both sides; nothing where there are none."""
    sides = (("data", data), ("noise", noise))
    return "; ".join(text for side, numbers in sides for text in _explain_side(side, numbers))


def _explain_side(side: str, counts: Sequence[int]) -> list[str]:
    *numbers, row, total, is_known = counts
    model = "log_density_fn" if is_known else "the log ratio"
    # At +inf either the model has an infinite density or the noise has none; known is the sum.
    hint = "" if is_known or side == "noise" else _UNCOVERED_HINT
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
