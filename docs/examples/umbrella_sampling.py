"""
Over a barrier by umbrella sampling
===================================

Two valleys with a barrier of 12 kT between them: a simulation stays where it began. Harmonic
umbrellas hold one simulation each along a coordinate, and all of them together give the free energy
along it, with error bars.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import nce_jax
from nce_jax import free_energy, plots, samplers

# %%
# The energy
# ----------
# A double well in x, whose valleys bend in y. The coordinate is x.


def energy(z):
    x, y = z[..., 0], z[..., 1]
    return 12 * (x**2 - 1) ** 2 + 4 * (y - 0.5 * x**2) ** 2 + x


def bias(z, center):
    return 40 / 2 * (z[..., 0] - center) ** 2


# %%
# One chain per umbrella
# ----------------------
# All chains are one program; `context` gives each of them its own center.

centers = jnp.linspace(-1.5, 1.5, 19)
starts = jnp.stack([centers, 0.5 * centers**2], axis=-1)
chains = samplers.sample_chains(
    jax.random.key(0),
    lambda z, center: -energy(z) - bias(z, center),
    starts,
    kernel=samplers.mala(0.012),
    num_steps=6_000,
    keep_every=5,
    context=centers,
)
z = chains.trajectory  # (umbrellas, draws, 2)

# %%
# What is kept
# ------------
# The beginning of a chain still shows where it started, and neighboring draws are alike. The series
# to look at is x: the differences between neighboring biases are linear in it.

series = z[..., 0]
start = int(free_energy.detect_equilibration(series).start.max())
z = z[:, start:]
inefficiency = free_energy.statistical_inefficiency(series[:, start:])
print(f"{start} of {series.shape[1]} draws of each umbrella are cut")
print(
    f"{inefficiency.min():.1f} to {inefficiency.max():.1f} draws are worth one that is independent"
)

# %%
# The free energy along x
# -----------------------
# The states are the umbrellas, and the one without a bias, which nothing was drawn from.

num_kept = z.shape[1]
z = z.reshape(-1, 2)
unbiased = energy(z)
potentials = jnp.vstack([unbiased, unbiased + bias(z, centers[:, None])])
num_samples = [0] + [num_kept] * len(centers)
edges = np.linspace(-1.3, 1.3, 27)
profile = free_energy.potential_of_mean_force(
    potentials,
    z[:, 0],
    num_samples,
    edges=edges,
    statistical_inefficiency=jnp.append(1.0, inefficiency),
)

# The exact one: the integral over y is the same for every x.
middle = (edges[1:] + edges[:-1]) / 2
fine = np.linspace(edges[0], edges[-1], 26 * 100 + 1)[:-1] + 0.0005
exact = -np.log(np.exp(-12 * (fine**2 - 1) ** 2 - fine).reshape(26, 100).mean(axis=1))
lowest = int(np.nanargmin(profile.f))
exact = exact - exact[lowest]

figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
panels[0].plot(middle, exact, color="black", label="exact")
panels[0].errorbar(middle, profile.f, 1.96 * profile.standard_error, fmt="o", ms=4, label="95 %")
panels[0].set(xlabel="x", ylabel="free energy [kT]")
panels[0].legend()
states = nce_jax.mbar(potentials[1:], num_samples[1:], statistical_inefficiency=inefficiency)
plots.overlap_matrix(states, ax=panels[1])

inside = np.abs(profile.f - exact) <= 1.96 * profile.standard_error
inside = np.delete(inside, lowest)  # zero by definition
print(f"{inside.sum()} of {len(inside)} intervals of 95 % hold the exact value")

# %%
# How much deeper is one valley than the other?
# ---------------------------------------------
# Bins are correlated, since they lean on the same umbrellas: the error of a difference of two bins
# needs `covariance`, not the two errors alone.

left, right = np.argmin(np.abs(middle + 0.95)), np.argmin(np.abs(middle - 0.95))
covariance = profile.covariance
variance = covariance[left, left] + covariance[right, right] - 2 * covariance[left, right]
print(f"right less left {profile.f[right] - profile.f[left]:.2f} +- {jnp.sqrt(variance):.2f} kT")
print(f"exact           {exact[right] - exact[left]:.2f} kT")
