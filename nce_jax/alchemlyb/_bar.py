"""Bennett's acceptance ratio of neighboring states, as an estimator of alchemlyb's kind."""

from itertools import pairwise
from typing import Any

import jax
import numpy as np
import pandas as pd

from nce_jax.alchemlyb._estimator import Estimator, of_states, warn_of, warn_of_contradictions
from nce_jax.alchemlyb._table import Table, check_known, read_table
from nce_jax.free_energy import ChainFreeEnergy, bar_chain


class BAR(Estimator):
    """Bennett acceptance ratio of every two neighbors among the sampled states.

    It takes the place of `alchemlyb.estimators.BAR`. Beyond it, `d_delta_f_` is known for states
    that are not neighbors as well: the samples of a state serve the window before it and the one
    after it, and the joint error of both is taken into account (`free_energy.bar_chain`).

    Args:
      maximum_iterations: evaluations of Bennett's equation that are allowed.
      relative_tolerance: accepted for alchemlyb's sake, without effect: every solve ends within
        rounding error, and is checked there.
      method: accepted for alchemlyb's sake, without effect.
      verbose: accepted for alchemlyb's sake, without effect.
      statistical_inefficiency: g >= 1, a number or one per column, the number of its correlated
        samples that are worth one independent sample: instead of subsampling.

    Attributes:
      result_: the `ChainFreeEnergy` of the windows, with overlap, status and covariance.

    Examples:
      >>> import numpy as np
      >>> import pandas as pd
      >>> from nce_jax.alchemlyb import BAR
      >>> stiffness = np.array([1.0, 2.0, 4.0])  # u = k x^2 / 2, f = log(k) / 2
      >>> x = np.random.default_rng(0).normal(size=(3, 1000)) / np.sqrt(stiffness)[:, None]
      >>> index = pd.MultiIndex.from_product([stiffness, range(1000)], names=["k", "time"])
      >>> u_nk = pd.DataFrame(np.outer(x**2, stiffness) / 2, index.swaplevel(), stiffness)
      >>> estimate = BAR().fit(u_nk)
      >>> print(estimate.delta_f_.round(3))
             1.0    2.0    4.0
      1.0  0.000  0.340  0.696
      2.0 -0.340  0.000  0.355
      4.0 -0.696 -0.355  0.000
      >>> print(f"{estimate.d_delta_f_.loc[1.0, 4.0]:.3f}")  # NaN in alchemlyb
      0.017

    References:
      Bennett, Efficient estimation of free energy differences from Monte Carlo data, 1976.
    """

    def __init__(
        self,
        maximum_iterations: int = 10000,
        relative_tolerance: float = 1.0e-7,
        method: str = "false-position",
        verbose: bool = False,
        *,
        statistical_inefficiency: Any = 1.0,
    ) -> None:
        self.maximum_iterations = maximum_iterations
        self.relative_tolerance = relative_tolerance
        self.method = method
        self.verbose = verbose
        self.statistical_inefficiency = statistical_inefficiency

    def fit(self, u_nk: pd.DataFrame) -> "BAR":
        """Estimates the differences of neighboring states, and of all others by their sums.

        Args:
          u_nk: reduced potentials of the samples (rows) in the states (columns), from alchemlyb's
            parsers: the first level of the index is the time, the others are the sample's state.
            Neighbors are consecutive columns that have samples. Energies in kJ/mol or kcal/mol, by
            `attrs`, are divided by kT.

        Returns:
          The estimator. Windows without a solution are NaN, and named in a warning; so are windows
          whose samples contradict their energies (`free_energy.check_work`).

        Raises:
          TypeError: no DataFrame, or one that does not hold numbers.
          ValueError: fewer than two states with samples, or a missing potential of a neighbor.
        """
        table = read_table(u_nk)
        work = _windows(table)
        inefficiency = of_states(self.statistical_inefficiency, table.is_sampled)
        states = [table.states[state] for state in np.flatnonzero(table.is_sampled)]
        with jax.enable_x64(True):
            result = jax.device_get(
                bar_chain(
                    *work, statistical_inefficiency=inefficiency, max_steps=self.maximum_iterations
                )
            )
            warn_of_contradictions("BAR", states, *work, inefficiency)
        warn_of("BAR", "the windows", list(pairwise(states)), result.status)
        self.result_ = result
        self._set(table, states, *_between_all_states(result))
        return self


def _windows(table: Table) -> tuple[list[Any], list[Any]]:
    """Forward and reverse work between neighbors among the sampled states."""
    sampled = np.flatnonzero(table.is_sampled).tolist()
    if len(sampled) < 2:
        raise ValueError(f"u_nk: expected samples of two or more states, got {len(sampled)}")
    pairs = list(pairwise(sampled))
    is_needed = np.eye(len(table.states), dtype=bool)
    for below, above in pairs:
        is_needed[below, above] = is_needed[above, below] = True
    check_known(table, is_needed, "")
    forward = [_work(table, below, above) for below, above in pairs]
    return forward, [_work(table, above, below) for below, above in pairs]


def _work(table: Table, source: int, target: int) -> Any:
    """The work from one state to another at the samples of the first."""
    potentials = table.samples_of(source)
    with np.errstate(invalid="ignore"):  # inf - inf has no meaning, and is reported as such
        return potentials[:, target] - potentials[:, source]


def _between_all_states(chain: ChainFreeEnergy) -> tuple[np.ndarray, np.ndarray]:
    """Differences of all states and their errors: NaN across a window without an estimate."""
    delta_f, covariance = np.asarray(chain.delta_f), np.asarray(chain.covariance)
    num_states = len(delta_f) + 1
    differences, errors = np.zeros((2, num_states, num_states))
    for first in range(num_states):
        for last in range(first + 1, num_states):
            # Sums over the windows in between: a window of infinite error spoils no other.
            between = slice(first, last)
            differences[first, last] = np.sum(delta_f[between])
            with np.errstate(invalid="ignore"):
                variance = np.sum(covariance[between, between])
            is_infinite = np.isinf(np.diag(covariance)[between]).any()
            variance = np.inf if is_infinite else np.maximum(variance, 0)
            errors[first, last] = errors[last, first] = np.sqrt(variance)
    differences -= differences.T
    return differences, np.where(np.isnan(differences), np.nan, errors)
