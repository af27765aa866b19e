"""The multistate Bennett acceptance ratio, as an estimator of alchemlyb's kind."""

import warnings
from typing import Any

import jax
import numpy as np
import pandas as pd

from nce_jax.alchemlyb._estimator import Estimator, of_states, warn_of, warn_of_contradictions
from nce_jax.alchemlyb._table import Table, check_known, read_table
from nce_jax.free_energy import bootstrap_mbar, enthalpy_and_entropy, mbar, neighbor_work


class MBAR(Estimator):
    """Multistate Bennett acceptance ratio of all states of a table.

    It takes the place of `alchemlyb.estimators.MBAR`, and computes by `nce_jax.mbar`.

    Args:
      maximum_iterations: evaluations of the equation that are allowed.
      relative_tolerance: accepted for alchemlyb's sake, without effect: a solve ends within
        rounding error, and is certified there.
      initial_f_k: accepted for alchemlyb's sake, without effect: the solve starts from Bennett's
        ratio along a tree of overlapping states.
      method: accepted for alchemlyb's sake, without effect.
      n_bootstraps: number of bootstrap replicates that `d_delta_f_` is taken from; zero takes the
        asymptotic errors.
      verbose: accepted for alchemlyb's sake, without effect.
      statistical_inefficiency: g >= 1, a number or one per column, the number of its correlated
        samples that are worth one independent sample: instead of subsampling. A bootstrap
        refuses it.
      chunk_size: number of samples that are in work at once; None takes all.
      seed: of the bootstrap.

    Attributes:
      result_: the `StateFreeEnergies` of the states whose potentials are known: status, overlap,
        gap, components, covariances and effective samples.
      theta_: covariance of the free energies relative to the first state that has a result, NaN for
        states that are not connected with it. alchemlyb's differs by a shift that no difference
        sees.
      delta_h_, d_delta_h_, delta_sT_, d_delta_sT_: differences of enthalpy and of temperature times
        entropy in kT and their asymptotic standard errors; None unless `fit` is asked for them.

    Examples:
      >>> import numpy as np
      >>> import pandas as pd
      >>> from nce_jax.alchemlyb import MBAR
      >>> stiffness = np.array([1.0, 2.0, 4.0])  # u = k x^2 / 2, f = log(k) / 2
      >>> x = np.random.default_rng(0).normal(size=(3, 1000)) / np.sqrt(stiffness)[:, None]
      >>> index = pd.MultiIndex.from_product([stiffness, range(1000)], names=["k", "time"])
      >>> u_nk = pd.DataFrame(np.outer(x**2, stiffness) / 2, index.swaplevel(), stiffness)
      >>> estimate = MBAR().fit(u_nk)
      >>> print(estimate.delta_f_.round(3))
             1.0    2.0    4.0
      1.0  0.000  0.337  0.686
      2.0 -0.337  0.000  0.349
      4.0 -0.686 -0.349  0.000
      >>> print(estimate.overlap_matrix.round(2))
      [[0.4  0.33 0.28]
       [0.33 0.34 0.34]
       [0.28 0.34 0.38]]

    References:
      Shirts and Chodera, Statistically optimal analysis of samples from multiple equilibrium
        states, 2008.
    """

    _delta_h_: pd.DataFrame | None = None
    _d_delta_h_: pd.DataFrame | None = None
    _delta_sT_: pd.DataFrame | None = None
    _d_delta_sT_: pd.DataFrame | None = None

    def __init__(
        self,
        maximum_iterations: int = 10000,
        relative_tolerance: float = 1.0e-7,
        initial_f_k: Any = "BAR",
        method: str = "robust",
        n_bootstraps: int = 0,
        verbose: bool = False,
        *,
        statistical_inefficiency: Any = 1.0,
        chunk_size: int | None = None,
        seed: int = 0,
    ) -> None:
        self.maximum_iterations = maximum_iterations
        self.relative_tolerance = relative_tolerance
        self.initial_f_k = initial_f_k
        self.method = method
        self.n_bootstraps = n_bootstraps
        self.verbose = verbose
        self.statistical_inefficiency = statistical_inefficiency
        self.chunk_size = chunk_size
        self.seed = seed

    def fit(self, u_nk: pd.DataFrame, compute_entropy_enthalpy: bool = False) -> "MBAR":
        """Estimates the free energies of all states.

        Args:
          u_nk: reduced potentials of the samples (rows) in the states (columns), from alchemlyb's
            parsers: the first level of the index is the time, the others are the sample's state. A
            state without samples whose potentials are missing has NaN for results. Energies in
            kJ/mol or kcal/mol, by `attrs`, are divided by kT.
          compute_entropy_enthalpy: whether differences of enthalpy and entropy are estimated, too.

        Returns:
          The estimator. States without a solution are NaN, and named in a warning; so are states
          whose samples contradict their energies (`free_energy.check_work`).

        Raises:
          TypeError: no DataFrame, or one that does not hold numbers.
          ValueError: missing potentials of states with samples; see `nce_jax.mbar` for the options.
        """
        self._check_bootstrap()
        table = read_table(u_nk)
        known = _known_states(table)
        data: tuple[Any, Any] = table.potentials[:, known].T, table.num_samples[known]
        options = self._options(known)
        with jax.enable_x64(True):
            result = jax.device_get(mbar(*data, **options))
            errors = self._errors(*data) if self.n_bootstraps else result.standard_error
            thermal = enthalpy_and_entropy(*data, **options) if compute_entropy_enthalpy else None
            warn_of_contradictions(
                "MBAR", *_sampled_work(table, known, self.statistical_inefficiency)
            )
        labels = [state for state, is_known in zip(table.states, known, strict=True) if is_known]
        warn_of("MBAR", "the states", labels, result.status)
        self.result_, self._known = result, known
        spread = lambda values: table.frame(_spread(values, known))
        self.theta_ = spread(result.covariance)
        names = ("delta_h", "d_delta_h", "delta_sT", "d_delta_sT")
        results = [None] * 4 if thermal is None else list(thermal[:4])
        for name, values in zip(names, results, strict=True):
            setattr(self, f"_{name}_", None if values is None else spread(values))
        matrices = _spread(result.delta_f, known), _spread(errors, known)
        self._set(table, table.states, *matrices)
        return self

    def _check_bootstrap(self) -> None:
        if isinstance(self.initial_f_k, str) and self.initial_f_k != "BAR":
            raise ValueError(f"initial_f_k: expected 'BAR' or values, got {self.initial_f_k!r}")
        if self.n_bootstraps == 1:
            raise ValueError("n_bootstraps: expected 0 or at least 2 replicates, got 1")
        if self.n_bootstraps and np.any(np.asarray(self.statistical_inefficiency) != 1):
            raise ValueError(
                "n_bootstraps: expected 0 beside a statistical_inefficiency, got"
                f" {self.n_bootstraps}: replicates take the samples for independent; subsample"
                " them, or use nce_jax.free_energy.bootstrap_mbar with its block_size"
            )

    def _options(self, known: np.ndarray) -> dict[str, Any]:
        return {
            "statistical_inefficiency": of_states(self.statistical_inefficiency, known),
            "max_steps": self.maximum_iterations,
            "chunk_size": self.chunk_size,
        }

    def _errors(self, potentials: Any, num_samples: Any) -> np.ndarray:
        """Standard deviations of the differences of all states over bootstrap replicates."""
        replicates = bootstrap_mbar(
            jax.random.key(self.seed),
            potentials,
            num_samples,
            num_replicates=self.n_bootstraps,
            chunk_size=self.chunk_size,
        ).replicates
        f = np.asarray(replicates)
        num_failed = np.isnan(f).any(axis=1).sum()
        if num_failed:
            warnings.warn(
                f"MBAR: {num_failed} of {len(f)} bootstrap replicates have no estimate of some"
                " states, whose errors are NaN",
                stacklevel=3,
            )
        return np.stack([np.std(f - f[:, [state]], axis=0, ddof=1) for state in range(f.shape[1])])

    @property
    def overlap_matrix(self) -> np.ndarray:
        """At [i, j] the probability under state i that a sample of all belongs to state j."""
        return _spread(self.result_.overlap, self._known)

    @property
    def delta_h_(self) -> pd.DataFrame | None:
        """Difference of the enthalpies of the column's state and the row's state in kT."""
        return self._delta_h_

    @property
    def d_delta_h_(self) -> pd.DataFrame | None:
        """Standard error of `delta_h_` in kT."""
        return self._d_delta_h_

    @property
    def delta_sT_(self) -> pd.DataFrame | None:
        """Difference of temperature times entropy in kT, `delta_h_` minus `delta_f_`."""
        return self._delta_sT_

    @property
    def d_delta_sT_(self) -> pd.DataFrame | None:
        """Standard error of `delta_sT_` in kT."""
        return self._d_delta_sT_


def _known_states(table: Table) -> np.ndarray:
    """Which states have a potential at every sample, (K,); those with samples must."""
    is_needed = np.broadcast_to(table.is_sampled, (len(table.states),) * 2)
    check_known(table, is_needed, "; `BAR` needs those of neighboring states only")
    return ~np.isnan(table.potentials).any(axis=0)


def _sampled_work(table: Table, known: np.ndarray, inefficiency: Any) -> tuple[Any, ...]:
    """Labels of the states with samples, the work between neighbors, and inefficiencies."""
    sampled = known & table.is_sampled
    states = [state for state, is_in in zip(table.states, sampled, strict=True) if is_in]
    if len(states) < 2:
        return states, [], [], 1.0
    work = neighbor_work(table.potentials[:, sampled].T, table.num_samples[sampled])
    return states, *work, of_states(inefficiency, sampled)


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """A matrix of the known states among all states, NaN for the others."""
    spread = np.full((len(known),) * 2, np.nan)
    spread[np.ix_(known, known)] = values
    return spread
