"""The overlap matrix of many states."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nce_jax._checks import as_array
from nce_jax._describe import describe
from nce_jax._types import Array, Float
from nce_jax.free_energy import StateFreeEnergies
from nce_jax.log_partition import Status
from nce_jax.plots._axes import HATCH, add_note, as_axes, as_float64

_MAX_NUMBERS = 12
"""Up to so many states, every entry is written into its cell."""


def overlap_matrix(
    result: StateFreeEnergies | Float[Array, "states states"] | Float[np.ndarray, "states states"],
    *,
    ax: Axes | None = None,
    **options: Any,
) -> Axes:
    """Draws the overlap matrix of many states, with its numbers up to 12 states.

    Rows without numbers, where the solve failed, are hatched. A note names the states that no chain
    of overlaps connects to the first one.

    Args:
      result: what `mbar` returned, or its `overlap`, (K, K).
      ax: the Axes to draw into; None makes new ones.
      options: go to `Axes.imshow`, such as `cmap`.

    Returns:
      The Axes.

    Raises:
      TypeError: `result` or `ax` of another type.
      ValueError: an array that is no square matrix.

    Examples:
      >>> import numpy as np
      >>> from nce_jax import plots
      >>> ax = plots.overlap_matrix(np.array([[0.7, 0.3], [0.3, 0.7]]))
      >>> print([text.get_text() for text in ax.texts])
      ['0.70', '0.30', '0.30', '0.70']

    References:
      Klimovich, Shirts and Mobley, Guidelines for the analysis of free energy calculations, 2015
        (overlap matrix).
    """
    overlap = _as_matrix(result)
    ax = as_axes(ax)
    ax.patch.set(hatch=HATCH, edgecolor="0.5", facecolor="white")
    style: dict[str, Any] = {"cmap": "Blues", "vmin": 0, "vmax": 1, **options}
    image = ax.imshow(np.ma.masked_invalid(overlap), **style)
    states = np.arange(len(overlap))
    if len(overlap) <= _MAX_NUMBERS:
        _write_numbers(ax, overlap)
        ax.set(xticks=states, yticks=states)
    else:
        ax.figure.colorbar(image, ax=ax, label="overlap")
        for axis in (ax.xaxis, ax.yaxis):  # states have no fractions
            axis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(visible=False)
    ax.set(xlabel="state that the sample may belong to", ylabel="state of the sample")
    if isinstance(result, StateFreeEnergies):
        _note_parts(ax, np.asarray(result.status))
    return ax


def _as_matrix(result: Any) -> np.ndarray:
    expected = "a StateFreeEnergies, as mbar(...) returns, or its overlap (K, K)"
    values = result.overlap if isinstance(result, StateFreeEnergies) else result
    matrix = np.asarray(as_array("result", values, expected))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or np.iscomplexobj(matrix):
        raise ValueError(f"result: expected {expected}, got {describe(values)}")
    return as_float64(matrix)


def _write_numbers(ax: Axes, overlap: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(overlap):
        if np.isfinite(value):
            color = "white" if value > 0.5 else "black"
            style: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "color": color,
                "fontsize": "small",
            }
            ax.text(column, row, f"{value:.2f}", **style)


def _note_parts(ax: Axes, status: np.ndarray) -> None:
    for kind, text in (
        (Status.NO_OVERLAP, "not connected to state 0"),
        (Status.LOW_OVERLAP, "few effective samples"),
        (Status.MAX_STEPS, "not solved"),
        (Status.NONFINITE, "potentials are not finite"),
    ):
        states = ", ".join(map(str, np.flatnonzero(status == kind)))
        if states:
            add_note(ax, f"{kind.name} of states {states}: {text}")
