"""NumPy archives (`.npz`) that are written whole, and read only if they hold what they claim."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nce_jax._disk import DamagedFileError, memory_bytes, open_plain, write_atomic

_SUFFIX = ".npy"
_END = struct.Struct("<4s4H2LH")
"""The last record of an archive without a comment: signature, disks, entries, directory."""
_FAILURES = (
    EOFError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and NumPy raise for content that is not theirs."""


def write_arrays(path: Path, arrays: Mapping[str, Any], is_compressed: bool = False) -> None:
    """Writes arrays by name, atomically; equal arrays give equal bytes."""
    save: Any = np.savez_compressed if is_compressed else np.savez
    write_atomic(path, lambda file: save(file, **arrays))


def read_arrays(path: Path, limit: int | float | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive, all of it or nothing.

    Sizes are compared before memory is allocated: an archive can claim terabytes in a header of
    100 bytes, or unpack to a thousand times its size.

    Args:
      path: the archive.
      limit: bytes that the arrays may take up together, headers included; None takes the size of
        the file, which is enough unless it is compressed. They never may take more than the
        machine's memory.

    Raises:
      DamagedFileError: the file is no plain file or no such archive, is damaged, or would unpack to
        more than `limit` bytes; the text names the file and the reason.
      OSError: the file does not exist or cannot be read.
    """
    with open_plain(path) as file:
        try:
            size = file.seek(0, 2)
            with zipfile.ZipFile(file) as archive:
                members = _members(archive, min(size if limit is None else limit, memory_bytes()))
                _check_end(file, size, len(members))
                return {name: _array(archive, info) for name, info in members.items()}
        except DamagedFileError as error:
            raise DamagedFileError(f"{path}, {error}") from error
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            raise DamagedFileError(f"{path}: expected a NumPy archive, got {reason}") from error


def _members(archive: zipfile.ZipFile, limit: int | float) -> dict[str, zipfile.ZipInfo]:
    """Returns the members by name of the array, if they fit into the limit together."""
    infos = archive.infolist()
    if (total := sum(info.file_size for info in infos)) > limit:
        raise DamagedFileError(f"size: expected at most {limit:.0f} bytes unpacked, got {total}")
    members = {info.filename.removesuffix(_SUFFIX): info for info in infos}
    if len(members) < len(infos) or not all(i.filename.endswith(_SUFFIX) for i in infos):
        names = ", ".join(info.filename for info in infos[:10])
        raise DamagedFileError(f"members: expected arrays, each under its own name, got {names}")
    return members


def _check_end(file: BinaryIO, size: int, count: int) -> None:
    """Raises unless the directory ends where the file does, with as many entries as were read.

    zipfile does not compare these numbers: a flipped bit in them would hide members.
    """
    file.seek(size - _END.size)
    _, _, _, _, entries, directory, start, _ = _END.unpack(file.read(_END.size))
    is_large = entries == 0xFFFF or 0xFFFFFFFF in (directory, start)  # in the zip64 extension
    if not is_large and (entries != count or start + directory + _END.size != size):
        raise DamagedFileError(
            f"directory: expected {count} entries and then the end of the file, got {entries}"
        )


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    name = info.filename
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedFileError(f"{name}: expected deflate or none, got {info.compress_type}")
    with archive.open(info) as member:
        shape, is_fortran, dtype = _header(member)
        num_bytes, size = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if dtype.hasobject or min(shape, default=0) < 0 or num_bytes != size:
            raise DamagedFileError(f"{name}: expected {size} bytes of numbers, got {dtype}{shape}")
        content = bytearray(member.read(num_bytes))
        # Reading on to the end of the member compares its checksum.
        if len(content) != num_bytes or member.read(1):
            raise DamagedFileError(f"{name}: expected {num_bytes} bytes, got {len(content)}")
    return np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")


def _header(member: BinaryIO | Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise DamagedFileError(f"header: expected version 1.0 or 2.0, got {version}")
    return readers[version](member)
