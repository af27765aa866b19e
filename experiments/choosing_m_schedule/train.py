"""Runs of one problem under Adam with a cosine decay to zero and an average of the parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.choosing_m_schedule.candidates import (
    CANDIDATES,
    Candidate,
    averaged_nce,
    largest_supported,
)
from experiments.choosing_m_schedule.config import Config
from experiments.common.magnification_problems import Problem
from nce_jax import sweeps, training

NUM_SHOWN = 40
"""Steps of a run, evenly spaced, whose M is kept."""

MakeStep = Callable[[Callable[[Any], Any], optax.GradientTransformation], training.TrainStep]
"""Makes a train step from the relative learning rate as a function of the step and an optimizer."""


class Recipe(NamedTuple):
    """How a run is trained: traced, so that one program serves all budgets and rates.

    Attributes:
      num_steps: the budget, over which the learning rate falls to zero.
      peak_rate: Adam's learning rate at the first step.
    """

    num_steps: Any
    peak_rate: Any


class Ends(NamedTuple):
    """What is kept of a run.

    Attributes:
      averaged: error of the averaged parameters at evenly spaced steps, (record,).
      raw: the same of the parameters themselves.
      path: M at evenly spaced steps, (`NUM_SHOWN`,); NaN where it is given.
    """

    averaged: Any
    raw: Any
    path: Any


def train(
    problem: Problem, config: Config, make_step: MakeStep, recipe: Recipe, key, num_records: int = 1
) -> Ends:
    """One run from its own start, data and noise."""

    def relative_rate(step):
        return (1 + jnp.cos(jnp.pi * step / recipe.num_steps)) / 2

    optimizer = optax.adam(lambda count: recipe.peak_rate * relative_rate(count))
    step = make_step(relative_rate, optimizer)
    key_init, key_data, key_noise = jax.random.split(key, 3)

    def body(number, carry):
        state, average, path = carry
        draw = partial(problem.draw, number=problem.batch_size)
        x_data = sweeps.shared(draw, jax.random.fold_in(key_data, number), step=number)
        state, metrics = step(state, x_data, key_noise)
        # A plain mean at first, so that the start has no weight.
        gain = jnp.maximum(1 / (number + 1), 1 / (config.average_share * recipe.num_steps))
        average = optax.incremental_update(state.params, average, gain)
        if metrics.magnification is not None:
            path = path.at[number * NUM_SHOWN // recipe.num_steps].set(metrics.magnification)
        return state, average, path

    def until(carry, bounds):
        state, average, path = jax.lax.fori_loop(*bounds, body, carry)
        return (state, average, path), (problem.error(average), problem.error(state.params))

    params = problem.init(key_init)
    ends = recipe.num_steps * jnp.arange(num_records + 1) // num_records
    start = step.init(params), params, jnp.full(NUM_SHOWN, jnp.nan)
    (_, _, path), errors = jax.lax.scan(until, start, (ends[:-1], ends[1:]))
    return Ends(*errors, path)


def _step(problem: Problem, criterion, rule, optimizer) -> training.TrainStep:
    return training.make_train_step(
        noise=problem.noise,
        optimizer=optimizer,
        log_ratio_fn=problem.log_ratio_fn,
        criterion=criterion,
        magnification_rule=rule,
    )


def fixed(problem: Problem, magnification: Any) -> MakeStep:
    criterion = nce_jax.criteria.nce(magnification=magnification)
    return lambda relative_rate, optimizer: _step(problem, criterion, None, optimizer)


def adaptive(problem: Problem) -> MakeStep:
    rule = nce_jax.adaptive_magnification()
    return lambda relative_rate, optimizer: _step(problem, nce_jax.criteria.nce(), rule, optimizer)


def sufficient(problem: Problem, matching: Any) -> MakeStep:
    rule = nce_jax.sufficient_magnification(matching=matching)
    return lambda relative_rate, optimizer: _step(problem, nce_jax.criteria.nce(), rule, optimizer)


def from_supported(problem: Problem, config: Config, candidate: Candidate) -> MakeStep:
    def make(relative_rate, optimizer):
        rule = largest_supported(
            candidate, relative_rate, problem.batch_size, config.largest_magnification
        )
        return _step(problem, averaged_nce(candidate), rule, optimizer)

    return make


class Programs:
    """The compiled programs of a problem, by what chooses M: one for all choices of a kind.

    Every one maps a `Recipe` and the keys of a group of seeds to `Ends`, (choice, seed, ...).
    """

    def __init__(self, problem: Problem, config: Config) -> None:
        candidates = [CANDIDATES[name] for name in config.candidates]
        kinds = {
            "grid": (partial(fixed, problem), jnp.array(config.magnifications, jnp.float32)),
            "adaptive": (lambda _: adaptive(problem), jnp.zeros(1)),
            "sufficient": (partial(sufficient, problem), jnp.array(config.matchings)),
            "supported": (
                partial(from_supported, problem, config),
                jax.tree.map(lambda *leaves: jnp.array(leaves), *candidates),
            ),
        }
        run = partial(train, problem, config)
        self._programs = {
            kind: (_over(lambda choice, recipe, key, make=make: run(make(choice), recipe, key)), of)
            for kind, (make, of) in kinds.items()
        }

    def run(self, kind: str, recipe: Recipe, keys: jax.Array) -> Ends:
        program, choices = self._programs[kind]
        return program(choices, recipe, keys)


def _over(run: Callable[[Any, Recipe, Any], Ends]) -> Callable[[Any, Recipe, jax.Array], Ends]:
    """Maps a run over choices and seeds; all choices of a seed share its start and its draws."""
    over_choices = jax.vmap(run, in_axes=(0, None, None))
    mapped = jax.jit(jax.vmap(over_choices, in_axes=(None, None, 0), out_axes=1))
    return lambda choices, recipe, keys: jax.tree.map(np.asarray, mapped(choices, recipe, keys))


def least_error(problem: Problem, config: Config, peak_rate: float, key: jax.Array) -> float:
    """Error of a perfect fit: zero for a KL, the least of longer runs for a held-out loss."""
    if problem.has_truth:
        return 0.0
    recipe = Recipe(config.reference_length * budgets(problem, config)[-1], peak_rate)
    keys = jax.random.split(jax.random.fold_in(key, 2), config.reference_seeds)

    def run(magnification, recipe, key):
        step = fixed(problem, magnification)
        return train(problem, config, step, recipe, key, config.reference_records)

    ends = _over(run)(jnp.array(config.reference_magnifications, jnp.float32), recipe, keys)
    return float(np.stack([ends.averaged, ends.raw]).mean(axis=2).min())


def budgets(problem: Problem, config: Config) -> tuple[int, ...]:
    return tuple(max(2, round(config.share * budget)) for budget in problem.budgets)
