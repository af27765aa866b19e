"""Training by gradient descent, for models with many parameters, and its assessment.

F is solved for on every batch, and the iterates of the second half of the training are averaged.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._promotion import standard_promotion
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.log_partition import solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.telescoping._bridges import stage_log_ratios
from nce_jax.telescoping._fit.assessment import (
    Assessment,
    Path,
    evaluation_pairs,
    make_path_without_roots,
)
from nce_jax.telescoping._fit.config import BATCHES_PER_PROGRAM, FitConfig, Levels
from nce_jax.telescoping._fit.errors import Evaluation, Pairs, evaluate
from nce_jax.telescoping._fit.misfit import descent_misfit
from nce_jax.telescoping._fit.stage_model import (
    Moments,
    StageModel,
    centered_bridges,
    initial_params,
)

_MAX_DRIFT = 0.01
"""Relative change of the mean log ratio, from the third quarter of a descent to the fourth, that
counts as none."""


class DescentState(NamedTuple):
    """The state of a descent.

    Attributes:
      params: the current iterate.
      opt_state: the state of the optimizer.
      average: the mean of the iterates that are averaged.
      num_averaged: how many these are.
    """

    params: Params
    opt_state: optax.OptState
    average: Params
    num_averaged: jax.Array


class DescentTraining(NamedTuple):
    """Gradient descent on fresh batches.

    Attributes:
      params: parameters of all stages, with their standardization.
      num_steps: training steps.
      path: the course of the training.
    """

    params: Params
    num_steps: int
    path: Path

    def assess(self, key: PRNGKeyArray, config: FitConfig, levels: Levels) -> Assessment:
        """The error of the parameters is not known."""
        pairs, chain = evaluation_pairs(key, config), config.chain(levels)
        evaluation = evaluate(config.model, self.params, pairs, chain)
        roots = evaluation.stages.log_partition
        scores = descent_misfit(config.model, self.params, roots, pairs, chain)
        return Assessment(
            evaluation=evaluation,
            misfit=np.asarray(scores[: levels.num_stages]),
            has_ended=self._has_settled(config, levels, pairs, evaluation),
            covariance=None,
            kl_standard_error=np.nan,
            effective_samples=float(
                jnp.min(evaluation.stages.effective_samples[: levels.num_stages])
            ),
            num_steps=config.num_evaluated,
        )

    def _has_settled(
        self, config: FitConfig, levels: Levels, pairs: Pairs, evaluation: Evaluation
    ) -> bool:
        """Whether the mean log ratio no longer drifts from the third quarter to the fourth."""
        middle = max(3 * len(self.path.num_steps) // 4 - 1, 0)
        earlier = jax.tree.map(lambda leaf: leaf[middle], self.path.models)
        params = {**self.params, "model": earlier}
        before = evaluate(config.model, params, pairs, config.chain(levels)).mean.value
        kl, error = float(evaluation.mean.value), float(evaluation.mean.standard_error)
        # Half of the final average is the third quarter itself.
        drift = 2 * abs(kl - float(before))
        return drift <= max(3 * error, _MAX_DRIFT * max(1, abs(kl)))


def train_descent(key: PRNGKeyArray, config: FitConfig, levels: Levels) -> DescentTraining:
    """Descends on fresh batches, and averages the iterates of the second half."""
    assert config.optimizer is not None
    size, chain = config.batch_size, config.chain(levels)
    params = initial_params(config.template, config.model, chain.num_stages)
    state, moments, points = start_descent(params, config.optimizer), None, []
    num_programs = config.training_steps(levels.num_pilot_steps) // BATCHES_PER_PROGRAM
    for index in range(num_programs):
        pairs = config.sampler.draw(jax.random.fold_in(key, index), BATCHES_PER_PROGRAM * size)
        x = centered_bridges(config.model, pairs, chain.noise_levels)
        moments = moments or config.moments(x)
        # The bar follows the device; the next batches are drawn in the meantime.
        jax.block_until_ready(state.average)
        state = descend(
            config.model, config.optimizer, moments, state, x, chain.kappa,
            batch_size=size, is_averaging=2 * index >= num_programs,
        )  # fmt: skip
        points.append(((index + 1) * BATCHES_PER_PROGRAM, state.average))
        config.report(f"training, stages: {levels.num_stages}", BATCHES_PER_PROGRAM)
    return DescentTraining(
        {"model": state.average, **(moments or {})},
        num_programs * BATCHES_PER_PROGRAM,
        make_path_without_roots(points),
    )


def start_descent(params: Params, optimizer: optax.GradientTransformation) -> DescentState:
    """The state before the first step."""
    return DescentState(params, optimizer.init(params), params, jnp.int32(0))


@partial(jax.jit, static_argnames=("model", "optimizer", "batch_size", "is_averaging"))
def descend(
    model: StageModel,
    optimizer: optax.GradientTransformation,
    moments: Moments,
    state: DescentState,
    x: jax.Array,
    kappa: jax.Array,
    *,
    batch_size: int,
    is_averaging: bool,
) -> DescentState:
    """Takes one step per batch on the mean of the K profiled losses.

    The bridges x of all batches have shape (K + 1, batches * batch_size, ...).
    """
    batches = jnp.moveaxis(x.reshape(x.shape[0], -1, batch_size, *x.shape[2:]), 1, 0)

    def loss(params: Params, batch: jax.Array) -> jax.Array:
        data, noise = stage_log_ratios(model.stages_fn, {"model": params, **moments}, batch)
        # The first derivative needs no derivative of F at the root (envelope theorem).
        roots = solve_log_partition(
            *jax.lax.stop_gradient((data, noise)), magnification=kappa
        ).log_partition
        return jnp.mean(nce_loss(data, noise, log_partition=roots, magnification=kappa))

    def body(state: DescentState, batch: jax.Array) -> tuple[DescentState, None]:
        gradient = jax.grad(loss)(state.params, batch)
        with standard_promotion():
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        # The average starts over with every step that does not count.
        count = state.num_averaged + 1 if is_averaging else jnp.int32(0)
        weight = 1 / jnp.maximum(count, 1)
        average = jax.tree.map(
            lambda old, new: old + (new - old) * weight.astype(new.dtype), state.average, params
        )
        return DescentState(params, opt_state, average, count), None

    return jax.lax.scan(body, state, batches)[0]
