"""What both estimators share: the attributes of a result, and what is said of one that is none."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from nce_jax.alchemlyb._table import Table
from nce_jax.free_energy import ContradictedWorkError, check_work
from nce_jax.log_partition import Status


class Estimator(BaseEstimator):
    """Base of the estimators: results are read-only, and None before `fit`."""

    _states_: list[Any] | None = None
    _delta_f_: pd.DataFrame | None = None
    _d_delta_f_: pd.DataFrame | None = None

    @property
    def states_(self) -> list[Any] | None:
        """Labels of the states that have a row in the results."""
        return self._states_

    @property
    def delta_f_(self) -> pd.DataFrame | None:
        """f of the column's state minus f of the row's state in kT, NaN where it is not known."""
        return self._delta_f_

    @property
    def d_delta_f_(self) -> pd.DataFrame | None:
        """Standard error of `delta_f_` in kT."""
        return self._d_delta_f_

    def _set(self, table: Table, states: list[Any], delta_f: Any, error: Any) -> None:
        self._states_ = states
        self._delta_f_ = table.frame(delta_f, states)
        self._d_delta_f_ = table.frame(error, states)


def warn_of(name: str, what: str, labels: list[Any], statuses: Any) -> None:
    """Warns of results that are NaN, or whose errors are rough, and names their states."""
    by_status: dict[str, list[Any]] = {}
    for label, status in zip(labels, np.asarray(statuses), strict=True):
        if status != Status.CONVERGED:
            by_status.setdefault(Status(status).name, []).append(label)
    for status, found in by_status.items():
        is_rough = status == Status.LOW_OVERLAP.name
        verdict = "the errors are too small, as a rule," if is_rough else "there is no estimate"
        warnings.warn(f"{name}: {verdict} for {what} {found}: {status}", stacklevel=3)


def warn_of_contradictions(
    name: str, labels: list[Any], forward: list[Any], reverse: list[Any], inefficiency: Any
) -> None:
    """Warns where the samples contradict their energies: a unit, a sign, or correlated samples."""
    if len(labels) < 2:  # samples of one state have no window
        return
    try:
        check_work(forward, reverse, statistical_inefficiency=inefficiency)
    except ContradictedWorkError as error:
        warnings.warn(f"{name}, windows between the states {labels}: {error}", stacklevel=3)


def of_states(inefficiency: Any, chosen: np.ndarray) -> np.ndarray:
    """Statistical inefficiencies of some of the columns, from a number or one per column."""
    values = np.asarray(inefficiency, float)
    return values[chosen] if values.shape == chosen.shape else values
