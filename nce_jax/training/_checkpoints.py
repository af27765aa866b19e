"""Checkpoints: written by orbax, each certified by a file of digests that is written last."""

import json
import shutil
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key
from nce_jax._disk import sha256, write_atomic
from nce_jax.training._processes import agreed, by_writer


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged or unfinished and was passed over."""


class Loaded(NamedTuple):
    """A checkpoint that was read: step, tree and context."""

    step: int
    tree: Any
    context: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: `<step>/` by orbax, `<step>.json` with digests and context.

    Saving and hashing run in the background. A checkpoint is complete once its digests are written.
    With several processes, each writes its own shards, and the first one writes the digests; all of
    them have to see the folder.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        # Orbax takes a second to import, and only runs with checkpoints need it.
        try:
            import orbax.checkpoint as ocp
        except ImportError as error:
            raise ImportError(
                "checkpoints need orbax: pip install 'nce_jax[checkpoints]'"
            ) from error

        self.folder, self._keep = folder.absolute(), keep
        self._checkpointer = ocp.StandardCheckpointer()
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def steps(self) -> list[int]:
        """Steps of all checkpoints, finished or not, oldest first."""
        return sorted({int(path.stem) for path in self.folder.glob("*") if path.stem.isdecimal()})

    def save(self, step: int, tree: Any, context: dict[str, Any]) -> None:
        """Starts to save, in the place of a damaged checkpoint of this step."""
        self.finish()
        self._remove(step)
        self._checkpointer.save(self.folder / str(step), _plain_keys(tree))
        self._pending = self._thread.submit(
            self._certify, step, {"context": context, "leaves": describe(tree)}
        )

    def _certify(self, step: int, record: dict[str, Any]) -> None:
        """Waits for the save, writes its digests, and removes superfluous checkpoints."""
        self._checkpointer.wait_until_finished()
        self._record(step, record)

    @by_writer
    def _record(self, step: int, record: dict[str, Any]) -> None:
        record["sha256"] = _digests(self.folder / str(step))
        write_atomic(self.folder / f"{step}.json", json.dumps(record, indent=1))
        older = [number for number in self.steps() if number < step and self._is_complete(number)]
        retained = {step, *older[len(older) - self._keep + 1 :]} if self._keep > 1 else {step}
        # Checkpoints of later steps are removed too: the run has passed over them.
        for superfluous in set(self.steps()) - retained:
            self._remove(superfluous)

    def finish(self) -> None:
        """Waits until the save in progress is complete."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Completes the save and ends its threads, so that the process can resume the run."""
        try:
            self.finish()
        finally:
            self._thread.shutdown()
            self._checkpointer.close()

    def newest(self) -> Path | None:
        """The newest complete checkpoint."""
        self.finish()
        return next(
            (
                self.folder / str(step)
                for step in reversed(self.steps())
                if self._fault(step) is None
            ),
            None,
        )

    def load(self, like: Any) -> Loaded | None:
        """The newest complete checkpoint as a tree like `like`; warns of newer damaged ones."""
        step = agreed(self._choose() or 0)  # none is saved before the first step
        return self._read(step, like) if step else None

    @by_writer
    def _choose(self) -> int | None:
        passed_over: list[str] = []
        for step in reversed(self.steps()):
            fault = self._fault(step)
            if fault is None:
                self._warn(passed_over, f"using {self.folder / str(step)} instead")
                return step
            passed_over.append(f"{self.folder / str(step)}: {fault}")
        self._warn(passed_over, "there is no older one: starting from the beginning")
        return None

    def _warn(self, passed_over: list[str], instead: str) -> None:
        if passed_over:
            warnings.warn(
                f"checkpoint {'; '.join(passed_over)}; {instead}", CheckpointWarning, stacklevel=7
            )

    def _is_complete(self, step: int) -> bool:
        return (self.folder / f"{step}.json").is_file()

    def _fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint, or None."""
        if not self._is_complete(step):
            return "unfinished"
        try:
            record = json.loads((self.folder / f"{step}.json").read_text())
            expected = dict(record["sha256"])
            record["context"], record["leaves"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"damaged ({step}.json: {error!r})"
        actual = _digests(self.folder / str(step))
        wrong = sorted(
            name for name in {*expected, *actual} if expected.get(name) != actual.get(name)
        )
        return f"damaged ({', '.join(wrong)})" if wrong else None

    def _read(self, step: int, like: Any) -> Loaded:
        record = json.loads((self.folder / f"{step}.json").read_text())
        _check_same_leaves(record["leaves"], describe(like), self.folder / str(step))
        target = jax.tree.map(_abstract, _plain_keys(like))
        tree = self._checkpointer.restore(self.folder / str(step), target)
        return Loaded(step, _restored_like(tree, like), record["context"])

    @by_writer
    def _remove(self, step: int) -> None:
        # The digests go first: what is left, should this be interrupted, counts as unfinished.
        (self.folder / f"{step}.json").unlink(missing_ok=True)
        # Orbax's unfinished ones have a suffix.
        for path in [self.folder / str(step), *self.folder.glob(f"{step}.*")]:
            shutil.rmtree(path, ignore_errors=True)


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def _plain_keys(tree: Any) -> Any:
    """Keys as NumPy arrays, which one process writes; other arrays unchanged."""
    return jax.tree.map(
        lambda leaf: np.asarray(jax.random.key_data(leaf)) if is_key(leaf) else leaf, tree
    )


def _restored_like(tree: Any, like: Any) -> Any:
    """Restored arrays like those of `like`: typed keys, uncommitted where those were."""

    def restore(leaf: Any, old: Any) -> Any:
        if is_key(old):
            return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(old))
        return leaf if getattr(old, "committed", True) else jnp.asarray(np.asarray(leaf))

    return jax.tree.map(restore, tree, like)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        jnp.shape(leaf), jnp.result_type(leaf), sharding=getattr(leaf, "sharding", None)
    )


def describe(tree: Any) -> dict[str, str]:
    """Dtype and shape of every leaf, by path."""

    def text(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(np.shape(leaf))}"

    return {
        jax.tree_util.keystr(path): text(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _check_same_leaves(saved: dict[str, str], wanted: dict[str, str], path: Path) -> None:
    for name in [*wanted, *saved]:
        if saved.get(name) != wanted.get(name):
            raise ValueError(
                f"state: expected {saved.get(name)} at {name} as in {path}, got {wanted.get(name)};"
                " the run was begun with another model, optimizer or treatment: give those, or"
                " another folder"
            )
