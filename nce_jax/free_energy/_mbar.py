"""The multistate Bennett acceptance ratio: free energies of many states at once."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import check_positive, check_positive_int
from nce_jax._offset import Effect, add_constant
from nce_jax._types import Counts, Potentials, Scalars, Weights
from nce_jax.free_energy._input import as_inputs
from nce_jax.free_energy._network import Network, make_network
from nce_jax.free_energy._solve import solve_network
from nce_jax.free_energy._start import pair_start, within_pieces
from nce_jax.free_energy._states import StateFreeEnergies, assemble
from nce_jax.free_energy._uncertainty import Reference, find_reference, with_unsampled
from nce_jax.log_partition import Status


def mbar(
    reduced_potentials: Potentials,
    num_samples: Counts | None = None,
    *,
    weights: Weights | None = None,
    statistical_inefficiency: Scalars = 1.0,
    tolerance: float | None = None,
    max_steps: int = 200,
    chunk_size: int | None = None,
) -> StateFreeEnergies:
    r"""Multistate Bennett acceptance ratio: free energies of K states from samples of all of them.

    Minimizes the convex function

    .. math::
       L(f) = \sum_n \log \sum_k n_k e^{f_k - u_k(x_n)} - \sum_k n_k f_k,

    the loss of a multinomial regression that tells the states apart, with the free energies as its
    offsets. With two states it is the equation of `bar`. Newton's method starts from `bar` along a
    tree of overlapping states, and its result is certified in kT (docs/design.md).

    The samples of the pool tell the free energy of any state whose potential is known at them. A
    state that was not sampled has `num_samples` zero; `reduced_potentials` has a row for it.

    f is differentiable to any order in `reduced_potentials` and `weights`, by the implicit function
    theorem, and so are `delta_f` and `standard_error`. The function can be used under `jit`, `vmap`
    and `grad`, and with potentials that are sharded over their samples, on meshes whose axes are
    of the type Auto, as `training.make_mesh` makes them.

    Args:
      reduced_potentials: u_k(x_n) in kT of all samples in all states, (K, N), the samples ordered
        by the state that they were drawn in, as for pymbar; or a list of K arrays (K, n_k), the
        samples of one state each. +inf is a state that does not allow the sample.
      num_samples: number of samples of each state, (K,), integers; None for a list of blocks.
      weights: weights >= 0 of the samples, (N,): zero for padding, or those of reweighted samples;
        only their ratios within a state matter. n_k is then the effective number of samples.
      statistical_inefficiency: g >= 1, the number of correlated samples that are worth one
        independent sample; a number or one per state, (K,). One number increases the errors by
        sqrt(g). Different numbers also count a state for n_k / g_k samples.
      tolerance: admissible error of every difference in kT; None takes eps^(3/4) of the dtype,
        2e-12 in float64 and 6e-6 in float32. It is never taken smaller than the rounding error.
      max_steps: evaluations allowed.
      chunk_size: number of samples that are in work at once; None takes all, with about five arrays
        (N, K). Smaller chunks bound the memory of the program beyond the potentials by about three
        arrays (chunk_size, K) and eight (N,), or eighteen where one state has nearly all samples. A
        gradient keeps arrays (N, K), and a call outside `jit` copies the potentials to pad them.

    Returns:
      A `StateFreeEnergies`. A failed solve raises nothing: it shows in `status`, or call
      `nce_jax.check_solution` outside `jit`.

    Raises:
      TypeError: potentials or weights that are not floating, `num_samples` that are no integers.
      ValueError: shapes that do not fit, numbers that do not add up to N, plain numbers out of
        their range, and differences of free energies that the dtype cannot represent.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import nce_jax
      >>> stiffness = jnp.array([1.0, 2.0, 4.0])  # u = k x^2 / 2, f = log(k) / 2
      >>> x = jax.random.normal(jax.random.key(0), (3, 2000)) / jnp.sqrt(stiffness)[:, None]
      >>> u = jnp.outer(stiffness, x**2) / 2
      >>> result = nce_jax.mbar(u, [2000, 2000, 2000])
      >>> for f, error in zip(result.f, result.standard_error[0]):
      ...     print(f"{f:.3f} +- {error:.3f}")
      0.000 +- 0.000
      0.355 +- 0.007
      0.711 +- 0.012

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008, eqs. 11 and D8.
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (overlap matrix).
      Ding, Vilseck and Brooks, Fast solver for large scale multistate Bennett acceptance ratio
        equations, 2019 (the convex form).
    """
    inputs = as_inputs(reduced_potentials, num_samples, weights, statistical_inefficiency)
    check_options(tolerance, max_steps, chunk_size)
    result = _mbar(
        inputs.samples,
        tolerance,
        largest=inputs.largest,
        max_steps=max_steps,
        chunk_size=chunk_size,
    )
    return result if inputs.constants is None else _with_constants(result, inputs.constants)


def check_options(tolerance: Any, max_steps: Any, chunk_size: Any) -> None:
    """Raises where an option is of the wrong kind or, as a plain number, out of its range."""
    if tolerance is not None:
        check_positive("tolerance", tolerance)
    check_positive_int("max_steps", max_steps)
    if chunk_size is not None:
        check_positive_int("chunk_size", chunk_size)


def _with_constants(result: StateFreeEnergies, constants: np.ndarray) -> StateFreeEnergies:
    """Adds what was subtracted from the potentials of the states to their free energies."""
    effect = Effect("delta_f")
    result = add_constant(result, constants - constants[:, None], effect, "reduced_potentials")
    return result._replace(f=result.delta_f[0])


class Solved(NamedTuple):
    """A network in its pieces, its free energies with their moments, status and evaluations."""

    network: Network
    is_piece: jax.Array
    reference: Reference
    status: jax.Array
    num_evaluations: jax.Array


def solve_states(
    network: Network, tolerance: Any, *, largest: int | None, max_steps: int, chunk_size: int | None
) -> Solved:
    """Solves for the free energies of all states, with and without samples."""
    start = pair_start(jax.lax.stop_gradient(network), largest, chunk_size)
    network = within_pieces(network, start, chunk_size)
    solution = solve_network(
        network, start, tolerance=tolerance, max_steps=max_steps, chunk_size=chunk_size
    )
    f = jax.lax.cond(
        jnp.all(network.is_sampled),
        lambda: solution.f,
        lambda: with_unsampled(network, solution.f, chunk_size),
    )
    status = jnp.where(solution.is_converged, Status.CONVERGED, Status.MAX_STEPS)
    reference = find_reference(network, f, chunk_size)
    return Solved(network, start.is_piece, reference, status, solution.num_evaluations)


def assemble_solved(solved: Solved, chunk_size: int | None) -> StateFreeEnergies:
    """The result of a solve."""
    return assemble(
        solved.network, solved.reference, solved.status, solved.num_evaluations, chunk_size
    )


@partial(jax.jit, static_argnames=("largest", "max_steps", "chunk_size"))
def _mbar(samples: Any, tolerance: Any, *, chunk_size: int | None, **options) -> StateFreeEnergies:
    solved = solve_states(
        make_network(*samples, chunk_size=chunk_size), tolerance, chunk_size=chunk_size, **options
    )
    return assemble_solved(solved, chunk_size)
