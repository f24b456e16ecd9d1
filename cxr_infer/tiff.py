"""TIFF and BigTIFF in. Pillow decodes, as it finds damage that OpenCV passes over; OpenCV what Pillow does not know."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.intensity import full_scale
from cxr_infer.picture import ORIENTATION, UPRIGHT, Picture, check_size, decode, gray_picture
from cxr_infer.radiograph import Reading

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_TIFF = (b"+\0", b"\0+")  # bytes 2 and 3
INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of values: BYTE, SHORT, LONG, and BigTIFF's LONG8
RESOLUTION = (282, 283, 296)  # tags: XResolution, YResolution, ResolutionUnit
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLES_PER_PIXEL = 256, 257, 258, 262, 277
WHITE_IS_ZERO = 0
# Pillow turns a TIFF as it decodes it; this brings its pixels back to how they are stored
UNTURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda turned: np.rot90(turned, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda turned: np.rot90(turned, 2).T,
    8: lambda turned: np.rot90(turned, -1),
}


def open_tiff(path: Path, content: bytes, reading: Reading) -> Picture:
    """TIFF 6.0 and BigTIFF: gray of 8, 12 or 16 bit or float32, either photometric; colour where channels are equal."""
    tags, following = _directory(content)
    check_size(path, (tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]), reading)
    if following:
        raise ImageError(f"{path}: has several pages; split it into one file a page")
    orientation = tags.get(ORIENTATION, UPRIGHT)
    pixels, resolution = _checked_tiff(content, orientation)
    if pixels is None or tags.get(SAMPLES_PER_PIXEL, 1) > 1:  # Pillow cuts 16-bit colour to 8 bit
        pixels = decode(path, content)
    if pixels.dtype == np.float32 and pixels.ndim == 2:
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # also false for NaN
            raise ImageError(f"{path}: floating-point pixels must lie in [0, 1]; scale them first")
        return Picture(pixels, "", (), None, orientation, resolution)
    picture = replace(gray_picture(path, pixels, orientation), resolution=resolution)
    if picture.bits == 8:
        return picture
    bits = tags.get(BITS_PER_SAMPLE, 1)
    white = (1 << bits) - 1 if bits < 16 else None
    if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:  # both libraries turn 8-bit pixels over, but not 16
        turned = (white or full_scale(picture.pixels.dtype)) - picture.pixels
        picture = replace(picture, pixels=np.asarray(turned, dtype=np.uint16))
    return replace(picture, white=white)


def _directory(content: bytes) -> tuple[dict[int, int], int]:
    """The first directory of a TIFF or BigTIFF: the first value of each tag of whole numbers; where the next begins.

    TIFF 6.0, section 2, and the BigTIFF design of libtiff. Pillow knows no big-endian BigTIFF. Raises struct.error or
    KeyError where the file ends first.
    """
    order = "<" if content.startswith(b"II") else ">"
    big = content[2:4] in BIG_TIFF
    pointer, count = (f"{order}Q", f"{order}Q") if big else (f"{order}I", f"{order}H")
    (at,) = struct.unpack_from(pointer, content, 8 if big else 4)
    (entries,) = struct.unpack_from(count, content, at)
    at += struct.calcsize(count)
    tags = {}
    for _ in range(entries):
        tag, kind = struct.unpack_from(f"{order}HH", content, at)
        value_at = at + 4 + struct.calcsize(pointer)
        if kind in INTEGERS:
            size, (number,) = struct.calcsize(INTEGERS[kind]), struct.unpack_from(pointer, content, at + 4)
            if number * size > struct.calcsize(pointer):  # then the values lie elsewhere
                (value_at,) = struct.unpack_from(pointer, content, value_at)
            (tags[tag],) = struct.unpack_from(order + INTEGERS[kind], content, value_at)
        at += 4 + 2 * struct.calcsize(pointer)
    (following,) = struct.unpack_from(pointer, content, at)
    return tags, following


def _checked_tiff(content: bytes, orientation: int) -> tuple[NDArray[Any] | None, tuple[tuple[int, Any], ...]]:
    """The pixels by Pillow, None where it does not know their type, and the tags about resolution.

    Raises where strips or tiles are damaged, which OpenCV would return as garbage.
    """
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(content))
    except SyntaxError:  # what it does not know; big-endian BigTIFF and big-endian 16-bit WhiteIsZero are among it
        return None, ()
    image.load()
    pixels = UNTURNED.get(orientation, np.asarray)(np.array(image))
    resolution = tuple((tag, image.tag_v2[tag]) for tag in RESOLUTION if tag in image.tag_v2)
    return np.ascontiguousarray(pixels, np.uint16 if image.mode.startswith("I;16") else None), resolution
