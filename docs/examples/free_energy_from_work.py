"""
A free energy from work values
==============================

Work values of two states, or of a chain of states, to a free energy difference with an error, an
overlap to look at first, and a plot that shows whether the simulation was long enough.
"""

# sphinx_gallery_thumbnail_number = 2
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import nce_jax
from nce_jax import free_energy, plots

# %%
# Two states
# ----------
# An oscillator is stiffened from a spring constant of 1 to one of 4, in units of kT. The work of a
# switch is the difference of the two energies at a sample of the state that it starts from. The
# exact answer is log(4) / 2.

springs = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0])
x = jax.random.normal(jax.random.key(0), (5, 2_000)) / jnp.sqrt(springs)[:, None]


def energy(spring, x):
    return 0.5 * spring * x**2


forward = energy(springs[2], x[0]) - energy(springs[0], x[0])
reverse = energy(springs[0], x[2]) - energy(springs[2], x[2])
result = nce_jax.bar(forward, reverse)
print(f"Delta F = {result.delta_f:.3f} +- {result.standard_error:.3f} kT")
print(f"exact     {jnp.log(4) / 2:.3f}")
print(f"overlap {result.overlap:.2f}, effective samples {result.effective_samples:.0f}")

# %%
# A wrong sign or unit would give numbers that look as good. The samples know better: work is a log
# ratio of two densities, so that telling the two sides apart by it has the slope 1.
# `free_energy.check_work` raises where the slope is far from that.

free_energy.check_work(forward, reverse)
for factor, unit in ((1.0, "kT"), (0.596, "kcal/mol")):
    found = free_energy.work_slope(factor * forward, factor * reverse)
    print(f"work in {unit}: slope {found.slope:.2f}, {found.score:.1f} standard errors from 1")

# %%
# Was the simulation long enough?
# -------------------------------
# The estimate from the first tenth of the samples, the first two tenths and so on, and the same
# from the end. Where the two curves agree within their errors long before the right edge, it was.

parts = free_energy.bar_convergence(forward, reverse)
plots.free_energy_convergence(parts)

# %%
# A chain of states
# -----------------
# Larger changes are divided into windows. `bar_chain` takes those between neighbors; `mbar` takes
# the energies of all samples in all states, and uses overlaps that reach beyond the neighbor.

forward = energy(springs[1:, None], x[:-1]) - energy(springs[:-1, None], x[:-1])
reverse = energy(springs[:-1, None], x[1:]) - energy(springs[1:, None], x[1:])
chain = free_energy.bar_chain(forward, reverse)
states = nce_jax.mbar(energy(springs[:, None], x.ravel()), [2_000] * 5)

exact = jnp.log(16) / 2
print(f"chain  {chain.total:.3f} +- {chain.total_standard_error:.3f} kT")
print(f"mbar   {states.f[-1]:.3f} +- {states.standard_error[0, -1]:.3f} kT")
print(f"exact  {exact:.3f} kT")

figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plots.free_energy_windows(chain, offset=-0.1, label="bar_chain", ax=panels[0])
plots.free_energy_windows(states, offset=0.1, label="mbar", color="C1", marker="s", ax=panels[0])
plots.overlap_matrix(states, ax=panels[1])

# %%
# Correlated samples
# ------------------
# Samples of a simulation resemble their neighbors. `statistical_inefficiency` says how many of them
# are worth one independent sample, and `bar` widens the error accordingly. Here every sample is
# written down four times.

slow_forward, slow_reverse = jnp.repeat(forward[0], 4), jnp.repeat(reverse[0], 4)
inefficiency = free_energy.statistical_inefficiency(slow_forward)
naive = nce_jax.bar(slow_forward, slow_reverse)
honest = nce_jax.bar(slow_forward, slow_reverse, statistical_inefficiency=inefficiency)
print(f"inefficiency {inefficiency:.1f}")
print(f"as if independent {naive.standard_error:.4f}, corrected {honest.standard_error:.4f}")
