"""Tables of reduced potentials, as alchemlyb makes them, and tables of results."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from nce_jax._describe import describe

# The molar gas constant in kJ/(mol K), exact since 2019, and a thermochemical calorie in J.
_GAS_CONSTANT, _CALORIE = 8.31446261815324e-3, 4.184
_UNITS = {"kT": None, "kJ/mol": _GAS_CONSTANT, "kcal/mol": _GAS_CONSTANT / _CALORIE}


class Table(NamedTuple):
    """Reduced potentials of K states at N samples, which are in the order of their states.

    Attributes:
      states: labels of the states, the columns of the table.
      potentials: (N, K) in kT, float64.
      num_samples: of every state, (K,).
      attrs: of the table, with kT as the unit of energy.
    """

    states: list[Any]
    potentials: np.ndarray
    num_samples: np.ndarray
    attrs: dict[str, Any]

    @property
    def is_sampled(self) -> np.ndarray:
        return self.num_samples > 0

    def samples_of(self, state: int) -> np.ndarray:
        """Potentials of the samples of a state, (n, K)."""
        end = int(np.cumsum(self.num_samples)[state])
        return self.potentials[end - self.num_samples[state] : end]

    def frame(self, values: Any, states: list[Any] | None = None) -> pd.DataFrame:
        """A result for every pair of states, with the attributes of the table."""
        labels = self.states if states is None else states
        frame = pd.DataFrame(np.asarray(values), columns=labels, index=labels)
        frame.attrs = dict(self.attrs)
        return frame


def read_table(u_nk: Any) -> Table:
    """The samples of a DataFrame; a sample's state is in the levels of the index but the first."""
    if not isinstance(u_nk, pd.DataFrame):
        raise TypeError(f"u_nk: expected a pandas DataFrame, got {describe(u_nk)}")
    if u_nk.index.nlevels < 2 or u_nk.empty:
        raise ValueError(
            "u_nk: expected rows with an index of time and state, as alchemlyb's parsers make it,"
            f" and a column per state, got {len(u_nk)} rows with the index levels"
            f" {list(u_nk.index.names)} and {u_nk.shape[1]} columns"
        )
    states = u_nk.columns.tolist()
    if len(set(states)) < len(states):
        raise ValueError(f"u_nk: expected different states as columns, got {states}")
    owners = _owners(u_nk.index, states)
    order = np.argsort(owners, kind="stable")
    attrs = dict(u_nk.attrs)
    potentials = _numbers(u_nk)[order] / _energy_of_kt(attrs)
    num_samples = np.bincount(owners, minlength=len(states))
    return Table(states, potentials, num_samples, attrs | {"energy_unit": "kT"})


def _owners(index: pd.Index, states: list[Any]) -> np.ndarray:
    """The position of every row's state among the columns, (N,)."""
    codes, labels = pd.factorize(index.droplevel(0))
    positions = {state: position for position, state in enumerate(states)}
    missing = [label for label in labels if label not in positions]
    if missing or (codes < 0).any():
        raise ValueError(
            f"u_nk: expected every sample's state among the columns, {states}, got samples of"
            f" {missing or 'a missing state'}; the first level of the index, {index.names[0]!r}, is"
            " taken for the time"
        )
    return np.array([positions[label] for label in labels])[codes]


def _numbers(u_nk: pd.DataFrame) -> np.ndarray:
    kinds = {infer_dtype(column) for _, column in u_nk.items()}
    if not kinds <= {"floating", "integer", "mixed-integer-float", "empty"}:
        raise TypeError(f"u_nk: expected numbers, got columns of {', '.join(sorted(kinds))}")
    return u_nk.to_numpy(np.float64, na_value=np.nan)


def _energy_of_kt(attrs: dict[str, Any]) -> float:
    """kT in the unit of the table, which is kT where it says none."""
    unit = attrs.get("energy_unit", "kT")
    if unit not in _UNITS:
        raise ValueError(
            f"u_nk: expected attrs['energy_unit'] to be one of {', '.join(_UNITS)}, got {unit!r}"
        )
    constant = _UNITS[unit]
    if constant is None:
        return 1.0
    temperature: Any = attrs.get("temperature")
    is_number = isinstance(temperature, int | float | np.number) and np.isfinite(temperature)
    if not is_number or temperature <= 0:
        raise ValueError(
            f"u_nk: expected attrs['temperature'] in kelvin beside energies in {unit}, got"
            f" {temperature!r}"
        )
    return constant * float(temperature)


def check_known(table: Table, is_needed: np.ndarray, advice: str) -> None:
    """Raises unless the samples of state i have a potential in state j where `is_needed[i, j]`.

    Their own potentials must be finite, and the others more than -inf.
    """
    for row in np.flatnonzero(table.is_sampled).tolist():
        potentials = table.samples_of(row)
        is_missing = np.isnan(potentials).any(axis=0) & is_needed[row]
        if is_missing.any():
            columns = [table.states[column] for column in np.flatnonzero(is_missing)]
            raise ValueError(
                f"u_nk: expected potentials of the samples of state {table.states[row]} in the"
                f" states {columns}, got NaN{advice}"
            )
        is_impossible = (potentials == -np.inf).any(axis=1) | np.isinf(potentials[:, row])
        if is_impossible.any():
            raise ValueError(
                f"u_nk: expected finite potentials of the samples of state {table.states[row]} in"
                " that state, and elsewhere any but -inf, got others in"
                f" {np.count_nonzero(is_impossible)} of {len(potentials)} samples, first in number"
                f" {np.argmax(is_impossible)}"
            )
