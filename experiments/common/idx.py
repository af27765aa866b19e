"""The idx format of MNIST: a magic number, the axis sizes, then the values in C order.

Bytes 0 and 1 are zero, byte 2 is the type of the values (8: unsigned bytes), byte 3 the number of
axes; one big-endian unsigned 32-bit integer per axis follows, then the values.
"""

import gzip
import io
import math
import zlib

import numpy as np

UNSIGNED_BYTE = 8
LIMIT = 2**28
"""Largest number of values that is read: five times the largest published set's."""


class IdxError(ValueError):
    """The content is not a valid idx file of unsigned bytes."""


def parse_gzip(content: bytes, *, num_axes: int) -> np.ndarray:
    """Decodes a gzipped idx file of unsigned bytes.

    Args:
        content: the whole file.
        num_axes: axes that the array must have.

    Returns:
        A writable uint8 array.

    Raises:
        IdxError: it is not gzip, or not such an idx file; says what was expected and what came.

    Examples:
        >>> import gzip
        >>> parse_gzip(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4])), num_axes=1)
        array([5, 0, 4], dtype=uint8)
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            header = file.read(4 + 4 * num_axes)
            size = math.prod(parse_shape(header, num_axes=num_axes))
            # One byte more than the header says is enough to see that there is more, and to
            # compare the checksum where there is not.
            return parse(header + file.read(size + 1), num_axes=num_axes)
    except (OSError, EOFError, zlib.error) as error:
        raise IdxError(
            f"gzip: expected a whole gzip file, got one that does not unpack ({error})"
        ) from error


def parse(content: bytes, *, num_axes: int) -> np.ndarray:
    """Decodes an uncompressed idx file of unsigned bytes; see `parse_gzip`."""
    shape = parse_shape(content, num_axes=num_axes)
    num_values = len(content) - 4 - 4 * num_axes
    if num_values != math.prod(shape):
        raise IdxError(
            f"values: expected {math.prod(shape):,} for shape {shape}, got {num_values:,}"
        )
    # A buffer of bytes is read-only.
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape).copy()


def parse_shape(content: bytes, *, num_axes: int) -> tuple[int, ...]:
    """Returns the shape that a header claims, if an array of that size may be read."""
    num_header = 4 + 4 * num_axes
    magic = bytes((0, 0, UNSIGNED_BYTE, num_axes))
    if content[:2] != magic[:2] or len(content) < 4:
        raise IdxError(
            f"magic number: expected {magic.hex(' ')}, got {content[:4].hex(' ') or 'nothing'}"
        )
    if content[2] != UNSIGNED_BYTE:
        raise IdxError(
            f"type of the values: expected {UNSIGNED_BYTE} (unsigned bytes), got {content[2]}"
        )
    if content[3] != num_axes:
        raise IdxError(f"number of axes: expected {num_axes}, got {content[3]}")
    if len(content) < num_header:
        raise IdxError(f"header: expected {num_header} bytes, got {len(content)}")
    shape = tuple(np.frombuffer(content, ">u4", num_axes, offset=4).tolist())
    if math.prod(shape) > LIMIT:
        raise IdxError(f"shape: expected at most {LIMIT:,} values, got {shape}")
    return shape
