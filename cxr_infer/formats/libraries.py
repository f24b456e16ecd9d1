"""Read and encode pictures with libraries. Pillow reads the header first, so that oversized images are refused before
OpenCV decodes any pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.address_space import has_room
from cxr_infer.errors import ImageError
from cxr_infer.formats.decoders import OPENCV, SCRATCH
from cxr_infer.formats.decoding import decoded
from cxr_infer.formats.picture import ORIENTATION, Picture, check_size, gray_picture, orientation_of
from cxr_infer.settings import ReadOptions


def opened(
    plugin: Callable[[io.BytesIO], Any], path: Path, content: bytes, options: ReadOptions
) -> tuple[Picture, Mapping[Any, Any]]:
    """Read a picture, and Pillow's info on its header. plugin: Pillow's image class, which reads only the header.

    Raises ImageError, and the exceptions of Pillow and decoders.
    """
    header = plugin(io.BytesIO(content))
    check_size(path, header.size, options)
    orientation = orientation_of(Image.Image.getexif(header))
    return gray_picture(path, decode(content, header.size), orientation), header.info


def decode(content: bytes, size: tuple[int, int]) -> NDArray[Any]:
    """Decode a file with OpenCV to (H, W) or (H, W, channels), without applying its orientation.

    size: width and height by the header. Raises as `decoding.decoded` does.
    """
    return decoded(OPENCV, content, size[0] * size[1])


def encode(
    picture: Picture, suffix: str, options: Sequence[int] = (), metadata: Mapping[int, NDArray[np.uint8]] | None = None
) -> bytes:
    """Encode a picture with OpenCV. Raises ImageError if it cannot be encoded, MemoryError if memory is short."""
    refuse_floats(picture, suffix)
    parts = metadata or {}
    try:
        if parts:
            done, encoded = cv2.imencodeWithMetadata(suffix, picture.pixels, [*parts], [*parts.values()], options)
        else:
            done, encoded = cv2.imencode(suffix, picture.pixels, options)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise ImageError(f"cannot be encoded as {suffix}; use .png or .tif") from error
    if not done:
        if not has_room(picture.pixels.nbytes + SCRATCH):
            raise MemoryError
        raise ImageError(f"cannot be encoded as {suffix}; use .png or .tif")
    return encoded.tobytes()


def refuse_floats(picture: Picture, suffix: str) -> None:
    """Raise ImageError for floating-point pixels, which only TIFF can hold."""
    if picture.is_float:
        raise ImageError(f"floating-point pixels cannot be written as {suffix}; use .tif")


def refuse_16_bits(picture: Picture, suffix: str) -> None:
    """Raise ImageError for pixels that do not fit into an 8-bit format."""
    refuse_floats(picture, suffix)
    if picture.bits == 16:
        raise ImageError(f"16-bit pixels cannot be written as {suffix}; use .png or .tif")


def exif(orientation: int) -> bytes:
    """Return EXIF data with only an orientation."""
    content = Image.Exif()
    content[ORIENTATION] = orientation
    return content.tobytes()
