"""Files that are complete or absent, plain files alone are read, and one writer per folder."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import warnings
import weakref
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # not a POSIX system: folders are not locked there
    fcntl = None  # type: ignore[assignment]

JSON_LIMIT = 2**28
"""Largest size in bytes of a text file of this library that is read; larger ones are refused."""

_LOCK = ".lock"
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_CURES = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.ENOTDIR: "choose a path that is not a file",
    errno.EEXIST: "choose a path that is not a file",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class DamagedFileError(ValueError):
    """A file is not what was written; the text names the file and the reason."""


def write_atomic(path: Path, content: str | bytes | Callable[[BinaryIO], Any]) -> None:
    """Writes a file so that it is there as a whole or not at all, even when the machine stops.

    The file is written under the name `.<name>.<process id>.tmp` in the same folder, flushed to the
    disk, and then renamed. A killed process can leave such a temporary file behind, which
    `remove_temporary_files` removes.

    Args:
      path: the file; its folder is created where it is missing.
      content: the text (written as UTF-8) or the bytes, or a function that writes to an open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def remove_temporary_files(folder: Path) -> None:
    """Removes what killed processes did not finish writing; the caller holds the folder's lock."""
    if folder.is_dir():
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def open_plain(path: Path, limit: int | float = float("inf")) -> BufferedReader:
    """Opens a plain file of at most `limit` bytes for reading.

    A pipe would block the reader, and a device, or a link to one, may never end: anything but a
    plain file is refused before it is opened.

    Raises:
      DamagedFileError: the path is something other than a plain file, or the file is too large.
      OSError: the file does not exist or cannot be read.
    """
    if path.is_symlink() and not path.exists():
        raise DamagedFileError(f"{path}: expected a plain file, got a link to nothing")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFileError(f"{path}: expected a plain file, got {_kind(status.st_mode)}")
    if status.st_size > limit:
        raise DamagedFileError(f"{path}: expected at most {limit:.0f} bytes, got {status.st_size}")
    return path.open("rb")


def read_bytes(path: Path, limit: int | float = JSON_LIMIT) -> bytes:
    """Returns the content of a plain file of at most `limit` bytes; raises as `open_plain` does."""
    with open_plain(path, limit) as file:
        return file.read()


def read_json(path: Path, limit: int | float = JSON_LIMIT) -> Any:
    """Returns the value in a JSON file.

    Raises:
      DamagedFileError: the file is no plain file, too large, not UTF-8, or not JSON.
      OSError: the file does not exist or cannot be read.
    """
    return parse_json(read_bytes(path, limit), str(path))


def parse_json(content: bytes, name: str) -> Any:
    """Returns the value of a JSON text.

    Raises:
      DamagedFileError: the text is not UTF-8 or not JSON; the error begins with `name`.
    """
    try:
        return json.loads(content.decode())
    except RecursionError:
        wrong = "text that is nested too deeply"
    except UnicodeDecodeError as error:
        wrong = f"text that is not UTF-8 at byte {error.start}"
    except ValueError as error:
        wrong = f"other text ({error})"
    raise DamagedFileError(f"{name}: expected JSON, got {wrong}")


def memory_bytes() -> int | float:
    """Returns the size of the machine's memory, which holds all that is read as a whole."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system that does not tell
        return float("inf")


def sha256(path: Path, limit: int | float = float("inf")) -> str:
    """Returns the SHA-256 digest of a plain file of at most `limit` bytes, in hexadecimal."""
    with open_plain(path, limit) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(number: Any) -> Any:
    """A number of NumPy or JAX as one of Python, which JSON holds; all else as it is."""
    return number.item() if getattr(number, "shape", None) == () else number


def sha256_of_json(value: Any) -> str:
    """Returns the SHA-256 digest of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def free_name(path: Path) -> Path:
    """Returns a free name beside `path`: `<name>.damaged`, or `<name>.damaged-2` and so on."""
    candidates = (f"{path.name}.damaged{f'-{i}' if i > 1 else ''}" for i in range(1, 10**6))
    return next(p for p in map(path.with_name, candidates) if not os.path.lexists(p))


def move_aside(path: Path) -> Path:
    """Renames a damaged file to a free name beside it, which is returned."""
    aside = free_name(path)
    os.replace(path, aside)
    return aside


def remove(path: Path) -> None:
    """Removes whatever there is at a path: a file, a folder, a pipe, a link, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def errors_name(folder: Path, argument: str = "folder") -> Iterator[None]:
    """Turns errors of the operating system into one sentence that names the folder and the cure.

    The class of the error and its `errno` stay. An error that is a sentence already, of this
    function or of the caller, passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if len(error.args) < 2:  # the system's errors have a number and a text
            raise
        raise disk_error(error, folder, argument) from error


def disk_error(error: OSError, folder: Path, argument: str = "folder") -> OSError:
    """Returns an error like `error` whose text is one sentence that names folder and cure."""
    number = error.errno or 0
    cure = _CURES.get(number, "choose a folder where you may write")
    text = f"{argument}: expected a folder that can be written to, got {folder}"
    # Two arguments choose the class by the number; the text alone shall be shown.
    named = type(OSError(number, ""))(f"{text} ({error.strerror or error}); {cure}")
    named.errno = number
    return named


def full_disk_error(folder: Path, argument: str = "folder") -> OSError:
    """Returns the error of a full disk, where another package's error has told of it."""
    return disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder, argument)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that the disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(os.strerror(number) in str(error) for number in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


class FolderLock:
    """The exclusive use of a folder, until `release` or the end of the process, however it ends.

    The folder is created where it is missing. The lock is one of the operating system, on the file
    `.lock` in the folder; network file systems pass it on to other machines where they support
    locks, and a warning is given where they do not. A process that was forked from the holder does
    not hold the lock.
    """

    def __init__(self, folder: Path, argument: str = "folder") -> None:
        """Takes the lock.

        Raises:
          BlockingIOError: another process, or another user of the folder in this one, holds it.
          OSError: the folder cannot be written to; the text is one sentence.
        """
        self._path, self._file = folder / _LOCK, -1
        with errors_name(folder, argument):
            folder.mkdir(parents=True, exist_ok=True)
            while self._file < 0:
                self._file = self._attempt(folder, argument)
        _HELD.add(self)

    def _attempt(self, folder: Path, argument: str) -> int:
        """Returns the descriptor of the locked file; -1 if its last holder has just removed it."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        file = os.open(self._path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if _is_locked_by_another(file, folder):
                raise BlockingIOError(_in_use(file, folder, argument))
            if not os.path.exists(self._path) or not os.path.samestat(
                os.fstat(file), os.stat(self._path)
            ):
                os.close(file)
                return -1
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {socket.gethostname()}\n".encode())
        except BaseException:
            os.close(file)
            raise
        return file

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""
        if self._file < 0:
            return
        # Removed while it is still held: whoever opens it now will see that it is gone.
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Closes the file alone, which a forked process does with its copy."""
        file, self._file = self._file, -1
        _HELD.discard(self)
        if file >= 0:
            os.close(file)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()


_HELD: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _close_copies() -> None:
    for lock in list(_HELD):
        lock.close()


# A worker that outlives its parent would otherwise hold the parent's locks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)


def _is_locked_by_another(file: int, folder: Path) -> bool:
    """Takes the lock on an open file; returns whether somebody else holds it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return True
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"folder: expected a file system with locks, got {folder} ({error.strerror}); make"
            " sure that no other run writes there",
            RuntimeWarning,
            stacklevel=6,
        )
    return False


def _in_use(file: int, folder: Path, argument: str) -> str:
    holder = os.read(file, 200).decode(errors="replace").strip()
    if holder == f"{os.getpid()} on {socket.gethostname()}":
        holder += " (this process)"
    return (
        f"{argument}: expected a folder that no other run uses, got {folder}, which is in use by"
        f" process {holder or 'unknown'}; wait until it ends, or choose another folder"
    )


def _kind(mode: int) -> str:
    kinds = {
        "a folder": stat.S_ISDIR,
        "a named pipe": stat.S_ISFIFO,
        "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    }
    return next((kind for kind, is_kind in kinds.items() if is_kind(mode)), "a socket")
