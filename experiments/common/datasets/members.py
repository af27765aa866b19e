"""The files of a folder or of a zip archive, under one interface; nothing is unpacked.

A name that leads out of an archive, a name twice, a member that is longer or shorter than it
claims, and whatever is no plain file are refused.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from experiments.common.published import DataError
from nce_jax._disk import DamagedFileError, open_plain, read_bytes

LIMIT = 2**27
"""Largest size in bytes of a single image or text that is read."""
_FAILURES = (
    EOFError, NotImplementedError, OSError, RuntimeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Members(Protocol):
    """Files by name; names are relative, with forward slashes, and sorted."""

    path: Path
    names: tuple[str, ...]

    def read(self, name: str, limit: int = LIMIT) -> bytes:
        """Returns the content of a file; raises DataError."""
        ...

    def identity(self, name: str) -> list:
        """What tells a file from another of this name: sizes, and a checksum or times."""
        ...


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Only names with a suffix are files of a set; their kind is checked when they are opened.
        found = (item.relative_to(path).as_posix() for item in path.rglob("*") if item.suffix)
        self.names = tuple(sorted(name for name in found if not _is_hidden(name)))

    def read(self, name: str, limit: int = LIMIT) -> bytes:
        try:
            return read_bytes(self.path / name, limit)
        except DamagedFileError as error:  # the text begins with the path
            raise DataError(str(error)) from error
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be read ({error})") from error

    def identity(self, name: str) -> list:
        status = (self.path / name).stat()
        return [name, status.st_size, status.st_mtime_ns]


class Archive:
    """The members of an open zip archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        everything = archive.infolist()
        for info in everything:
            if _leads_out(info.filename):
                raise DataError(f"{path}: expected names below the archive, got {info.filename!r}")
        infos = [i for i in everything if not i.is_dir() and not _is_hidden(i.filename)]
        self.path, self._archive = path, archive
        self._infos = {info.filename: info for info in infos}
        self.names = tuple(sorted(self._infos))
        if len(self._infos) < len(infos):
            raise DataError(f"{path}: expected every name once, got {len(infos)} members")

    def read(self, name: str, limit: int = LIMIT) -> bytes:
        where, info = f"{self.path}, {name}", self._infos[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where}: expected deflate or none, got {info.compress_type}")
        if info.file_size > limit:
            raise DataError(f"{where}: expected at most {limit} bytes, got {info.file_size}")
        try:
            content = self._archive.read(
                info
            )  # at most file_size bytes, whose checksum it compares
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            raise DataError(f"{where}: expected a whole member, got {reason}") from error
        if len(content) != info.file_size:
            raise DataError(f"{where}: expected {info.file_size} bytes, got {len(content)}")
        return content

    def identity(self, name: str) -> list:
        return [name, self._infos[name].file_size, self._infos[name].CRC]


@contextlib.contextmanager
def open_members(path: Path) -> Iterator[Members]:
    """Opens a folder, or a zip archive.

    Raises:
        DataError: it is neither, or an archive that is damaged or whose names lead out of it.
    """
    if path.is_dir():
        yield Folder(path)
        return
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_plain(path))))
        except DamagedFileError as error:
            raise DataError(str(error)) from error
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            raise DataError(f"{path}: expected a zip archive, got {reason}") from error
        yield Archive(path, archive)


def first_of(folder: Path, *names: str) -> Path | None:
    """Returns the first of these names that is in the folder, as a path; None if none is."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def _is_hidden(name: str) -> bool:
    """Whether a file belongs to the system that made the folder and not to the set."""
    return any(p == "__MACOSX" or (p[0] == "." and p != "..") for p in name.split("/") if p)


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])
