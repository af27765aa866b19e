"""What a run leaves on disk, and how it is taken up again."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from nce_jax._checks import is_key
from nce_jax.training._checkpoints import Checkpoints, Loaded, describe
from nce_jax.training._processes import agreed, check_everywhere, is_writer
from nce_jax.training._records import MetricsFile, NonFiniteError, Window


def strongly_typed(tree: Any) -> Any:
    """The same arrays without weak types: a checkpoint keeps none, and a resumed run must promote
    like the first.
    """

    def strong(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return leaf if is_key(leaf) else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(strong, tree)


def same_kind(new: Any, old: Any) -> Any:
    """`new`, whose shapes and dtypes have to be those of `old`: what is restored could not be told
    from a mistake.
    """
    before, after = describe(old), describe(new)
    for name in [*before, *after]:
        if before.get(name) != after.get(name):
            raise ValueError(
                f"step: expected a state with {before.get(name)} at {name}, as given, got"
                f" {after.get(name)}"
            )
    return new


class Files:
    """Metrics, evaluations and checkpoints of a run; without a folder, the records alone, in
    memory.

    As a context it sees to it that a checkpoint on its way is finished, whatever ends the run.
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
        """Where the run starts: from the newest whole checkpoint, or from a copy of `state`, for
        the loop to donate.
        """
        check_everywhere(state)
        fresh = Loaded(0, {"state": jax.tree.map(jnp.copy, strongly_typed(state)), "key": key}, {})
        if self.checkpoints is None or self.folder is None:
            return fresh
        if not resume and agreed(self._holds_run()):
            raise FileExistsError(
                f"folder: {self.folder} holds a run already; resume=True goes on with it"
            )
        start = self.checkpoints.load(fresh.tree) or fresh
        if (jax.random.key_data(start.tree["key"]) != jax.random.key_data(key)).any():
            raise ValueError(
                f"key: the run in {self.folder} was begun with another key; give that one, or"
                " another folder"
            )
        if start.step > num_steps:
            raise ValueError(
                f"num_steps: the run in {self.folder} has {start.step} steps already, got"
                f" {num_steps}"
            )
        return start

    def _holds_run(self) -> bool:
        assert self.checkpoints is not None
        return bool(self.checkpoints.steps()) or (
            self.metrics.path is not None and self.metrics.path.exists()
        )

    def open(self, start: Loaded, context: Mapping[str, Any]) -> None:
        """Compares what must not change, and drops the records of steps that are going to be
        computed again.
        """
        for name, saved in start.context.items():
            if saved != context.get(name):
                raise ValueError(
                    f"{name}: expected {saved} as in the run in {self.folder}, got"
                    f" {context.get(name)}"
                )
        for file in (self.metrics, self.evaluations):
            file.keep_until(start.step)

    def record(self, window: Window, is_last: bool) -> dict[str, Any]:
        """Writes the records that are complete; the last of them is returned for the progress
        bar.
        """
        records = window.collect(self.last_checkpoint, is_last)
        self.metrics.append(records)
        return records[-1] if records else {}

    def evaluate(
        self, number: int, evaluate: Callable[[Any], Mapping[str, Any]], state: Any
    ) -> None:
        """Records what the caller's function says of the state."""
        values = evaluate(state)
        if not isinstance(values, Mapping) or "step" in values:
            raise ValueError(
                "evaluate: expected a dictionary of numbers without a 'step' of its own, got"
                f" {values!r}"
            )
        self.evaluations.append(
            [{"step": number, **{name: float(value) for name, value in values.items()}}]
        )

    def has_evaluated(self, number: int) -> bool:
        return any(record["step"] == number for record in self.evaluations.records)

    def save(self, number: int, state: Any, key: jax.Array, context: Mapping[str, Any]) -> None:
        """Starts a checkpoint, unless the state is broken."""
        assert self.checkpoints is not None
        self.check_finite(number, state)
        self.checkpoints.save(number, {"state": state, "key": key}, dict(context))

    def check_finite(self, number: int, state: Any) -> None:
        """Raises if a parameter or F is not finite; an optimizer's own state may hold
        infinities.
        """
        kept = {
            name: getattr(state, name)
            for name in ("params", "log_partition")
            if hasattr(state, name)
        }
        bad = _first_non_finite(kept or state)
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
        floating, jax.device_get(_worst([leaf for _, leaf in floating])), strict=True
    ):
        if not is_finite:
            return f"parameter {name}", float(value)
    return None


@jax.jit
def _worst(leaves: list[jax.Array]) -> list[tuple[jax.Array, jax.Array]]:
    """Per array whether it is finite, and its first entry that is not."""
    flat = [jnp.ravel(leaf) for leaf in leaves]
    return [(jnp.isfinite(leaf).all(), leaf[jnp.argmin(jnp.isfinite(leaf))]) for leaf in flat]
