"""Annealed importance sampling between the noise and a model, in both directions.

It is tempered sequential Monte Carlo without resampling. But blackjax's tempered kernel hands back
weights as plain numbers, normalized over the particles: a chain a hundred nats behind underflows
there, and annealing needs the log weight of each. Hence a loop of its own, over the same
transitions as `sample_chains`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_noise, check_noise_values
from nce_jax._types import Array, ArrayLike, Float, Noise, PRNGKeyArray, Real
from nce_jax.numerics import log_mean_exp, sample_count
from nce_jax.samplers._chains import advance, of_one, start
from nce_jax.samplers._checks import as_positions, check_target
from nce_jax.samplers._kernels import Kernel


class AnnealedEstimate(NamedTuple):
    """An estimate of a model's log Z from annealed chains, with its bound.

    Read the effective sample size first: where it is a handful, `standard_error` means nothing, and
    the estimate is no more than a bound. A NaN estimate says that a log weight was not finite, or
    that the schedule did not run from 0 to 1.

    Attributes:
      log_partition: forward, log mean w, in expectation below log Z; reverse, -log mean w', in
        expectation above it.
      standard_error: of log_partition, to first order (the relative error of the mean weight), in
        nats; inf for one chain.
      effective_sample_size: Kish's, of the weights; between 1 and the number of chains.
      bound: mean log w, whose expectation is at most log Z; reverse, -mean log w', at least log Z.
        Its error is honest at any effective sample size.
      bound_standard_error: of the bound, in nats; inf for one chain.
      log_weights: forward log w or reverse log w' of every chain, (chains,), in nats.
      x: positions at the last but one temperature, (chains, ...); forward, with w they are a
        weighted sample of the model.
      acceptance_rate: mean over chains at each intermediate temperature, (stages - 1,).
      num_nonfinite: steps of each chain, (chains,), at which it or its proposal was not finite.
    """

    log_partition: Float[Array, ""]
    standard_error: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    bound: Float[Array, ""]
    bound_standard_error: Float[Array, ""]
    log_weights: Float[Array, " chains"]
    x: Float[Array, "chains ..."]
    acceptance_rate: Float[Array, " stages"]
    num_nonfinite: Real[Array, " chains"]


def annealed_importance_sampling(
    key: PRNGKeyArray,
    log_density_fn: Callable[[Any], Any],
    noise: Noise,
    *,
    kernel: Kernel,
    schedule: Float[ArrayLike, " temperatures"],
    num_samples: int,
    num_steps: int = 1,
) -> AnnealedEstimate:
    """Estimates a model's log Z by chains that start at noise samples and are led to the model.

    On the geometric path log f_b = (1 - b) log q + b phi, with q = `noise` and phi =
    `log_density_fn`, each chain starts at x_0 ~ q, and takes log w = sum_t (b_t - b_{t-1}) (phi -
    log q)(x_{t-1}), where x_t follows x_{t-1} by `num_steps` transitions that leave f_{b_t}
    invariant. E[w] = Z whether or not the chains have converged, so that by Jensen's inequality
    E[mean log w] <= E[log mean w] <= log Z: the estimate errs low. With one stage this is
    `importance_log_partition`. If the noise has bounded support, Z is that of the model on it.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (samples, ...) to (samples,), in nats. For a model given
        as a log ratio s, pass `lambda x: log_ratio_fn(x) + noise.log_prob(x)`.
      noise: q, a distribution with `log_prob(x)` and `sample_and_log_prob(seed=, sample_shape=)`.
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1: `linear_schedule`, `sigmoid_schedule`
        or any other.
      num_samples: chains.
      num_steps: transitions at each intermediate temperature.

    Returns:
      An `AnnealedEstimate`. With `reverse_annealed_importance_sampling` it makes a sandwich; what
      both know together is `nce_jax.bar(-forward.log_weights, -reverse.log_weights)`, whose delta_f
      is -log Z.

    Raises:
      TypeError: `key` is not a typed key, or a count is no integer.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, shapes
        that do not fit.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise, samplers
      >>> log_density_fn = lambda x: (
      ...     -0.5 * jnp.sum((x - 2) ** 2, axis=-1)
      ... )  # log Z = log 2 pi = 1.8379
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
    check_log_density_fn(log_density_fn, arguments="positions")
    check_noise(noise)
    x, log_noise = noise.sample_and_log_prob(seed=key_noise, sample_shape=(num_samples,))
    check_noise_values(log_noise, x)
    path = _Path(log_density_fn, noise)
    check_target(log_density_fn, x)
    return _estimate(_anneal(key_moves, path, x, kernel, schedule, num_steps), sign=1)


def reverse_annealed_importance_sampling(
    key: PRNGKeyArray,
    log_density_fn: Callable[[Any], Any],
    noise: Noise,
    x_model: Float[ArrayLike, "samples ..."],
    *,
    kernel: Kernel,
    schedule: Float[ArrayLike, " temperatures"],
    num_steps: int = 1,
) -> AnnealedEstimate:
    """Estimates a model's log Z by chains that start at samples of the model and are led to the
    noise.

    The same path as `annealed_importance_sampling`, walked backwards, with log w' = sum (b_{t-1} -
    b_t) (phi - log q): E[w'] = 1 / Z, so that E[-mean log w'] >= E[-log mean w'] >= log Z. The
    bounds hold if the starting points are *exact* samples of the model. From MCMC they are only as
    good as its convergence: a mode that the chains never saw can put the "upper" bound below log Z,
    without a sign of it in any field.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (samples, ...) to (samples,), in nats.
      noise: q, a distribution with `log_prob(x)`.
      x_model: samples of exp(phi) / Z, (samples, ...); independent ones, for the standard errors.
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1, as for the forward direction.
      num_steps: transitions at each intermediate temperature.

    Returns:
      An `AnnealedEstimate` whose log_partition and bound err high.

    Raises:
      TypeError: `key` is not a typed key, `x_model` is not floating, or `num_steps` is no integer.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, shapes
        that do not fit.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import noise, samplers
      >>> log_density_fn = lambda x: (
      ...     -0.5 * jnp.sum((x - 2) ** 2, axis=-1)
      ... )  # log Z = log 2 pi = 1.8379
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
        using reverse annealing,
      2015.
    """
    check_key(key)
    x_model = as_positions("x_model", x_model)
    schedule = _as_schedule(kernel, schedule, num_steps)
    check_target(log_density_fn, x_model)
    check_noise(noise)
    _check_noise_samples(noise, x_model)
    path = _Path(log_density_fn, noise)
    return _estimate(
        _anneal(key, path, x_model, kernel, schedule, num_steps, reverse=True), sign=-1
    )


def _check_noise_samples(noise: Noise, x_model: jax.Array) -> None:
    """Raises unless the noise draws what the model's samples are: a shape that broadcasts would
    give a wrong number.
    """
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
    schedule = jnp.asarray(schedule)
    if schedule.ndim != 1 or schedule.size < 2:
        raise ValueError(
            f"schedule: expected at least two values on one axis, got shape {schedule.shape}"
        )
    return schedule


class _Path(NamedTuple):
    """The geometric path, at one position. Where the noise has density zero, so has every f_b with
    b < 1.
    """

    log_density_fn: Callable[[Any], Any]
    noise: Noise

    def log_ratio(self, x: jax.Array) -> jax.Array:
        return of_one(self.log_density_fn)(x) - of_one(self.noise.log_prob)(x)

    def log_density(self, inverse_temperature: jax.Array, x: jax.Array) -> jax.Array:
        log_noise, log_model = of_one(self.noise.log_prob)(x), of_one(self.log_density_fn)(x)
        mixed = (1 - inverse_temperature) * log_noise + inverse_temperature * log_model
        return jnp.where(jnp.isneginf(log_noise), -jnp.inf, mixed)


class _Annealed(NamedTuple):
    x: jax.Array
    log_weights: jax.Array
    num_nonfinite: jax.Array
    acceptance_rate: jax.Array


def _anneal(
    key,
    path: _Path,
    x: jax.Array,
    kernel: Kernel,
    schedule: jax.Array,
    num_steps: int,
    reverse=False,
) -> _Annealed:
    """Weighs at every change of temperature and moves in between: after the last change a move
    would change no weight.
    """
    schedule = schedule.astype(x.dtype)
    is_valid = (schedule[0] == 0) & (schedule[-1] == 1) & (jnp.diff(schedule) >= 0).all()
    schedule = jnp.flip(schedule) if reverse else schedule
    log_ratio = jax.vmap(path.log_ratio)

    def stage(carry, step):
        x, log_weights, num_nonfinite = carry
        index, change, inverse_temperature = step
        log_weights += change * log_ratio(x)
        log_density_fn = functools.partial(path.log_density, inverse_temperature)
        begun = start(kernel, log_density_fn, x)
        tally = advance(jax.random.fold_in(key, index), kernel, log_density_fn, begun, num_steps)
        carry = tally.state.position, log_weights, num_nonfinite + tally.num_nonfinite
        return carry, jnp.mean(tally.acceptance) / num_steps

    changes = jnp.diff(schedule)
    steps = jnp.arange(changes.size - 1), changes[:-1], schedule[1:-1]
    begin = x, jnp.zeros(x.shape[0], x.dtype), jnp.zeros(x.shape[0], jnp.int32)
    (x, log_weights, num_nonfinite), rates = jax.lax.scan(stage, begin, steps)
    log_weights += changes[-1] * log_ratio(x)
    return _Annealed(x, jnp.where(is_valid, log_weights, jnp.nan), num_nonfinite, rates)


def _estimate(annealed: _Annealed, *, sign: int) -> AnnealedEstimate:
    log_weights = annealed.log_weights
    log_mean = log_mean_exp(log_weights, None)
    relative = jnp.exp(log_weights - log_mean)  # mean one
    return AnnealedEstimate(
        log_partition=jnp.where(jnp.isfinite(log_mean), sign * log_mean, jnp.nan),
        standard_error=_error_of_mean(relative),
        effective_sample_size=sample_count(relative, relative),
        bound=sign * jnp.mean(log_weights),
        bound_standard_error=_error_of_mean(log_weights),
        log_weights=log_weights,
        x=annealed.x,
        acceptance_rate=annealed.acceptance_rate,
        num_nonfinite=annealed.num_nonfinite,
    )


def _error_of_mean(values: jax.Array) -> jax.Array:
    if values.size == 1:
        return jnp.full((), jnp.inf, values.dtype)
    return jnp.std(values, ddof=1) / jnp.sqrt(jnp.asarray(values.size, values.dtype))
