"""The methods: functions from training data to a sequence of fits, and one cell of the table."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.mutual_information import descent, natural_gradient, problem
from experiments.mutual_information.config import Config
from experiments.mutual_information.measures import Measures, measure
from experiments.mutual_information.stages import Fit, log_ratio

Method = Callable[[Config, jax.Array, jax.Array], Iterator[Fit]]
OURS, PLUG_IN = "N2CE + TRE", "plug-in"


class Cell(NamedTuple):
    """Results of one method on one data set; traces run over its records."""

    held_out: float
    training: float
    """The same estimate on as many training samples of the fit."""
    estimate: float
    standard_error: float
    effective_samples: float
    num_stages: int
    seconds: float
    """Wall-clock seconds of the fit and all its evaluations."""
    processor_seconds: float
    """Processor seconds of the same, summed over all cores."""
    trace: np.ndarray
    """The held-out estimate."""
    trace_seconds: np.ndarray


def methods(config: Config, num_stages: int) -> dict[str, Method]:
    """All methods by name; `num_stages` is the number of stages of TRE in the literature."""
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
    """The best-fitting Gaussian as one quadratic ratio, whose F is known."""
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
    """Fits and measures one method; all methods use the same data under the same key."""
    key_data, key_fit, key_noise = jax.random.split(key, 3)
    x = problem.draw(key_data, config.num_data, dim, config.correlation)
    held_out, fitted = x[: config.num_held_out], x[config.num_held_out :]
    noises = jax.random.normal(key_noise, (2, *held_out.shape))
    measure_fit = _normalized if name == PLUG_IN else measure
    method = methods(config, config.published_stages[config.dims.index(dim)])[name]
    start, start_processor, trace = time.perf_counter(), time.process_time(), []
    for fit in method(config, fitted, key_fit):
        measures = measure_fit(fit, held_out, noises[0])
        trace.append((float(measures.value), time.perf_counter() - start))
    training_measures = measure_fit(fit, fitted[: config.num_held_out], noises[1])
    seconds = time.perf_counter() - start, time.process_time() - start_processor
    estimate, error = combine(measures, training_measures, len(fitted))
    values, times = np.array(trace).T
    sides, size = (
        (float(measures.value), float(training_measures.value)),
        float(measures.effective_samples),
    )
    return Cell(*sides, estimate, error, size, len(fit.schedule) - 1, *seconds, values, times)


def combine(held_out: Measures, training: Measures, num_fitted: int) -> tuple[float, float]:
    """Mean of the held-out and the training estimate, with its standard error.

    Near maximum likelihood, a fit of p parameters loses p / 2n on held-out data and gains as much
    on its own. The mean is therefore unbiased to first order. Since this is an expansion, half of
    the gap is included in the error, together with the errors due to samples and to parameters.
    """
    sides = float(held_out.value), float(training.value)
    errors = float(held_out.standard_error), float(training.standard_error)
    half_gap = (sides[1] - sides[0]) / 2
    parameters = float(held_out.influence_error) / num_fitted**0.5
    return sum(sides) / 2, float(
        np.sqrt((errors[0] ** 2 + errors[1] ** 2) / 4 + parameters**2 + half_gap**2)
    )


def _normalized(fit: Fit, x: jax.Array, y: jax.Array) -> Measures:
    """Measures of a ratio whose F is known; noise samples are not used."""
    values = log_ratio(jax.tree.map(lambda leaf: leaf[0], fit.params), x) - fit.log_partition
    spread = jnp.std(values)
    return Measures(jnp.mean(values), spread / len(x) ** 0.5, spread, jnp.float32(len(x)))
