"""
log Z three ways, with error bars
=================================

The normalizer of a model whose log Z is known is estimated from one direction, from two, and along
a path; and each estimate says how far off it may be.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import nce_jax
from nce_jax import diagnostics, noise, plots, samplers

# %%
# A model with a known log Z
# --------------------------
# Five independent coordinates, each with two modes of standard deviation 0.5 at -1 and 1. The two
# Gaussians of a coordinate are not normalized: each integrates to the square root of pi / 2.

dim, std = 5, 0.5
exact = dim * jnp.log(2 * jnp.sqrt(2 * jnp.pi) * std)


def log_density(x):
    """Unnormalized log densities (n,) of points (n, dim)."""
    modes = jnp.stack([-0.5 * ((x - m) / std) ** 2 for m in (-1.0, 1.0)])
    return jnp.sum(jax.nn.logsumexp(modes, axis=0), axis=-1)


def sample(key, num_samples):
    key_mode, key_normal = jax.random.split(key)
    mode = jax.random.rademacher(key_mode, (num_samples, dim), float)
    return mode + std * jax.random.normal(key_normal, (num_samples, dim))


# %%
# 1. From samples of the noise alone
# ----------------------------------
# Importance sampling: the mean of exp(s) over the noise, where s is the log ratio of model and
# noise.

normal = noise.standard_normal(dim)
x_noise = normal.sample(seed=jax.random.key(0), sample_shape=(2_000,))
s_noise = log_density(x_noise) - normal.log_prob(x_noise)
weighted = diagnostics.importance_log_partition(s_noise)

# %%
# 2. From samples of both sides
# -----------------------------
# Where the model can be sampled too, the solved normalizer F of NCE is Bennett's estimate of log Z,
# which has the smallest variance that such samples allow. The bootstrap draws both sets anew.

x_model = sample(jax.random.key(1), 2_000)
s_model = log_density(x_model) - normal.log_prob(x_model)
solution = nce_jax.solve_log_partition(s_model, s_noise)
error = nce_jax.log_partition_standard_error(s_model, s_noise, log_partition=solution.log_partition)
bootstrap = nce_jax.bootstrap_log_partition(jax.random.key(2), s_model, s_noise, num_replicates=500)
print(
    nce_jax.Status(solution.status).name,
    f"overlap {nce_jax.overlap(s_model, s_noise, log_partition=solution.log_partition):.2f}",
)

# %%
# 3. Along a path
# ---------------
# Annealed importance sampling moves chains from the noise to the model. It needs no samples of the
# model, and weights that are left at the end correct for chains that have not arrived.

annealed = samplers.annealed_importance_sampling(
    jax.random.key(3),
    log_density,
    normal,
    kernel=samplers.hmc(0.3, 5),
    schedule=samplers.linear_schedule(20),
    num_samples=2_000,
)

# %%
# Side by side
# ------------
# Bars are one standard error. Each comes from 2,000 samples of the noise, and the two in the middle
# from 2,000 of the model, too.

estimates = {
    "importance sampling": (weighted.log_partition, weighted.standard_error),
    "both sides, solved": (solution.log_partition, error),
    "both sides, bootstrap": (solution.log_partition, bootstrap.standard_error),
    "annealing": (annealed.log_partition, annealed.standard_error),
}
for name, (value, standard_error) in estimates.items():
    print(f"{name:22} {value:.3f} +- {standard_error:.3f}   exact {exact:.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
values, errors = zip(*estimates.values(), strict=True)
left.errorbar(values, range(len(values)), xerr=errors, fmt="o", capsize=3)
left.axvline(exact, color="gray", linestyle="--")
left.set_yticks(range(len(values)), list(estimates))
left.set_xlabel("log Z (nats); dashed: exact")
plots.log_ratio_histogram(s_model, s_noise, bins=40, ax=right)
