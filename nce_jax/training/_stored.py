"""One checkpoint on disk: the arrays in `<step>/`, and a sealed record of them in `<step>.json`."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nce_jax._checks import is_key
from nce_jax._disk import DamagedFileError, read_json, remove, sha256, sha256_of_json, write_atomic


class Stored:
    """The checkpoint of one step.

    The record holds the step, the context of the run, dtype and shape of every array, size and
    digest of every file, and a digest of itself. It is written last: without it the checkpoint is
    unfinished.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.step, self.path = step, folder / str(step)
        self.record_path = folder / f"{step}.json"

    def seal(self, context: dict[str, Any], leaves: dict[str, Any]) -> None:
        """Writes the record of arrays that are complete."""
        self._write(
            {
                "step": self.step,
                "context": context,
                **leaves,
                "files": {
                    name: [path.stat().st_size, sha256(path)]
                    for name, path in _files(self.path).items()
                },
                "diverged": None,
            }
        )

    def mark_diverged(self, reason: str) -> None:
        """Notes that the run could not go on from here: a resumed run passes over it."""
        self._write({**self.record(), "diverged": reason})

    def _write(self, record: dict[str, Any]) -> None:
        record.pop("digest", None)
        sealed = {**record, "digest": sha256_of_json(record)}
        write_atomic(self.record_path, f"{json.dumps(sealed, indent=1)}\n")

    def record(self) -> dict[str, Any]:
        """Reads the record; raises a DamagedFileError unless it is as it was written."""
        record = read_json(self.record_path)
        if not isinstance(record, dict):
            raise DamagedFileError(
                f"{self.record_path}: expected a JSON object, got {type(record).__name__}"
            )
        digest = record.pop("digest", None)
        if digest != _digest_or_none(record):
            raise DamagedFileError(
                f"{self.record_path}: expected the digest of its content, got {digest}"
            )
        if record["step"] != self.step:
            raise DamagedFileError(
                f"{self.record_path}: expected the record of step {self.step}, got that of step"
                f" {record['step']}"
            )
        return record

    def is_sealed(self) -> bool:
        """Whether there is a record, whatever it says."""
        return os.path.lexists(self.record_path)

    def fault(self, is_divergence: bool = True) -> str | None:
        """What is wrong with the checkpoint, or None; that the run diverged is, where it counts."""
        if not self.is_sealed():
            return "unfinished"
        try:
            record = self.record()
        except (OSError, DamagedFileError) as error:
            return f"damaged ({error})"
        present = _files(self.path)
        expected = record["files"]
        wrong = [f"{name} is missing" for name in expected if name not in present]
        wrong += [f"{name} is not of it" for name in present if name not in expected]
        wrong += [
            f"{name} differs"
            for name, (size, digest) in expected.items()
            if name in present and not _is_same(present[name], size, digest)
        ]
        if wrong:
            return f"damaged ({', '.join(sorted(wrong))})"
        return record["diverged"] if is_divergence else None

    def arrays(self, checkpointer: Any, wanted: dict[str, Any]) -> dict[str, Any]:
        """The arrays by name, those that are wanted placed as the leaf that each is for."""

        def abstract(path: Any, saved: Any) -> Any:
            if leaf_name(path) not in wanted:
                # Stays on the host: its own devices may not be there.
                return np.broadcast_to(np.zeros((), saved.dtype), saved.shape)
            sharding = getattr(wanted[leaf_name(path)], "sharding", None)
            return jax.ShapeDtypeStruct(saved.shape, saved.dtype, sharding=sharding)

        saved = checkpointer.metadata(self.path).item_metadata.tree
        target = jax.tree_util.tree_map_with_path(abstract, saved)
        restored = checkpointer.restore(self.path, target)
        return {
            leaf_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(restored)
        }

    def remove(self) -> None:
        # The record goes first: what is left, should this be interrupted, counts as unfinished.
        # Orbax's unfinished ones have a suffix.
        for path in [self.record_path, self.path, *self.path.parent.glob(f"{self.step}.*")]:
            remove(path)


def _digest_or_none(record: Any) -> str | None:
    try:
        return sha256_of_json(record)
    except RecursionError:  # nested just less deeply than the parser permits
        return None


def _files(folder: Path) -> dict[str, Path]:
    """Everything below a folder that is not itself a folder: files, pipes, and links."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(folder)): path for path in sorted(paths)}


def _is_same(path: Path, size: int, digest: str) -> bool:
    try:
        # The size first: a file that pretends to be huge is not read.
        return path.stat().st_size == size and sha256(path) == digest
    except (OSError, DamagedFileError):
        return False


def leaf_name(path: Any) -> str:
    """The name of a leaf whatever the containers: `state/params/w`, as orbax returns them."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def storable(tree: Any) -> Any:
    """The tree as orbax takes it.

    Keys are NumPy arrays, which one process writes. In the place of an array without entries, which
    orbax refuses, is one of one entry, and nothing reads it.
    """

    def plain(leaf: Any) -> Any:
        leaf = np.asarray(jax.random.key_data(leaf)) if is_key(leaf) else leaf
        return leaf if jnp.size(leaf) else np.zeros(1, np.int8)

    return jax.tree.map(plain, tree)


def as_leaf(saved: Any, like: Any) -> Any:
    """A restored array as the leaf that it is for: a typed key, uncommitted where that was."""
    if is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(saved), impl=jax.random.key_impl(like))
    return saved if getattr(like, "committed", True) else jnp.asarray(np.asarray(saved))


def leaves_record(tree: Any) -> dict[str, Any]:
    """Dtype and shape of every leaf by path, and the names of the leaves in the same order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"leaves": describe(tree), "names": [leaf_name(path) for path, _ in leaves]}


def describe(tree: Any) -> dict[str, str]:
    """Dtype and shape of every leaf, by path."""

    def text(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(np.shape(leaf))}"

    return {
        jax.tree_util.keystr(path): text(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
