"""A language model of characters: its reference, the answers, and what the best policy reaches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common.datasets.texts import SHAKESPEARE
from experiments.common.published import read
from experiments.preferences import network
from experiments.preferences.config import Config

LIKED = "aeiouAEIOU"
"""Characters whose share of an answer is its reward."""


class Text(NamedTuple):
    """Ids of the characters to learn from, to train and to test on, and which of them are liked."""

    learned: np.ndarray
    pool: np.ndarray
    test: np.ndarray
    is_liked: np.ndarray


class Reference(NamedTuple):
    """A trained model, and its cross entropy of the text that it did not learn, nats a character.

    Characters count from the first that follows a prompt on.
    """

    model: network.Model
    params: Any
    loss: jax.Array


class Answered(NamedTuple):
    """Prompts (prompt, place) with answers of the reference (prompt, K, place).

    Rewards and log probabilities of the answers are (prompt, K).
    """

    prompts: jax.Array
    answers: jax.Array
    rewards: jax.Array
    log_prob: jax.Array


class Frontier(NamedTuple):
    """What policies proportional to reference exp(reward / alpha) reach.

    Attributes:
      rewards: mean reward over the temperatures of `temperatures`, (temperature,).
      kls: KL from the reference, (temperature,).
      reward: the same at the alpha of the settings.
      kl: the same.
      log_normalizer: mean of log E_ref exp(reward / alpha) over prompts.
      best_rewards: mean reward of the best of 2, 4, 8 and 16 answers, (4,).
    """

    rewards: jax.Array
    kls: jax.Array
    reward: jax.Array
    kl: jax.Array
    log_normalizer: jax.Array
    best_rewards: jax.Array


BEST_OF = (2, 4, 8, 16)


def load_text() -> Text:
    """The first nine tenths are learned, the two halves of the last are for training and tests."""
    text = read(SHAKESPEARE).decode()
    characters = sorted(set(text))
    ids = {character: number for number, character in enumerate(characters)}
    tokens = np.array([ids[character] for character in text], np.int32)
    first, second = len(tokens) * 18 // 20, len(tokens) * 19 // 20
    is_liked = np.array([character in LIKED for character in characters])
    return Text(tokens[:first], tokens[first:second], tokens[second:], is_liked)


def windows(tokens: Any, key: jax.Array, count: int, length: int) -> jax.Array:
    """Pieces of a text, (count, length)."""
    starts = jax.random.randint(key, (count,), 0, len(tokens) - length)
    return jnp.asarray(tokens)[starts[:, None] + jnp.arange(length)]


def reward(text: Text, answers: jax.Array) -> jax.Array:
    """The share of vowels of answers (..., place)."""
    return jnp.asarray(text.is_liked, jnp.float32)[answers].mean(axis=-1)


def fit_reference(config: Config, text: Text, key: jax.Array) -> Reference:
    """Maximum likelihood of the text, in pieces as long as a prompt and its answer."""
    keys = jax.random.split(key, 3)
    model, params = network.make(len(text.is_liked), config.width, keys[0])
    length = config.prompt_length + config.answer_length
    optimizer = optax.adam(
        optax.cosine_decay_schedule(config.reference_rate, config.reference_steps)
    )

    def cross_entropy(params: Any, tokens: jax.Array) -> jax.Array:
        logits = model.read(params, tokens[:, :-1])[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:].T)

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        params, opt_state = carry
        tokens = windows(text.learned, key, config.reference_batch, length)
        gradient = jax.grad(lambda params: cross_entropy(params, tokens).mean())(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    @jax.jit
    def fit(params: Any) -> tuple[Any, jax.Array]:
        steps = jax.random.split(keys[1], config.reference_steps)
        params = jax.lax.scan(step, (params, optimizer.init(params)), steps)[0][0]
        held_out = windows(text.test, keys[2], 1024, length)
        return params, cross_entropy(params, held_out)[config.prompt_length - 1 :].mean()

    return Reference(model, *fit(params))


def draw_answered(
    config: Config, reference: Reference, text: Text, tokens: Any, key: jax.Array, shape: Any
) -> Answered:
    """Prompts from `tokens`, and answers of the reference, shape = (prompts, K)."""
    key_prompts, key_answers = jax.random.split(key)
    prompts = windows(tokens, key_prompts, shape[0], config.prompt_length)

    def sample(key: jax.Array) -> network.Answers:
        return reference.model.sample(reference.params, key, prompts, config.answer_length)

    tokens, log_prob = jax.lax.map(sample, jax.random.split(key_answers, shape[1]))
    answers = jnp.swapaxes(tokens, 0, 1)
    return Answered(prompts, answers, reward(text, answers), log_prob.T)


def best_reachable(config: Config, rewards: jax.Array) -> Frontier:
    """The frontier, by importance weights of the reference's answers, (prompt, answer).

    KL, reward and log normalizer are biased low, the more the fewer answers carry the weight.
    """

    def at(temperature: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        scaled = rewards / temperature
        weights = jax.nn.softmax(scaled)
        log_normalizer = jax.nn.logsumexp(scaled, axis=-1) - jnp.log(rewards.shape[1])
        kl = jnp.sum(weights * scaled, axis=-1) - log_normalizer
        return jnp.sum(weights * rewards, axis=-1).mean(), kl.mean(), log_normalizer.mean()

    rewards_at, kls, _ = jax.lax.map(at, jnp.geomspace(10, 0.02, 60))
    best = [_best_of(rewards, count) for count in BEST_OF]
    return Frontier(rewards_at, kls, *at(config.alpha), jnp.stack(best))


def _best_of(rewards: jax.Array, count: int) -> jax.Array:
    """Mean of the best of so many answers, in groups."""
    groups = rewards.shape[1] // count
    if groups == 0:
        return jnp.array(jnp.nan)
    return rewards[:, : groups * count].reshape(-1, groups, count).max(axis=-1).mean()
