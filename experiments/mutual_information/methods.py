"""The rows: every method as a function from training data to a sequence of fits, and one cell of
the table.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.mutual_information import descent, natural_gradient, problem
from experiments.mutual_information.config import Config
from experiments.mutual_information.measures import Worth, worth
from experiments.mutual_information.stages import Fit, log_ratio

Method = Callable[[Config, jax.Array, jax.Array], Iterator[Fit]]
OURS, PLUG_IN = "N2CE + TRE", "plug-in"


class Cell(NamedTuple):
    """One method on one data set; traces run over its records."""

    held_out: float
    training: float
    """The same estimate on as many data of the fit."""
    estimate: float
    standard_error: float
    effective_samples: float
    num_stages: int
    seconds: float
    """Of the fit and all of its evaluations: on the clock, and of all processors."""
    processor_seconds: float
    trace: np.ndarray
    """The held-out estimate."""
    trace_seconds: np.ndarray


def methods(config: Config, num_stages: int) -> dict[str, Method]:
    """By name; `num_stages` are those that the literature gives TRE."""
    named: dict[str, Method] = {
        "NCE": partial(descent.fit, magnification=1.0),
        "NWJ": partial(descent.fit, loss="nwj"),
        "DV": partial(descent.fit, loss="dv"),
    }
    named |= {
        f"N2CE, M = {value:g}": partial(descent.fit, magnification=value)
        for value in config.magnifications
    }
    named["N2CE, M automatic"] = partial(descent.fit, magnification=None)
    named["TRE"] = partial(descent.fit, num_stages=num_stages, magnification=1.0)
    return named | {OURS: natural_gradient.fit, PLUG_IN: plug_in}


def plug_in(config: Config, x: jax.Array, key: jax.Array) -> Iterator[Fit]:
    """The Gaussian that fits the data best, as one quadratic ratio; its F is known."""
    second = np.cov(np.asarray(x, np.float64).T)
    inverse, mean = np.linalg.inv(second), np.mean(np.asarray(x, np.float64), axis=0)
    log_partition = (np.linalg.slogdet(second)[1] + mean @ inverse @ mean) / 2
    params = {
        "quadratic": (np.eye(len(mean)) - inverse)[None] / 2,
        "linear": (inverse @ mean)[None],
    }
    as_arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), params)
    yield Fit(as_arrays, jnp.array([0.0, 1.0]), log_partition=jnp.asarray(log_partition, x.dtype))


def cell(config: Config, name: str, dim: int, key: jax.Array) -> Cell:
    """All methods see the same data under the same key."""
    key_data, key_fit, key_seen = jax.random.split(key, 3)
    x = problem.draw(key_data, config.num_data, dim, config.correlation)
    held_out, fitted = x[: config.num_held_out], x[config.num_held_out :]
    noises = jax.random.normal(key_seen, (2, *held_out.shape))
    value_of = _normalized if name == PLUG_IN else worth
    method = methods(config, config.published_stages[config.dims.index(dim)])[name]
    begin, begin_processor, trace = time.perf_counter(), time.process_time(), []
    for fit in method(config, fitted, key_fit):
        seen = value_of(fit, held_out, noises[0])
        trace.append((float(seen.value), time.perf_counter() - begin))
    again = value_of(fit, fitted[: config.num_held_out], noises[1])
    seconds = time.perf_counter() - begin, time.process_time() - begin_processor
    estimate, error = combine(seen, again, len(fitted))
    values, times = np.array(trace).T
    sides, size = (float(seen.value), float(again.value)), float(seen.effective_samples)
    return Cell(*sides, estimate, error, size, len(fit.schedule) - 1, *seconds, values, times)


def combine(held_out: Worth, training: Worth, num_fitted: int) -> tuple[float, float]:
    """The mean of both, and its standard error.

    What a fit near maximum likelihood loses on data held out it gains on its own, p / 2n each for p
    parameters: the mean is free of it to first order. As that is an expansion, half of the gap is
    part of the error, beside what samples and parameters leave.
    """
    sides = float(held_out.value), float(training.value)
    errors = float(held_out.standard_error), float(training.standard_error)
    half_gap = (sides[1] - sides[0]) / 2
    parameters = float(held_out.influence_error) / num_fitted**0.5
    return sum(sides) / 2, float(
        np.sqrt((errors[0] ** 2 + errors[1] ** 2) / 4 + parameters**2 + half_gap**2)
    )


def _normalized(fit: Fit, x: jax.Array, y: jax.Array) -> Worth:
    """Of a ratio whose F is known: no noise sample is asked."""
    values = log_ratio(jax.tree.map(lambda leaf: leaf[0], fit.params), x) - fit.log_partition
    spread = jnp.std(values)
    return Worth(jnp.mean(values), spread / len(x) ** 0.5, spread, jnp.float32(len(x)))
