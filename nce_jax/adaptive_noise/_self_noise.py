"""The model's own past as noise: samples of a snapshot, and the snapshot's log density with its log
Z.
"""

import dataclasses
from typing import Any

import flax
import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_noise, check_params, evaluate_model
from nce_jax._types import Array, ArrayLike, Float, LogDensityFn, Params, PRNGKeyArray, Real
from nce_jax.diagnostics import importance_log_partition
from nce_jax.log_partition import Status
from nce_jax.samplers import Chains, Kernel, annealed_importance_sampling, sample_chains

_FEW = 10.0
"""An effective sample size below this has no error bar, and its samples descend from too few: our
choice."""


@flax.struct.dataclass
class SelfNoise:
    """A snapshot of a model as a noise distribution: q(x) = exp(phi_old(x) - log Z_old). A pytree;
    see `self_noise`.

    Draws are taken from the buffer `x`, uniformly and with replacement: given the buffer they are
    independent, but they repeat, and the noise term of a loss tends to the mean over the buffer,
    not over q. Standard errors have to count the buffer's samples, however many draws are made.
    Nothing fresh is drawn until `refresh_self_noise`.

    Attributes:
      params: theta_old, of the snapshot.
      log_partition: the estimate of log Z_old, in nats; NaN where it is not finite.
      standard_error: of log_partition, in nats, to first order; refreshes add theirs in quadrature.
      effective_sample_size: of the weights behind the last reweighting, between 1 and the size of
        the buffer.
      acceptance_rate: mean of the transitions at the snapshot.
      num_nonfinite: steps of all chains together at which something was not finite, int32.
      status: a `Status`, int32: NONFINITE, or NO_OVERLAP where the effective sample size has ever
        been below 10.
      x: the buffer, (size, ...).
      log_density: phi_old of the buffer, (size,).
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
        """log q of samples, (samples, ...) -> (samples,): one pass of the snapshot."""
        value = jnp.asarray(value)
        return evaluate_model(self.log_density_fn, self.params, value) - self.log_partition

    def sample(self, *, seed: PRNGKeyArray, sample_shape: Any = ()) -> Float[Array, "..."]:
        """Draws from the buffer, with replacement."""
        return self.sample_and_log_prob(seed=seed, sample_shape=sample_shape)[0]

    def sample_and_log_prob(
        self, *, seed: PRNGKeyArray, sample_shape: Any = ()
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Draws from the first half of the buffer, with replacement, and log q of each, which costs
        nothing.
        """
        shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        row = jax.random.randint(seed, shape, 0, _half(self.x))
        return self.x[row], self.log_density[row] - self.log_partition


def self_noise(
    key: PRNGKeyArray,
    log_density_fn: LogDensityFn,
    params: Params,
    base_noise: Any,
    *,
    kernel: Kernel,
    schedule: Float[ArrayLike, " temperatures"],
    num_samples: int,
    num_steps: int = 100,
) -> SelfNoise:
    """Makes a noise of a model as it is: a buffer of its samples, and its log density with its log
    Z.

    Chains are led from `base_noise` to the model by annealed importance sampling, which gives log Z
    with its error; they are then resampled by their weights, and take `num_steps` transitions at
    the model itself. Where they end is the buffer.

    It is a noise for NCE under two conditions. Its *normalized* density is known: log Z here is the
    model's, never the F* of a fit, which equals log Z only for a model that fits already. And the
    buffer holds samples of that density: the chains have to have reached it. The second matters
    more. Write u = phi - F - (phi_old - log Z_old): an error e in log Z_old can be made good by F
    alone, F -> F + e leaves every u as it was. Where F is solved for, therefore, the parameters do
    not notice, and F is off by e; where F is held, or is read as log Z, they do. Samples from
    elsewhere bias the parameters. While params is the snapshot, u is constant, and at kappa = 1 the
    gradient of the loss is half that of the likelihood.

    Args:
      key: a typed PRNG key.
      log_density_fn: `log_density_fn(params, x)`, phi.
      params: theta_old.
      base_noise: where the chains start; any noise that covers the model,
        `noise.fitted_gaussian(x_data)` say.
      kernel: `samplers.mala(...)` or `samplers.hmc(...)`.
      schedule: inverse temperatures from 0 to 1, `samplers.linear_schedule(...)` say. Take more of
        them where the effective sample size comes out small.
      num_samples: chains, and size of the buffer, at least 2: the first half is drawn from, the
        second is kept from the training, for `refresh_self_noise` to follow log Z with.
      num_steps: transitions after the resampling, enough for copies of one chain to forget each
        other.

    Returns:
      A `SelfNoise`, for `make_train_step`. Read its `status`, `standard_error` and
      `acceptance_rate` first. A second estimate of log Z, one that rests on the buffer, is
      `likelihood.model_log_partition` between it and draws of the base noise: where the two
      disagree, the chains have not arrived.

    Raises:
      TypeError: `key` is not a typed key, or a count is no integer.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, shapes
        that do not fit.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import adaptive_noise, noise, samplers
      >>> log_density_fn = lambda params, x: (
      ...     -0.5 * jnp.sum((x - params) ** 2, axis=-1)
      ... )  # log Z = log 2 pi = 1.8379
      >>> @jax.jit
      ... def make(key, params):
      ...     return adaptive_noise.self_noise(
      ...         key,
      ...         log_density_fn,
      ...         params,
      ...         noise.standard_normal(2),
      ...         kernel=samplers.mala(0.5),
      ...         schedule=samplers.linear_schedule(10),
      ...         num_samples=500,
      ...         num_steps=20,
      ...     )
      >>> snapshot = make(jax.random.key(0), jnp.ones(2))
      >>> abs(snapshot.log_partition - 1.8379) < 4 * snapshot.standard_error < 0.3
      Array(True, dtype=bool)

    References:
      Goodfellow, On distinguishability criteria for estimating generative models, 2014, section 4
        (the model as its noise).
      Neal, Annealed importance sampling, 2001, section 2.
    """
    check_key(key)
    check_log_density_fn(log_density_fn)
    check_params(params)
    check_noise(base_noise, "base_noise")
    check_kernel(kernel)
    check_positive_int("num_steps", num_steps)
    check_positive_int("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError(
            "num_samples: expected at least 2, half to draw from and half to follow log Z, got"
            f" {num_samples}"
        )
    key_annealing, key_resample, key_chains = jax.random.split(key, 3)

    def log_model(x: jax.Array) -> jax.Array:
        return evaluate_model(log_density_fn, params, x)

    annealed = annealed_importance_sampling(
        key_annealing,
        log_model,
        base_noise,
        kernel=kernel,
        schedule=schedule,
        num_samples=num_samples,
    )
    x = annealed.x[_systematic(key_resample, annealed.log_weights)]
    chains = sample_chains(key_chains, log_model, x, kernel=kernel, num_steps=num_steps)
    size = annealed.effective_sample_size
    status = _status(annealed.log_partition, size)
    noise = _assemble(
        log_density_fn,
        params,
        annealed.log_partition,
        annealed.standard_error,
        size,
        status,
        chains,
    )
    num_nonfinite = noise.num_nonfinite + jnp.sum(annealed.num_nonfinite, dtype=jnp.int32)
    return dataclasses.replace(noise, num_nonfinite=num_nonfinite)


def refresh_self_noise(
    key: PRNGKeyArray, noise: SelfNoise, params: Params, *, kernel: Kernel, num_steps: int = 10
) -> SelfNoise:
    """Moves a self-noise to a newer snapshot of its model: the buffer is reweighted, resampled and
    moved on.

    With w_i = exp(phi_new(x_i) - phi_old(x_i)) over the buffer, log Z_new = log Z_old + log mean_i
    w_i; the buffer is resampled by w, and every chain takes `num_steps` transitions at the new
    snapshot. This is one step of a sequential Monte Carlo sampler along the path of the training.
    The mean is over the second half of the buffer, which is never drawn from: a model is pushed
    down at the very samples that it was trained against, and their weights would say so, refresh by
    refresh. The variance of log mean w is added to that of log Z_old, as if the transitions made
    the samples forget: so the error grows with every refresh; `self_noise`, called anew, brings it
    back. Refresh before the effective sample size falls low.

    Args:
      key: a typed PRNG key.
      noise: of the older snapshot.
      params: theta_new, a pytree like that of the older one.
      kernel: `samplers.mala(...)` or `samplers.hmc(...)`.
      num_steps: transitions of every chain.

    Returns:
      A `SelfNoise` of the same structure, so that a compiled step that takes it as an argument
      serves it too. Its status keeps what it was where that was not CONVERGED.

    Raises:
      TypeError: `key` is not a typed key, or `num_steps` is no integer.
      ValueError: a kernel without a Metropolis test, or `num_steps` below one.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import adaptive_noise, noise, samplers
      >>> log_density_fn = lambda params, x: (
      ...     params * x[:, 0] - 0.5 * jnp.sum(x**2, axis=-1)
      ... )  # log Z = params^2 / 2 + const
      >>> @jax.jit
      ... def make_and_refresh(key, new_key):
      ...     old = adaptive_noise.self_noise(
      ...         key,
      ...         log_density_fn,
      ...         jnp.array(0.0),
      ...         noise.standard_normal(1),
      ...         kernel=samplers.mala(0.5),
      ...         schedule=samplers.linear_schedule(2),
      ...         num_samples=1000,
      ...     )
      ...     return old, adaptive_noise.refresh_self_noise(
      ...         new_key, old, jnp.array(0.5), kernel=samplers.mala(0.5)
      ...     )
      >>> old, new = make_and_refresh(jax.random.key(0), jax.random.key(1))
      >>> abs(new.log_partition - old.log_partition - 0.125) < 4 * new.standard_error < 0.1
      Array(True, dtype=bool)

    References:
      Del Moral, Doucet and Jasra, Sequential Monte Carlo samplers, 2006, section 3.
    """
    check_key(key)
    check_positive_int("num_steps", num_steps)
    check_instance("noise", noise, SelfNoise, "self_noise(...)")
    check_params(params)
    _check_same_structure(params, noise.params)
    check_kernel(kernel)
    key_resample, key_chains = jax.random.split(key)

    def log_model(x: jax.Array) -> jax.Array:
        return evaluate_model(noise.log_density_fn, params, x)

    log_weights, half = log_model(noise.x) - noise.log_density, _half(noise.x)
    change = importance_log_partition(log_weights[half:])
    rows = [
        _systematic(key_resample, log_weights[:half]),
        half + _systematic(key_resample, log_weights[half:]),
    ]
    chains = sample_chains(
        key_chains, log_model, noise.x[jnp.concatenate(rows)], kernel=kernel, num_steps=num_steps
    )
    log_partition, size = noise.log_partition + change.log_partition, change.effective_sample_size
    error = jnp.hypot(noise.standard_error, change.standard_error)
    status = jnp.where(noise.status == Status.CONVERGED, _status(log_partition, size), noise.status)
    return _assemble(noise.log_density_fn, params, log_partition, error, size, status, chains)


def check_kernel(kernel: Any) -> None:
    """Raises unless `kernel` is one that leaves the snapshot's density invariant."""
    check_instance("kernel", kernel, Kernel, "samplers.mala(0.1)")
    if not kernel.is_adjusted:
        raise ValueError(
            "kernel: expected one with a Metropolis test (mala, hmc), got one that accepts always,"
            " whose chains do not sample the snapshot"
        )


def _check_same_structure(params: Params, snapshot: Params) -> None:
    expected, got = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in (jax.tree.leaves_with_path(snapshot), jax.tree.leaves_with_path(params))
    )
    if expected != got:
        raise ValueError(f"params: expected the snapshot's shapes, {expected}, got {got}")


def _half(x: jax.Array) -> int:
    """Rows that are drawn from; those behind them follow the change of log Z."""
    return x.shape[0] // 2


def _systematic(key: PRNGKeyArray, log_weights: jax.Array) -> jax.Array:
    """Rows in proportion to the weights, each as often as its share says but for rounding; equal
    weights keep every row.
    """
    count = log_weights.size
    cumulative = jnp.cumsum(jax.nn.softmax(log_weights))
    positions = (jnp.arange(count) + jax.random.uniform(key, (), cumulative.dtype)) / count
    return jnp.clip(jnp.searchsorted(cumulative, positions * cumulative[-1]), 0, count - 1)


def _status(log_partition: jax.Array, effective_sample_size: jax.Array) -> jax.Array:
    status = jnp.where(effective_sample_size < _FEW, Status.NO_OVERLAP, Status.CONVERGED)
    return jnp.where(jnp.isfinite(log_partition), status, Status.NONFINITE)


def _assemble(
    log_density_fn, params: Params, log_partition, error, size, status, chains: Chains
) -> SelfNoise:
    """One dtype throughout, whatever the estimates came in: a refreshed noise takes the place of
    the older one in a loop.
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
