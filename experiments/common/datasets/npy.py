"""Arrays in NumPy's own format, read only if they hold what they claim, and never unpickled."""

import io
import math
import struct
import tokenize

import numpy as np

from experiments.common.published import DataError

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_FAILURES = (EOFError, OverflowError, SyntaxError, TypeError, ValueError, struct.error,
             tokenize.TokenError)  # fmt: skip


def parse(content: bytes, name: object) -> np.ndarray:
    """Returns the array of a whole .npy file, a read-only view of `content`.

    Raises:
        DataError: it is no such file, holds objects, or is longer or shorter than its header says.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"format {version}")
        shape, is_fortran, dtype = _READERS[version](file)
    except _FAILURES as error:
        raise DataError(f"{name}: expected a NumPy array, got another file ({error})") from error
    start, num_bytes = file.tell(), len(content) - file.tell()
    expected = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or expected != num_bytes:
        raise DataError(f"{name}: expected numbers in {num_bytes} bytes, got {dtype}{shape}")
    return np.ndarray(shape, dtype, content, start, order="F" if is_fortran else "C")
