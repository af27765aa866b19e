"""
Every picture of nce_jax.plots
==============================

Each function of :py:mod:`nce_jax.plots` takes a result as it was returned and gives back the Axes,
to be labeled or changed further. :doc:`/plots` has the table of what draws what.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import nce_jax
from nce_jax import free_energy, log_partition, noise, plots, training

keys = jax.random.split(jax.random.key(0), 8)

# %%
# Log ratios of data and noise
# ----------------------------
# The dashed line is F. Where the two sets do not overlap around it, few samples carry the gradient
# and the estimate of log Z.

z = jax.random.normal(keys[0], (2, 500))
plots.log_ratio_histogram(z[0] + 1, z[1] - 1, bins=30)

# %%
# An estimated log ratio
# ----------------------
# Calibration: of the held-out samples to which the ratio gives a probability p of being data, about
# a fraction p should be data.

x_data = np.asarray(jax.random.normal(keys[1], (600, 2)) + 1)
x_noise = np.asarray(jax.random.normal(keys[2], (600, 2)))
estimate = nce_jax.fit_log_ratio(keys[3], x_data, x_noise, num_steps=50, progress=False)
figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
plots.calibration_curve(estimate, ax=panels[0])
plots.roc_curve(estimate, ax=panels[1])

# %%
# A training run
# --------------
# A run that is still going is in its folder: ``pandas.read_json("run/metrics.jsonl", lines=True)``
# gives the columns.


def log_density_fn(params, x):
    return -0.5 * jnp.sum((x - params) ** 2, axis=-1)


train = training.make_train_step(log_density_fn, noise.standard_normal(2), optax.sgd(0.1))
options = {"num_steps": 60, "log_every": 2, "batch_size": 100, "progress": False}
run = training.fit(train, train.init(jnp.zeros(2)), x_data, keys[4], **options)
plots.training_history(run)

# %%
# An energy in two dimensions

plots.energy_map(lambda x: log_density_fn(run.state.params, x), [-3, -3], [5, 5], x=x_data)

# %%
# The stages of a telescope
# -------------------------
# Overlap, share of the variance, and misfit of every stage.

far = np.asarray(jax.random.normal(keys[5], (500, 1)) + 5)
near = np.asarray(jax.random.normal(keys[6], (500, 1)))
telescope = nce_jax.fit_telescope(keys[7], far, near, progress=False)
plots.telescope_stages(telescope)

# %%
# Solvers of the equation for F
# -----------------------------

problem = log_partition.make_problem(3 * z[0], 2 * z[1] - 5)
ax = plots.solver_iterates(problem, label="Newton")
plots.solver_iterates(problem, solver=log_partition.fixed_point(), label="fixed point", ax=ax)
ax.legend()

# %%
# Free energies of many states
# ----------------------------

means = jnp.linspace(0.0, 4.0, 5)[:, None]
x = means + jax.random.normal(keys[0], (5, 500))
energy = lambda mean, x: (x - mean) ** 2 / 2
forward = energy(means[1:], x[:-1]) - energy(means[:-1], x[:-1])
reverse = energy(means[:-1], x[1:]) - energy(means[1:], x[1:])
chain = free_energy.bar_chain(forward, reverse)
states = free_energy.mbar(energy(means, x.ravel()), [500] * 5)
figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plots.free_energy_windows(chain, offset=-0.1, label="bar_chain", ax=panels[0])
plots.free_energy_windows(states, offset=0.1, label="mbar", color="C1", marker="s", ax=panels[0])
plots.overlap_matrix(states, ax=panels[1])

# %%
# Convergence in both directions, and a bootstrap
# -----------------------------------------------

figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
parts = free_energy.bar_chain_convergence(forward, reverse)
plots.free_energy_convergence(parts, ax=panels[0])
bootstrap = free_energy.bootstrap_bar_chain(keys[1], forward, reverse, num_replicates=200)
plots.bootstrap_histogram(bootstrap, ax=panels[1])

# %%
# A sweep
# -------
# Lanes that failed are left out of median and band; each cross says how many there were.


def mean_of_draws(scale, count, seed):
    draws = scale * jax.random.normal(jax.random.key(seed), (64,))
    return jnp.mean(jnp.where(jnp.arange(64) < count, draws, 0)) * 64 / count


axes = {"scale": jnp.array([1.0, 2.0]), "count": jnp.array([4, 16, 64]), "seed": jnp.arange(20)}
result = nce_jax.sweep(mean_of_draws, axes, progress=False)
ax = plots.sweep_lines(result, "value", "count", lines="scale")
ax.set_xscale("log")

# %%
# The same as the command ``nce-sweep plot FOLDER --x count --panels scale`` draws it:

plots.sweep_panels(result, "value", "count", panels="scale")
