"""Markov kernels as values: one step of one chain, by blackjax, with a flag for failures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc import diffusions

from nce_jax._checks import as_real, check_positive_int, compute_dtype
from nce_jax._partial import EqualPartial, compared_by_parts
from nce_jax._promotion import standard_promotion
from nce_jax._ranges import known_values
from nce_jax._types import Array, ArrayLike, Float, Real
from nce_jax.samplers._checks import check_step_size

_HMC = blackjax.hmc.build_kernel()


class Transition(NamedTuple):
    """Acceptance and failure of one step.

    Attributes:
      acceptance_rate: probability of accepting the proposal; one for a kernel without a Metropolis
        test.
      is_finite: False if the state or its proposal has a log density of NaN or +inf, or a finite
        log density with a gradient that is not finite. A log density of -inf is a density of zero,
        and not a failure.
    """

    acceptance_rate: Float[Array, ""]
    is_finite: Real[Array, ""]


@compared_by_parts
class Kernel(NamedTuple):
    """A Markov transition as two pure functions of one position; `sample_chains` runs many.

    Attributes:
      init: `init(x, log_density_fn) -> state`, a blackjax state with `position`, `logdensity` and
        `logdensity_grad`; the position is in float32 at least.
      step: `step(key, state, log_density_fn) -> (state, Transition)`. Here `log_density_fn` takes
        one position to a number.
      is_adjusted: whether the transition leaves the density exactly invariant, by a Metropolis
        test, as annealing requires.
    """

    init: Callable[[Array, Callable[[Array], Array]], Any]
    step: Callable[[Array, Any, Callable[[Array], Array]], tuple[Any, Transition]]
    is_adjusted: bool


def mala(step_size: Real[ArrayLike, ""]) -> Kernel:
    r"""Metropolis-adjusted Langevin algorithm: a step of the diffusion, then a Metropolis test.

    .. math:: x' = x + \tau \nabla\varphi(x) + \sqrt{2\tau}\,\xi, \qquad \xi \sim N(0, I),

    is the proposal, with tau = `step_size`. It is one leapfrog step of size sqrt(2 tau) of
    Hamiltonian Monte Carlo, and is implemented as such. The numbers are the same as those of
    `blackjax.mala`, which however does not return rejected proposals, so that a NaN among them
    would go unnoticed.

    In papers on energies a step of size s is often :math:`x + \tfrac{s^2}{2} \nabla\varphi(x) +
    s\,\xi`: the same with tau = s^2 / 2, so that s = 0.1 is `mala(0.005)`.

    Args:
      step_size: tau > 0, in squared units of x; it may be traced.

    Returns:
      A `Kernel`.

    Raises:
      TypeError: `step_size` is a Boolean or a string.
      ValueError: `step_size` is not one number, or known and not finite and positive.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.mala(0.1).is_adjusted
      True

    References:
      Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
        approximations, 1996.
      Neal, MCMC using Hamiltonian dynamics, 2011, section 5.2 (as one leapfrog step).
    """
    check_step_size(step_size)

    return Kernel(_init, EqualPartial(_mala_step, step_size), is_adjusted=True)


def hmc(
    step_size: Real[ArrayLike, ""],
    num_integration_steps: int,
    *,
    inverse_mass_matrix: Float[ArrayLike, "..."] | None = None,
) -> Kernel:
    r"""Hamiltonian Monte Carlo: leapfrog steps with new momenta, then a Metropolis test.

    .. math:: H(x, v) = -\varphi(x) + \tfrac12 v^T M^{-1} v, \qquad v \sim N(0, M),

    is integrated for `num_integration_steps` leapfrog steps of `step_size`.

    Args:
      step_size: size of one leapfrog step, in units of x (times the square root of the inverse
        mass); it may be traced.
      num_integration_steps: number of leapfrog steps per transition.
      inverse_mass_matrix: M^-1 for the flattened position, (dim,) for a diagonal one or (dim, dim),
        symmetric and positive definite (a traced one is not checked);
        None means ones. The best choice is close to the covariance of x.

    Returns:
      A `Kernel`.

    Raises:
      TypeError: `num_integration_steps` is not an integer.
      ValueError: a number out of its range, or a matrix that is not symmetric and positive
        definite; when the kernel runs: an inverse mass matrix of the wrong shape.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.hmc(0.1, 10).is_adjusted
      True

    References:
      Neal, MCMC using Hamiltonian dynamics, 2011, sections 2 and 3.
    """
    check_step_size(step_size)
    check_positive_int("num_integration_steps", num_integration_steps)
    if inverse_mass_matrix is not None:
        _check_inverse_mass(inverse_mass_matrix)

    step = EqualPartial(_hmc_step, step_size, inverse_mass_matrix, num_integration_steps)
    return Kernel(_init, step, is_adjusted=True)


def _check_inverse_mass(inverse_mass_matrix: Any) -> None:
    """Raises unless this is a diagonal or a square matrix, positive definite where it is known.

    Its size is that of a position.
    """
    expected = "a diagonal (dim,) or a matrix (dim, dim)"
    shape = np.shape(as_real("inverse_mass_matrix", inverse_mass_matrix, expected))
    is_square = len(shape) == 1 or (len(shape) == 2 and shape[0] == shape[1])
    if not is_square or 0 in shape:
        raise ValueError(f"inverse_mass_matrix: expected {expected}, got shape {shape}")
    is_list = isinstance(inverse_mass_matrix, list | tuple)
    known = known_values(np.asarray(inverse_mass_matrix) if is_list else inverse_mass_matrix)
    if known is not None and not _is_positive_definite(known.astype(np.float64)):
        raise ValueError(
            "inverse_mass_matrix: expected positive numbers or a symmetric positive definite"
            f" matrix, got {known.tolist()!s:.60}"
        )


def _is_positive_definite(matrix: np.ndarray) -> bool:
    """Whether this is a diagonal of positive numbers, or a symmetric matrix with a Cholesky factor.

    Of an asymmetric one momenta would have another covariance than their energy has.
    """
    if matrix.ndim == 1:
        return bool((matrix > 0).all() and np.isfinite(matrix).all())
    size = np.sqrt(np.abs(np.outer(np.diag(matrix), np.diag(matrix))))
    if not (np.abs(matrix - matrix.T) <= 1e-4 * size).all():
        return False
    try:
        return bool(np.isfinite(np.linalg.cholesky(matrix)).all())
    except np.linalg.LinAlgError:
        return False


def langevin(step_size: Real[ArrayLike, ""]) -> Kernel:
    r"""Unadjusted Langevin algorithm: a step of the diffusion, without a Metropolis test.

    .. math:: x' = x + \tau \nabla\varphi(x) + \sqrt{2\tau}\,\xi, \qquad \xi \sim N(0, I),

    with tau = `step_size`. Its stationary distribution has an error of O(tau): N(0, 1) becomes N(0,
    1 / (1 - tau / 2)). No proposal is rejected. A chain that meets a NaN gradient remains NaN, and
    one that reaches points where only the log density is NaN may return; `Chains.num_nonfinite`
    counts both. `gradient_ascent` takes the same step without the noise.

    In papers on energies a step of size s is often :math:`x + \tfrac{s^2}{2} \nabla\varphi(x) +
    s\,\xi`: the same with tau = s^2 / 2, so that s = 0.1 is `langevin(0.005)`.

    Args:
      step_size: tau > 0, in squared units of x; it may be traced.

    Returns:
      A `Kernel` that is not adjusted: annealed importance sampling refuses it.

    Raises:
      TypeError: `step_size` is a Boolean or a string.
      ValueError: `step_size` is not one number, or known and not finite and positive.

    Examples:
      >>> from nce_jax import samplers
      >>> samplers.langevin(0.1).is_adjusted
      False

    References:
      Roberts and Tweedie, Exponential convergence of Langevin distributions and their discrete
        approximations, 1996.
    """
    check_step_size(step_size)

    return Kernel(_init, EqualPartial(_langevin_step, step_size), is_adjusted=False)


def gradient_ascent(step_size: Real[ArrayLike, ""]) -> Kernel:
    r"""A Langevin step without its noise: the position moves up the log density.

    .. math:: x' = x + \tau \nabla\varphi(x)

    with tau = `step_size`. Chains end in local maxima and are no samples: it serves to find a mode,
    or as the test-time inference of an energy that was trained with Langevin steps. The papers'
    step s is tau = s^2 / 2, as in `langevin`. Positions that are not finite are counted as there.

    Args:
      step_size: tau > 0, in squared units of x; it may be traced. Above 2 over the largest
        curvature of the log density the steps diverge.

    Returns:
      A `Kernel` that is not adjusted: annealed importance sampling refuses it.

    Raises:
      TypeError: `step_size` is a Boolean or a string.
      ValueError: `step_size` is not one number, or known and not finite and positive.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import samplers
      >>> log_density_fn = lambda x: -0.5 * jnp.sum((x - 1) ** 2, axis=-1)
      >>> kernel = samplers.gradient_ascent(0.5)
      >>> chains = samplers.sample_chains(
      ...     jax.random.key(0), log_density_fn, jnp.zeros((1, 2)), kernel=kernel, num_steps=3
      ... )
      >>> print(chains.x)  # half of the way to the mode at every step
      [[0.875 0.875]]

    References:
      Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, 1847.
    """
    check_step_size(step_size)

    return Kernel(_init, EqualPartial(_ascent_step, step_size), is_adjusted=False)


def _init(x: Array, log_density_fn: Callable[[Array], Array]) -> Any:
    # Normal numbers of half precision have a mean of their own, by which the chains would drift.
    return blackjax.hmc.init(x.astype(compute_dtype(x)), log_density_fn)


def _ascent_step(step_size, key, state, log_density_fn):
    tau = jnp.asarray(step_size, state.position.dtype)
    position = state.position + tau * state.logdensity_grad
    return _unadjusted(state, (position, *jax.value_and_grad(log_density_fn)(position)))


def _langevin_step(step_size, key, state, log_density_fn):
    tau = jnp.asarray(step_size, state.position.dtype)
    dtype = state.position.dtype

    def value_and_grad(x):
        return jax.value_and_grad(log_density_fn)(x.astype(dtype))

    # Where x64 is on, blackjax makes float64 numbers for chains in float32.
    with standard_promotion():
        fields = diffusions.overdamped_langevin(value_and_grad)(key, state, tau)
    return _unadjusted(state, (fields[0].astype(dtype), *fields[1:]))


def _unadjusted(state, fields):
    """The new state, from its fields, and the transition to it, which is always accepted."""
    new_state = type(state)(*fields)
    return new_state, Transition(
        jnp.ones_like(state.logdensity), _is_finite(state) & _is_finite(new_state)
    )


def _mala_step(step_size, key, state, log_density_fn):
    tau = jnp.asarray(step_size, state.position.dtype)
    return _hmc_step(jnp.sqrt(2 * tau), None, 1, key, state, log_density_fn)


def _hmc_step(step_size, inverse_mass_matrix, num_integration_steps, key, state, log_density_fn):
    x = state.position
    mass = (
        jnp.ones(x.size, x.dtype)
        if inverse_mass_matrix is None
        else jnp.asarray(inverse_mass_matrix, x.dtype)
    )
    if mass.shape not in ((x.size,), (x.size, x.size)):
        raise ValueError(
            f"inverse_mass_matrix: expected shape ({x.size},) or ({x.size}, {x.size}), got shape"
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
