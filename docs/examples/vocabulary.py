"""
A vocabulary: the softmax of a language model from a few sampled words
======================================================================

The output layer of a language model with 10,000 words is trained on 64 sampled words per step. Each
step touches the rows of the words that occur in it, and no others.
"""

import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

from nce_jax import diagnostics, losses, noise, training

# %%
# A text with a known law
# -----------------------
# Words come from a hidden output layer with frequencies by Zipf's law. Noise words are drawn by
# their frequencies.

V, dim, K = 10_000, 16, 64
words = noise.unigram(1e6 / jnp.arange(1, V + 1), power=1.0)
truth = {
    "embedding": 0.4 * jax.random.normal(jax.random.key(0), (V, dim)),
    "bias": words.log_prob(jnp.arange(V)),
}


def draw(key, num_tokens=256):
    """Hidden states (num_tokens, dim) and the words that follow them."""
    key_hidden, key_word = jax.random.split(key)
    hidden = jax.random.normal(key_hidden, (num_tokens, dim))
    logits = hidden @ truth["embedding"].T + truth["bias"]
    return hidden, jax.random.categorical(key_word, logits)


tokens = [draw(jax.random.fold_in(jax.random.key(1), i)) for i in range(200)]
hidden_test, targets_test = draw(jax.random.key(2), 1_000)

# %%
# Two losses, one train step
# --------------------------
# NCE decides for every word by itself whether it is data or noise, so that its scores become log
# probabilities. The sampled softmax picks the target among the sampled words.


def nce(table, hidden, targets, noise_ids, log_noise):
    return losses.vocabulary_nce_loss(hidden, targets, noise_ids, **table, **log_noise)


def sampled_softmax(table, hidden, targets, noise_ids, log_noise):
    log_noise_ids = log_noise["log_noise_ids"]
    return losses.sampled_softmax_loss(
        hidden, targets, noise_ids, **table, log_noise_ids=log_noise_ids
    )


optimizer = optax.adam(0.02)


@functools.partial(jax.jit, static_argnums=0)
def step(loss, table, state, hidden, targets, key):
    noise_ids, log_q = words.sample_and_log_prob(seed=key, sample_shape=K)
    log_noise = {"log_noise_targets": words.log_prob(targets), "log_noise_ids": log_q}
    rows = training.touched_rows(targets, noise_ids, num_rows=V)
    gathered = training.gather_rows(table, rows)
    gradient = jax.grad(loss)(gathered, hidden, *rows.positions, log_noise)
    return training.update_rows(optimizer, gradient, state, table, rows)


def train(loss):
    """The trained layer, and the test perplexity of the full softmax on the way."""
    table = {"embedding": jnp.zeros((V, dim)), "bias": truth["bias"]}  # starts at frequencies
    state, curve = optimizer.init(table), []
    for i, (hidden, targets) in enumerate(tokens):
        if i % 25 == 0:
            curve.append((i, diagnostics.perplexity(hidden_test, targets_test, **table)))
        table, state = step(
            loss, table, state, hidden, targets, jax.random.fold_in(jax.random.key(3), i)
        )
    return table, curve


# %%
# Perplexity
# ----------
# Always that of the full softmax. The best possible one is that of the hidden layer.

start = time.perf_counter()
curves, tables = {}, {}
for loss in (nce, sampled_softmax):
    tables[loss], curves[loss] = train(loss)
best = diagnostics.perplexity(hidden_test, targets_test, **truth)
print(f"{time.perf_counter() - start:.0f} s for {2 * len(tokens)} steps and their perplexities")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for loss, curve in curves.items():
    ax.plot(*zip(*curve, strict=True), marker="o", label=loss.__name__.replace("_", " "))
    print(f"{loss.__name__:16} perplexity {curve[0][1]:.0f} -> {curve[-1][1]:.0f}")
ax.axhline(best, color="gray", linestyle="--", label=f"the true layer, {best:.0f}")
ax.set_xlabel("step")
ax.set_ylabel("test perplexity")
ax.legend()

# %%
# Scores that are log probabilities
# ---------------------------------
# With NCE the log partition function of the scores stays near zero, so that a word can be scored
# without a sum over the vocabulary. The sampled softmax leaves it free.

for loss, table in tables.items():
    report = diagnostics.self_normalization(hidden_test, **table)
    print(f"{loss.__name__:16} log Z {report.mean:6.2f} +- {report.standard_deviation:.2f}")
