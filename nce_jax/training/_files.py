"""Files of a training run, and how it is resumed."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key
from nce_jax._disk import FolderLock, errors_name, remove_temporary_files
from nce_jax.training._checkpoints import Checkpoints, Loaded
from nce_jax.training._description import Description
from nce_jax.training._identity import FREES_OPTIMIZER, check_identity
from nce_jax.training._lines import RecordsFile
from nce_jax.training._processes import agreed, check_everywhere, is_writer
from nce_jax.training._records import NonFiniteError, Window
from nce_jax.training._stored import describe


def strongly_typed(tree: Any) -> Any:
    """The same arrays without weak types.

    A checkpoint does not keep weak types, and a resumed run has to promote like the first.
    """

    def strong(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return leaf if is_key(leaf) else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(strong, tree)


def same_kind(new: Any, old: Any) -> Any:
    """Returns `new`; raises unless it has the shapes and dtypes of `old`."""
    before, after = describe(old), describe(new)
    for name in [*before, *after]:
        if before.get(name) != after.get(name):
            raise ValueError(
                f"step: expected a state with {before.get(name)} at {name}, as given, got"
                f" {after.get(name)}"
            )
    return new


class Files:
    """Metrics, evaluations and checkpoints of a run; without a folder, records in memory only.

    As a context manager it holds the folder for this run, and completes a checkpoint in progress,
    whatever ends the run.
    """

    def __init__(self, folder: Path | None, keep: int, allow_changes: Collection[str] = ()) -> None:
        self.folder = folder
        self._allow_changes = allow_changes
        self.checkpoints = (
            None if self.folder is None else Checkpoints(self.folder / "checkpoints", keep)
        )
        self.metrics, self.evaluations = (
            RecordsFile(self.folder and self.folder / f"{name}.jsonl", is_writer())
            for name in ("metrics", "evaluations")
        )
        self._lock: FolderLock | None = None
        self._refusal: OSError | None = None
        self._context: dict[str, Any] = {}

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            if self.checkpoints is not None:
                self.checkpoints.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    def start(self, state: Any, key: jax.Array, resume: bool, num_steps: int) -> Loaded:
        """The start of the run: the newest good checkpoint, or a copy of `state` to donate."""
        check_everywhere(state)
        fresh = Loaded(0, {"state": jax.tree.map(jnp.copy, strongly_typed(state)), "key": key}, {})
        if self.checkpoints is None or self.folder is None:
            return fresh
        self._take_folder(resume)
        if not resume and agreed(self._holds_run()):
            raise FileExistsError(
                f"folder: expected one without a run, got {self.folder}, which holds one;"
                " resume=True continues it"
            )
        is_strict = not FREES_OPTIMIZER.intersection(self._allow_changes)
        start = self.checkpoints.load(fresh.tree, is_strict) or fresh
        if start.step > num_steps:
            raise ValueError(
                f"num_steps: expected at least the {start.step} steps of the run in {self.folder},"
                f" got {num_steps}; num_steps counts all steps of a run, also those before a resume"
            )
        return start

    def _take_folder(self, resume: bool) -> None:
        """Takes the folder for this run, and removes what killed processes left unfinished.

        Of several processes the first one does. A complete run can be read where nothing can be
        written: the error is then raised by `open`, if there is a step to take.
        """
        assert self.folder is not None
        assert self.checkpoints is not None
        if is_writer():
            try:
                self._lock = FolderLock(self.folder)
                with errors_name(self.folder):
                    self.checkpoints.folder.mkdir(exist_ok=True)
                for folder in (self.folder, self.checkpoints.folder):
                    remove_temporary_files(folder)
            except OSError as error:
                self._refusal = error
        if agreed(self._refusal is not None):
            self._refusal = self._refusal or OSError(
                f"folder: expected {self.folder} to be free for this run, got an error of process"
                " 0, which says why"
            )
            is_in_use = isinstance(self._refusal, BlockingIOError)
            if not agreed(resume and not is_in_use and self._holds_run()):
                raise self._refusal

    def _holds_run(self) -> bool:
        assert self.checkpoints is not None
        return bool(self.checkpoints.steps()) or self.metrics.exists()

    def open(self, start: Loaded, run: Description, num_steps: int) -> None:
        """Compares what must not change, and drops the records of steps that will be repeated."""
        if self.folder is None:
            return
        if self._refusal is not None and start.step < num_steps:
            raise self._refusal
        self._context = dict(run.values)
        if start.step:
            self._context = check_identity(
                start.context, run, start.tree["state"], self._allow_changes, self.folder
            )
        counts = start.context.get("records", {})
        with errors_name(self.folder):
            for name, file in self._records().items():
                file.keep_until(start.step, counts.get(name), self._is_writable)

    @property
    def _is_writable(self) -> bool:
        return self._refusal is None

    def _records(self) -> dict[str, RecordsFile]:
        return {"metrics": self.metrics, "evaluations": self.evaluations}

    def record(self, window: Window, is_last: bool) -> dict[str, Any]:
        """Writes the complete records, and returns the last one for the progress bar."""
        records = window.collect(self.last_good, is_last)
        self._append(self.metrics, records)
        return records[-1] if records else {}

    def _append(self, file: RecordsFile, records: list[dict[str, Any]]) -> None:
        if self.folder is None:
            file.append(records)
            return
        with errors_name(self.folder):
            file.append(records, self._is_writable)

    def evaluate(
        self, number: int, evaluate: Callable[..., Mapping[str, Any]], state: Any
    ) -> dict[str, Any]:
        """Records the numbers that the caller's function returns for the state."""
        values = evaluate(state, dict(self.metrics.records[-1]) if self.metrics.records else {})
        if not isinstance(values, Mapping) or "step" in values:
            raise ValueError(
                "evaluate: expected a dictionary of numbers without a 'step' of its own, got"
                f" {values!r}"
            )
        for name, value in values.items():
            if np.shape(value) != ():
                raise ValueError(
                    f"evaluate: expected numbers, got shape {np.shape(value)} at {name!r}"
                )
        numbers = {name: float(value) for name, value in values.items()}
        record = {"step": number, **numbers}
        self._append(self.evaluations, [record])
        return record

    def has_evaluated(self, number: int) -> bool:
        # Agreed: an evaluation may be one of all processes.
        return bool(agreed(any(r["step"] == number for r in self.evaluations.records)))

    def save(
        self, number: int, state: Any, key: jax.Array, last_batch: dict[str, str] | None
    ) -> None:
        """Starts a checkpoint; raises if the state is not finite."""
        assert self.checkpoints is not None
        self.check_finite(number, state)
        counts = {name: len(file.records) for name, file in self._records().items()}
        context = {**self._context, "last_batch": last_batch, "records": counts}
        self.checkpoints.save(number, {"state": state, "key": key}, context)

    def check_finite(self, number: int, state: Any) -> None:
        """Raises if a parameter or F is not finite; the optimizer's state may hold infinities."""
        checked = {
            name: getattr(state, name)
            for name in ("params", "log_partition")
            if hasattr(state, name)
        }
        bad = _first_non_finite(checked or state)
        if bad is not None:
            name, value = bad
            checkpoint = self.last_good(number, f"{name} was {value} after step {number}")
            raise NonFiniteError(number, name, value, None, checkpoint)

    def last_good(self, step: int, reason: str) -> Path | None:
        """The newest checkpoint before `step`; later ones are marked as those of a divergence."""
        if self.checkpoints is None:
            return None
        if self._is_writable:
            self.checkpoints.mark_diverged(step, reason)
        return self.checkpoints.newest()


def _first_non_finite(tree: Any) -> tuple[str, float] | None:
    floating = [
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) and jnp.size(leaf)
    ]
    for (name, _), (is_finite, value) in zip(
        floating, jax.device_get(_finiteness([leaf for _, leaf in floating])), strict=True
    ):
        if not is_finite:
            return f"parameter {name}", float(value)
    return None


@jax.jit
def _finiteness(leaves: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
    """For every array, whether it is finite, and its first entry that is not."""
    flat = [jnp.ravel(leaf) for leaf in leaves]
    return [(jnp.isfinite(leaf).all(), leaf[jnp.argmin(jnp.isfinite(leaf))]) for leaf in flat]
