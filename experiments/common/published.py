"""Files of published data sets, read from disk or downloaded, and always verified by digest.

A file is read from the folder NCE_JAX_DATA if it is set, otherwise from the user's cache. A file
missing from the cache is downloaded from one of the set's mirrors. Files in NCE_JAX_DATA belong to
the user and are never replaced.
"""

import hashlib
import http.client
import os
import sys
import urllib.request
import warnings
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from experiments.common.endings import CommandError
from nce_jax._disk import DamagedFileError, open_plain, write_atomic

VARIABLE = "NCE_JAX_DATA"
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16


class DataError(CommandError):
    """A data file is missing, unreadable, or not the published one."""


class PublishedFile(NamedTuple):
    """One published file of a set, with the mirrors to download it from, in order.

    Mirrors are folders: addresses with a closing slash.
    """

    folder: str
    name: str
    num_bytes: int
    sha256: str
    mirrors: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"{self.num_bytes:,} bytes with sha256 {self.sha256}"

    @property
    def remedy(self) -> str:
        """Instructions for the reader of an error."""
        sources = " or ".join(f"{mirror}{self.name}" for mirror in self.mirrors)
        return (
            f"Put the published file ({sources}) in {self.folder}/ below the folder that {VARIABLE}"
            " names"
        )


def read(file: PublishedFile) -> bytes:
    """Returns the verified content of a published file.

    Raises:
        DataError: the file in NCE_JAX_DATA is not the published one, or there is no file and no
            mirror provides it. The message names the expected file, what was tried, and the remedy.
    """
    tried = [f"{VARIABLE} is not set"]
    if folder := os.environ.get(VARIABLE):
        path = Path(folder).expanduser() / file.folder / file.name
        content = _content(path, file)
        if content is not None:
            if problem := _difference(file, content):
                raise DataError(f"{path}: {problem}. {file.remedy}, or remove this one")
            return content
        tried = [f"{path}: no such file"]
    return _cached(file, tried)


def cache_folder() -> Path:
    """Folder of downloads: nce_jax in XDG_CACHE_HOME, or in ~/.cache if that is not absolute."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "nce_jax"


def _cached(file: PublishedFile, tried: list[str]) -> bytes:
    """Returns the file from the cache; a missing or damaged one is downloaded."""
    path = cache_folder() / file.folder / file.name
    content = _content(path, file)
    problem = "no such file" if content is None else _difference(file, content)
    if content is not None and not problem:
        return content
    if content is not None:
        warnings.warn(f"{path}: {problem}. Downloading it again", stacklevel=4)
    content = _download(file, [*tried, f"{path}: {problem}"])
    try:
        write_atomic(path, content)
    except OSError as error:  # the downloaded data are valid nevertheless
        warnings.warn(
            f"{path}: cannot be cached ({error}). Set XDG_CACHE_HOME to move the cache",
            stacklevel=4,
        )
    return content


def _download(file: PublishedFile, tried: list[str]) -> bytes:
    """Downloads the file from the first mirror that provides the published one."""
    for mirror in file.mirrors:
        url = f"{mirror}{file.name}"
        try:
            content = _fetch(url, file.num_bytes)
        except (OSError, http.client.HTTPException) as error:
            tried.append(f"{url}: {str(error) or type(error).__name__}")
            continue
        if not (problem := _difference(file, content)):
            return content
        tried.append(f"{url}: {problem}")
    attempts = "".join(f"\n  {attempt}" for attempt in tried)
    raise DataError(
        f"{file.folder}/{file.name}: not found, expected {file.expected}."
        f" Tried:{attempts}\n{file.remedy}."
    )


def _fetch(url: str, num_bytes: int) -> bytes:
    """Downloads at most one byte more than expected, enough to detect a different file."""
    content = bytearray()
    interval = 0.2 if sys.stderr.isatty() else 10.0
    bar = tqdm(
        desc=f"  {url}",
        total=num_bytes,
        unit="B",
        unit_scale=True,
        mininterval=interval,
        ascii=True,
        leave=False,
    )
    with bar, urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        while chunk := response.read(min(CHUNK_BYTES, num_bytes + 1 - len(content))):
            content += chunk
            bar.update(len(chunk))
    return bytes(content)


def _content(path: Path, file: PublishedFile) -> bytes | None:
    """Returns at most one byte more than the file has; None if it does not exist."""
    try:
        with open_plain(path) as stored:
            return stored.read(file.num_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, DamagedFileError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove or replace it") from error


def _difference(file: PublishedFile, content: bytes) -> str:
    """Description of how `content` differs from the published file; empty if it does not."""
    digest = hashlib.sha256(content).hexdigest()
    if digest == file.sha256:
        return ""
    size = (
        f"{len(content):,} bytes"
        if len(content) <= file.num_bytes
        else f"more than {file.num_bytes:,} bytes"
    )
    kind = "truncated" if len(content) < file.num_bytes else "altered"
    return f"{kind}: {size} with sha256 {digest}, expected {file.expected}"
