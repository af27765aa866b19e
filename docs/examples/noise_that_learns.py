"""
Noise that learns
=================

The closer the noise is to the data, the more a classifier learns from each sample. A flow is fitted
to the data first; or a snapshot of the model itself is the noise, and is renewed during training.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from nce_jax import adaptive_noise, models, noise, plots, samplers, training

# %%
# Data on a ring of eight modes
# -----------------------------
# The density is known, so that each energy can be judged by its KL divergence from the data, by
# quadrature on a grid.

angles = 2 * jnp.pi * jnp.arange(8) / 8
centers = 2.5 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def draw(key, num_samples):
    key_mode, key_normal = jax.random.split(key)
    mode = jax.random.randint(key_mode, (num_samples,), 0, 8)
    return centers[mode] + 0.4 * jax.random.normal(key_normal, (num_samples, 2))


def log_density_of_data(x):
    distance = jnp.sum((x[:, None] - centers) ** 2, axis=-1) / (2 * 0.4**2)
    return jax.nn.logsumexp(-distance, axis=-1) - jnp.log(8 * 2 * jnp.pi * 0.4**2)


side = jnp.linspace(-6, 6, 200)
grid = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
cell = (side[1] - side[0]) ** 2


def kl_divergence(log_density):
    """KL(data : model) in nats; the model is normalized on the grid."""
    model = log_density(grid)
    model = model - jax.nn.logsumexp(model) - jnp.log(cell)
    data = log_density_of_data(grid)
    return jnp.sum(jnp.exp(data) * (data - model)) * cell


x_data = draw(jax.random.key(0), 8_000)
params, log_density_fn = models.mlp_energy(jax.random.key(1), 2)
options = {"num_steps": 800, "batch_size": 500, "log_every": 20, "progress": False}

# %%
# A Gaussian
# ----------
# The baseline: fitted to mean and covariance.

gaussian = noise.fitted_gaussian(x_data)
runs = {}


def train_against(distribution, name):
    train = training.make_train_step(log_density_fn, distribution, optax.adam(3e-3))
    runs[name] = training.fit(train, train.init(params), x_data, jax.random.key(2), **options)


train_against(gaussian, "Gaussian")

# %%
# A flow, mixed with the Gaussian
# -------------------------------
# The flow is fitted by maximum likelihood and then held. Alone it leaves gaps between the modes, in
# which nothing keeps the model's density low; half of a Gaussian fills them.

flow = adaptive_noise.fit_flow(jax.random.key(3), x_data, num_steps=300, progress=False)
print(f"log-likelihood of the flow {flow.log_likelihood:.3f} +- {flow.standard_error:.3f}")


class HalfAndHalf:
    """An equal mixture of two noises; any class with these two methods can be the noise."""

    def log_prob(self, x):
        pair = jnp.stack([flow.noise.log_prob(x), gaussian.log_prob(x)])
        return jax.nn.logsumexp(pair, axis=0) - jnp.log(2.0)

    def sample_and_log_prob(self, *, seed, sample_shape):
        key_flow, key_gaussian, key_choice = jax.random.split(seed, 3)
        from_flow = flow.noise.sample_and_log_prob(seed=key_flow, sample_shape=sample_shape)[0]
        from_gaussian = gaussian.sample(seed=key_gaussian, sample_shape=sample_shape)
        choice = jax.random.bernoulli(key_choice, shape=from_flow.shape[:-1])
        x = jnp.where(choice[..., None], from_flow, from_gaussian)
        return x, self.log_prob(x)


train_against(HalfAndHalf(), "half flow, half Gaussian")

# %%
# The model itself
# ----------------
# A snapshot of the energy, with samples that annealing has carried there. Every 50 steps it is
# renewed, so that the classifier always has to improve on what was learned so far.

kernel = samplers.mala(0.05)
first = adaptive_noise.self_noise(
    jax.random.key(4),
    log_density_fn,
    runs["Gaussian"].state.params,
    gaussian,
    kernel=kernel,
    schedule=samplers.sigmoid_schedule(50),
    num_samples=4_000,
)
train = adaptive_noise.make_self_noise_step(
    log_density_fn, optax.adam(1e-3), kernel=kernel, refresh_every=50
)
state = train.init(runs["Gaussian"].state.params, first)
runs["snapshots of the model"] = training.fit(train, state, x_data, jax.random.key(5), **options)

# %%
# The comparison
# --------------
# The snapshots continue the run against the Gaussian, so that they have had twice its steps.

figure, panels = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for ax, (name, run) in zip(panels, runs.items(), strict=True):
    trained = getattr(run.state, "train", run.state).params
    energy = lambda x, trained=trained: log_density_fn(trained, x)
    overlap = np.mean(run.history["overlap"][-5:])
    print(f"{name:25} KL {kl_divergence(energy):.3f}, overlap in training {overlap:.2f}")
    plots.energy_map(energy, [-4, -4], [4, 4], ax=ax)
    ax.set_title(name)
