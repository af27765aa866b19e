"""Files of a training run, and how it is resumed."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key
from nce_jax.training._checkpoints import Checkpoints, Loaded, describe
from nce_jax.training._processes import agreed, check_everywhere, is_writer
from nce_jax.training._records import MetricsFile, NonFiniteError, Window


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

    As a context manager it completes a checkpoint in progress, whatever ends the run.
    """

    def __init__(self, folder: str | PathLike[str] | None, keep: int) -> None:
        self.folder = None if folder is None else Path(folder)
        self.checkpoints = (
            None if self.folder is None else Checkpoints(self.folder / "checkpoints", keep)
        )
        self.metrics, self.evaluations = (
            MetricsFile(self.folder and self.folder / f"{name}.jsonl", is_writer())
            for name in ("metrics", "evaluations")
        )

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.checkpoints is not None:
            self.checkpoints.close()

    def start(self, state: Any, key: jax.Array, resume: bool, num_steps: int) -> Loaded:
        """The start of the run: the newest complete checkpoint, or a copy of `state` to donate."""
        check_everywhere(state)
        fresh = Loaded(0, {"state": jax.tree.map(jnp.copy, strongly_typed(state)), "key": key}, {})
        if self.checkpoints is None or self.folder is None:
            return fresh
        if not resume and agreed(self._holds_run()):
            raise FileExistsError(
                f"folder: expected one without a run, got {self.folder}, which holds one;"
                " resume=True continues it"
            )
        start = self.checkpoints.load(fresh.tree) or fresh
        if (jax.random.key_data(start.tree["key"]) != jax.random.key_data(key)).any():
            raise ValueError(
                f"key: expected the key with which the run in {self.folder} began, got another;"
                " pass that key, or another folder"
            )
        if start.step > num_steps:
            raise ValueError(
                f"num_steps: expected at least the {start.step} steps of the run in {self.folder},"
                f" got {num_steps}; num_steps counts all steps of a run, also those before a resume"
            )
        return start

    def _holds_run(self) -> bool:
        assert self.checkpoints is not None
        return bool(self.checkpoints.steps()) or (
            self.metrics.path is not None and self.metrics.path.exists()
        )

    def open(self, start: Loaded, context: Mapping[str, Any]) -> None:
        """Compares what must not change, and drops the records of steps that will be repeated."""
        for name, saved in start.context.items():
            if saved != context.get(name):
                raise ValueError(
                    f"{name}: expected {saved} as in the run in {self.folder}, got"
                    f" {context.get(name)}"
                )
        for file in (self.metrics, self.evaluations):
            file.keep_until(start.step)

    def record(self, window: Window, is_last: bool) -> dict[str, Any]:
        """Writes the complete records, and returns the last one for the progress bar."""
        records = window.collect(self.last_checkpoint, is_last)
        self.metrics.append(records)
        return records[-1] if records else {}

    def evaluate(
        self, number: int, evaluate: Callable[[Any], Mapping[str, Any]], state: Any
    ) -> None:
        """Records the numbers that the caller's function returns for the state."""
        values = evaluate(state)
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
        self.evaluations.append(
            [{"step": number, **{name: float(value) for name, value in values.items()}}]
        )

    def has_evaluated(self, number: int) -> bool:
        return any(record["step"] == number for record in self.evaluations.records)

    def save(self, number: int, state: Any, key: jax.Array, context: Mapping[str, Any]) -> None:
        """Starts a checkpoint; raises if the state is not finite."""
        assert self.checkpoints is not None
        self.check_finite(number, state)
        self.checkpoints.save(number, {"state": state, "key": key}, dict(context))

    def check_finite(self, number: int, state: Any) -> None:
        """Raises if a parameter or F is not finite; the optimizer's state may hold infinities."""
        checked = {
            name: getattr(state, name)
            for name in ("params", "log_partition")
            if hasattr(state, name)
        }
        bad = _first_non_finite(checked or state)
        if bad is not None:
            raise NonFiniteError(number, *bad, None, self.last_checkpoint())

    def last_checkpoint(self) -> Path | None:
        return None if self.checkpoints is None else self.checkpoints.newest()


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
