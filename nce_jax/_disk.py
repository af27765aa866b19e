"""Files that are complete or absent, and the digest that proves which."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, content: str | bytes | Callable[[BinaryIO], Any]) -> None:
    """Writes a file so that it is there as a whole or not at all, even when the machine stops.

    The file is written under the name `.<name>.<process id>` in the same folder, flushed to the
    disk, and then renamed. A killed process can leave such a temporary file behind.

    Args:
      path: the file; its folder is created where it is missing.
      content: the text (written as UTF-8) or the bytes, or a function that writes to an open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        # After the renaming there is nothing left under this name.
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Returns the SHA-256 digest of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
