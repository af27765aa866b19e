r"""Drift and noise of a training, separated by its displacements over two windows of steps.

An update is modeled as :math:`A(M) \mu + \xi`: a drift that scales with the acceptance, and noise
of variance :math:`\nu(M) n_0` in the metric of the Hessian. With weights that decay over the last w
steps, the displacement :math:`U = \sum_j r^j \mathrm{update}_j` has

.. math::
   U'HU &= c \Big(\sum_j r^j A_j\Big)^2 + n_0 \sum_j r^{2j} \nu_j, & c &= \mu' H \mu, \\
   \langle \nabla L, U \rangle &= -s \sum_j r^j A_j + n_0 \sum_j r^j \nu_j, &
   s &= -\langle \nabla L, \mu \rangle,

since the noise of every past update is part of the parameters. A longer window W gives a second
curvature, :math:`U'HW`, in which the drift weighs more and the noise less: two equations for c and
n_0, and then one for s. The left sides are directional derivatives of the log ratios of the current
batch, which is independent of U.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

WINDOW_DIVISOR = 8.0
"""A window is the number of steps so far divided by this: a length that grows with the training
needs no setting."""


class Windows(NamedTuple):
    r"""Displacements of the parameters over both windows, with the sums of A and :math:`\nu`.

    Attributes:
      short: :math:`U = \sum_j r^j \mathrm{update}_j` over the short window, of decay r.
      long: :math:`W = \sum_j q^j \mathrm{update}_j` over the long window, of decay q.
      drift: :math:`\sum_j r^j A_j`.
      drift_long: :math:`\sum_j q^j A_j`.
      noise_square: :math:`\sum_j r^{2j} \nu_j`.
      noise_cross: :math:`\sum_j (r q)^j \nu_j`.
      noise: :math:`\sum_j r^j \nu_j`.
    """

    short: Any
    long: Any
    drift: jax.Array
    drift_long: jax.Array
    noise_square: jax.Array
    noise_cross: jax.Array
    noise: jax.Array


class Measurements(NamedTuple):
    r"""Directional derivatives of the loss on a batch, and the coefficients of their equations.

    .. math::
       \text{slope} &= s - \text{noise\_per\_drift}\; n_0, \\
       \text{curvature} &= \text{drift\_square}\; c + \text{noise\_square}\; n_0, \\
       \text{cross} &= \text{drift\_cross}\; c + \text{noise\_cross}\; n_0.

    All derivatives are in units of the acceptance. Running means of them satisfy the same
    equations.

    Attributes:
      slope: minus the derivative along U, per unit of drift.
      noise_per_drift: its coefficient of n_0.
      curvature: second derivative along U.
      cross: mixed second derivative along U and W.
      drift_square: coefficient of c in `curvature`.
      drift_cross: coefficient of c in `cross`.
      noise_square: coefficient of n_0 in `curvature`.
      noise_cross: coefficient of n_0 in `cross`.
    """

    slope: jax.Array
    noise_per_drift: jax.Array
    curvature: jax.Array
    cross: jax.Array
    drift_square: jax.Array
    drift_cross: jax.Array
    noise_square: jax.Array
    noise_cross: jax.Array


class Motion(NamedTuple):
    """The three numbers that the choice of M needs.

    Attributes:
      signal: s, decrease of the loss per unit of drift.
      curvature: c, curvature of the loss along the drift.
      noise: n_0, noise of an update in the metric of the Hessian.
    """

    signal: jax.Array
    curvature: jax.Array
    noise: jax.Array


def initial_windows(params: Any, dtype: Any) -> Windows:
    """The windows before the first step."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    zero = jnp.zeros((), dtype)
    return Windows(zeros, jax.tree.map(jnp.copy, zeros), zero, zero, zero, zero, zero)


def advance(
    windows: Windows, updates: Any, acceptance: jax.Array, variance: jax.Array, step: jax.Array
) -> Windows:
    """The windows after an update that was made at an M with the given A and nu."""
    width = jnp.maximum(1.0, (step + 1).astype(acceptance.dtype) / WINDOW_DIVISOR)
    decay, decay_long = 1 - 1 / width, 1 - 1 / (2 * width)

    def add_decayed(rate):
        dtype = rate.dtype
        return lambda old, new: (rate * old.astype(dtype) + new.astype(dtype)).astype(old.dtype)

    return Windows(
        short=jax.tree.map(add_decayed(decay), windows.short, updates),
        long=jax.tree.map(add_decayed(decay_long), windows.long, updates),
        drift=decay * windows.drift + acceptance,
        drift_long=decay_long * windows.drift_long + acceptance,
        noise_square=decay**2 * windows.noise_square + variance,
        noise_cross=decay * decay_long * windows.noise_cross + variance,
        noise=decay * windows.noise + variance,
    )


def combine(
    windows: Windows,
    slope: jax.Array,
    curvature: jax.Array,
    cross: jax.Array,
    acceptance: jax.Array,
) -> Measurements:
    """The measurements of one batch, from derivatives of the loss along U and W.

    `acceptance` is that at the M of the loss that was differentiated.
    """
    return Measurements(
        slope=-slope / (windows.drift * acceptance),
        noise_per_drift=windows.noise / windows.drift,
        curvature=curvature / acceptance,
        cross=cross / acceptance,
        drift_square=windows.drift**2,
        drift_cross=windows.drift * windows.drift_long,
        noise_square=windows.noise_square,
        noise_cross=windows.noise_cross,
    )


def solve_motion(mean: Measurements) -> Motion:
    """Solves the equations for s, c and n_0.

    While both windows are the same the two curvatures do not differ, and all motion counts as
    drift.
    """
    determinant = mean.drift_square * mean.noise_cross - mean.drift_cross * mean.noise_square
    is_solvable = jnp.abs(determinant) > 1e-6 * mean.drift_square * mean.noise_cross
    noise = (mean.drift_square * mean.cross - mean.drift_cross * mean.curvature) / jnp.where(
        is_solvable, determinant, 1
    )
    largest_noise = mean.curvature / jnp.where(mean.noise_square > 0, mean.noise_square, 1)
    noise = jnp.where(is_solvable, jnp.clip(noise, 0, largest_noise), 0)
    drift_part = jnp.maximum(mean.curvature - noise * mean.noise_square, 0)
    curvature = drift_part / jnp.where(mean.drift_square > 0, mean.drift_square, 1)
    return Motion(mean.slope + noise * mean.noise_per_drift, curvature, noise)
