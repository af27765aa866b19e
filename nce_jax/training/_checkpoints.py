"""Checkpoints: written by orbax, each certified by a sealed record that is written last."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nce_jax._disk import errors_name, full_disk_error, is_full
from nce_jax._extras import missing_extra
from nce_jax.training._matching import check_leaves, fitting_names, same_names
from nce_jax.training._processes import agreed, by_writer
from nce_jax.training._stored import Stored, as_leaf, describe, leaves_record, storable


class CheckpointWarning(UserWarning):
    """A checkpoint was passed over: damaged, unfinished, or one where the loss diverged."""


class Loaded(NamedTuple):
    """A checkpoint that was read: step, tree and context."""

    step: int
    tree: Any
    context: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run: `<step>/` by orbax, `<step>.json` with the record that seals it.

    Saving and hashing run in the background. A checkpoint is complete once it is sealed. With
    several processes, each writes its own shards, and the first one writes the records; all of them
    have to see the folder.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        # Orbax takes a second to import, and only runs with checkpoints need it.
        try:
            import orbax.checkpoint as ocp
        except ImportError as error:
            raise missing_extra("checkpoints need orbax", "checkpoints") from error

        # The parameters of the newest one may be those at which the loss diverges.
        self.folder, self._keep = folder.absolute(), max(keep, 2)
        self._checkpointer = ocp.StandardCheckpointer()
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        logging.getLogger("absl").addFilter(_is_no_full_disk)

    def steps(self) -> list[int]:
        """Steps of all checkpoints, finished or not, oldest first."""
        return sorted({int(path.stem) for path in self.folder.glob("*") if path.stem.isdecimal()})

    def save(self, step: int, tree: Any, context: dict[str, Any]) -> None:
        """Starts to save, in the place of a damaged checkpoint of this step."""
        self.finish()
        self._remove(step)
        with self._disk_errors():
            self._checkpointer.save(self.folder / str(step), storable(tree))
        self._pending = self._thread.submit(self._certify, step, context, leaves_record(tree))

    def _certify(self, step: int, context: dict[str, Any], leaves: dict[str, Any]) -> None:
        """Waits for the save, seals it, and removes superfluous checkpoints."""
        self._checkpointer.wait_until_finished()
        self._seal(step, context, leaves)

    @by_writer
    def _seal(self, step: int, context: dict[str, Any], leaves: dict[str, Any]) -> None:
        self.stored(step).seal(context, leaves)
        older = [number for number in self.steps() if number < step and self._is_good(number)]
        retained = {step, *older[max(0, len(older) - self._keep + 1) :]}
        # Checkpoints of later steps are removed too: the run has passed over them.
        for superfluous in set(self.steps()) - retained:
            self._remove(superfluous)

    def _is_good(self, step: int) -> bool:
        """Whether a checkpoint of an earlier step counts as one of those to keep."""
        stored = self.stored(step)
        try:
            return stored.is_sealed() and stored.record()["diverged"] is None
        except (OSError, ValueError):
            return False

    def stored(self, step: int) -> Stored:
        return Stored(self.folder, step)

    def finish(self) -> None:
        """Waits until the save in progress is complete."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._disk_errors():
                pending.result()

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turns the errors of a full disk, orbax's own among them, into one sentence."""
        folder = self.folder.parent
        try:
            with errors_name(folder):
                yield
        except Exception as error:
            if isinstance(error, OSError) or not is_full(error):
                raise
            raise full_disk_error(folder) from None

    def close(self) -> None:
        """Completes the save and ends its threads, so that the process can resume the run."""
        try:
            self.finish()
        finally:
            self._thread.shutdown()
            logging.getLogger("absl").removeFilter(_is_no_full_disk)
            with contextlib.suppress(Exception):  # that of the save, which has been raised
                self._checkpointer.close()

    def newest(self) -> Path | None:
        """The newest complete checkpoint."""
        self.finish()
        good = (step for step in reversed(self.steps()) if self.stored(step).fault() is None)
        return next((self.folder / str(step) for step in good), None)

    @by_writer
    def mark_diverged(self, step: int, reason: str) -> None:
        """Notes that checkpoints from `step` on hold parameters at which the run diverged."""
        self.finish()
        for number in self.steps():
            if number >= step and self.stored(number).fault() is None:
                self.stored(number).mark_diverged(reason)

    def load(self, like: Any, is_strict: bool = True) -> Loaded | None:
        """The newest complete checkpoint as a tree like `like`; warns of newer ones, if any.

        Raises unless the trees are the same; with `is_strict` False the optimizer's state may
        differ, and is taken as far as it fits.
        """
        step = self.choose("starting from the beginning")
        return self.read(step, like, is_strict)[0] if step else None

    def choose(self, otherwise: str) -> int:
        """The step of the newest good checkpoint, or 0; warns of newer ones that are passed over.

        `otherwise` says in the warning what happens without a checkpoint.
        """
        return agreed(self._choose(otherwise) or 0)  # none is saved before the first step

    @by_writer
    def _choose(self, otherwise: str) -> int | None:
        passed_over: list[str] = []
        for step in reversed(self.steps()):
            fault = self.stored(step).fault()
            if fault is None:
                self._warn(passed_over, f"using {self.folder / str(step)} instead")
                return step
            passed_over.append(f"{self.folder / str(step)}: {fault}")
        self._warn(passed_over, f"there is no older one: {otherwise}")
        return None

    def _warn(self, passed_over: list[str], instead: str) -> None:
        if passed_over:
            warnings.warn(
                f"checkpoint {'; '.join(passed_over)}; {instead}", CheckpointWarning, stacklevel=7
            )

    def read(self, step: int, like: Any, is_strict: bool = True) -> tuple[Loaded, list[str]]:
        """The checkpoint of a step as a tree like `like`, and the leaves that nothing fits."""
        stored = self.stored(step)
        record = stored.record()
        saved, wanted = record["leaves"], describe(like)
        sources = same_names(wanted) if is_strict else fitting_names(saved, wanted)
        check_leaves(saved, wanted, sources, stored.path, is_strict)
        simple_names = dict(zip(saved, record["names"], strict=True))

        def name_of(path: Any, leaf: Any) -> str | None:
            source = sources[jax.tree_util.keystr(path)]
            return None if source is None or jnp.size(leaf) == 0 else simple_names[source]

        leaves = jax.tree_util.tree_leaves_with_path(like)
        named = [(name_of(path, leaf), leaf) for path, leaf in leaves]
        wanted = {name: leaf for name, leaf in named if name is not None}
        arrays = stored.arrays(self._checkpointer, wanted)

        def fill(path: Any, leaf: Any) -> Any:
            name = name_of(path, leaf)
            return leaf if name is None else as_leaf(arrays[name], leaf)

        tree = jax.tree_util.tree_map_with_path(fill, like)
        fresh = [name for name, source in sources.items() if source is None]
        return Loaded(step, tree, record["context"]), fresh

    @by_writer
    def _remove(self, step: int) -> None:
        self.stored(step).remove()


def _is_no_full_disk(record: logging.LogRecord) -> bool:
    """Drops the hundreds of lines in which orbax's threads report a full disk: `finish` raises."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not (is_full(error) or is_full(OSError(record.getMessage())))
