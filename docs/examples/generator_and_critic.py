"""
A generator that learns from a critic
=====================================

The critic is a log ratio of data and samples, trained by NCE; the generator goes where the critic
sees data. What keeps the two from circling each other is a penalty, and the overlap says when the
critic has won.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

from nce_jax import criteria, critics, diagnostics, toys, training

# %%
# Data on a spiral
# ----------------
# A second sample of the data shows how far apart two sets are that have one distribution.

toy = toys.swiss_roll()
x_data = toy.sample(jax.random.key(0), 8_000)
x_other = toy.sample(jax.random.key(4), 2_000)

# %%
# Two networks
# ------------
# Any functions of parameters: the generator maps normal numbers to samples, the critic samples to
# log ratios.


def init(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (m, n)) / m**0.5, jnp.zeros((1, n))) for k, m, n in pairs]


def network(layers, x):
    for weight, bias in layers[:-1]:
        x = jax.nn.silu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def sample_fn(params, key, x_data):
    return 3 * network(params, jax.random.normal(key, (len(x_data), 8)))


def log_ratio_fn(params, x):
    return network(params, x)[:, 0]


# %%
# Three critics
# -------------
# F is solved at every step. The generator's average is what is used in the end.

runs = {}


def train_against(name, magnification, penalty_fn):
    critic = training.make_critic_step(
        log_ratio_fn,
        optax.adam(2e-3, b1=0.5),
        criterion=criteria.nce(magnification=magnification),
        penalty_fn=penalty_fn,
    )
    optimizer = training.with_average(optax.adam(1e-3, b1=0.5), 0.99)
    train = critics.make_two_player_step(sample_fn, critic, optimizer)
    keys = jax.random.split(jax.random.key(1))
    state = train.init(init(keys[0], [8, 128, 128, 2]), init(keys[1], [2, 128, 128, 1]))
    runs[name] = training.fit(
        train, state, x_data, jax.random.key(2),
        num_steps=3000, batch_size=256, log_every=50, progress=False,
    )  # fmt: skip


penalty = critics.gradient_penalty(log_ratio_fn, strength=0.1, where="samples")
train_against("M = 1", 1.0, None)
train_against("M = 1, gradient penalty", 1.0, penalty)
train_against("M = 50, gradient penalty", 50.0, penalty)

# %%
# What the generators learned
# ---------------------------
# Squared maximum mean discrepancies to data at a scale of 0.2, with their standard errors. No
# generator has the law of the data yet. The penalty makes the critic smooth, and the arms of the
# spiral with it; M makes no difference that one seed could show.

figure, panels = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")
samples = {"data": x_other}
for name, run in runs.items():
    generator = training.averaged_params(run.state)
    samples[name] = sample_fn(generator, jax.random.key(3), x_other)
distances = {}
for ax, (name, x) in zip(panels, samples.items(), strict=True):
    distance = diagnostics.kernel_distance(x, x_data[:2_000], metric="gaussian", bandwidth=0.2)
    distances[name] = distance
    print(f"{name:25} {distance.value:.4f} +- {distance.standard_error:.4f}")
    ax.scatter(*x.T, s=2)
    ax.set(title=name, xlim=(-4, 4), ylim=(-4, 4), aspect="equal")

# %%
# The overlap during training
# ---------------------------
# Near one, critic and generator agree that samples look like data; near zero, the critic tells them
# apart and its gradient says little. See :doc:`/critics` for what helps then.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, run in runs.items():
    ax.plot(run.history["step"], run.history["overlap"], label=name)
ax.set(xlabel="step", ylabel="overlap", ylim=(0, 1))
ax.legend()
