"""Files of published data sets: found on this machine or downloaded, and never used unless their
digest is right.

A file is looked for below the folder that NCE_JAX_DATA names, then in the user's cache, then at the
set's mirrors, from where it goes into the cache. What lies in NCE_JAX_DATA belongs to the user and
is never replaced.
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

from experiments.common import results

VARIABLE = "NCE_JAX_DATA"
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 16


class DataError(Exception):
    """A data file is missing, cannot be read, or is not the published one."""


class PublishedFile(NamedTuple):
    """One file of a set as published: `mirrors` are folders, as addresses with a closing slash, in
    the order to try.
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
        """What a reader of an error can do."""
        sources = " or ".join(f"{mirror}{self.name}" for mirror in self.mirrors)
        return (
            f"Put the published file ({sources}) in {self.folder}/ below the folder that {VARIABLE}"
            " names"
        )


def read(file: PublishedFile) -> bytes:
    """The content of a published file, verified.

    Raises:
        DataError: the file lies in NCE_JAX_DATA but is not the published one, or it lies nowhere
            and no mirror gave it. The message says which file was expected, what was tried, and
            what to do.
    """
    tried = [f"{VARIABLE} is not set"]
    if folder := os.environ.get(VARIABLE):
        path = Path(folder).expanduser() / file.folder / file.name
        content = _content(path)
        if content is not None:
            if problem := _difference(file, content):
                raise DataError(f"{path}: {problem}. {file.remedy}, or take the other one away")
            return content
        tried = [f"{path}: no such file"]
    return _cached(file, tried)


def cache_folder() -> Path:
    """Where downloads are kept: nce_jax below XDG_CACHE_HOME, or below ~/.cache where that is not
    an absolute path.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "nce_jax"


def _cached(file: PublishedFile, tried: list[str]) -> bytes:
    """The file from the cache; a missing or damaged one is downloaded."""
    path = cache_folder() / file.folder / file.name
    content = _content(path)
    problem = "no such file" if content is None else _difference(file, content)
    if content is not None and not problem:
        return content
    if content is not None:
        warnings.warn(f"{path}: {problem}. Downloading it again", stacklevel=4)
    content = _download(file, [*tried, f"{path}: {problem}"])
    try:
        with results.atomic(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:  # the data are good all the same
        warnings.warn(
            f"{path}: cannot be kept for the next time ({error}). XDG_CACHE_HOME moves the cache",
            stacklevel=4,
        )
    return content


def _download(file: PublishedFile, tried: list[str]) -> bytes:
    """The file from the first mirror that gives the right one."""
    for mirror in file.mirrors:
        url = f"{mirror}{file.name}"
        try:
            content = _fetch(url, file.num_bytes)
        except (OSError, http.client.HTTPException) as error:
            tried.append(f"{url}: {error or type(error).__name__}")
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
    """At most one byte more than expected, which is enough to see that it is another file; progress
    on stderr.
    """
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


def _content(path: Path) -> bytes | None:
    """What the file holds; None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _difference(file: PublishedFile, content: bytes) -> str:
    """What is wrong with `content`; empty where nothing is."""
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
