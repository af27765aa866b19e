"""Encoded images as arrays: decoded, resized by their shorter side, and cropped around the center.

The sizes that a header claims are compared before anything is decoded.
"""

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from experiments.common.published import DataError

MAX_PIXELS = 2**25
"""Largest number of pixels of an image that is decoded."""
SUFFIXES = (".jpeg", ".jpg", ".png")
_FORMATS = ("PNG", "JPEG")
_FAILURES = (EOFError, OSError, OverflowError, SyntaxError, ValueError, struct.error, zlib.error)


def decode(
    content: bytes, name: object, shape: tuple[int, int] | None = None, side: int | None = None
) -> np.ndarray:
    """Returns an image as uint8 (h, w, 3).

    Args:
        content: a PNG or JPEG file.
        name: what to call it in an error.
        shape: height and width that the file must have; None takes any.
        side: side of the square to return; None returns the image as it is. The shorter side is
            resized to it (bilinear, with antialiasing) and the longer one cropped around its
            center. An image is never enlarged.

    Raises:
        DataError: the file is damaged, in another format, or of another size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of Pillow, where a file is damaged or very large
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                _check_size(image, name, shape, side)
                whole = image.convert("RGB")
    except UnidentifiedImageError as error:  # whose text is the address of an object
        raise DataError(f"{name}: expected a whole PNG or JPEG image, got another file") from error
    except (*_FAILURES, Image.DecompressionBombError, Warning) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name}: expected a whole PNG or JPEG image, got {reason}") from error
    return np.asarray(whole if side is None else _square(whole, side))


def _check_size(
    image: Image.Image, name: object, shape: tuple[int, int] | None, side: int | None
) -> None:
    width, height = image.size
    if shape is not None and (height, width) != shape:
        raise DataError(f"{name}: expected {shape[0]} x {shape[1]} pixels, got {height} x {width}")
    if width * height > MAX_PIXELS:
        raise DataError(f"{name}: expected at most {MAX_PIXELS} pixels, got {height} x {width}")
    if side is not None and min(width, height) < side:
        raise DataError(f"{name}: expected {side} pixels a side or more, got {height} x {width}")


def _square(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    # Rounded down, and the crop to the nearest pixel, as torchvision does.
    wide, high = (side * length // short for length in (width, height))
    left, top = round((wide - side) / 2), round((high - side) / 2)
    resized = image.resize((wide, high), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + side, top + side))
