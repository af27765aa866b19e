"""Annealed importance sampling between the noise and a model, in both directions.

It is tempered sequential Monte Carlo without resampling. The tempered kernel of blackjax cannot be
used, since it returns weights that are normalized over the particles, not log weights: the weight
of a chain that is a hundred nats below the largest one underflows. This module therefore has a loop
of its own, over the same transitions as `sample_chains`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_noise_values
from nce_jax._distributions import as_noise
from nce_jax._numerics import (
    effective_samples,
    log_mean_exp,
    rounding_variance,
    sample_count,
    without_rounding,
)
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, ArrayLike, Float, Noise, PRNGKeyArray, Real
from nce_jax.log_partition import Status, interval_status
from nce_jax.samplers._bound import error_of_mean, lower_bound, mean_of_log
from nce_jax.samplers._checks import (
    as_data,
    as_inverse_temperatures,
    as_positions,
    check_one_chain,
    check_target,
)
from nce_jax.samplers._kernels import Kernel
from nce_jax.samplers._path import Annealed, Path, anneal


class AnnealedEstimate(NamedTuple):
    """An estimate of a model's log Z from annealed chains, with a bound on it.

    Look at the status first: where it is LOW_OVERLAP, `standard_error` is too small as a rule, and
    the estimate is only a bound. The estimate is NaN if a log weight is not finite,
    or if the schedule does not run from 0 to 1. With a `context` there is one estimate per datum,
    and every field has the data on its first axis.

    Attributes:
      log_partition: forward, log mean w, in expectation below log Z; reverse, -log mean w', in
        expectation above it.
      standard_error: standard error of log_partition, to first order (the relative error of the
        mean weight), in nats; inf for one chain.
      effective_sample_size: Kish's effective sample size of the weights, between 1 and the number
        of chains.
      bound: forward, mean log w, whose expectation is at most log Z; reverse, -mean log w', at
        least log Z. Where the model has no density at some chains of the forward direction, it is
        the mean over the others, plus the log of their fraction; in reverse, where the noise has
        none at a sample of the model, it is inf. Its standard error is valid at any effective
        sample size.
      bound_standard_error: standard error of the bound, in nats; inf for one chain.
      log_weights: forward log w or reverse log w' of every chain, (chains,), in nats.
      x: positions at the last temperature before the end, (chains, ...), in float32 at least.
        Forward, they and w are a weighted sample of the model.
      acceptance_rate: mean acceptance rate over chains at each intermediate temperature, (stages -
        1,).
      num_nonfinite: number of steps of each chain, (chains,), at which it or its proposal was not
        finite.
      status: a `Status`, int32: NONFINITE where the estimate is NaN, and LOW_OVERLAP where
        `effective_samples` is below `log_partition.MIN_EFFECTIVE_SAMPLES`.
      effective_samples: the effective number of chains behind the standard error: none contributes
        more than one over this number to the variance.
    """

    log_partition: Float[Array, "*data"]
    standard_error: Float[Array, "*data"]
    effective_sample_size: Float[Array, "*data"]
    bound: Float[Array, "*data"]
    bound_standard_error: Float[Array, "*data"]
    log_weights: Float[Array, "*data chains"]
    x: Float[Array, "..."]
    acceptance_rate: Float[Array, "*data stages"]
    num_nonfinite: Real[Array, "*data chains"]
    status: Real[Array, "*data"]
    effective_samples: Float[Array, "*data"]


def annealed_importance_sampling(
    key: PRNGKeyArray,
    log_density_fn: Callable[..., Any],
    noise: Any,
    *,
    kernel: Kernel,
    schedule: Float[ArrayLike, " temperatures"],
    num_samples: int,
    num_steps: int = 1,
    context: Any = None,
) -> AnnealedEstimate:
    r"""Estimates a model's log Z by annealed importance sampling from the noise to the model.

    On the geometric path :math:`\log f_b = (1 - b) \log q + b\,\varphi`, with q = `noise` and
    phi = `log_density_fn`, each chain starts at :math:`x_0 \sim q` and has the log weight

    .. math:: \log w = \sum_t (b_t - b_{t-1})\, (\varphi - \log q)(x_{t-1}),

    where :math:`x_t` follows from :math:`x_{t-1}` by `num_steps` transitions that leave
    :math:`f_{b_t}` invariant. E[w] = Z whether or not the chains have converged, so that by
    Jensen's inequality E[mean log w] <= E[log mean w] <= log Z: the estimate is biased low. With
    one stage this is `importance_log_partition`. If the noise has bounded support, Z is the
    integral of exp(phi) over this support.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (samples, ...) to (samples,), in nats. For a model given
        as a log ratio s, pass `lambda x: log_ratio_fn(x) + noise.log_prob(x)`. With `context` it
        is a function of positions and context.
      noise: q, a distribution, as in `training.make_train_step`.
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1, such as `linear_schedule(...)` or
        `sigmoid_schedule(...)`.
      num_samples: number of chains; with `context`, of each of its entries.
      num_steps: number of transitions at each intermediate temperature.
      context: data that the model is conditioned on, one log Z for each, as the marginal likelihood
        of every datum of a latent-variable model: a pytree of arrays with data on the first axis,
        for `log_density_fn(x, context)`, which gets one entry per position. The noise is the same
        for all.

    Returns:
      An `AnnealedEstimate`; with `context`, every field has the data on its first axis. Together
      with `reverse_annealed_importance_sampling` it brackets log Z. The best estimate from both is
      `nce_jax.bar(-forward.log_weights, -reverse.log_weights)`, whose delta_f is -log Z.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, shapes
        that do not fit, or a density that closes over one datum per chain.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise, samplers
      >>> log_density_fn = lambda x: -0.5 * jnp.sum((x - 2) ** 2, axis=-1)  # log Z = log 2 pi
      >>> estimate = samplers.annealed_importance_sampling(
      ...     jax.random.key(0),
      ...     log_density_fn,
      ...     noise.standard_normal(2),
      ...     kernel=samplers.mala(0.5),
      ...     schedule=samplers.linear_schedule(50),
      ...     num_samples=500,
      ... )
      >>> abs(estimate.log_partition - 1.8379) < 4 * estimate.standard_error < 0.2
      Array(True, dtype=bool)

    References:
      Neal, Annealed importance sampling, 2001, section 2.
    """
    check_key(key)
    check_positive_int("num_samples", num_samples)
    schedule = _as_schedule(kernel, schedule, num_steps)
    key_noise, key_moves = jax.random.split(key)
    check_log_density_fn(log_density_fn, arguments="positions", num_arguments=None)
    noise = as_noise(noise)
    context, num_data = as_data(context)
    num_chains = num_samples * (1 if num_data is None else num_data)
    with standard_promotion():
        x, log_noise = noise.sample_and_log_prob(seed=key_noise, sample_shape=(num_chains,))
    check_noise_values(log_noise, x)
    x = as_positions("noise", x)
    with standard_promotion():
        check_one_chain("noise", noise.log_prob, (x,))
    check_target(log_density_fn, x, context=_repeat(context, num_samples))
    estimate = _estimator(Path(log_density_fn, noise), kernel, schedule, num_steps)
    return _for_each_datum(estimate, key_moves, x, context)


def reverse_annealed_importance_sampling(
    key: PRNGKeyArray,
    log_density_fn: Callable[..., Any],
    noise: Any,
    x_model: Float[ArrayLike, "samples ..."],
    *,
    kernel: Kernel,
    schedule: Float[ArrayLike, " temperatures"],
    num_steps: int = 1,
    context: Any = None,
) -> AnnealedEstimate:
    r"""Estimates a model's log Z by annealed importance sampling from the model to the noise.

    The path is that of `annealed_importance_sampling` in the reverse direction, with

    .. math:: \log w' = \sum_t (b_{t-1} - b_t)\, (\varphi - \log q).

    E[w'] = 1 / Z, so that E[-mean log w'] >= E[-log mean w'] >= log Z. Where the model has no
    density on a part of the noise, E[w'] is the noise's mass on the other part over Z, and both are
    higher by minus the log of that mass. These bounds hold if the
    initial positions are *exact* samples of the model. For samples of MCMC they depend on its
    convergence: if the chains missed a mode, the "upper" bound can lie below log Z, and no field
    of the result shows it.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (samples, ...) to (samples,), in nats; with `context`, of
        positions and context.
      noise: q, a distribution, as in `training.make_train_step`.
      x_model: samples of exp(phi) / Z, (samples, ...), which have to be independent for the
        standard errors. With `context`, (data, samples, ...).
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1, as for the forward direction.
      num_steps: number of transitions at each intermediate temperature.
      context: data that the model is conditioned on, as for the forward direction.

    Returns:
      An `AnnealedEstimate` whose log_partition and bound are biased high.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, shapes
        that do not fit, or a density that closes over one datum per chain.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise, samplers
      >>> log_density_fn = lambda x: -0.5 * jnp.sum((x - 2) ** 2, axis=-1)  # log Z = log 2 pi
      >>> x_model = 2 + jax.random.normal(jax.random.key(1), (500, 2))
      >>> estimate = samplers.reverse_annealed_importance_sampling(
      ...     jax.random.key(0),
      ...     log_density_fn,
      ...     noise.standard_normal(2),
      ...     x_model,
      ...     kernel=samplers.mala(0.5),
      ...     schedule=samplers.linear_schedule(50),
      ... )
      >>> abs(estimate.log_partition - 1.8379) < 4 * estimate.standard_error < 0.2
      Array(True, dtype=bool)

    References:
      Grosse, Ghahramani and Adams, Sandwiching the marginal likelihood using bidirectional Monte
        Carlo, 2015.
      Burda, Grosse and Salakhutdinov, Accurate and conservative estimates of MRF log-likelihood
        using reverse annealing, 2015.
    """
    check_key(key)
    x_model = as_positions("x_model", x_model)
    schedule = _as_schedule(kernel, schedule, num_steps)
    context, num_data = as_data(context)
    if num_data is not None:
        x_model = _join_data(x_model, num_data)
    context_of_chains = _repeat(context, x_model.shape[0] // (num_data or 1))
    check_target(log_density_fn, x_model, "x_model", context_of_chains)
    noise = as_noise(noise)
    _check_noise_samples(noise, x_model)
    with standard_promotion():
        check_one_chain("noise", noise.log_prob, (x_model,))
    path = Path(log_density_fn, noise)
    estimate = _estimator(path, kernel, schedule, num_steps, reverse=True)
    return _for_each_datum(estimate, key, x_model, context)


def _join_data(x_model: jax.Array, num_data: int) -> jax.Array:
    """Joins the axes of data and samples; raises ValueError without them."""
    if x_model.ndim < 2 or x_model.shape[0] != num_data or x_model.shape[1] == 0:
        raise ValueError(
            f"x_model: expected shape (data, samples, ...) with the {num_data} data of the context,"
            f" got shape {x_model.shape}"
        )
    return x_model.reshape(-1, *x_model.shape[2:])


def _repeat(context: Any, num_samples: int) -> Any:
    """The context of every chain: `num_samples` chains for every datum, one after another."""
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, num_samples, axis=0), context)


def _for_each_datum(
    estimate: Callable[[PRNGKeyArray, jax.Array, Any], AnnealedEstimate],
    key: PRNGKeyArray,
    x: jax.Array,
    context: Any,
) -> AnnealedEstimate:
    """One estimate without a context, otherwise one per datum from its share of the positions."""
    if context is None:
        return estimate(key, x, None)
    num_data = jax.tree.leaves(context)[0].shape[0]
    keys = jax.random.split(key, num_data)
    return jax.vmap(estimate)(keys, x.reshape(num_data, -1, *x.shape[1:]), context)


def _check_noise_samples(noise: Noise, x_model: jax.Array) -> None:
    """Raises unless the noise draws samples of the shape of the model's samples.

    A shape that merely broadcasts would give a wrong number.
    """
    with standard_promotion():
        drawn, log_noise = jax.eval_shape(
            lambda: noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(1,))
        )
    check_noise_values(log_noise, drawn)
    if drawn.shape[1:] != x_model.shape[1:]:
        expected = f"{drawn.shape[1:]}, as the noise draws"
        raise ValueError(f"x_model: expected samples of shape {expected}, got {x_model.shape[1:]}")


def _as_schedule(kernel: Kernel, schedule: Any, num_steps: int) -> jax.Array:
    check_positive_int("num_steps", num_steps)
    check_instance("kernel", kernel, Kernel, "mala(0.1)")
    if not kernel.is_adjusted:
        raise ValueError(
            "kernel: expected one with a Metropolis test (mala, hmc), got one that accepts always,"
            " whose weights would be wrong"
        )
    return as_inverse_temperatures(schedule)


def _estimator(
    path: Path, kernel: Kernel, schedule: jax.Array, num_steps: int, *, reverse: bool = False
) -> Callable[[PRNGKeyArray, jax.Array, Any], AnnealedEstimate]:
    """Returns the estimate as a function of a key, initial positions, and one datum or None."""

    def estimate(key: PRNGKeyArray, x: jax.Array, datum: Any) -> AnnealedEstimate:
        context = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], x.shape[0], axis=0), datum)
        annealed = anneal(key, path, x, context, kernel, schedule, num_steps, reverse)
        return _estimate(annealed, sign=-1 if reverse else 1)

    return estimate


def _estimate(annealed: Annealed, *, sign: int) -> AnnealedEstimate:
    log_weights = annealed.log_weights
    log_mean = log_mean_exp(log_weights, None)
    # In reverse a weight of zero means that the noise does not cover the model: no bound is known.
    mean, around_mean = (mean_of_log if sign < 0 else lower_bound)(log_weights)
    relative = jnp.exp(log_weights - log_mean)  # mean one
    # A weight of zero differs from the others by more than rounding.
    size = jnp.max(jnp.where(jnp.isfinite(log_weights), jnp.abs(log_weights), 0))
    count = effective_samples((without_rounding(relative - 1, size), None))
    rounding = jnp.sqrt(rounding_variance(size))
    status = jnp.where(jnp.isfinite(log_mean), Status.CONVERGED, Status.NONFINITE)
    return AnnealedEstimate(
        log_partition=jnp.where(jnp.isfinite(log_mean), sign * log_mean, jnp.nan),
        standard_error=jnp.hypot(error_of_mean(relative), rounding),
        effective_sample_size=sample_count(relative, relative),
        bound=sign * mean,
        bound_standard_error=jnp.hypot(error_of_mean(around_mean), rounding),
        log_weights=log_weights,
        x=annealed.x,
        acceptance_rate=annealed.acceptance_rate,
        num_nonfinite=annealed.num_nonfinite,
        status=interval_status(status, count),
        effective_samples=count,
    )
