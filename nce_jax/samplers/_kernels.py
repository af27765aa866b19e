"""Transitions as values: one step of one chain, from blackjax, with a flag for what is not
finite.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc import diffusions

from nce_jax._checks import check_positive, check_positive_int
from nce_jax._types import Array, ArrayLike, Float, Real

_HMC = blackjax.hmc.build_kernel()


class Transition(NamedTuple):
    """What happened in one step.

    Attributes:
      acceptance_rate: probability with which the proposal was accepted; one for an unadjusted
        kernel.
      is_finite: False where the state or its proposal had a NaN or +inf log density, or a gradient
        that is not finite where the log density is. A log density of -inf is an honest zero, and no
        failure.
    """

    acceptance_rate: Float[Array, ""]
    is_finite: Real[Array, ""]


class Kernel(NamedTuple):
    """A Markov transition as two pure functions of one position; `sample_chains` runs many.

    Attributes:
      init: `init(x, log_density_fn) -> state`, a blackjax state with `position`, `logdensity` and
        `logdensity_grad`.
      step: `step(key, state, log_density_fn) -> (state, Transition)`. Here `log_density_fn` takes
        one position to a number.
      is_adjusted: whether the transition leaves the density exactly invariant (a Metropolis test),
        as annealing needs.
    """

    init: Callable[[Array, Callable[[Array], Array]], Any]
    step: Callable[[Array, Any, Callable[[Array], Array]], tuple[Any, Transition]]
    is_adjusted: bool


def mala(step_size: Real[ArrayLike, ""]) -> Kernel:
    """Metropolis-adjusted Langevin: a step of the diffusion, then a Metropolis test.

    The proposal is x' = x + tau grad phi(x) + sqrt(2 tau) xi, with tau = `step_size` and xi ~ N(0,
    I). It is one leapfrog step of size sqrt(2 tau) of Hamiltonian Monte Carlo, and is run so: the
    same numbers as from `blackjax.mala`, but the proposal is seen even where it is refused, and
    with it a NaN.

    Args:
      step_size: tau > 0, in squared units of x; may be traced.

    Returns:
      A `Kernel`.

    Raises:
      TypeError: `step_size` is a Boolean or a string.
      ValueError: `step_size` is a plain number that is not finite and positive.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.mala(0.1).is_adjusted
      True

    References:
      Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
        approximations, 1996.
      Neal, MCMC using Hamiltonian dynamics, 2011, section 5.2 (as one leapfrog step).
    """
    check_positive("step_size", step_size)

    def step(key, state, log_density_fn):
        tau = jnp.asarray(step_size, state.position.dtype)
        return _hmc_step(key, state, log_density_fn, jnp.sqrt(2 * tau), None, 1)

    return Kernel(blackjax.hmc.init, step, is_adjusted=True)


def hmc(
    step_size: Real[ArrayLike, ""],
    num_integration_steps: int,
    *,
    inverse_mass_matrix: Float[ArrayLike, "..."] | None = None,
) -> Kernel:
    """Hamiltonian Monte Carlo: leapfrog steps with fresh Gaussian momenta, then a Metropolis test
    of the end point.

    H(x, v) = -phi(x) + v' M^-1 v / 2 with v ~ N(0, M), integrated `num_integration_steps` times
    with `step_size`.

    Args:
      step_size: of one leapfrog step, in units of x (times sqrt of the inverse mass); may be
        traced.
      num_integration_steps: leapfrog steps per transition.
      inverse_mass_matrix: M^-1 for the flattened position: (dim,) for a diagonal one or (dim, dim);
        None takes ones. Best near the covariance of x.

    Returns:
      A `Kernel`.

    Raises:
      TypeError: `num_integration_steps` is not an integer.
      ValueError: a plain number out of its range; when the kernel runs: an inverse mass matrix that
        does not fit.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.hmc(0.1, 10).is_adjusted
      True

    References:
      Neal, MCMC using Hamiltonian dynamics, 2011, sections 2 and 3.
    """
    check_positive("step_size", step_size)
    check_positive_int("num_integration_steps", num_integration_steps)

    def step(key, state, log_density_fn):
        return _hmc_step(
            key, state, log_density_fn, step_size, inverse_mass_matrix, num_integration_steps
        )

    return Kernel(blackjax.hmc.init, step, is_adjusted=True)


def langevin(step_size: Real[ArrayLike, ""]) -> Kernel:
    """Unadjusted Langevin: x' = x + tau grad phi(x) + sqrt(2 tau) xi, with tau = `step_size`, and
    no Metropolis test.

    Its stationary law is off by O(tau): N(0, 1) becomes N(0, 1 / (1 - tau / 2)). Nothing refuses a
    bad proposal: a chain that meets a NaN gradient is NaN from there on, and one that walks where
    only the log density is NaN may come back; `Chains.num_nonfinite` counts both.

    Args:
      step_size: tau > 0, in squared units of x; may be traced.

    Returns:
      A `Kernel`, not adjusted: annealed importance sampling refuses it.

    Raises:
      TypeError: `step_size` is a Boolean or a string.
      ValueError: `step_size` is a plain number that is not finite and positive.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.langevin(0.1).is_adjusted
      False

    References:
      Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
        approximations, 1996.
    """
    check_positive("step_size", step_size)

    def step(key, state, log_density_fn):
        tau = jnp.asarray(step_size, state.position.dtype)
        integrate = diffusions.overdamped_langevin(jax.value_and_grad(log_density_fn))
        new_state = type(state)(*integrate(key, state, tau))
        return new_state, Transition(
            jnp.ones_like(state.logdensity), _is_finite(state) & _is_finite(new_state)
        )

    return Kernel(blackjax.hmc.init, step, is_adjusted=False)


def _hmc_step(key, state, log_density_fn, step_size, inverse_mass_matrix, num_integration_steps):
    x = state.position
    mass = (
        jnp.ones(x.size, x.dtype)
        if inverse_mass_matrix is None
        else jnp.asarray(inverse_mass_matrix, x.dtype)
    )
    if mass.shape not in ((x.size,), (x.size, x.size)):
        raise ValueError(
            f"inverse_mass_matrix: expected shape ({x.size},) or ({x.size}, {x.size}), got"
            f" {mass.shape}"
        )
    step_size = jnp.asarray(step_size, x.dtype)
    new_state, info = _HMC(key, state, log_density_fn, step_size, mass, num_integration_steps)
    return new_state, Transition(
        info.acceptance_rate, _is_finite(state) & _is_finite(info.proposal)
    )


def _is_finite(state) -> jax.Array:
    has_gradient = jnp.all(jnp.isfinite(state.logdensity_grad))
    return (jnp.isfinite(state.logdensity) & has_gradient) | jnp.isneginf(state.logdensity)
