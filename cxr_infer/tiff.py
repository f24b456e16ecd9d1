"""TIFF and BigTIFF in. Pillow decodes, as it finds damage that OpenCV passes over; OpenCV what Pillow does not know."""

from __future__ import annotations

import io
import numbers
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
LARGEST_RESOLUTION = 65535  # pixels a unit; nor is there a unit of a larger number
RESOLUTION = (282, 283, 296)  # tags: XResolution, YResolution, ResolutionUnit
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLES_PER_PIXEL = 256, 257, 258, 262, 277
PLANAR_CONFIGURATION, TILE_WIDTH, TILE_LENGTH, SAMPLE_FORMAT = 284, 322, 323, 339
WHITE_IS_ZERO, SIGNED, IN_PLANES = 0, 2, 2
COLOURS_OF_PALETTE = {"P": "RGB", "PA": "RGBA"}  # Pillow's modes: what an index stands for
# Pillow and OpenCV turn a TIFF as they decode it; this brings its pixels back to how they are stored
UNTURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: np.asarray,
    2: np.fliplr,
    3: lambda turned: np.rot90(turned, 2),
    4: np.flipud,
    5: lambda turned: turned.swapaxes(0, 1),
    6: np.rot90,
    7: lambda turned: np.rot90(turned, 2).swapaxes(0, 1),
    8: lambda turned: np.rot90(turned, -1),
}


def open_tiff(path: Path, content: bytes, reading: Reading) -> Picture:
    """TIFF 6.0 and BigTIFF: gray of 8 to 16 bit or float32, either photometric; colour where channels are equal."""
    tags, following = _directory(content)
    check_size(path, (tags[IMAGE_WIDTH], tags[IMAGE_LENGTH]), reading)
    check_size(path, (tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)), reading)  # one is decoded whole
    if following:
        raise ImageError(f"{path}: has several pages; split it into one file a page")
    if tags.get(SAMPLE_FORMAT) == SIGNED:
        raise ImageError(f"{path}: signed pixels are not supported; convert it to 8 or 16 bit gray")
    orientation = tags.get(ORIENTATION, UPRIGHT)
    pixels, resolution = _checked_tiff(content)
    if pixels is None or tags.get(SAMPLES_PER_PIXEL, 1) > 2:  # Pillow cuts 16-bit colour to 8 bit
        pixels = _by_opencv(path, content, tags)
    if orientation not in UNTURNED:  # a number that means nothing
        orientation = UPRIGHT
    pixels = np.ascontiguousarray(UNTURNED[orientation](pixels))
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    if pixels.dtype == np.float32 and pixels.ndim == 2:
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # also false for NaN
            raise ImageError(f"{path}: floating-point pixels must lie in [0, 1]; scale them first")
        return Picture(1 - pixels if inverted else pixels, "", (), None, orientation, resolution)
    picture = replace(gray_picture(path, pixels, orientation), resolution=resolution)
    if picture.bits == 8:
        return picture
    bits = tags.get(BITS_PER_SAMPLE, 1)
    white = (1 << bits) - 1 if bits < 16 else None
    if inverted:  # both libraries turn 8-bit pixels over, but not the others
        turned = (white or full_scale(picture.pixels.dtype)) - picture.pixels
        picture = replace(picture, pixels=np.asarray(turned, dtype=np.uint16))
    return replace(picture, white=white)


def _by_opencv(path: Path, content: bytes, tags: dict[int, int]) -> NDArray[Any]:
    """The pixels by OpenCV. Raises ImageError where it would lose half of them without a word."""
    samples, bits = tags.get(SAMPLES_PER_PIXEL, 1), tags.get(BITS_PER_SAMPLE, 1)
    if samples == 2 or (samples > 1 and bits > 8 and tags.get(PLANAR_CONFIGURATION) == IN_PLANES):
        raise ImageError(f"{path}: {samples} samples of {bits} bits a pixel are not supported; convert it to gray")
    pixels = decode(path, content)
    if pixels.dtype == np.uint16 and 8 < bits < 16:  # it puts them into the upper bits
        pixels >>= 16 - bits
    return pixels


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


def _checked_tiff(content: bytes) -> tuple[NDArray[Any] | None, tuple[tuple[int, Any], ...]]:
    """The pixels by Pillow, None where it does not know their type, and the tags about resolution.

    Raises where strips or tiles are damaged, which OpenCV would return as garbage.
    """
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(content))
    except SyntaxError:  # what it does not know; big-endian BigTIFF and big-endian 16-bit WhiteIsZero are among it
        return None, ()
    image.load()
    told = COLOURS_OF_PALETTE.get(image.mode)
    pixels = np.array(image.convert(told) if told else image)
    resolution = tuple((tag, image.tag_v2[tag]) for tag in RESOLUTION if _is_number(image.tag_v2.get(tag)))
    return np.asarray(pixels, np.uint16 if image.mode.startswith("I;16") else None), resolution


def _is_number(value: Any) -> bool:
    """Whether the value of a tag can be written again as the number that it should be."""
    return isinstance(value, numbers.Rational | float) and 0 < float(value) <= LARGEST_RESOLUTION
