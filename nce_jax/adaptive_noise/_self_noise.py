"""A past snapshot of the model as a noise distribution."""

from typing import Any

import flax
import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance
from nce_jax._contracts import evaluate_model
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params, PRNGKeyArray, Real
from nce_jax.samplers import Chains, Kernel


@flax.struct.dataclass
class SelfNoise:
    """A snapshot of a model as a noise distribution, q(x) = exp(phi_old(x) - log Z_old).

    `self_noise` makes it. It is a pytree. Samples are drawn from the buffer `x`, uniformly and with
    replacement. Given the buffer they are independent, but they repeat, and the noise term of a
    loss tends to the mean over the buffer, not over q: standard errors have to use the number of
    samples in the buffer, however many are drawn. The buffer changes only in `refresh_self_noise`.

    Attributes:
      params: theta_old, the parameters of the snapshot.
      log_partition: the estimate of log Z_old, in nats; NaN where it is not finite.
      standard_error: standard error of log_partition, in nats, to first order; refreshes add
        theirs in quadrature.
      effective_sample_size: effective sample size of the weights in the last reweighting, between
        1 and the size of the buffer.
      acceptance_rate: mean acceptance rate of the transitions at the snapshot.
      num_nonfinite: number of steps, summed over chains, at which a value was not finite, int32.
      status: a `Status`, int32: NONFINITE, or LOW_OVERLAP if the error of a reweighting had fewer
        than `log_partition.MIN_EFFECTIVE_SAMPLES` effective samples behind it.
      x: the buffer, (size, ...).
      log_density: phi_old at the buffer, (size,).
      log_density_fn: phi; static.
    """

    params: Params
    log_partition: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    acceptance_rate: Float[Array, ""]
    num_nonfinite: Real[Array, ""]
    status: Real[Array, ""]
    x: Float[Array, "size ..."]
    log_density: Float[Array, " size"]
    log_density_fn: LogDensityFn = flax.struct.field(pytree_node=False)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return self.x.shape[1:]

    def log_prob(self, value: Float[ArrayLike, "samples ..."]) -> Float[Array, " samples"]:
        """Returns log q of samples, (samples, ...) -> (samples,), by one pass of the snapshot."""
        value = jnp.asarray(value)
        return evaluate_model(self.log_density_fn, self.params, value) - self.log_partition

    def sample(self, *, seed: PRNGKeyArray, sample_shape: Any = ()) -> Float[Array, "..."]:
        """Draws from the buffer, with replacement."""
        return self.sample_and_log_prob(seed=seed, sample_shape=sample_shape)[0]

    def sample_and_log_prob(
        self, *, seed: PRNGKeyArray, sample_shape: Any = ()
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Draws from the first half of the buffer, with replacement, and returns log q of each.

        The log densities are stored, so that this costs no pass of the model.
        """
        shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        row = jax.random.randint(seed, shape, 0, num_drawn(self.x))
        return self.x[row], self.log_density[row] - self.log_partition


def num_drawn(x: jax.Array) -> int:
    """Returns the number of rows to draw from; all later rows are for the change of log Z."""
    return x.shape[0] // 2


def check_kernel(kernel: Any) -> None:
    """Raises unless `kernel` is one that leaves the snapshot's density invariant."""
    check_instance("kernel", kernel, Kernel, "samplers.mala(0.1)")
    if not kernel.is_adjusted:
        raise ValueError(
            "kernel: expected one with a Metropolis test (mala, hmc), got one that accepts always,"
            " whose chains do not sample the snapshot"
        )


def assemble(
    log_density_fn, params: Params, log_partition, error, size, status, chains: Chains
) -> SelfNoise:
    """Makes a `SelfNoise` in one dtype, whatever the dtypes of the estimates.

    In a loop, a refreshed noise has to replace the older one.
    """
    dtype = chains.log_density.dtype
    return SelfNoise(
        params=params,
        log_partition=jnp.asarray(log_partition, dtype),
        standard_error=jnp.asarray(error, dtype),
        effective_sample_size=jnp.asarray(size, dtype),
        acceptance_rate=jnp.mean(chains.acceptance_rate, dtype=dtype),
        num_nonfinite=jnp.sum(chains.num_nonfinite, dtype=jnp.int32),
        status=jnp.asarray(status, jnp.int32),
        x=chains.x,
        log_density=chains.log_density,
        log_density_fn=log_density_fn,
    )
