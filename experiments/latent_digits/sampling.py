"""Samples of a chain of stages, and bounds on its log Z.

The stages are a path from noise to model: of K log ratios the last is switched on first. Along it
weighted particles are moved by Hamiltonian Monte Carlo and resampled (sequential Monte Carlo).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.latent_digits.config import CellSettings
from experiments.latent_digits.energy import stages_fn, wide_normal
from experiments.latent_digits.train import Method
from nce_jax import diagnostics, samplers, telescoping

MIN_SHARE = 0.5
"""Share of effective particles below which they are resampled."""
FIRST_STEP, GAIN = 0.4, 0.3
"""Step size of Hamiltonian Monte Carlo at the noise, and how fast it is steered."""

LogRatioFn = Callable[[jax.Array], jax.Array]


class Particles(NamedTuple):
    """Particles along the path.

    Attributes:
        x: positions, (n, dim).
        log_weights: log weights since they were resampled, (n,).
        log_partition: log Z of the path up to there.
        step_size: of Hamiltonian Monte Carlo.
        smallest: smallest share of effective particles so far.
        acceptance: mean acceptance rate at the last temperature.
    """

    x: jax.Array
    log_weights: jax.Array
    log_partition: jax.Array
    step_size: jax.Array
    smallest: jax.Array
    acceptance: jax.Array


def anneal(settings: CellSettings, method: Method, params: Any, key: jax.Array) -> Particles:
    """Samples of the model: particles at the end of the path, resampled; log Z by their weights."""
    key_start, key_path, key_end = jax.random.split(key, 3)
    noise = wide_normal(settings)
    x = noise.sample(seed=key_start, sample_shape=(settings.num_samples,))
    state = Particles(
        x, jnp.zeros(len(x)), jnp.zeros(()), jnp.asarray(FIRST_STEP), jnp.ones(()), jnp.ones(())
    )
    per_stage = max(settings.num_temperatures // method.num_stages, 1)
    temperatures = jnp.linspace(0.0, 1.0, per_stage + 1)
    for stage in reversed(range(method.num_stages)):
        part = jax.tree.map(lambda leaf, k=stage: leaf[k:], params)
        ratios = _each(settings, part, method.num_stages - stage)

        def advance(state, item, ratios=ratios, stage=stage):
            number, begin, end = item
            key = jax.random.fold_in(jax.random.fold_in(key_path, stage), number)
            return _advance(settings, noise, ratios, key, state, begin, end), None

        items = jnp.arange(per_stage), temperatures[:-1], temperatures[1:]
        state, _ = jax.lax.scan(advance, state, items)
    return _resampled(key_end, state)


def _each(settings: CellSettings, params: Any, num_stages: int) -> Callable:
    """Log ratios of some stages at the same points: (n, dim) -> (K, n)."""
    ratios = stages_fn(settings)
    return lambda x: ratios(params, jnp.broadcast_to(x, (num_stages, *x.shape)))


def _advance(settings, noise, ratios, key, state, begin, end) -> Particles:
    """Weighs the particles from one temperature of a stage to the next, and moves them."""
    key_choice, key_move = jax.random.split(key)
    state = state._replace(log_weights=state.log_weights + (end - begin) * ratios(state.x)[0])
    share = diagnostics.effective_sample_size(state.log_weights) / len(state.x)
    is_poor = share < MIN_SHARE
    chosen = _resampled(key_choice, state)
    state = jax.tree.map(lambda a, b: jnp.where(is_poor, a, b), chosen, state)

    def log_density(x: jax.Array) -> jax.Array:
        values = ratios(x)
        return noise.log_prob(x) + end * values[0] + values[1:].sum(axis=0)

    kernel = samplers.hmc(state.step_size, settings.num_leapfrog)
    chains = samplers.sample_chains(key_move, log_density, state.x, kernel=kernel, num_steps=1)
    rate = chains.acceptance_rate.mean()
    return state._replace(
        x=chains.x,
        step_size=state.step_size * jnp.exp(GAIN * (rate - settings.acceptance)),
        smallest=jnp.minimum(state.smallest, share),
        acceptance=rate,
    )


def _resampled(key: jax.Array, state: Particles) -> Particles:
    """Particles of equal weight, by systematic resampling."""
    count = len(state.x)
    places = (jax.random.uniform(key) + jnp.arange(count)) / count
    rows = jnp.searchsorted(jnp.cumsum(jax.nn.softmax(state.log_weights)), places)
    mean_weight = jax.nn.logsumexp(state.log_weights) - jnp.log(count)
    return state._replace(
        x=state.x[jnp.minimum(rows, count - 1)],
        log_weights=jnp.zeros_like(state.log_weights),
        log_partition=state.log_partition + mean_weight,
    )


def total_log_ratio(settings: CellSettings, method: Method, params: Any) -> LogRatioFn:
    """Log ratio of the whole chain to the noise, without its normalizer: (n, dim) -> (n,)."""
    chain = telescoping.telescoped(stages_fn(settings), method.num_stages)
    return lambda x: chain(params, x)


def resample(
    settings: CellSettings, method: Method, params: Any, key: jax.Array
) -> samplers.Resampled:
    """Samples by importance resampling from the noise, without any chain."""
    return samplers.resample(
        key,
        total_log_ratio(settings, method, params),
        wide_normal(settings),
        settings.num_samples,
        oversampling=settings.oversampling,
    )


def plain_chains(
    settings: CellSettings, method: Method, params: Any, key: jax.Array, step_size: jax.Array
) -> samplers.Chains:
    """Hamiltonian Monte Carlo of the model from noise samples, at the step size of annealing."""
    key_start, key_chains = jax.random.split(key)
    noise, total = wide_normal(settings), total_log_ratio(settings, method, params)
    return samplers.sample_chains(
        key_chains,
        lambda x: total(x) + noise.log_prob(x),
        noise.sample(seed=key_start, sample_shape=(settings.num_samples,)),
        kernel=samplers.hmc(step_size, settings.num_leapfrog),
        num_steps=settings.num_chain_steps,
    )


def bounds(
    settings: CellSettings,
    method: Method,
    params: Any,
    key: jax.Array,
    step_size: jax.Array,
    x_test: jax.Array,
) -> tuple[samplers.AnnealedEstimate, samplers.AnnealedEstimate]:
    """Annealed importance sampling from the noise, and in reverse from test images.

    In expectation the first is below log Z, and bits with it are too few. In reverse, log Z from
    test images gives the bits of the law that annealing itself draws from, which is a density, and
    in expectation too many (RAISE: Burda et al., Accurate and conservative estimates of MRF
    log-likelihood using reverse annealing, 2015).
    """
    key_forward, key_reverse = jax.random.split(key)
    noise, total = wide_normal(settings), total_log_ratio(settings, method, params)
    options = {
        "kernel": samplers.hmc(step_size, settings.num_leapfrog),
        "schedule": samplers.sigmoid_schedule(settings.num_bound_temperatures),
    }

    def log_density(x: jax.Array) -> jax.Array:
        return total(x) + noise.log_prob(x)

    forward = samplers.annealed_importance_sampling(
        key_forward, log_density, noise, num_samples=settings.num_bound_chains, **options
    )
    reverse = samplers.reverse_annealed_importance_sampling(
        key_reverse, log_density, noise, x_test, **options
    )
    return forward, reverse
