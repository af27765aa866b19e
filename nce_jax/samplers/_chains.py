"""Many chains at once: a kernel mapped over initial positions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._checks import check_instance, check_key, check_positive_int, compute_dtype
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray, Real
from nce_jax.samplers._checks import as_context, as_positions, check_target
from nce_jax.samplers._kernels import Kernel


class Chains(NamedTuple):
    """The final positions of many chains, with their acceptance rates and failures.

    Attributes:
      x: final positions, (chains, ...), in the dtype of the initial ones but at least float32.
      log_density: unnormalized log densities at these positions, (chains,).
      acceptance_rate: mean acceptance probability of each chain, (chains,); one for a kernel
        without a Metropolis test.
      num_nonfinite: number of steps of each chain, (chains,), int32, at which the state or its
        proposal was not finite (see `Transition`); zero for a healthy chain. A Metropolis test
        rejects such a proposal, and the chain continues. A chain that *starts* at a NaN may never
        move: its count equals the number of steps.
      trajectory: stored positions, (chains, positions, ...), or None. Reshaped to (-1, ...), they
        are in time order, one chain after another.
    """

    x: Float[Array, "chains ..."]
    log_density: Float[Array, " chains"]
    acceptance_rate: Float[Array, " chains"]
    num_nonfinite: Real[Array, " chains"]
    trajectory: Float[Array, "chains positions ..."] | None


def sample_chains(
    key: PRNGKeyArray,
    log_density_fn: Callable[..., Any],
    x_initial: Float[ArrayLike, "chains ..."],
    *,
    kernel: Kernel,
    num_steps: int,
    keep_every: int | None = None,
    context: Any = None,
) -> Chains:
    """Runs one Markov chain per initial position, for the density exp(phi) up to its normalizer.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (chains, ...) to (chains,), in nats; the value at a
        position must not depend on the positions of other chains. With `context` it is a function
        of positions and context.
      x_initial: initial positions, (chains, ...); of half precision they become float32, in which
        chains move.
      kernel: `mala(...)`, `hmc(...)`, `langevin(...)` or `gradient_ascent(...)`.
      num_steps: number of transitions of every chain.
      keep_every: number of transitions between stored positions, the last one included; it must
        divide `num_steps`. None stores the last position alone. Discard the positions before the
        chains have become independent of their initial ones.
      context: what the density of each chain is conditioned on, such as its datum: a pytree of
        arrays with chains on the first axis, for `log_density_fn(x, context)`. A chain sees its own
        entry alone. For several chains per datum, repeat the data as in `jnp.repeat(data, 4,
        axis=0)`. Do not close over such data: phi is called for one chain at a time.

    Returns:
      `Chains`. The function is not jitted: wrap it in `jax.jit` if it is called repeatedly.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: shapes that do not fit, counts below one, or a density that closes over one
        datum per chain.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import samplers
      >>> log_density_fn = lambda x: -0.5 * jnp.sum((x - 1) ** 2, axis=-1)  # N(1, I)
      >>> chains = samplers.sample_chains(
      ...     jax.random.key(0),
      ...     log_density_fn,
      ...     jnp.zeros((500, 2)),
      ...     kernel=samplers.mala(0.5),
      ...     num_steps=40,
      ... )
      >>> print(chains.x.shape, f"{chains.x.mean():.2f}", int(chains.num_nonfinite.sum()))
      (500, 2) 1.05 0

      The posterior of a latent z for each of three data, y = z + noise, in 1,000 chains each:

      >>> y = jnp.repeat(jnp.array([-2.0, 1.0, 4.0]), 1000)
      >>> chains = samplers.sample_chains(
      ...     jax.random.key(0),
      ...     lambda z, y: -0.5 * z**2 - 0.5 * (y - z) ** 2,  # N(y / 2, 1 / 2)
      ...     jnp.zeros(3000),
      ...     kernel=samplers.mala(0.3),
      ...     num_steps=40,
      ...     context=y,
      ... )
      >>> print(chains.x.reshape(3, 1000).mean(axis=1).round(1))
      [-1.   0.5  2. ]

    References:
      Cabezas et al., BlackJAX: composable Bayesian inference in JAX, 2024.
    """
    check_key(key)
    check_instance("kernel", kernel, Kernel, "mala(0.1)")
    x_initial = as_positions("x_initial", x_initial)
    check_positive_int("num_steps", num_steps)
    context = as_context(context, x_initial.shape[0])
    check_target(log_density_fn, x_initial, context=context)
    stride = num_steps if keep_every is None else keep_every
    check_positive_int("keep_every", stride)
    if num_steps % stride:
        raise ValueError(
            f"keep_every: expected a divisor of num_steps = {num_steps}, got {keep_every}"
        )
    one_fn = of_one(log_density_fn)

    def stretch(tally, index):
        key_stretch = jax.random.fold_in(key, index)
        tally = advance(key_stretch, kernel, one_fn, tally, stride, context)
        return tally, None if keep_every is None else tally.state.position

    tally, positions = jax.lax.scan(
        stretch, start(kernel, one_fn, x_initial, context), jnp.arange(num_steps // stride)
    )
    return Chains(
        x=tally.state.position,
        log_density=tally.state.logdensity,
        acceptance_rate=tally.acceptance / num_steps,
        num_nonfinite=tally.num_nonfinite,
        trajectory=None if positions is None else jnp.moveaxis(positions, 0, 1),
    )


class Tally(NamedTuple):
    """States of all chains, with sums over steps: acceptance probabilities, and nonfinite steps."""

    state: Any
    acceptance: jax.Array
    num_nonfinite: jax.Array


OneDensity = Callable[[jax.Array, Any], jax.Array]
"""The log density of a single position, given the context of its chain (or None)."""


def of_one(log_density_fn: Callable[..., Any]) -> OneDensity:
    """Returns the log density as a function of a single position and its context.

    Its values are in the dtype of both, and in float32 at least: sums over steps have that dtype,
    and in bfloat16 they would end at 256.
    """

    def one_fn(x: jax.Array, context: Any) -> jax.Array:
        arguments = (x,) if context is None else (x, context)
        value = log_density_fn(*jax.tree.map(lambda leaf: leaf[None], arguments))[0]
        return value.astype(compute_dtype(value, x))

    return one_fn


def start(kernel: Kernel, one_fn: OneDensity, x: jax.Array, context: Any = None) -> Tally:
    """Returns the states of chains that begin at the positions `x`."""
    state = jax.vmap(lambda x, context: kernel.init(x, lambda x: one_fn(x, context)))(x, context)
    return Tally(state, jnp.zeros_like(state.logdensity), jnp.zeros(x.shape[0], jnp.int32))


def advance(
    key: PRNGKeyArray,
    kernel: Kernel,
    one_fn: OneDensity,
    tally: Tally,
    num_steps: int,
    context: Any = None,
) -> Tally:
    """Takes `num_steps` transitions of every chain."""
    step = jax.vmap(
        lambda key, state, context: kernel.step(key, state, lambda x: one_fn(x, context))
    )

    def body(tally, index):
        keys = jax.random.split(jax.random.fold_in(key, index), tally.num_nonfinite.size)
        state, transition = step(keys, tally.state, context)
        acceptance = tally.acceptance + transition.acceptance_rate
        num_nonfinite = tally.num_nonfinite + (~transition.is_finite).astype(jnp.int32)
        return Tally(state, acceptance, num_nonfinite), None

    return jax.lax.scan(body, tally, jnp.arange(num_steps))[0]
