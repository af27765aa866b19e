"""Log Z of a model by annealing in both directions, between noise and held-out samples."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._partial import Parts
from nce_jax._promotion import standard_promotion
from nce_jax.likelihood._partition import model_log_partition
from nce_jax.log_partition import Status

_NEGLIGIBLE = 1e-4
"""Nats, times the size of log Z, below which a difference says nothing: rounding reaches it."""


class Annealing(NamedTuple):
    """Estimates and bounds of log Z, as numbers.

    `slope` is how far the log weights of both directions are from Crooks' theorem, in standard
    errors.
    """

    log_partition: Any
    standard_error: Any
    overlap: Any
    effective_samples: Any
    status: Any
    lower: Any
    upper: Any
    forward: Any
    reverse: Any
    forward_error: Any
    reverse_error: Any
    forward_status: Any
    reverse_status: Any
    slope: Any
    acceptance_rate: Any

    def excesses(self) -> Iterator[tuple[str, str, str, float]]:
        """By how many nats each direction alone lies on the side opposite to its bias.

        The mean of exp(log Z) from the noise alone is exact, and so is that of exp(-log Z) from
        the model alone: the one is rarely far above log Z, and the other rarely far below.
        """
        yield "noise", "low", "above", float(self.forward - self.log_partition)
        yield "test samples", "high", "below", float(self.log_partition - self.reverse)

    def deviations(self) -> Iterator[tuple[str, float, float]]:
        """By how much each direction alone differs from both: in nats, and in standard errors.

        A direction whose error is not to be trusted is left out. The errors are added as if they
        were independent, which they are not: the deviations are rather too small.
        """
        rounding = _NEGLIGIBLE * (1 + abs(float(self.log_partition)))
        sides = (
            ("noise", self.forward, self.forward_error, self.forward_status),
            ("test samples", self.reverse, self.reverse_error, self.reverse_status),
        )
        for start, value, error, status in sides:
            if int(status) == Status.CONVERGED:
                difference = float(value - self.log_partition)
                total = math.hypot(float(error), float(self.standard_error), rounding)
                yield start, difference, difference / total


def anneal_both_ways(
    key: jax.Array,
    log_density_fn: Any,
    params: Any,
    x_test: jax.Array,
    noise: Any,
    counts: Mapping[str, int],
    kernel: Any,
) -> Annealing:
    """Anneals chains from the noise to the model, and from test samples to the noise."""
    program = compiled_for(_annealed, log_density_fn, tuple(counts.items()), kernel, noise=noise)
    key_start, key_run = jax.random.split(key)
    x_start = starts(key_start, x_test, min(counts["num_samples"], x_test.shape[0]))
    return jax.tree.map(jax.device_get, program(key_run, params, x_start))


def _annealed(log_density_fn: Any, counts: Any, kernel: Any, noise: Any, *inputs: Any) -> Annealing:
    return annealing_program(log_density_fn, noise, dict(counts), kernel)(*inputs)


def compiled_for(
    function: Callable[..., Any], *fixed: Any, noise: Any = None
) -> Callable[..., Any]:
    """A jitted `function(*fixed, noise, *inputs)` of the inputs, the same for the same arguments.

    A noise that is a tree of arrays is an input: another one of its kind compiles nothing. What has
    no hash, and a noise of another kind, may have changed since the last call: it is compiled anew.
    """
    is_tree = all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(noise))
    try:
        program = _program(function, Parts(fixed)) if is_tree else None
        hash(jax.tree.structure(noise))
    except TypeError:
        program = None
    if program is None:
        return jax.jit(partial(function, *fixed, noise))
    return partial(program, noise)


@lru_cache(maxsize=8)
def _program(function: Callable[..., Any], fixed: Parts) -> Callable[..., Any]:
    """Some are kept, and not all: they hold what the model's functions refer to."""
    return jax.jit(partial(function, *fixed.value))


def annealing_program(
    log_density_fn: Any, noise: Any, counts: Mapping[str, int], kernel: Any
) -> Callable[[jax.Array, Any, jax.Array], Annealing]:
    """The annealings as a pure function of a key, parameters, and where chains begin."""
    from nce_jax import samplers  # not at the top: it needs blackjax

    num_samples, num_stages, num_steps = counts.values()
    schedule = samplers.sigmoid_schedule(num_stages)
    is_tuned = kernel is None

    def run(key: jax.Array, params: Any, x_start: jax.Array) -> Annealing:
        keys = jax.random.split(key, 4)
        moves = kernel

        def log_density(x: jax.Array) -> jax.Array:
            return log_density_fn(params, x)

        if is_tuned:
            tuned = samplers.adapt_step_size(
                keys[0],
                log_density,
                x_start,
                kernel_fn=samplers.mala,
                step_size=0.1 * _spread(noise, x_start),
                num_steps=num_steps,
            )
            moves, x_start = samplers.mala(tuned.step_size), tuned.x
        chains = samplers.sample_chains(
            keys[1], log_density, x_start, kernel=moves, num_steps=num_steps
        )
        options = {"kernel": moves, "schedule": schedule}
        forward = samplers.annealed_importance_sampling(
            keys[2], log_density, noise, num_samples=num_samples, **options
        )
        reverse = samplers.reverse_annealed_importance_sampling(
            keys[3], log_density, noise, chains.x, **options
        )
        # Both are samples of a path: those of the model's end, and those of the noise's.
        both = model_log_partition(-reverse.log_weights, forward.log_weights)
        log_share, share_error = _share(forward.log_weights)
        return Annealing(
            *(both.log_partition, both.standard_error, both.overlap, both.effective_samples),
            *(both.status, forward.bound, reverse.bound),
            *(forward.log_partition, reverse.log_partition + log_share),
            *(forward.standard_error, jnp.hypot(reverse.standard_error, share_error)),
            *(forward.status, reverse.status),
            _slope(-reverse.log_weights, forward.log_weights, both.log_partition),
            jnp.mean(chains.acceptance_rate),
        )

    return run


def starts(key: jax.Array, x_test: jax.Array, num_samples: int) -> jax.Array:
    """Different test samples for the chains to begin at."""
    x = x_test.astype(jnp.promote_types(x_test.dtype, jnp.float32))
    order = jax.random.permutation(key, x.shape[0])
    return x[order[:num_samples]]


def _spread(noise: Any, x_start: jax.Array) -> jax.Array:
    """The mean variance of a coordinate of the noise, the scale at which a step size begins."""
    with standard_promotion():
        x, _ = noise.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(64,))
    return jnp.mean(jnp.var(x, axis=0)).astype(x_start.dtype)


def _share(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The log of the noise's mass where the model has a density, and its standard error.

    The way back from the model ends in this part of the noise alone, so that its mean weight is the
    mass over Z.
    """
    share = jnp.mean(~jnp.isneginf(log_weights), dtype=log_weights.dtype)
    return jnp.log(share), jnp.sqrt((1 - share) / (share * log_weights.size))


def _slope(log_ratio_model: jax.Array, log_ratio_noise: jax.Array, f: jax.Array) -> jax.Array:
    """The score test of the slope of a logistic regression, in standard errors.

    The densities of the log weights in the two directions have the ratio exp(u) with u = log w -
    log Z (Crooks), so that of n on the model's side and m on the other a log weight is one of the
    n with probability sigmoid(u + log n/m). The test is of sigmoid(a + b u) with b = 1, and log Z
    fitted as a. A weight of zero, where the model has no density, fits every slope.
    """
    num_model, num_noise = log_ratio_model.size, log_ratio_noise.size
    pooled = jnp.concatenate([log_ratio_model, log_ratio_noise]) - f
    # Zero times infinity would be NaN.
    is_infinite = jnp.isinf(pooled)
    pooled = jnp.where(is_infinite, 0, pooled)
    logits = pooled + math.log(num_model / num_noise)
    of_other_side = jnp.where(jnp.arange(pooled.size) < num_model, -logits, logits)
    misses = jnp.where(is_infinite, 0, jax.nn.sigmoid(of_other_side))
    weights = misses * jax.nn.sigmoid(-of_other_side)
    center = jnp.sum(weights * pooled) / jnp.sum(weights)
    terms = jnp.split(misses * (pooled - center), [num_model])
    variance = sum(jnp.var(side) * side.size for side in terms)
    difference = jnp.sum(terms[0]) - jnp.sum(terms[1])
    spread = jnp.sqrt(jnp.sum(weights * jnp.square(pooled - center)) / jnp.sum(weights))
    is_spread = spread > _NEGLIGIBLE * (1 + jnp.abs(f))
    return jnp.where(is_spread, difference / jnp.sqrt(variance), 0)
