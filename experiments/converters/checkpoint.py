"""A checkpoint of PyTorch as an npz file with its arrays by name.

It needs PyTorch and NumPy alone, and is imported by the scripts beside it. The checkpoint's digest,
where one is known, is compared before it is opened, and `weights_only=True` lets PyTorch build
nothing but tensors.
"""

import argparse
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.endings import CommandError
from experiments.common.networks.shapes import Shapes
from experiments.converters import inert


def main(description: str, address: str, digest: str, algorithm: str = "sha256") -> None:
    """Runs the command of a converter; `digest` may be the part of it that is known."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", type=Path, help=f"the published file, from {address}")
    parser.add_argument("output", type=Path, help="the npz file to write")
    arguments = parser.parse_args()
    arrays = read_checkpoint(arguments.checkpoint, address, digest, algorithm)
    write(arguments.output, arrays)
    print(f"{arguments.output}: {len(arrays)} arrays")


def read_checkpoint(
    path: Path, address: str, digest: str = "", algorithm: str = "sha256"
) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint by name; an empty `digest` where none is known.

    Raises:
        CommandError: it is missing, is not the published one, is damaged, or holds something but
            tensors; PyTorch is missing or too old.
    """
    if not path.is_file():
        raise CommandError(f"{path}: expected the file {address}, got no plain file")
    with path.open("rb") as file:
        got = hashlib.file_digest(file, algorithm).hexdigest()
    if not got.startswith(digest):
        raise CommandError(f"{path}: expected {algorithm} {digest}, got {got}; see {address}")
    torch = inert.import_torch()
    try:
        tensors: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes PyTorch raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CommandError(f"{path}: expected the file {address}, got {reason}") from error
    if not isinstance(tensors, dict):
        raise CommandError(f"{path}: expected tensors by name, got {type(tensors).__name__}")
    if wrong := [name for name, value in tensors.items() if not torch.is_tensor(value)]:
        raise CommandError(f"{path}, {wrong[0]}: expected a tensor, got something else")
    return {name: value.detach().numpy() for name, value in tensors.items()}


def check_shapes(path: Path, expected: Shapes, tensors: dict[str, Any], advice: str) -> None:
    """Raises CommandError unless the tensors have these names and shapes."""
    got = {
        name: tuple(value.shape) if hasattr(value, "shape") else "no tensor"
        for name, value in tensors.items()
    }
    for name in sorted(expected.keys() | got.keys()):
        wanted, found = (shapes.get(name, "no such array") for shapes in (expected, got))
        if wanted != found:
            raise CommandError(f"{path}, {name}: expected {wanted}, got {found}; {advice}")


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the npz file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
