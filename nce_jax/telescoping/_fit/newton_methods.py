"""Training by Newton's method, on all pairs of a finite set or on a stream, and its assessment."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Params, PRNGKeyArray
from nce_jax.telescoping._fit.assessment import Assessment, Path, evaluation_pairs, make_path
from nce_jax.telescoping._fit.config import BATCHES_PER_PROGRAM, FitConfig, Levels
from nce_jax.telescoping._fit.curvature import unravelled
from nce_jax.telescoping._fit.errors import Pairs, StageEstimates, evaluate, parameter_errors
from nce_jax.telescoping._fit.newton import NewtonFit, newton_fit, newton_stream, repeated
from nce_jax.telescoping._fit.stage_model import Moments, centered_bridges

_MAX_FULL_BATCH_STEPS = 60
"""Largest number of Newton steps on all pairs of a finite set."""

_FIRST_BATCHES = 4
"""Where there are more than twice this number of batches, a fit to these provides the start."""


class FullBatchTraining(NamedTuple):
    """Newton's method on all pairs of a finite set, which also serve the evaluation.

    Attributes:
      params: parameters of all stages, with their standardization.
      theta: the same parameters as an array, (K, P).
      is_optimum: whether every stage's parameters are the optimum, (K,).
      num_steps: training steps.
      path: the course of the training: its end.
      pairs: all pairs.
    """

    params: Params
    theta: jax.Array
    is_optimum: np.ndarray
    num_steps: int
    path: Path
    pairs: Pairs

    def assess(self, key: PRNGKeyArray, config: FitConfig, levels: Levels) -> Assessment:
        """The errors of the sampling and of the parameters come from the same pairs."""
        del key  # no pairs are drawn
        return _assess(self, self.pairs, config, levels, num_fitted=None, num_steps=0)


class StreamTraining(NamedTuple):
    """Newton's method on fresh batches, one step each.

    Attributes:
      params: parameters of all stages, with their standardization.
      theta: the same parameters as an array, (K, P).
      is_optimum: whether the fit to the first batch found every stage's optimum, (K,).
      num_steps: training steps.
      path: the course of the training.
      num_pairs: how many pairs have been used.
    """

    params: Params
    theta: jax.Array
    is_optimum: np.ndarray
    num_steps: int
    path: Path
    num_pairs: jax.Array

    def assess(self, key: PRNGKeyArray, config: FitConfig, levels: Levels) -> Assessment:
        """The evaluation draws fresh pairs, so that the two errors are independent."""
        pairs, num_steps = evaluation_pairs(key, config), config.num_evaluated
        return _assess(self, pairs, config, levels, num_fitted=self.num_pairs, num_steps=num_steps)


def train_full_batch(key: PRNGKeyArray, config: FitConfig, levels: Levels) -> FullBatchTraining:
    """Fits all stages to all pairs.

    Where there are many pairs, a fit to some of them provides the start, so that few steps are
    needed on all.
    """
    num_pairs, num_first = config.sampler.num_data or 0, _FIRST_BATCHES * config.batch_size
    pairs = config.sampler.draw(key, num_pairs)
    num_steps = min(config.training_steps(levels.num_pilot_steps), _MAX_FULL_BATCH_STEPS)
    chain = config.chain(levels)
    x = centered_bridges(config.model, pairs, chain)
    moments, theta = config.moments(x), repeated(config.template, chain.num_stages)
    fixed = config.model, config.template, moments
    config.report(f"training {levels.num_stages} stages on all data", 0)
    if num_pairs > 2 * num_first:
        theta = newton_fit(*fixed, theta, x[:, :num_first], chain.kappa, num_steps).theta
    fit = jax.block_until_ready(newton_fit(*fixed, theta, x, chain.kappa, num_steps))
    config.report(f"training {levels.num_stages} stages on all data", num_steps)
    params = _with_moments(config, fit, moments)
    path = make_path([(num_steps, params["model"], fit.log_partition)])
    return FullBatchTraining(
        params, fit.theta, np.asarray(fit.is_converged), num_steps, path, pairs
    )


def train_stream(key: PRNGKeyArray, config: FitConfig, levels: Levels) -> StreamTraining:
    """Fits all stages to one batch, and then takes one Newton step per fresh batch."""
    size, chain = config.batch_size, config.chain(levels)
    max_steps = config.training_steps(levels.num_pilot_steps)
    first = config.sampler.draw(jax.random.fold_in(key, 0), size)
    x = centered_bridges(config.model, first, chain)
    moments, num_steps = config.moments(x), config.pilot_steps
    fixed, theta = (
        (config.model, config.template, moments),
        repeated(config.template, chain.num_stages),
    )
    fit = newton_fit(*fixed, theta, x, chain.kappa, num_steps)
    points = [(num_steps, unravelled(config.template, fit.theta), fit.log_partition)]
    config.report(f"training, stages: {levels.num_stages}", num_steps)
    for index in range((max_steps - num_steps) // BATCHES_PER_PROGRAM):
        pairs = config.sampler.draw(jax.random.fold_in(key, index + 1), BATCHES_PER_PROGRAM * size)
        x = centered_bridges(config.model, pairs, chain)
        number = jnp.float32(2 + index * BATCHES_PER_PROGRAM)
        # The bar follows the device; the next batches are drawn in the meantime.
        jax.block_until_ready(fit.theta)
        fit = newton_stream(*fixed, fit, x, chain.kappa, number, batch_size=size)
        num_steps += BATCHES_PER_PROGRAM
        points.append((num_steps, unravelled(config.template, fit.theta), fit.log_partition))
        config.report(f"training, stages: {levels.num_stages}", BATCHES_PER_PROGRAM)
    num_pairs = jnp.float32((num_steps - config.pilot_steps + 1) * size)
    params, is_optimum = _with_moments(config, fit, moments), np.asarray(fit.is_converged)
    return StreamTraining(params, fit.theta, is_optimum, num_steps, make_path(points), num_pairs)


def _with_moments(config: FitConfig, fit: NewtonFit, moments: Moments) -> Params:
    return {"model": unravelled(config.template, fit.theta), **moments}


def _assess(
    training: FullBatchTraining | StreamTraining,
    pairs: Pairs,
    config: FitConfig,
    levels: Levels,
    *,
    num_fitted: jax.Array | None,
    num_steps: int,
) -> Assessment:
    chain, num_stages = config.chain(levels), levels.num_stages
    evaluation = evaluate(config.model, training.params, pairs, chain)
    moments = {name: training.params[name] for name in ("location", "scale")}
    estimates = StageEstimates(training.theta, evaluation.stages.log_partition, moments)
    errors = parameter_errors(config.model, config.template, estimates, pairs, chain, num_fitted)
    return Assessment(
        evaluation=evaluation,
        misfit=np.asarray(errors.misfit[:num_stages]),
        has_ended=bool(training.is_optimum[:num_stages].all()),
        covariance=_without_padding(errors.covariance, training.theta.shape, num_stages),
        kl_standard_error=float(errors.kl_standard_error),
        effective_samples=float(jnp.min(evaluation.stages.effective_samples[:num_stages])),
        num_steps=num_steps,
    )


def _without_padding(
    covariance: jax.Array, theta_shape: tuple[int, ...], num_stages: int
) -> np.ndarray:
    """The rows and columns of theta and F of the first `num_stages` stages."""
    num_padded, num_params = theta_shape
    of_theta = np.arange(num_stages * num_params)
    of_roots = num_padded * num_params + np.arange(num_stages)
    rows = np.concatenate([of_theta, of_roots])
    return np.asarray(covariance, np.float64)[np.ix_(rows, rows)]
