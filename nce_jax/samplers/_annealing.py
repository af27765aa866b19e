"""Annealed importance sampling between the noise and a model, in both directions.

It is tempered sequential Monte Carlo without resampling. The tempered kernel of blackjax cannot be
used, since it returns weights that are normalized over the particles, not log weights: the weight
of a chain that is a hundred nats below the largest one underflows. This module therefore has a loop
of its own, over the same transitions as `sample_chains`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int
from nce_jax._contracts import check_log_density_fn, check_noise, check_noise_values
from nce_jax._numerics import log_mean_exp, sample_count
from nce_jax._promotion import standard_promotion
from nce_jax._types import Array, ArrayLike, Float, Noise, PRNGKeyArray, Real
from nce_jax.samplers._chains import advance, of_one, start
from nce_jax.samplers._checks import as_inverse_temperatures, as_positions, check_target
from nce_jax.samplers._kernels import Kernel


class AnnealedEstimate(NamedTuple):
    """An estimate of a model's log Z from annealed chains, with a bound on it.

    Check the effective sample size first: if it is below about ten, `standard_error` is not
    meaningful, and the estimate is only a bound. The estimate is NaN if a log weight is not finite,
    or if the schedule does not run from 0 to 1.

    Attributes:
      log_partition: forward, log mean w, in expectation below log Z; reverse, -log mean w', in
        expectation above it.
      standard_error: standard error of log_partition, to first order (the relative error of the
        mean weight), in nats; inf for one chain.
      effective_sample_size: Kish's effective sample size of the weights, between 1 and the number
        of chains.
      bound: forward, mean log w, whose expectation is at most log Z; reverse, -mean log w', at
        least log Z. Its standard error is valid at any effective sample size.
      bound_standard_error: standard error of the bound, in nats; inf for one chain.
      log_weights: forward log w or reverse log w' of every chain, (chains,), in nats.
      x: positions at the last temperature before the end, (chains, ...). Forward, they and w are a
        weighted sample of the model.
      acceptance_rate: mean acceptance rate over chains at each intermediate temperature, (stages -
        1,).
      num_nonfinite: number of steps of each chain, (chains,), at which it or its proposal was not
        finite.
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
        as a log ratio s, pass `lambda x: log_ratio_fn(x) + noise.log_prob(x)`.
      noise: q, a distribution with `log_prob(x)` and `sample_and_log_prob(seed=, sample_shape=)`.
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1, such as `linear_schedule(...)` or
        `sigmoid_schedule(...)`.
      num_samples: number of chains.
      num_steps: number of transitions at each intermediate temperature.

    Returns:
      An `AnnealedEstimate`. Together with `reverse_annealed_importance_sampling` it brackets log Z.
      The best estimate from both is `nce_jax.bar(-forward.log_weights, -reverse.log_weights)`,
      whose delta_f is -log Z.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, or shapes
        that do not fit.

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
    check_log_density_fn(log_density_fn, arguments="positions")
    check_noise(noise)
    with standard_promotion():
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
    r"""Estimates a model's log Z by annealed importance sampling from the model to the noise.

    The path is that of `annealed_importance_sampling` in the reverse direction, with

    .. math:: \log w' = \sum_t (b_{t-1} - b_t)\, (\varphi - \log q).

    E[w'] = 1 / Z, so that E[-mean log w'] >= E[-log mean w'] >= log Z. These bounds hold if the
    initial positions are *exact* samples of the model. For samples of MCMC they depend on its
    convergence: if the chains missed a mode, the "upper" bound can lie below log Z, and no field
    of the result shows it.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (samples, ...) to (samples,), in nats.
      noise: q, a distribution with `log_prob(x)` and `sample_and_log_prob(seed=, sample_shape=)`.
      x_model: samples of exp(phi) / Z, (samples, ...), which have to be independent for the
        standard errors.
      kernel: `mala(...)` or `hmc(...)`, used at every temperature.
      schedule: inverse temperatures b, ascending from 0 to 1, as for the forward direction.
      num_steps: number of transitions at each intermediate temperature.

    Returns:
      An `AnnealedEstimate` whose log_partition and bound are biased high.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: a kernel without a Metropolis test, a schedule of less than two values, or shapes
        that do not fit.

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
    check_target(log_density_fn, x_model, "x_model")
    check_noise(noise)
    _check_noise_samples(noise, x_model)
    path = _Path(log_density_fn, noise)
    return _estimate(
        _anneal(key, path, x_model, kernel, schedule, num_steps, reverse=True), sign=-1
    )


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


class _Path(NamedTuple):
    """The geometric path, at one position.

    Where the noise has density zero, every f_b with b < 1 is zero too.
    """

    log_density_fn: Callable[[Any], Any]
    noise: Noise

    def log_ratio(self, x: jax.Array) -> jax.Array:
        return of_one(self.log_density_fn)(x) - self.log_noise(x)

    def log_noise(self, x: jax.Array) -> jax.Array:
        with standard_promotion():
            return of_one(self.noise.log_prob)(x)

    def log_density(self, inverse_temperature: jax.Array, x: jax.Array) -> jax.Array:
        log_noise, log_model = self.log_noise(x), of_one(self.log_density_fn)(x)
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
    """Weighs the chains at every change of temperature, and moves them in between.

    There is no move after the last change, since it would not affect the weights.
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
