"""
A sweep of your own problem over M, noise ratio and seeds
=========================================================

Any function of named numbers becomes a grid that runs as one compiled program. The result has
labels, opens in xarray, and can be drawn, stored and resumed.
"""

import jax
import jax.numpy as jnp
import optax

import nce_jax
from nce_jax import models, noise, plots, training

# %%
# The problem
# -----------
# The mean of a Gaussian 4 standard deviations away from the noise is learned in 50 steps. The
# function takes the axes as arguments and returns what is to be measured: here, how far from the
# truth the run ends.

normal = noise.standard_normal(1)


def final_distance(magnification, noise_ratio, seed):
    params, log_density_fn = models.exponential_family(
        models.linear_statistics, jnp.zeros(1), log_base_measure=normal.log_prob
    )
    criterion = nce_jax.criteria.nce(magnification=magnification, noise_ratio=noise_ratio)
    train = training.make_train_step(
        log_density_fn, normal, optax.sgd(0.5), criterion=criterion, num_noise=200
    )

    def step(state, key):
        x_data = 4 + jax.random.normal(key, (200, 1))
        return train(state, x_data, jax.random.fold_in(key, 1))[0], None

    keys = jax.random.split(jax.random.key(seed), 50)
    state, _ = jax.lax.scan(step, train.init(params), keys)
    return jnp.abs(state.params[0] - 4)


# %%
# The grid
# --------
# 7 magnifications, 2 noise ratios and 20 seeds: 280 training runs, one compilation. Seeds share
# their draws over the other axes, so that differences between lanes are not noise.
# ``folder="my_sweep"`` would store every finished part, and ``resume=True`` continue after a kill.

axes = {
    "magnification": jnp.geomspace(1, 1_000, 7),
    "noise_ratio": jnp.array([1.0, 4.0]),
    "seed": jnp.arange(20),
}
result = nce_jax.sweep(final_distance, axes, progress=False)
print(result.to_xarray())

# %%
# The picture
# -----------
# Lines are medians over seeds, bands hold the middle two thirds of them. The objective depends on
# the noise ratio and on M through their product alone, so that one line is the other, moved by a
# factor of 4.

ax = plots.sweep_lines(result, "value", "magnification", lines="noise_ratio")
ax.set_xscale("log")
ax.set_yscale("log")
ax.set_ylabel("distance from the truth after 50 steps")

# %%
# The mean over seeds with its standard error, where a table is wanted:

mean = result.mean("seed")
for position, magnification in enumerate(axes["magnification"]):
    value, error = mean.mean[position, 0], mean.standard_error[position, 0]
    print(f"M = {magnification:6.1f}   {value:.3f} +- {error:.3f}")
