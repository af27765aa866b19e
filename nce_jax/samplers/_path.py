"""The loop of annealed importance sampling along the geometric path."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._dtypes import compute_dtype
from nce_jax._promotion import standard_promotion
from nce_jax._types import Noise, PRNGKeyArray
from nce_jax.samplers._chains import advance, of_one, start
from nce_jax.samplers._kernels import Kernel


class Path(NamedTuple):
    """The geometric path, at one position.

    Where the noise has density zero, every f_b with b < 1 is zero too.
    """

    log_density_fn: Callable[[Any], Any]
    noise: Noise

    def log_ratio(self, x: jax.Array, context: Any) -> jax.Array:
        log_model, log_noise = self.ends(x, context)
        return log_model - log_noise

    def ends(self, x: jax.Array, context: Any) -> tuple[jax.Array, jax.Array]:
        """Log densities of the model and of the noise, in one dtype."""
        with standard_promotion():
            log_noise = of_one(self.noise.log_prob)(x, None)
        log_model = of_one(self.log_density_fn)(x, context)
        dtype = compute_dtype(log_model, log_noise)
        return log_model.astype(dtype), log_noise.astype(dtype)

    def log_density(self, inverse_temperature: jax.Array, x: jax.Array, context: Any) -> jax.Array:
        log_model, log_noise = self.ends(x, context)
        mixed = (1 - inverse_temperature) * log_noise + _times(inverse_temperature, log_model)
        return jnp.where(jnp.isneginf(log_noise), -jnp.inf, mixed)


def _times(factor: jax.Array, values: jax.Array) -> jax.Array:
    """The product, which is zero for a factor of zero, whatever the values.

    Temperatures may repeat, and log densities be infinite.
    """
    return jnp.where(factor == 0, 0, factor * values)


class Annealed(NamedTuple):
    """The chains at the end of an annealing, and the log weights of their paths."""

    x: jax.Array
    log_weights: jax.Array
    num_nonfinite: jax.Array
    acceptance_rate: jax.Array


def anneal(
    key: PRNGKeyArray,
    path: Path,
    x: jax.Array,
    context: Any,
    kernel: Kernel,
    schedule: jax.Array,
    num_steps: int,
    reverse: bool,
) -> Annealed:
    """Weighs the chains at every change of temperature, and moves them in between.

    There is no move after the last change, since it would not affect the weights.
    """
    log_ratio = jax.vmap(path.log_ratio)
    dtype = jax.eval_shape(log_ratio, x, context).dtype
    schedule = schedule.astype(dtype)
    is_valid = (schedule[0] == 0) & (schedule[-1] == 1) & (jnp.diff(schedule) >= 0).all()
    schedule = jnp.flip(schedule) if reverse else schedule

    def stage(carry, step):
        x, log_weights, num_nonfinite = carry
        index, change, inverse_temperature = step
        log_weights += _times(change, log_ratio(x, context))
        one_fn = functools.partial(path.log_density, inverse_temperature)
        begun = start(kernel, one_fn, x, context)
        key_stage = jax.random.fold_in(key, index)
        tally = advance(key_stage, kernel, one_fn, begun, num_steps, context)
        carry = tally.state.position, log_weights, num_nonfinite + tally.num_nonfinite
        return carry, jnp.mean(tally.acceptance) / num_steps

    changes = jnp.diff(schedule)
    steps = jnp.arange(changes.size - 1), changes[:-1], schedule[1:-1]
    begin = x, jnp.zeros(x.shape[0], dtype), jnp.zeros(x.shape[0], jnp.int32)
    (x, log_weights, num_nonfinite), rates = jax.lax.scan(stage, begin, steps)
    log_weights += _times(changes[-1], log_ratio(x, context))
    return Annealed(x, jnp.where(is_valid, log_weights, jnp.nan), num_nonfinite, rates)
