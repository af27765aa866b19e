"""
Across a density chasm
======================

Two sets of samples 8 standard deviations apart. One classifier tells them apart without error, and
therefore learns nothing about their ratio. A chain of stages crosses the gap, and knows its error.
"""

# sphinx_gallery_thumbnail_number = 2
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import nce_jax
from nce_jax import plots

# %%
# The log ratio of N(8, 1) and N(0, 1) is 8 x - 32, and the KL divergence is 32 nats.

x_data = 8 + jax.random.normal(jax.random.key(0), (4_000, 1))
x_noise = jax.random.normal(jax.random.key(1), (4_000, 1))
exact_kl = 32.0

# %%
# A single ratio
# --------------
# It warns that it cannot be trusted, and says why.

model = (jnp.zeros(1), lambda theta, x: x @ theta)
single = nce_jax.fit_log_ratio(
    jax.random.key(2), x_data, x_noise, model=model, num_steps=300, progress=False
)
print(single.summary())

# %%
# A chain of ratios
# -----------------
# `fit_telescope` builds bridges between the two sets, as many as are needed for neighbors to
# overlap, and fits one ratio between each pair of neighbors, all at once.

chain = nce_jax.fit_telescope(jax.random.key(3), x_data, x_noise, model=model, progress=False)
print(chain.summary())
print(f"KL {chain.kl:.2f} +- {chain.kl_standard_error:.2f}, exact {exact_kl}")
plots.telescope_stages(chain)

# %%
# The log ratio at any point
# --------------------------
# The shaded band is two standard errors of the chain.

x = jnp.linspace(-3, 11, 200)[:, None]
value, error = chain.log_ratio(x), chain.log_ratio_standard_error(x)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(x[:, 0], 8 * x[:, 0] - 32, "k--", label="exact")
ax.plot(x[:, 0], single.log_ratio(x), color="C1", label="a single ratio")
ax.plot(x[:, 0], value, color="C0", label="a chain of ratios")
ax.fill_between(x[:, 0], value - 2 * error, value + 2 * error, color="C0", alpha=0.3)
ax.set_xlabel("x")
ax.set_ylabel("log ratio (nats)")
ax.legend()
