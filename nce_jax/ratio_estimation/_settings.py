"""The settings of a run with a folder, which a resumed run must repeat."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from nce_jax._disk import DamagedFileError, errors_name, plain, read_json, write_atomic

_NAME = "fit_log_ratio.json"
_MAX_BYTES = 100_000
"""A larger file was not written here."""

_SIDES = [f"{kind}_{side}" for kind in ("x", "groups", "weights") for side in ("data", "noise")]
_SAMPLES = *_SIDES, "block_size", "held_out"
_KINDS = {
    "num_steps": {"step"},
    "criterion": {"step"},
    "batch_size": {"batch_size"},
    **{name: {"batches", "step"} for name in _SAMPLES},
}
"""What a setting is a change of, as `training.fit` names it: the step holds the samples by which
parameters are chosen."""


def digest(values: Any) -> str | None:
    """A short digest of an array's shape, dtype and content; of labels, of their text."""
    if values is None:
        return None
    array = np.asarray(values)
    content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    head = f"{array.shape} {array.dtype}".encode()
    return hashlib.sha256(head + content).hexdigest()[:16]


class Settings:
    """The settings of a run next to its checkpoints.

    The learning rate, the folds and the choice of the model depend on them.
    """

    def __init__(self, folder: Path | None, **values: Any) -> None:
        self._folder = folder
        self._values = {name: plain(value) for name, value in values.items()}
        self._is_stored = folder is None

    def check(self, allow_changes: Collection[str]) -> None:
        """Stores the settings of a new run; raises if they differ from those stored before.

        Differences that are allowed pass.
        """
        if self._folder is None:
            return
        path = self._folder / _NAME
        with errors_name(self._folder):
            is_new = not path.exists()
        if is_new:
            self.keep()
            return
        stored = _read(path)
        changed = [name for name, value in self._values.items() if stored.get(name) != value]
        self._is_stored = not changed
        for name in changed:
            if not _KINDS[name].issubset(allow_changes):
                kinds = tuple(sorted(set().union(*map(_KINDS.__getitem__, changed))))
                raise ValueError(
                    f"{name}: expected {stored.get(name)} as in the run in {self._folder}, got"
                    f" {self._values[name]}; pass what that run had, another folder, or"
                    f" allow_changes={kinds} to go on in spite of the change"
                )

    def keep(self) -> None:
        """Stores changed settings, after the run: one that is refused leaves those before."""
        if self._folder is None or self._is_stored:
            return
        with errors_name(self._folder):
            write_atomic(self._folder / _NAME, json.dumps(self._values))
        self._is_stored = True


def _read(path: Path) -> dict[str, Any]:
    """The stored settings; raises on a file that holds none."""
    try:
        stored = read_json(path, _MAX_BYTES)
        if isinstance(stored, dict):
            return stored
        damage = f"JSON of type {type(stored).__name__}"
    except DamagedFileError as error:
        damage = str(error)
    raise ValueError(
        f"folder: expected readable settings in {path}, got a damaged file ({damage}); move the"
        " file away to resume without their check, or use another folder"
    )
