"""The binary version of CIFAR-10: records of a label and three planes of 32 x 32 bytes."""

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np

from experiments.common.datasets.origin import Origin
from experiments.common.published import DataError, PublishedFile, read
from nce_jax._disk import DamagedFileError, read_bytes

UNPACKED = "cifar-10-batches-bin"
ARCHIVE = PublishedFile(
    "cifar10",
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/",),
)
RECORDS_PER_FILE = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
ORIGIN = Origin(
    ARCHIVE.folder,
    "data_batch_1.bin to data_batch_5.bin and test_batch.bin, of 30,730,000 bytes each",
    f"{ARCHIVE.mirrors[0]}{ARCHIVE.name}",
    f"the archive has sha256 {ARCHIVE.sha256}",
)
_FAILURES = (EOFError, OSError, tarfile.TarError, ValueError, zlib.error)


def read_archive(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels from the verified archive; raises DataError."""
    name = f"{ARCHIVE.folder}/{ARCHIVE.name}"
    contents = _members(read(ARCHIVE), name, FILES[split])
    if missing := [file for file in FILES[split] if file not in contents]:
        raise DataError(f"{name}: expected {UNPACKED}/{missing[0]}, got {sorted(contents)}")
    return _join([parse(contents[file], f"{name}, {file}") for file in FILES[split]])


def read_files(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels from unpacked files; raises DataError."""
    parts = []
    for file in FILES[split]:
        try:
            # One byte too many is enough to see that the file is not the published one.
            content = read_bytes(folder / file, RECORDS_PER_FILE * RECORD_BYTES + 1)
        except (DamagedFileError, OSError) as error:
            raise ORIGIN.error(f"{folder / file}: cannot be read ({error})") from error
        parts.append(parse(content, folder / file))
    return _join(parts)


def parse(content: bytes, name: object) -> tuple[np.ndarray, np.ndarray]:
    """Returns images, uint8 (n, 32, 32, 3), and labels of one file; raises DataError."""
    expected = RECORDS_PER_FILE * RECORD_BYTES
    if len(content) != expected:
        raise DataError(
            f"{name}: expected {expected:,} bytes, {RECORDS_PER_FILE:,} records of {RECORD_BYTES},"
            f" got {len(content):,}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    labels = records[:, 0]
    if labels.max() > 9:
        at = int(labels.argmax())
        raise DataError(f"{name}, label of record {at}: expected 0 to 9, got {labels[at]}")
    return planes.transpose(0, 2, 3, 1), labels


def _members(content: bytes, name: str, files: tuple[str, ...]) -> dict[str, bytes]:
    """Returns the content of the named members, which are read and never unpacked to the disk."""
    contents, limit = {}, RECORDS_PER_FILE * RECORD_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                file = member.name.removeprefix("./").removeprefix(f"{UNPACKED}/")
                if file in files and member.isreg():
                    stored = archive.extractfile(member)
                    contents[file] = b"" if stored is None else stored.read(limit + 1)
    except _FAILURES as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name}: expected a whole tar.gz archive, got {reason}") from error
    return contents


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(labels)
