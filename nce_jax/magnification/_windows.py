"""Signal and noise of the training itself, told apart by how far it got over two windows of steps.

An update is taken for A(M) mu + xi: a drift that scales with the acceptance, and noise of variance
nu(M) n_0 in the metric of the Hessian. With weights that fade over the last w steps, the
displacement U = sum_j r^j update_j then has

    curvature  U'HU = c (sum r^j A_j)^2 + n_0 sum r^2j nu_j,        c = mu'H mu,
    slope     <grad, U> = -s (sum r^j A_j) + n_0 sum r^j nu_j,      s = -<grad, mu> now,

since the noise of every past update still sits in the parameters. A longer window W gives a second
curvature, U'HW, in which the drift weighs more and the noise less: two equations for c and n_0, and
then one for s. Everything on the left is a directional derivative of the log ratios of the batch at
hand, which is independent of U.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

FRACTION = 8.0
"""A window is an eighth of the steps so far: what has no scale of its own needs no setting."""


class Windows(NamedTuple):
    """Displacements of the parameters over the short and the long window, and the sums of A and nu
    that belong to them.
    """

    short: Any
    long: Any
    drift: jax.Array
    drift_long: jax.Array
    energy: jax.Array
    energy_cross: jax.Array
    noise: jax.Array


class Measured(NamedTuple):
    """A batch's directional derivatives in units of the acceptance, or running means of them,
    beside their coefficients.

    slope = s - noise_per_drift n_0; curvature = drift_square c + energy n_0; cross = drift_cross c
    + energy_cross n_0.
    """

    slope: jax.Array
    noise_per_drift: jax.Array
    curvature: jax.Array
    cross: jax.Array
    drift_square: jax.Array
    drift_cross: jax.Array
    energy: jax.Array
    energy_cross: jax.Array


class Motion(NamedTuple):
    """s, c and n_0."""

    signal: jax.Array
    curvature: jax.Array
    noise: jax.Array


def still(params: Any, dtype: Any) -> Windows:
    """Before the first step."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    zero = jnp.zeros((), dtype)
    return Windows(zeros, jax.tree.map(jnp.copy, zeros), zero, zero, zero, zero, zero)


def advance(
    windows: Windows, updates: Any, acceptance: jax.Array, variance: jax.Array, step: jax.Array
) -> Windows:
    """The windows after an update, taken at an M of the given A and nu."""
    width = jnp.maximum(1.0, (step + 1) / FRACTION).astype(acceptance.dtype)
    keep, keep_long = 1 - 1 / width, 1 - 1 / (2 * width)

    def fade(share):
        return lambda old, new: (share * old + new).astype(old.dtype)

    return Windows(
        short=jax.tree.map(fade(keep), windows.short, updates),
        long=jax.tree.map(fade(keep_long), windows.long, updates),
        drift=keep * windows.drift + acceptance,
        drift_long=keep_long * windows.drift_long + acceptance,
        energy=keep**2 * windows.energy + variance,
        energy_cross=keep * keep_long * windows.energy_cross + variance,
        noise=keep * windows.noise + variance,
    )


def combine(
    windows: Windows,
    slope: jax.Array,
    curvature: jax.Array,
    cross: jax.Array,
    acceptance: jax.Array,
) -> Measured:
    """One batch's measurement, in units of the acceptance at the M of the loss that was
    differentiated.
    """
    return Measured(
        slope=-slope / (windows.drift * acceptance),
        noise_per_drift=windows.noise / windows.drift,
        curvature=curvature / acceptance,
        cross=cross / acceptance,
        drift_square=windows.drift**2,
        drift_cross=windows.drift * windows.drift_long,
        energy=windows.energy,
        energy_cross=windows.energy_cross,
    )


def solve_motion(mean: Measured) -> Motion:
    """Solves the two equations for drift and noise; where the windows are still the same, all is
    taken for drift.
    """
    determinant = mean.drift_square * mean.energy_cross - mean.drift_cross * mean.energy
    is_solvable = jnp.abs(determinant) > 1e-6 * mean.drift_square * mean.energy_cross
    noise = (mean.drift_square * mean.cross - mean.drift_cross * mean.curvature) / jnp.where(
        is_solvable, determinant, 1
    )
    most = mean.curvature / jnp.where(mean.energy > 0, mean.energy, 1)
    noise = jnp.where(is_solvable, jnp.clip(noise, 0, most), 0)
    left = mean.curvature - noise * mean.energy
    curvature = jnp.maximum(left, 0) / jnp.where(mean.drift_square > 0, mean.drift_square, 1)
    return Motion(mean.slope + noise * mean.noise_per_drift, curvature, noise)
