"""A step size for a given acceptance rate, by dual averaging pooled over chains."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation

from nce_jax._checks import check_instance, check_key, check_positive_int, compute_dtype, describe
from nce_jax._contracts import LIKELY_FROM_WRONG_ARGUMENTS
from nce_jax._options import check_fraction, check_function
from nce_jax._types import Array, ArrayLike, Float, PRNGKeyArray, Real
from nce_jax.samplers._chains import advance, of_one, start
from nce_jax.samplers._checks import as_context, as_positions, check_step_size, check_target
from nce_jax.samplers._kernels import Kernel


class AdaptedStepSize(NamedTuple):
    """A tuned step size, with the chains of the tuning.

    Attributes:
      step_size: the averaged step size, for the kernel of all further chains.
      x: positions of the chains after the last step, (chains, ...), to start further chains from.
      acceptance_rate: mean acceptance rate over chains at each step, (steps,).
      num_nonfinite: number of steps of each chain, (chains,), at which it or its proposal was not
        finite.
    """

    step_size: Float[Array, ""]
    x: Float[Array, "chains ..."]
    acceptance_rate: Float[Array, " steps"]
    num_nonfinite: Real[Array, " chains"]


def adapt_step_size(
    key: PRNGKeyArray,
    log_density_fn: Callable[..., Any],
    x_initial: Float[ArrayLike, "chains ..."],
    *,
    kernel_fn: Callable[[Any], Kernel],
    step_size: Real[ArrayLike, ""],
    num_steps: int,
    target_acceptance: float = 0.6,
    context: Any = None,
) -> AdaptedStepSize:
    """Tunes one step size for all chains by dual averaging, to a target acceptance rate.

    Chains do not sample exactly while their step size adapts. Discard them except for their last
    positions, and continue with a fixed step size.

    Args:
      key: a typed PRNG key.
      log_density_fn: phi, from positions (chains, ...) to (chains,), in nats; with `context`, of
        positions and context.
      x_initial: initial positions, (chains, ...). They should be typical of the density, since the
        best step size is another one far from it.
      kernel_fn: function from a step size to a kernel with a Metropolis test, such as `mala` or
        `lambda step_size: hmc(step_size, 10)`.
      step_size: initial step size; the first steps try values that are up to ten times larger.
      num_steps: number of transitions; 100 to 200 are enough for many chains.
      target_acceptance: target of the mean acceptance probability. In high dimension 0.574 is
        optimal for MALA and 0.651 for HMC.
      context: what the density of each chain is conditioned on, as in `sample_chains`: a pytree of
        arrays with chains on the first axis. One step size serves all chains.

    Returns:
      An `AdaptedStepSize`.

    Raises:
      TypeError: an argument of the wrong kind, named together with the likely cure.
      ValueError: shapes that do not fit, numbers out of their range, a kernel without a Metropolis
        test, or a density that closes over one datum per chain.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import samplers
      >>> log_density_fn = lambda x: -0.5 * jnp.sum((x / 10) ** 2, axis=-1)  # N(0, 100 I)
      >>> x_initial = 10 * jax.random.normal(jax.random.key(1), (100, 2))
      >>> tuned = samplers.adapt_step_size(
      ...     jax.random.key(0),
      ...     log_density_fn,
      ...     x_initial,
      ...     kernel_fn=samplers.mala,
      ...     step_size=1.0,
      ...     num_steps=200,
      ... )
      >>> 50 < tuned.step_size < 200
      Array(True, dtype=bool)

    References:
      Hoffman and Gelman, The no-U-turn sampler, 2014, eq. 6 and algorithm 5 (dual averaging).
      Roberts and Rosenthal, Optimal scaling of discrete approximations to Langevin diffusions, 1998
        (0.574).
      Beskos et al., Optimal tuning of the hybrid Monte Carlo algorithm, 2013 (0.651).
    """
    check_key(key)
    x_initial = as_positions("x_initial", x_initial)
    check_step_size(step_size)
    check_positive_int("num_steps", num_steps)
    check_fraction("target_acceptance", target_acceptance)
    context = as_context(context, x_initial.shape[0])
    check_target(log_density_fn, x_initial, context=context)
    kernel = _make_kernel(kernel_fn, step_size)
    one_fn = of_one(log_density_fn)
    if not kernel.is_adjusted:
        raise ValueError(
            "kernel_fn: expected kernels with a Metropolis test (mala, hmc), got one that accepts"
            " always"
        )
    first, update, final = dual_averaging_adaptation(target_acceptance)

    def body(carry, index):
        tally, averaging = carry
        kernel = kernel_fn(jnp.exp(averaging.log_step_size))
        moved = advance(jax.random.fold_in(key, index), kernel, one_fn, tally, 1, context)
        rate = jnp.mean(moved.acceptance - tally.acceptance)
        return (moved, _as_dtypes_of(averaging, update(averaging, rate))), rate

    tally = start(kernel, one_fn, x_initial, context)
    dtype = compute_dtype(x_initial)
    averaging = first(jnp.asarray(step_size, dtype))
    # Fields that are plain numbers would change their type in the loop.
    averaging = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), averaging)
    (tally, averaging), rates = jax.lax.scan(body, (tally, averaging), jnp.arange(num_steps))
    return AdaptedStepSize(final(averaging), tally.state.position, rates, tally.num_nonfinite)


def _make_kernel(kernel_fn: Any, step_size: Any) -> Kernel:
    expected = "a step size, such as samplers.mala, which makes a kernel"
    check_function("kernel_fn", kernel_fn, expected)
    try:
        kernel = kernel_fn(step_size)
    except LIKELY_FROM_WRONG_ARGUMENTS as error:
        error.add_note(f"kernel_fn: called as kernel_fn(step_size), with {describe(step_size)}")
        raise
    check_instance("kernel_fn(step_size)", kernel, Kernel, "mala(step_size)")
    return kernel


def _as_dtypes_of(like: Any, values: Any) -> Any:
    return jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), like, values)
