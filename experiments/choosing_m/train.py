"""Runs of one problem: on the grid of M, by the adaptive rule, and at a constant M."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nce_jax
from experiments.choosing_m.config import Config
from experiments.common.magnification_problems import Problem
from nce_jax import training


class RuleErrors(NamedTuple):
    """Errors and magnifications of both rules.

    Errors are taken at the budgets, (seed, budget). `path` is the adaptive M at every step, (seed,
    step), and `constant_magnification` the constant, (seed,).
    """

    adaptive: np.ndarray
    constant: np.ndarray
    path: np.ndarray
    constant_magnification: np.ndarray


def at_fixed(problem: Problem, config: Config, key: jax.Array) -> np.ndarray:
    """Errors at every M of the grid, (M, seed, budget)."""
    keys, over_seeds = jax.random.split(key, config.num_seeds), _over_seeds(problem, config)
    return np.stack(
        [over_seeds(jnp.full(len(keys), m, jnp.float32), keys) for m in config.magnifications]
    )


def by_rules(problem: Problem, config: Config, key: jax.Array) -> RuleErrors:
    """Errors under the adaptive rule, and at the constant that its pilot run suggests."""
    keys, budgets = jax.random.split(key, config.num_seeds), scaled_budgets(problem, config)

    def adaptive(key):
        errors, path, states = _train(
            problem, budgets, key, nce_jax.criteria.nce(), nce_jax.adaptive_magnification()
        )
        return (
            errors,
            path,
            nce_jax.suggested_magnification(
                *_log_ratios(problem, states, jax.random.fold_in(key, 1))
            ),
        )

    errors, path, chosen = jax.jit(jax.vmap(adaptive))(keys)
    return RuleErrors(
        *map(np.asarray, (errors, _over_seeds(problem, config)(chosen, keys), path, chosen))
    )


def _over_seeds(problem: Problem, config: Config):
    """Function of the M and key of every seed that returns the errors at the budgets."""
    budgets = scaled_budgets(problem, config)

    def fixed(magnification, key):
        return _train(
            problem, budgets, key, nce_jax.criteria.nce(magnification=magnification), None
        )[0]

    return jax.jit(jax.vmap(fixed))


def scaled_budgets(problem: Problem, config: Config) -> tuple[int, ...]:
    return tuple(max(2, round(config.share * budget)) for budget in problem.budgets)


def _train(problem: Problem, budgets, key, criterion, rule, optimizer=None):
    """Trains, and returns errors at the budgets, M by step, and parameters at the first budget.

    M is NaN where the criterion determines it.
    """
    optimizer = problem.optimizer if optimizer is None else optimizer
    step = training.make_train_step(
        noise=problem.noise,
        optimizer=optimizer,
        log_ratio_fn=problem.log_ratio_fn,
        criterion=criterion,
        magnification_rule=rule,
    )
    key_init, key_data, key_noise = jax.random.split(key, 3)

    def body(number, carry):
        state, path = carry
        x_data = problem.draw(jax.random.fold_in(key_data, number), problem.batch_size)
        state, metrics = step(state, x_data, key_noise)
        return state, path if metrics.magnification is None else path.at[number].set(
            metrics.magnification
        )

    def until(carry, bounds):
        state, path = jax.lax.fori_loop(*bounds, body, carry)
        return (state, path), (problem.error(state.params), state.params)

    state = step.init(problem.init(key_init))
    bounds = jnp.array([0, *budgets[:-1]]), jnp.array(budgets)
    (_, path), (errors, params) = jax.lax.scan(
        until, (state, jnp.full(budgets[-1], jnp.nan)), bounds
    )
    return errors, path, jax.tree.map(lambda leaf: leaf[0], params)


def _log_ratios(problem: Problem, params, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log ratios of a fresh batch that was not used in training."""
    key_data, key_noise = jax.random.split(key)
    x_noise = problem.noise.sample(seed=key_noise, sample_shape=(problem.batch_size,))
    x_data = problem.draw(key_data, problem.batch_size)
    return problem.log_ratio_fn(params, x_data), problem.log_ratio_fn(params, x_noise)


def least_error(problem: Problem, config: Config, key: jax.Array) -> float:
    """Error of a perfect fit: zero for a KL, the least of longer runs for a held-out loss."""
    if problem.has_truth:
        return 0.0
    length = config.reference_length * scaled_budgets(problem, config)[-1]
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, length))
    keys = jax.random.split(jax.random.fold_in(key, 2), config.reference_seeds)

    def train_at(magnification, key):
        record_steps = tuple(range(length // 10, length + 1, max(1, length // 10)))
        return _train(
            problem,
            record_steps,
            key,
            nce_jax.criteria.nce(magnification=magnification),
            None,
            optimizer,
        )[0]

    trained = jax.jit(jax.vmap(train_at, in_axes=(None, 0)))
    means = [
        trained(jnp.float32(m), keys).mean(axis=0).min() for m in config.reference_magnifications
    ]
    return float(min(means))
