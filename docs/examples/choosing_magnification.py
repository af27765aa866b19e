"""
Choosing the magnification M
============================

A larger M follows maximum likelihood more closely and learns faster, until noise takes over. Here
fixed values of M are compared with the rule that chooses M at every step.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import nce_jax
from nce_jax import models, noise, training

# %%
# The problem
# -----------
# The mean of a Gaussian in five dimensions, 3 standard deviations away from the noise. log Z is
# known, so that the likelihood lost to the truth can be computed: half of the squared distance.

dim, distance, num_steps, num_seeds = 5, 3.0, 400, 20
normal = noise.standard_normal(dim)
truth = jnp.full((dim,), distance / jnp.sqrt(dim))
params, log_density_fn = models.exponential_family(
    models.linear_statistics, jnp.zeros(dim), log_base_measure=normal.log_prob
)


def train(**options):
    """Nats lost after each step, (num_seeds, num_steps), and the M of each step."""
    step_fn = training.make_train_step(
        log_density_fn, normal, optax.sgd(0.2), num_noise=200, **options
    )

    def step(state, key):
        x_data = truth + jax.random.normal(key, (200, dim))
        state, metrics = step_fn(state, x_data, jax.random.fold_in(key, 1))
        return state, (0.5 * jnp.sum((state.params - truth) ** 2), metrics.magnification)

    @jax.jit
    @jax.vmap
    def run(key):
        return jax.lax.scan(step, step_fn.init(params), jax.random.split(key, num_steps))[1]

    return run(jax.random.split(jax.random.key(0), num_seeds))


# %%
# Four fixed values, and the rule
# -------------------------------

fixed = {
    M: train(criterion=nce_jax.criteria.nce(magnification=M))[0]
    for M in (1.0, 10.0, 100.0, 1_000.0)
}
lost, chosen = train(magnification_rule=nce_jax.adaptive_magnification())

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
steps = np.arange(1, num_steps + 1)
for M, values in fixed.items():
    left.plot(steps, np.median(values, axis=0), label=f"M = {M:.0f}")
left.plot(steps, np.median(lost, axis=0), "k", linewidth=2, label="chosen at every step")
left.set(xscale="log", yscale="log", xlabel="step", ylabel="likelihood lost (nats), median")
left.legend()
right.plot(steps, np.median(chosen, axis=0), "k")
right.fill_between(steps, *np.percentile(chosen, [16, 84], axis=0), color="k", alpha=0.2)
right.set(xscale="log", yscale="log", xlabel="step", ylabel="M of the rule")

# %%
# Early on, large values of M win; in the end M = 1 has the lowest noise. The rule starts high and
# comes down by itself, with no setting to tune.

for when in (10, 50, num_steps):
    row = "  ".join(f"M={M:.0f}: {np.median(v[:, when - 1]):.4f}" for M, v in fixed.items())
    print(f"step {when:3}:  {row}  rule: {np.median(lost[:, when - 1]):.4f}")
