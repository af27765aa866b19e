"""Distributions of numpyro, TFP and flowjax with the methods of a noise."""

from typing import Any

from nce_jax import _distributions
from nce_jax._types import Noise


def as_noise(noise: Any) -> Noise:
    """Returns a distribution of another library with the methods that the library calls.

    Every function of this library that takes a noise does this itself; call it for loops of your
    own. What a distribution is shows in its methods, and nothing of its library is imported:

    - numpyro and flowjax draw by `sample(key, sample_shape)`; TFP by `sample(sample_shape, seed)`;
    - what draws with densities by `sample_and_log_prob(seed=, sample_shape=)`, as distrax does and
      the noise of this library, is returned as it is.

    The result is a pytree where the distribution is one, so that it can be an argument or a result
    of transformed functions. Outside of the support that numpyro states the log density is minus
    infinity, whether its validation is on or off.

    Args:
      noise: a distribution over whole samples: of numpyro with `.to_event(1)`, of TFP in
        `Independent`, of flowjax with its `shape`, where it is made of scalars.

    Returns:
      A `Noise`.

    Raises:
      TypeError: no distribution, or one without keys, such as those of torch and SciPy.
      ValueError: a distribution with a batch shape, named with the cure, or with a condition.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import numpyro.distributions as dist
      >>> from nce_jax import noise
      >>> q = noise.as_noise(dist.StudentT(5.0, jnp.zeros(2), 1.0).to_event(1))
      >>> x_noise, log_noise = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(100,))
      >>> x_noise.shape, log_noise.shape, q.event_shape
      ((100, 2), (100,), (2,))

    References:
      Phan, Pradhan and Jankowiak, Composable effects for flexible and accelerated probabilistic
        programming in NumPyro, 2019.
      Dillon et al., TensorFlow Distributions, 2017.
    """
    return _distributions.as_noise(noise)
