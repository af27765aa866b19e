"""Training of the language model's policies from answers of the reference, and their measures."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common import settings
from experiments.preferences import language, methods
from experiments.preferences.config import Config


class Measures(NamedTuple):
    """What is measured of a policy on prompts that it was not trained on.

    Attributes:
      reward: mean reward of its answers.
      reward_error: its standard error over prompts.
      kl: KL of the policy from the reference, by its answers, in nats an answer.
      kl_error: its standard error over prompts.
      chosen: mean log ratio of policy and reference of the best of four answers of the reference.
      others: the same of the other three.
    """

    reward: jax.Array
    reward_error: jax.Array
    kl: jax.Array
    kl_error: jax.Array
    chosen: jax.Array
    others: jax.Array


class Setting(NamedTuple):
    """What all lanes share."""

    config: Config
    text: language.Text
    reference: language.Reference


def train(setting: Setting, method: methods.Method, count: int, lanes: Any) -> Measures:
    """The traces of all lanes, (M, seed, checkpoint), of (pool, test, key) of every seed."""
    of_seeds = jax.vmap(
        lambda magnification, lane: _run(setting, method, count, magnification, *lane),
        in_axes=(None, 0),
    )
    values = jnp.array(method.magnifications(setting.config.magnifications))
    return jax.jit(jax.vmap(of_seeds, in_axes=(0, None)))(values, lanes)


def _run(
    setting: Setting,
    method: methods.Method,
    count: int,
    magnification: Any,
    pool: language.Answered,
    test: language.Answered,
    key: jax.Array,
) -> Measures:
    config, model = setting.config, setting.reference.model
    optimizer = optax.adam(optax.cosine_decay_schedule(config.align_rate, config.align_steps))
    num_prompts = config.sequences // count

    def total(params: Any, batch: language.Answered, votes: jax.Array) -> jax.Array:
        s = _log_ratio(model, params["policy"], batch)
        return methods.loss(
            method,
            s,
            batch.rewards,
            votes,
            alpha=config.alpha,
            magnification=magnification,
            log_partition=params["log_partition"],
        )

    def step(carry: Any, number: jax.Array) -> tuple[Any, None]:
        params, opt_state = carry
        keys = jax.random.split(jax.random.fold_in(key, number))
        chosen = jax.random.choice(keys[0], config.pool_size, (num_prompts,), replace=False)
        batch = jax.tree.map(lambda leaf: leaf[chosen], pool)
        batch = language.Answered(batch.prompts, *(leaf[:, :count] for leaf in batch[1:]))
        votes = jax.random.uniform(keys[1], (num_prompts, count // 2))
        gradient = jax.grad(total)(params, batch, votes)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    every = settings.steps_between(config, "align_steps")

    def to_checkpoint(carry: Any, first: jax.Array) -> tuple[Any, Measures]:
        carry, _ = jax.lax.scan(step, carry, first + jnp.arange(every))
        key_test = jax.random.fold_in(key, config.align_steps + first)
        return carry, _measure(setting, carry[0]["policy"], test, key_test)

    params = {"policy": setting.reference.params, "log_partition": jnp.zeros(())}
    carry = params, optimizer.init(params)
    return jax.lax.scan(to_checkpoint, carry, every * jnp.arange(config.num_checkpoints))[1]


def _log_ratio(model: Any, policy: Any, batch: language.Answered) -> jax.Array:
    """Log ratios of policy and reference, (prompt, K)."""
    count = batch.rewards.shape[1]
    answers = batch.answers.reshape(-1, batch.answers.shape[-1])
    log_prob = model.log_prob(policy, jnp.repeat(batch.prompts, count, axis=0), answers)
    return log_prob.reshape(-1, count) - batch.log_prob


def _measure(setting: Setting, policy: Any, test: language.Answered, key: jax.Array) -> Measures:
    config, model = setting.config, setting.reference.model
    count = config.test_answers
    prompts = jnp.repeat(test.prompts, count, axis=0)
    own = model.sample(policy, key, prompts, config.answer_length)
    reference = model.log_prob(setting.reference.params, prompts, own.tokens)
    kls = (own.log_prob - reference).reshape(-1, count).mean(axis=1)
    rewards = language.reward(setting.text, own.tokens).reshape(-1, count).mean(axis=1)
    few = language.Answered(test.prompts, *(leaf[:, :4] for leaf in test[1:]))
    ratio = _log_ratio(model, policy, few)
    is_best = jax.nn.one_hot(few.rewards.argmax(axis=1), few.rewards.shape[1])
    chosen = jnp.sum(is_best * ratio, axis=1).mean()
    others = jnp.sum((1 - is_best) * ratio, axis=1).mean() / (few.rewards.shape[1] - 1)
    root = len(kls) ** 0.5
    return Measures(
        rewards.mean(),
        rewards.std(ddof=1) / root,
        kls.mean(),
        kls.std(ddof=1) / root,
        chosen,
        others,
    )
