"""
An energy in two dimensions, from data to samples and likelihood
=================================================================

A network learns the density of two moons by telling them from a Gaussian. Its normalizer is solved
for at every step. Then chains draw from it, and the held-out log-likelihood gets an error bar.
"""

# sphinx_gallery_thumbnail_number = 2
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

from nce_jax import likelihood, models, noise, plots, samplers, training

# %%
# The data
# --------
# Two half circles of radius 1 with a little noise. 4,000 points are for training, 1,000 for the
# test at the end.


def two_moons(key, num_samples):
    """Points (num_samples, 2) near two half circles that interlock."""
    key_angle, key_moon, key_noise = jax.random.split(key, 3)
    angle = jnp.pi * jax.random.uniform(key_angle, (num_samples,))
    moon = jax.random.bernoulli(key_moon, shape=(num_samples,))
    x = jnp.where(moon, jnp.cos(angle), 1 - jnp.cos(angle))
    y = jnp.where(moon, jnp.sin(angle), 0.5 - jnp.sin(angle))
    return jnp.stack([x, y], axis=-1) + 0.1 * jax.random.normal(key_noise, (num_samples, 2))


x_train = two_moons(jax.random.key(0), 4_000)
x_test = two_moons(jax.random.key(1), 1_000)

# %%
# Training
# --------
# An energy is a pair: parameters, and a function of them and of samples that returns unnormalized
# log densities. The noise is the Gaussian with the data's mean and covariance.

params, log_density_fn = models.mlp_energy(jax.random.key(2), 2)
gaussian = noise.fitted_gaussian(x_train)
train = training.make_train_step(log_density_fn, gaussian, optax.adam(3e-3))
run = training.fit(
    train,
    train.init(params),
    x_train,
    jax.random.key(3),
    num_steps=1_000,
    batch_size=500,
    log_every=20,
    progress=False,
)
plots.training_history(run)

# %%
# The overlap says how hard it is to tell data and noise apart: 1 where they are the same, 0 where
# nothing can be learned. It stays far from 0 here, so that the solved F can be trusted.
#
# Samples
# -------
# Chains start at draws of the noise. Their step size is adapted before they are used.


def log_density(x):
    return log_density_fn(run.state.params, x)


starts = gaussian.sample(seed=jax.random.key(4), sample_shape=(1_000,))
tuned = samplers.adapt_step_size(
    jax.random.key(5), log_density, starts, kernel_fn=samplers.mala, step_size=0.1, num_steps=200
)
kernel = samplers.mala(tuned.step_size)
chains = samplers.sample_chains(
    jax.random.key(6), log_density, tuned.x, kernel=kernel, num_steps=500
)
print(f"acceptance rate {chains.acceptance_rate.mean():.2f}")

figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
plots.energy_map(log_density, [-1.6, -1.1], [2.6, 1.6], x=x_test[:300], ax=panels[0])
panels[0].set_title("energy, test data")
plots.energy_map(log_density, [-1.6, -1.1], [2.6, 1.6], x=chains.x[:300], ax=panels[1])
panels[1].set_title("energy, samples of the model")

# %%
# Likelihood
# ----------
# The F of training belongs to the loss. The likelihood needs the log Z of the model: chains
# that are annealed from the noise to the model bound it on one side, and chains that go back from
# the test samples on the other.

result = likelihood.held_out_log_likelihood(
    jax.random.key(7), log_density_fn, run.state.params, x_test, gaussian, num_samples=1_000
)
baseline = likelihood.log_likelihood(gaussian.log_prob(x_test))
print(f"log Z = {result.log_partition:.2f}, between {result.lower:.2f} and {result.upper:.2f}")
print(f"energy   {result.log_likelihood:.3f} +- {result.standard_error:.3f} nats")
print(f"Gaussian {baseline.mean:.3f} +- {baseline.standard_error:.3f} nats")
print(f"reliable: {result.is_reliable}")
