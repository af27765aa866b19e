"""Training by gradient descent with a choice of the step by samples that are not trained on."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._types import Float, LogRatioFn, Params, PRNGKeyArray, Real
from nce_jax.log_partition import solve_log_partition
from nce_jax.losses import nce_loss
from nce_jax.ratio_estimation._samples import Sets
from nce_jax.training import Batch, FitResult, Metrics, TrainState, TrainStep, fit

_NUM_EVALUATIONS = 40
"""Number of steps at which parameters are compared."""

STEPS = (200, 2000)
"""The smallest and the largest number of steps where none is given."""

_PASSES = 250
"""Passes over the training samples where no number of steps is given, within these bounds."""


_MAX_WATCHED = 10_000
"""The largest number of samples of each set with which a loss in the course of the training is
computed."""


class Parts(NamedTuple):
    """Both sets in three parts: to train on, to choose the step by, and to assess.

    Attributes:
      train: both sets' samples to train on.
      select: both sets' samples that choose the step.
      held_out: both sets' samples that take part in nothing but the assessment.
      choices: weights of the samples in `select`, one row per choice of a step, (choices, n) and
        (choices, m).
      weights: weights of all samples of `train`, `select` and `held_out`, by the arguments of a
        loss; None where all of a set are equal.
    """

    train: Sets
    select: Sets
    held_out: Sets
    choices: tuple[jax.Array, jax.Array]
    weights: dict[str, dict[str, Any]]


class Descent(NamedTuple):
    """A finished training.

    Attributes:
      params: parameters of every choice, stacked on the first axis.
      best_step: the step of every choice, (choices,); 0 for the initial parameters.
      result: what `training.fit` returned, with the state of the last step, and the losses of the
        initial parameters in front of its evaluations.
    """

    params: Params
    best_step: np.ndarray
    result: FitResult

    def chosen(self, index: int) -> Params:
        """Parameters of one choice."""
        return jax.tree.map(lambda leaf: leaf[index], self.params)


class _State(NamedTuple):
    """The state of a run, with the best parameters of every choice so far.

    With these in the state, a resumed run chooses as an uninterrupted one would have.
    """

    train: TrainState
    best_params: Params
    best_loss: Float[jax.Array, " choices"]
    best_step: Real[jax.Array, " choices"]

    @property
    def params(self) -> Params:
        """The present parameters, which `fit` checks."""
        return self.train.params

    @property
    def log_partition(self) -> jax.Array:
        """The present F, which `fit` checks."""
        return self.train.log_partition


def usual_num_steps(num_train: int, batch_size: int) -> int:
    """The number of steps that so many training samples warrant."""
    return min(max(-(-_PASSES * num_train // batch_size), STEPS[0]), STEPS[1])


def descend(
    train: TrainStep,
    params: Params,
    log_ratio_fn: LogRatioFn,
    parts: Parts,
    key: PRNGKeyArray,
    *,
    num_steps: int,
    batch_size: int,
    **files: Any,
) -> Descent:
    """Trains with `training.fit`, and returns the best parameters of every choice."""
    # Samples are arguments: XLA would fold constants of their size at compile time, for seconds.
    jitted = jax.jit(log_ratio_fn)
    watched = {"held_out_loss": parts.held_out, "selection_loss": parts.select}
    watched = {name: Sets(*(x[:_MAX_WATCHED] for x in sets)) for name, sets in watched.items()}
    weights = {
        "held_out_loss": parts.weights["held_out"],
        "selection_loss": parts.weights["select"],
    }
    weights = {
        name: {side: None if w is None else w[:_MAX_WATCHED] for side, w in of_part.items()}
        for name, of_part in weights.items()
    }

    def losses(params: Params) -> dict[str, float]:
        return {
            name: float(_profiled(*(jitted(params, side) for side in sets), **weights[name]))
            for name, sets in watched.items()
        }

    every = max(1, num_steps // _NUM_EVALUATIONS)
    step = _Step(train, log_ratio_fn, parts, every, num_steps)
    before = losses(params)
    result = fit(
        step,
        step.init(params),
        Batch(parts.train.data, parts.train.noise, **parts.weights["train"]),
        key,
        num_steps=num_steps,
        batch_size=(
            min(batch_size, len(parts.train.data)),
            min(batch_size, len(parts.train.noise)),
        ),
        log_every=every,
        checkpoint_every=10 * every,
        evaluate=lambda state: losses(state.params),
        evaluate_every=every,
        **files,
    )
    evaluations = {
        name: np.concatenate([[before.get(name, 0)], column])
        for name, column in result.evaluations.items()
    }
    state = result.state
    return Descent(
        state.best_params,
        np.asarray(state.best_step),
        FitResult(state.train, result.history, evaluations),
    )


def _profiled(log_ratio_data: jax.Array, log_ratio_noise: jax.Array, **weights: Any) -> jax.Array:
    """The NCE loss at magnification 1, with F solved for."""
    root = solve_log_partition(log_ratio_data, log_ratio_noise, **weights).log_partition
    return nce_loss(log_ratio_data, log_ratio_noise, log_partition=root, **weights)


@dataclass(frozen=True, eq=False)
class _Step:
    """A train step that keeps the best parameters so far, as an object like `TrainStep`."""

    train: TrainStep
    log_ratio_fn: LogRatioFn
    parts: Parts
    every: int
    num_steps: int

    def init(self, params: Params) -> _State:
        num_choices = len(self.parts.choices[0])
        stacked = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * num_choices), params)
        losses = jax.jit(self.selection_losses)(params)
        # Parameters whose loss is not a number are worse than any others.
        losses = jnp.where(jnp.isnan(losses), jnp.inf, losses)
        return _State(self.train.init(params), stacked, losses, jnp.zeros(num_choices, jnp.int32))

    def __call__(self, state: _State, batch: Batch, key: PRNGKeyArray) -> tuple[_State, Metrics]:
        new, metrics = self.train(state.train, batch, key)
        state = state._replace(train=new)
        is_due = (new.step % self.every == 0) | (new.step == self.num_steps)
        return jax.lax.cond(is_due, self.choose, lambda state: state, state), metrics

    def selection_losses(self, params: Params) -> jax.Array:
        """The loss of every choice, (choices,)."""
        # Without the barrier XLA computes all that depends on the samples alone at compile time.
        samples, weights = jax.lax.optimization_barrier((self.parts.select, self.parts.choices))
        ratios = [
            jnp.broadcast_to(self.log_ratio_fn(params, x)[None], weight.shape)
            for x, weight in zip(samples, weights, strict=True)
        ]
        return _profiled(*ratios, weights_data=weights[0], weights_noise=weights[1])

    def choose(self, state: _State) -> _State:
        """Keeps the present parameters for every choice that they serve better; NaN never does."""
        losses = self.selection_losses(state.params)
        is_better = losses < state.best_loss

        def better(new: jax.Array, old: jax.Array) -> jax.Array:
            chosen = is_better.reshape(-1, *[1] * (old.ndim - 1))
            return jnp.where(chosen, jnp.asarray(new)[None], old)

        return _State(
            state.train,
            jax.tree.map(better, state.params, state.best_params),
            jnp.where(is_better, losses, state.best_loss),
            jnp.where(is_better, state.train.step, state.best_step),
        )
