"""Inverse temperatures from the noise (0) to the model (1)."""

import jax
import jax.numpy as jnp

from nce_jax._checks import check_positive, check_positive_int
from nce_jax._types import Array, Float


def linear_schedule(num_stages: int) -> Float[Array, " temperatures"]:
    """Evenly spaced inverse temperatures, b_t = t / T with T = `num_stages`.

    Args:
      num_stages: T; one stage is plain importance sampling.

    Returns:
      T + 1 values from 0 to 1.

    Raises:
      TypeError: `num_stages` is not an integer.
      ValueError: it is less than one.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.linear_schedule(4).tolist()
      [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    check_positive_int("num_stages", num_stages)
    return jnp.linspace(0, 1, num_stages + 1)


def sigmoid_schedule(num_stages: int, *, slope: float = 4.0) -> Float[Array, " temperatures"]:
    r"""Inverse temperatures that are dense at both ends, where the distribution changes fastest.

    .. math::

       b_t = \frac{c_t - c_0}{c_T - c_0}, \qquad
       c_t = \sigma\Big(\delta \Big(\frac{2t}{T} - 1\Big)\Big),

    with T = `num_stages` and delta = `slope`.

    Args:
      num_stages: T; one stage is plain importance sampling.
      slope: delta > 0; as it tends to zero, the schedule becomes linear.

    Returns:
      T + 1 values from 0 to 1.

    Raises:
      TypeError: `num_stages` is not an integer.
      ValueError: `num_stages` is less than one, or `slope` is not positive.

    Examples:
      >>> from nce_jax import samplers
      >>> [f"{b:.4f}" for b in samplers.sigmoid_schedule(4).tolist()]
      ['0.0000', '0.1050', '0.5000', '0.8950', '1.0000']

    References:
      Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte
        Carlo, 2015.
    """
    check_positive("slope", slope)
    linear = linear_schedule(num_stages)
    steep = jax.nn.sigmoid(slope * (2 * linear - 1))
    # At a slope of 1e-8 all sigmoids are one half. c - 1/2 = tanh(.) / 2 keeps their differences,
    # and is linear below a slope of 1e-3.
    flat = jnp.tanh(jnp.clip(slope, 1e-3, 1) * (linear - 0.5))
    return jnp.where(
        jnp.asarray(slope) > 1,
        (steep - steep[0]) / jnp.where(steep[-1] > steep[0], steep[-1] - steep[0], 1),
        (1 + flat / flat[-1]) / 2,
    )
