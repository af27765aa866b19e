"""Cells of the results, each stored as soon as it is computed: a table, or a digit and a seed."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from experiments.common import pieces, progress

HERE = Path(__file__).parent


def part(config: Any, kind: type) -> Any:
    """The settings of one kind that a config holds."""
    return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(kind)})


def compute(
    name: str,
    settings: Any,
    modules: Sequence[str],
    cells: Mapping[str, Callable[[], Mapping[str, np.ndarray]]],
) -> tuple[dict[str, dict[str, np.ndarray]], Path]:
    """Arrays of every cell by its name, and the folder of the pieces.

    Pieces depend on `settings` and on the source of `modules`, not on which cells are asked for.
    """
    folder = pieces.folder(f"anomaly/{name}", settings, [HERE / f"{name}.py" for name in modules])
    with warnings.catch_warnings():
        # Gaussian mixtures are given few iterations on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        done = {
            cell: pieces.load_or_compute(folder / f"{cell}.npz", run)
            for cell, run in progress.track(cells.items(), name)
        }
    return done, folder
