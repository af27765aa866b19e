"""A policy that is a table of probabilities: the best one, the frontier, and the training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common import settings
from experiments.preferences import methods
from experiments.preferences.config import Config


class Problem(NamedTuple):
    """Log probabilities of the reference and rewards, (prompt, choice)."""

    log_reference: jax.Array
    rewards: jax.Array


class Measures(NamedTuple):
    """What is measured of a policy, in means over prompts.

    Attributes:
      reward: the mean reward.
      kl: KL of the policy from the reference, in nats.
      distance: KL of the policy from the best one, in nats.
      shortfall: what the best policy of the same KL has more in reward.
      chosen: log ratio of policy and reference of the best of four answers of the reference.
    """

    reward: jax.Array
    kl: jax.Array
    distance: jax.Array
    shortfall: jax.Array
    chosen: jax.Array


def draw_problem(config: Config, key: jax.Array) -> Problem:
    """Normal logits and normal rewards."""
    keys = jax.random.split(key)
    shape = config.num_prompts, config.num_choices
    log_reference = jax.nn.log_softmax(jax.random.normal(keys[0], shape))
    return Problem(log_reference, jax.random.normal(keys[1], shape))


def tilted(problem: Problem, temperature: Any) -> jax.Array:
    """Log probabilities of the best policy at a temperature."""
    return jax.nn.log_softmax(problem.log_reference + problem.rewards / temperature)


def best_of(problem: Problem, count: int) -> jax.Array:
    """Log probabilities of the best of some answers of the reference by the reward."""

    def of_prompt(log_reference: jax.Array, rewards: jax.Array) -> jax.Array:
        order = jnp.argsort(rewards)
        below = jnp.cumsum(jnp.exp(log_reference)[order])
        mass = jnp.diff(jnp.clip(below, 0, 1) ** count, prepend=0)
        return jnp.zeros_like(rewards).at[order].set(jnp.log(jnp.maximum(mass, 1e-30)))

    return jax.vmap(of_prompt)(*problem)


def nca_minimum(problem: Problem, count: int, alpha: float, key: jax.Array) -> jax.Array:
    """Log probabilities at the minimum of NCA with F = 0 and K answers, by 4,096 draws.

    They are those of the reference times E[K p_1 | y_1 = y], with p the softmax over K answers.
    """

    def of_prompt(args: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        key, log_reference, rewards = args
        others = jax.random.categorical(key, log_reference, shape=(4096, count - 1))
        weight = jnp.exp(rewards / alpha)
        total = jnp.sum(weight[others], axis=-1)
        return log_reference + jnp.log(
            jnp.mean(count * weight[:, None] / (weight[:, None] + total[None]), axis=-1)
        )

    keys = jax.random.split(key, len(problem.rewards))
    return jax.nn.log_softmax(jax.lax.map(of_prompt, (keys, *problem)))


def measure(config: Config, problem: Problem, log_policy: jax.Array) -> Measures:
    """The measures of a policy."""
    reward, kl = _reward_and_kl(problem, log_policy)
    policy = jnp.exp(log_policy)
    log_best = tilted(problem, config.temperature)
    distance = jnp.sum(policy * (log_policy - log_best), axis=-1).mean()
    ratio = log_policy - problem.log_reference
    chosen = jnp.sum(jnp.exp(best_of(problem, 4)) * ratio, axis=-1).mean()
    return Measures(reward, kl, distance, frontier(problem, kl) - reward, chosen)


def frontier(problem: Problem, kl: jax.Array) -> jax.Array:
    """The largest mean reward at a KL from the reference, by interpolation over temperatures."""
    temperatures = jnp.geomspace(100, 0.02, 200)
    rewards, kls = jax.lax.map(lambda t: _reward_and_kl(problem, tilted(problem, t)), temperatures)
    none = _reward_and_kl(problem, problem.log_reference)
    return jnp.interp(kl, jnp.append(none[1], kls), jnp.append(none[0], rewards))


def _reward_and_kl(problem: Problem, log_policy: jax.Array) -> tuple[jax.Array, jax.Array]:
    policy = jnp.exp(log_policy)
    reward = jnp.sum(policy * problem.rewards, axis=-1)
    return reward.mean(), jnp.sum(policy * (log_policy - problem.log_reference), axis=-1).mean()


def train(config: Config, method: methods.Method, count: int, keys: jax.Array) -> Measures:
    """The traces of all lanes, (M, beta, seed, checkpoint); a seed's lanes share its answers."""
    of_betas = jax.vmap(_run, in_axes=(None, None, None, None, 0, None))
    of_magnifications = jax.vmap(of_betas, in_axes=(None, None, None, 0, None, None))
    run = jax.vmap(of_magnifications, in_axes=(None, None, None, None, None, 0), out_axes=2)
    values = jnp.array(method.magnifications(config.magnifications))
    program = jax.jit(run, static_argnums=(0, 1, 2))
    return program(config, method, count, values, jnp.array(config.betas), keys)


def _run(
    config: Config, method: methods.Method, count: int, magnification: Any, beta: Any, key: Any
) -> Measures:
    key_problem, key_steps = jax.random.split(key)
    problem = draw_problem(config, key_problem)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.num_steps))

    def total(params: Any, answers: jax.Array, votes: jax.Array) -> jax.Array:
        ratio = jax.nn.log_softmax(params["logits"]) - problem.log_reference
        s, rewards = (
            jnp.take_along_axis(table, answers, axis=-1)
            for table in (beta * ratio, problem.rewards)
        )
        return methods.loss(
            method,
            s,
            rewards,
            votes,
            alpha=config.temperature / beta,
            magnification=magnification,
            log_partition=params["log_partition"],
        )

    def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
        params, opt_state = carry
        keys = jax.random.split(jax.random.fold_in(key_steps, number))
        answers = jax.random.categorical(
            keys[0], problem.log_reference, shape=(count, config.num_prompts)
        ).T
        votes = jax.random.uniform(keys[1], (config.num_prompts, count // 2))
        gradient = jax.grad(total)(params, answers, votes)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    every = settings.steps_between(config)

    def to_checkpoint(carry: Any, first: jax.Array) -> tuple[Any, Measures]:
        carry, _ = jax.lax.scan(step, carry, first + jnp.arange(every))
        return carry, measure(config, problem, jax.nn.log_softmax(carry[0]["logits"]))

    params = {"logits": problem.log_reference, "log_partition": jnp.zeros(config.num_prompts)}
    carry = params, optimizer.init(params)
    return jax.lax.scan(to_checkpoint, carry, every * jnp.arange(config.num_checkpoints))[1]
