"""Whether samples agree with their work values: a wrong sign or unit contradicts them."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nce_jax._checks import as_sample_array
from nce_jax._slope import CalibrationSlope, calibration_slope
from nce_jax._types import Array, Float, Scalars
from nce_jax.free_energy._chain import bar_chain
from nce_jax.free_energy._input import checked_counts, joined
from nce_jax.free_energy._window import check_inefficiency
from nce_jax.log_partition import Status

Windows = (
    Float[Array, "*batch n"]
    | Float[np.ndarray, "*batch n"]
    | Sequence[Float[Array, " n"] | Float[np.ndarray, " n"]]
)

MAX_SCORE = 5.0
"""Standard errors by which a slope may differ from 1. Our choice: of 4,500 pairs of Gaussian sides,
the largest score was 5.3 with 100 work values on a side, and 4.4 with 300 and more."""

_LARGEST = 700.0
"""A log ratio beyond which the smaller probability is zero in float64."""

_UNITS = {1.68: "kcal/mol at 300 K", 0.401: "kJ/mol at 300 K"}
"""Slopes of work that is taken for one in kT."""


class ContradictedWorkError(ValueError):
    """The samples contradict their work values; `check_work` raises it."""


class WorkSlope(NamedTuple):
    """By what factor work values should be multiplied, as far as their samples can tell.

    Every field is a NumPy array, (*batch) or (windows,). NaN unless the status of `bar` is
    CONVERGED: without an overlap, samples say nothing about a slope.

    Attributes:
      slope: the factor, which should be 1.
      gain: the nats per sample, over both sides, by which it explains the samples better than 1.
      score: the number of standard errors by which the samples ask for another slope than 1,
        positive for a larger one; a draw of N(0, 1) where all is well.
    """

    slope: np.ndarray
    gain: np.ndarray
    score: np.ndarray


def work_slope(
    work_forward: Windows, work_reverse: Windows, *, statistical_inefficiency: Scalars = 1.0
) -> WorkSlope:
    r"""The factor by which work values should be multiplied, as far as their samples can tell.

    Work is a log ratio of two densities: :math:`p_R(-w) / p_F(w) = e^{\Delta f - w}`, for the
    energy differences of samples in equilibrium as for the work of processes far from it. So the
    logistic regression that tells the two sides apart by their work has the slope 1, whatever the
    two states are. Another slope says that something else than the samples is wrong: work in
    kcal/mol that is taken for kT at 300 K has 1.68, in kJ/mol 0.40, and wrong signs of both sides
    have -1. Correlated samples without their statistical inefficiency, and states that are not in
    equilibrium, show up as well. A wrong sign of the reverse work alone need not: the samples may
    then be those of two other states. Exchanged sides never do, since they are right for the two
    states in the opposite order, whose difference is -delta_f.

    Args:
      work_forward: as in `bar`, (*batch, m), or a list of arrays (m,), one per window, which may
        have different lengths. A work of +inf counts as in `bar`.
      work_reverse: the same of the reverse processes, (*batch, n), or a list of arrays (n,).
      statistical_inefficiency: g >= 1 of all series, or one per state of a chain, as in
        `bar_chain`; of two states one for either side.

    Returns:
      A `WorkSlope` with a value for every window.

    Raises:
      TypeError: work values that are not floating.
      ValueError: empty arrays, mismatched batches, or a statistical inefficiency below one.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (2000,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (2000,))
      >>> found = free_energy.work_slope(work_forward, work_reverse)
      >>> print(f"{found.slope:.2f}, {found.score:.1f} standard errors from 1")
      0.95, -1.6 standard errors from 1
      >>> found = free_energy.work_slope(0.596 * work_forward, 0.596 * work_reverse)
      >>> print(f"{found.slope:.2f}, {found.score:.1f} standard errors from 1")
      1.60, 19.0 standard errors from 1

    References:
      Crooks, Entropy production fluctuation theorem and the nonequilibrium work relation for free
        energy differences, 1999, eq. 2.
      Cox, Two further applications of a model for binary regression, 1958.
      Shirts, Simple quantitative tests to validate sampling from thermodynamic ensembles, 2013 (the
        same slope, of energies at two temperatures).
    """
    check_inefficiency(statistical_inefficiency)
    is_list = isinstance(work_forward, list | tuple)
    forward, reverse = _windows(work_forward, work_reverse)
    pairs = _inefficiencies(statistical_inefficiency, len(forward))
    solved = bar_chain(forward, reverse, shared_samples=False)
    is_converged = np.asarray(solved.status) == Status.CONVERGED
    delta_f = np.where(is_converged, solved.delta_f, np.nan)
    found = list(map(_slope, forward, reverse, delta_f, pairs))
    shape = (len(found),) if is_list else np.shape(work_forward)[:-1]
    return WorkSlope(*(np.reshape(field, shape) for field in zip(*found, strict=True)))


def check_work(
    work_forward: Windows, work_reverse: Windows, *, statistical_inefficiency: Scalars = 1.0
) -> None:
    """Raises where the samples contradict their work values, by `work_slope`.

    For host code, before or after `bar`, `bar_chain` and `mbar`, which cannot know the sign and the
    unit that were meant. Windows that hardly overlap say nothing about either, and pass, as do
    those with NaN, and exchanged sides. `check_solution` of a result raises for the first two.

    Args:
      work_forward: as in `work_slope`.
      work_reverse: as in `work_slope`. Of reduced potentials, `neighbor_work` gives both.
      statistical_inefficiency: as in `work_slope`.

    Raises:
      TypeError: work values that are not floating.
      ContradictedWorkError: a ValueError: a window's slope is more than 5 standard errors from 1.
      ValueError: empty arrays, or mismatched batches.

    Examples:
      >>> import jax
      >>> from nce_jax import free_energy
      >>> keys = jax.random.split(jax.random.key(0))
      >>> work_forward = 3 + 2 * jax.random.normal(keys[0], (2000,))
      >>> work_reverse = 1 + 2 * jax.random.normal(keys[1], (2000,))
      >>> free_energy.check_work(work_forward, work_reverse)
      >>> free_energy.check_work(-work_forward, -work_reverse)
      Traceback (most recent call last):
      ...
      nce_jax.free_energy...ContradictedWorkError: work_forward, work_reverse: expected ...
    """
    found = work_slope(
        work_forward, work_reverse, statistical_inefficiency=statistical_inefficiency
    )
    bad = np.argwhere(np.abs(found.score) > MAX_SCORE)
    if len(bad) == 0:
        return
    lane = tuple(int(i) for i in bad[0])
    where = f" in window {', '.join(map(str, lane))}" if lane else ""
    others = f"{len(bad) - 1} more window" + "s" * (len(bad) > 2)
    more = f", and another one in {others}" if len(bad) > 1 else ""
    raise ContradictedWorkError(
        "work_forward, work_reverse: expected work that has the slope 1, got"
        f" {found.slope[lane]:.3g}{where}, {abs(found.score[lane]):.0f} standard errors from"
        f" it{more}: {_cause(float(found.slope[lane]))}"
    )


def neighbor_work(
    reduced_potentials: Any, num_samples: Any = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The work between every state with samples and the next one, from reduced potentials.

    It is what `bar_chain`, `check_work` and `statistical_inefficiency` take.

    Args:
      reduced_potentials: as in `mbar`: (K, N) in kT, with the samples of state 0 first, or one
        array (K, N_k) per state.
      num_samples: the number of samples of every state, (K,); None, the default, for one array
        per state.

    Returns:
      Forward and reverse work, a list of NumPy arrays each: forward (N_k,) of the samples of state
      k, reverse (N_l,) of those of the next state l that has samples.

    Raises:
      TypeError: potentials that are not floating.
      ValueError: shapes or numbers of samples that do not fit, or fewer than two states with
        samples.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import free_energy
      >>> means = jnp.arange(3.0)[:, None]
      >>> x = jnp.repeat(means, 1000) + jax.random.normal(jax.random.key(0), (3000,))
      >>> potentials = (x[None] - means) ** 2 / 2
      >>> forward, reverse = free_energy.neighbor_work(potentials, [1000, 1000, 1000])
      >>> free_energy.check_work(forward, reverse)
      >>> print(f"{free_energy.bar_chain(forward, reverse).total:.3f}")
      0.048
    """
    potentials, counts = joined(reduced_potentials, num_samples)
    counts = checked_counts(counts, np.shape(potentials))
    if counts is None or isinstance(potentials, jax.core.Tracer):
        raise TypeError("reduced_potentials: expected values, got traced arrays")
    potentials = np.asarray(potentials)
    sampled = np.flatnonzero(counts)
    if len(sampled) < 2:
        raise ValueError(
            f"num_samples: expected two states with samples or more, got {len(sampled)}"
        )
    ends = np.cumsum(counts)
    samples = {k: potentials[:, ends[k] - counts[k] : ends[k]] for k in sampled}
    pairs = list(itertools.pairwise(sampled))
    forward = [samples[k][after] - samples[k][k] for k, after in pairs]
    return forward, [samples[after][k] - samples[after][after] for k, after in pairs]


def _windows(
    work_forward: Windows, work_reverse: Windows
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Every window's work as arrays (m,) and (n,) of the host."""
    forward, reverse = (
        _rows(name, side)
        for name, side in (("work_forward", work_forward), ("work_reverse", work_reverse))
    )
    if len(forward) != len(reverse):
        raise ValueError(
            f"work_reverse: expected as many windows as work_forward, {len(forward)}, got"
            f" {len(reverse)}"
        )
    return forward, reverse


def _rows(name: str, side: Windows) -> list[np.ndarray]:
    if isinstance(side, list | tuple):
        rows = [as_sample_array(f"{name}[{i}]", window) for i, window in enumerate(side)]
        if any(row.ndim != 1 for row in rows):
            raise ValueError(
                f"{name}: expected arrays (n,), got shapes {[row.shape for row in rows]}"
            )
    else:
        rows = [as_sample_array(name, side)]
    if any(isinstance(row, jax.core.Tracer) for row in rows):
        raise TypeError(f"{name}: expected values, got traced arrays")
    return [row for rows_ in rows for row in np.asarray(rows_).reshape(-1, rows_.shape[-1])]


def _inefficiencies(value: Scalars, count: int) -> list[tuple[float, float]]:
    """g of the forward and of the reverse side of every window."""
    values = np.asarray(value, np.float64)
    if values.ndim == 0:
        return [(float(values), float(values))] * count
    if values.shape != (count + 1,):
        raise ValueError(
            f"statistical_inefficiency: expected a number, or one per state, shape ({count + 1},),"
            f" got shape {values.shape}"
        )
    return list(zip(values[:-1].tolist(), values[1:].tolist(), strict=True))


def _slope(
    forward: np.ndarray, reverse: np.ndarray, delta_f: Any, inefficiency: tuple[float, float]
) -> CalibrationSlope:
    # What the other state does not allow is told apart with certainty.
    forward, reverse = (np.asarray(side, np.float64) for side in (forward, reverse))
    noise = np.maximum(delta_f - np.where(forward == -np.inf, np.nan, forward), -_LARGEST)
    data = np.minimum(delta_f + np.where(reverse == -np.inf, np.nan, reverse), _LARGEST)
    return calibration_slope(
        data, noise, np.arange(len(data) + len(noise)), inefficiency=inefficiency[::-1]
    )


def _cause(slope: float) -> str:
    """What may be wrong, in words."""
    if slope < 0:
        return "a sign is wrong; work_reverse is the work from the final to the initial state"
    for factor, unit in _UNITS.items():
        if abs(np.log(slope / factor)) < 0.15:
            return f"as of work in {unit}, where kT is expected"
    return (
        "the unit (kT is expected) or a sign may be wrong, the samples of another state, correlated"
        " (pass statistical_inefficiency), or not in equilibrium"
    )
