"""Training by gradient descent, for models with many parameters, and its assessment.

F is solved for on every batch, and the iterates of the second half of the training are averaged.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nce_jax._bridges import Space
from nce_jax._partial import Parts
from nce_jax._types import Params, PRNGKeyArray
from nce_jax.criteria import nce
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
    Chain,
    Moments,
    StageModel,
    centered_bridges,
    centered_space,
    initial_params,
)
from nce_jax.training import Batch, TrainState, TrainStep, make_stage_step

_MAX_DRIFT = 0.01
"""Relative change of the mean log ratio, from the third quarter of a descent to the fourth, that
counts as none."""


class DescentState(NamedTuple):
    """The state of a descent.

    Attributes:
      train: the state of the train step, with the current iterate.
      average: the mean of the iterates that are averaged.
      num_averaged: how many these are.
    """

    train: TrainState
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
    state, moments, points = start_descent(config, chain), None, []
    num_programs = config.training_steps(levels.num_pilot_steps) // BATCHES_PER_PROGRAM
    for index in range(num_programs):
        pairs = config.sampler.draw(jax.random.fold_in(key, index), BATCHES_PER_PROGRAM * size)
        if moments is None:
            moments = config.moments(centered_bridges(config.model, pairs, chain))
        # The bar follows the device; the next batches are drawn in the meantime.
        jax.block_until_ready(state.average)
        state = descend(
            config.model, Parts(config.optimizer), moments, state, pairs, chain,
            batch_size=size, is_averaging=2 * index >= num_programs,
        )  # fmt: skip
        points.append(((index + 1) * BATCHES_PER_PROGRAM, state.average))
        config.report(f"training, stages: {levels.num_stages}", BATCHES_PER_PROGRAM)
    return DescentTraining(
        {"model": state.average, **(moments or {})},
        num_programs * BATCHES_PER_PROGRAM,
        make_path_without_roots(points),
    )


def start_descent(config: FitConfig, chain: Chain) -> DescentState:
    """The state before the first step."""
    assert config.optimizer is not None
    params = initial_params(config.template, config.model, chain.num_stages)
    train = _make_step(config.model, config.optimizer, {}, None, chain)
    return DescentState(train.init(params), params, jnp.int32(0))


def _make_step(
    model: StageModel,
    optimizer: optax.GradientTransformation,
    moments: Moments,
    space: Space | None,
    chain: Chain,
) -> TrainStep:
    levels: Any = chain.noise_levels
    return make_stage_step(
        lambda params, x: model.stages_fn({"model": params, **moments}, x),
        optimizer=optimizer,
        noise_levels=levels,
        space=space,
        criterion=nce(magnification=chain.kappa),
    )


@partial(jax.jit, static_argnames=("model", "optimizer", "batch_size", "is_averaging"))
def descend(
    model: StageModel,
    optimizer: Parts,
    moments: Moments,
    state: DescentState,
    pairs: Pairs,
    chain: Chain,
    *,
    batch_size: int,
    is_averaging: bool,
) -> DescentState:
    """Takes one step per batch of the pairs on the mean of the K profiled losses."""
    train = _make_step(model, optimizer.value, moments, centered_space(model, chain.offset), chain)
    batches = jax.tree.map(lambda x: x.reshape(-1, batch_size, *x.shape[1:]), pairs)
    # Batches bring their noise: nothing is drawn.
    key = jax.random.key(0)

    def body(state: DescentState, batch: Pairs) -> tuple[DescentState, None]:
        trained, _ = train(state.train, Batch(*batch), key)
        # The average starts over with every step that does not count.
        count = state.num_averaged + 1 if is_averaging else jnp.int32(0)
        weight = 1 / jnp.maximum(count, 1)
        average = jax.tree.map(
            lambda old, new: old + (new - old) * weight.astype(new.dtype),
            state.average,
            trained.params,
        )
        return DescentState(trained, average, count), None

    return jax.lax.scan(body, state, batches)[0]
