"""
The evidence of a Bayesian model
================================

The marginal likelihood of a model is the normalizer of its posterior: log Z of an unnormalized
density that Markov chains can sample. Bridge sampling, as in R's package bridgesampling, estimates
it with an error bar from the draws that the analysis has anyway. Two evidences give a Bayes factor.
"""

import distrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import nce_jax
from nce_jax import free_energy, noise, plots, samplers

# %%
# Two models of the same data
# ---------------------------
# Is the response a line or a parabola of t? Both are linear in their coefficients, with a normal
# prior, so that the exact evidence is known: the responses are normal with the covariance
# A A' + s^2. Nothing below uses that.

key_t, key_y, key = jax.random.split(jax.random.key(0), 3)
t = jax.random.uniform(key_t, (40,), minval=-1.0, maxval=1.0)
y = 0.5 + 1.5 * t + 0.3 * jax.random.normal(key_y, (40,))
designs = {"line": t[:, None] ** jnp.arange(2), "parabola": t[:, None] ** jnp.arange(3)}


def log_joint(beta, design):
    """Log of likelihood times prior of coefficients (n, dim): an unnormalized posterior."""
    log_prior = distrax.MultivariateNormalDiag(jnp.zeros(beta.shape[-1])).log_prob(beta)
    mean = beta @ design.T
    return log_prior + jnp.sum(distrax.Normal(mean, 0.3).log_prob(y), axis=-1)


def exact(design):
    covariance = design @ design.T + 0.09 * jnp.eye(len(y))
    return distrax.MultivariateNormalFullCovariance(jnp.zeros(len(y)), covariance).log_prob(y)


# %%
# Draws of the posterior
# ----------------------
# From the samplers here, or from any other program: an array (chains, draws, dim), unconstrained.


def posterior(key, design):
    key_starts, key_chains = jax.random.split(key)
    starts = jax.random.normal(key_starts, (4, design.shape[1]))
    target = lambda beta: log_joint(beta, design)
    chains = samplers.sample_chains(
        key_chains, target, starts, kernel=samplers.hmc(0.03, 4), num_steps=3_000, keep_every=1
    )
    return chains.trajectory[:, 500:]


# %%
# The bridge
# ----------
# A normal distribution is fitted to one half of the draws; the other half, which it has not seen,
# is compared with samples of it. Bennett's ratio, `bar_chain` with one window, finds the ratio of
# the two normalizers. Draws of a chain are correlated, which widens the error by their statistical
# inefficiency.


def evidence(key, draws, design):
    fit, kept = jnp.split(draws, 2, axis=1)
    normal = noise.fitted_gaussian(fit.reshape(-1, fit.shape[-1]))
    proposals = normal.sample(seed=key, sample_shape=(4_000,))

    def log_ratio(beta):
        return log_joint(beta, design) - normal.log_prob(beta)

    series = jax.vmap(log_ratio)(kept)  # (chains, draws)
    inefficiency = free_energy.statistical_inefficiency(series).max()
    # From the normal distribution (log Z = 0) to the posterior: the work is minus the log ratio.
    return free_energy.bar_chain(
        [-log_ratio(proposals)],
        [series.ravel()],
        statistical_inefficiency=[1.0, inefficiency],
        shared_samples=False,
    )


found = {}
for name, design in designs.items():
    key, key_chain, key_bridge = jax.random.split(key, 3)
    result = evidence(key_bridge, posterior(key_chain, design), design)
    nce_jax.check_solution(result, allow_no_overlap=False)
    found[name] = (-result.total, result.total_standard_error)
    print(
        f"{name:9s} log evidence {-result.total:.3f} +- {result.total_standard_error:.3f}, ", end=""
    )
    print(f"exact {exact(design):.3f}, overlap {result.overlap[0]:.2f}")

# %%
# The Bayes factor
# ----------------
# The two estimates come from independent draws, so their variances add up.

factor = found["line"][0] - found["parabola"][0]
error = jnp.hypot(found["line"][1], found["parabola"][1])
truth = exact(designs["line"]) - exact(designs["parabola"])
print(f"log Bayes factor of the line {factor:.3f} +- {error:.3f}, exact {truth:.3f}")

# %%
# Is it any good?
# ---------------
# `check_solution` above raises where few effective draws are behind the error. Then, or below an
# overlap of about 0.1, take more draws, transform the coefficients (logs of scales), or fit a flow
# (`noise.fit_flow`) in the place of the normal distribution. The histograms of the log ratios
# should meet.

key_chain, key_bridge = jax.random.split(key)
draws = posterior(key_chain, designs["parabola"])
normal = noise.fitted_gaussian(draws[:, :1_250].reshape(-1, 3))
kept = draws[:, 1_250:].reshape(-1, 3)
proposals = normal.sample(seed=key_bridge, sample_shape=(4_000,))
log_ratios = [
    log_joint(beta, designs["parabola"]) - normal.log_prob(beta) for beta in (kept, proposals)
]
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
plots.log_ratio_histogram(*log_ratios, ax=axes)
