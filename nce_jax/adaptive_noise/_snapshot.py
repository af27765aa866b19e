"""Makes a noise from the present model, and updates it to a newer one."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_params, evaluate_model
from nce_jax._distributions import as_noise
from nce_jax._types import ArrayLike, Float, LogDensityFn, Params, PRNGKeyArray
from nce_jax.adaptive_noise._self_noise import SelfNoise, assemble, check_kernel, num_drawn
from nce_jax.diagnostics import importance_log_partition
from nce_jax.log_partition import Status
from nce_jax.samplers import Kernel, annealed_importance_sampling, sample_chains


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
    """Makes a noise from the present model: samples of it in a buffer, and its log Z.

    Chains move from `base_noise` to the model by annealed importance sampling, which gives log Z
    with its error. They are then resampled by their weights, and make `num_steps` transitions at
    the model itself. Their final positions are the buffer.

    The result is a valid noise for NCE under two conditions. First, its *normalized* density is
    known: log Z is that of the model, never the F* of a fit, which equals log Z only for a model
    that already fits the data. Second, the buffer holds samples of that density, for which the
    chains must have converged. The second condition matters more. In u = phi - F - (phi_old - log
    Z_old), an error e in log Z_old is compensated by F alone: F -> F + e leaves every u unchanged.
    Where F is solved for, the error therefore does not affect the parameters, and F is wrong by e.
    Where F is held fixed, or is taken for log Z, it does affect them. Samples of another density
    bias the parameters. As long as `params` is the snapshot, u is constant, and at kappa = 1 the
    gradient of the loss is half the gradient of the likelihood.

    Args:
      key: a typed PRNG key.
      log_density_fn: `log_density_fn(params, x)`, phi.
      params: theta_old, a pytree of floating arrays.
      base_noise: the noise that the chains start from, which has to cover the model, such as
        `noise.fitted_gaussian(x_data)`.
      kernel: `samplers.mala(...)` or `samplers.hmc(...)`.
      schedule: inverse temperatures from 0 to 1, such as `samplers.linear_schedule(...)`. Use more
        of them if the effective sample size is small.
      num_samples: number of chains, and size of the buffer, at least 2. Samples are drawn from the
        first half. The second half is not used in the training, so that `refresh_self_noise` can
        estimate the change of log Z from it.
      num_steps: number of transitions after the resampling, enough for copies of one chain to
        become independent.

    Returns:
      A `SelfNoise`, for `make_train_step`. Check its `status`, `standard_error` and
      `acceptance_rate` first. A second estimate of log Z, which uses the buffer, is
      `likelihood.model_log_partition` of the buffer and samples of the base noise: if the two
      disagree, the chains have not converged.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, or shapes
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
    base_noise = as_noise(base_noise, "base_noise")
    check_kernel(kernel)
    check_positive_int("num_steps", num_steps)
    check_positive_int("num_samples", num_samples)
    if num_samples < 2:
        raise ValueError(
            "num_samples: expected at least 2, one half to draw from and one for estimates of log"
            f" Z, got {num_samples}"
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
    noise = assemble(
        log_density_fn,
        params,
        annealed.log_partition,
        annealed.standard_error,
        size,
        annealed.status,
        chains,
    )
    num_nonfinite = noise.num_nonfinite + jnp.sum(annealed.num_nonfinite, dtype=jnp.int32)
    return dataclasses.replace(noise, num_nonfinite=num_nonfinite)


def refresh_self_noise(
    key: PRNGKeyArray, noise: SelfNoise, params: Params, *, kernel: Kernel, num_steps: int = 10
) -> SelfNoise:
    r"""Updates a self-noise to a newer snapshot of its model.

    .. math:: \log Z_{\mathrm{new}} = \log Z_{\mathrm{old}} + \log \operatorname{mean}_i w_i,
       \qquad w_i = \exp\big(\varphi_{\mathrm{new}}(x_i) - \varphi_{\mathrm{old}}(x_i)\big)

    The :math:`x_i` are the samples of the buffer. The buffer is resampled by w, and every chain
    makes `num_steps` transitions at the new snapshot. This is one step of a sequential Monte Carlo
    sampler along the path of the training.

    The mean is over the second half of the buffer, from which no noise is drawn: training lowers
    the density of the model at the noise samples that it uses, so that the mean over the first half
    would be too low at every refresh. The variance of the logarithm of this mean is added to the
    variance of :math:`\log Z_{\mathrm{old}}`, as if the transitions made the samples independent.
    The error therefore grows with every refresh; a new call of `self_noise` reduces it. Refresh
    before the effective sample size becomes low.

    Args:
      key: a typed PRNG key.
      noise: the self-noise of the older snapshot.
      params: theta_new, a pytree with the structure of the older one.
      kernel: `samplers.mala(...)` or `samplers.hmc(...)`.
      num_steps: number of transitions of every chain.

    Returns:
      A `SelfNoise` of the same structure, so that a compiled step with the noise as an argument
      need not be compiled again. A status other than CONVERGED remains.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, parameters of other shapes, or `num_steps`
        below one.

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

    log_weights, half = log_model(noise.x) - noise.log_density, num_drawn(noise.x)
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
    of_change = jnp.where(jnp.isfinite(log_partition), change.status, Status.NONFINITE)
    status = jnp.where(noise.status == Status.CONVERGED, of_change, noise.status)
    return assemble(noise.log_density_fn, params, log_partition, error, size, status, chains)


def _check_same_structure(params: Params, snapshot: Params) -> None:
    expected, got = (
        {jax.tree_util.keystr(path): jnp.shape(leaf) for path, leaf in leaves}
        for leaves in (jax.tree.leaves_with_path(snapshot), jax.tree.leaves_with_path(params))
    )
    if expected != got:
        raise ValueError(f"params: expected the snapshot's shapes, {expected}, got {got}")


def _systematic(key: PRNGKeyArray, log_weights: jax.Array) -> jax.Array:
    """Returns rows in proportion to the weights, by systematic resampling.

    Each row occurs as often as its weight requires, up to rounding; equal weights give every row.
    """
    count = log_weights.size
    cumulative = jnp.cumsum(jax.nn.softmax(log_weights))
    offsets = jnp.arange(count, dtype=cumulative.dtype)
    positions = (offsets + jax.random.uniform(key, (), cumulative.dtype)) / count
    return jnp.clip(jnp.searchsorted(cumulative, positions * cumulative[-1]), 0, count - 1)
