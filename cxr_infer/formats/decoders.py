"""Decoders that other people wrote in C and C++, each a function of the bytes of one compressed image.

Such code may crash, hang or do worse on bytes that are made for it. So a file of a run is decoded in a child process
with limits: `decoding` decides where.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.address_space import has_room

MOST_REASON = 120  # characters
SCRATCH = 16 << 20  # bytes that OpenCV may need beside the pixels

Decode = Callable[[bytes], NDArray[Any]]


class DecodingError(Exception):
    """What a decoder says of an image that it refuses."""


class DecoderLostError(Exception):
    """A decoder that crashed, or was ended because it took too much time or memory: a clause that names it."""


@dataclass(frozen=True)
class Decoder:
    """title: as its makers call it. modules: what `decode` imports. decode: raises whatever the library does."""

    title: str
    modules: tuple[str, ...]
    decode: Decode

    def load(self) -> None:
        """Raises ImportError where a package is missing."""
        for module in self.modules:
            import_module(module)

    def is_loaded(self) -> bool:
        return all(module in sys.modules for module in self.modules)


def _by_opencv(content: bytes) -> NDArray[Any]:
    import cv2

    try:
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise
    if pixels is None:
        if not has_room(SCRATCH):
            raise MemoryError
        raise DecodingError("OpenCV gives no pixels")
    return pixels


def _by_libtiff(content: bytes) -> NDArray[np.uint8]:
    """The bytes of a TIFF file of one byte a pixel."""
    from PIL import TiffImagePlugin

    with TiffImagePlugin.TiffImageFile(io.BytesIO(content)) as image:
        image.load()
        return np.frombuffer(image.tobytes(), np.uint8)


def _by_pillow(content: bytes) -> NDArray[np.uint8]:
    from PIL import JpegImagePlugin

    with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
        return np.asarray(image)


def _by_libjpeg(content: bytes) -> NDArray[Any]:
    return np.asarray(import_module("libjpeg").decode(content))


def _by_openjpeg(content: bytes) -> NDArray[Any]:
    return np.asarray(import_module("openjpeg").decode(content))


OPENCV = Decoder("OpenCV", ("cv2",), _by_opencv)  # PNG, JPEG, BMP and WebP
LIBTIFF = Decoder("libtiff", ("PIL.TiffImagePlugin",), _by_libtiff)
LIBJPEG_TURBO = Decoder("libjpeg-turbo", ("PIL.JpegImagePlugin",), _by_pillow)
LIBJPEG = Decoder("libjpeg", ("libjpeg",), _by_libjpeg)  # of JPEG's committee: 12 bits, JPEG-LS
OPENJPEG = Decoder("OpenJPEG", ("openjpeg",), _by_openjpeg)
DECODERS = (OPENCV, LIBTIFF, LIBJPEG_TURBO, LIBJPEG, OPENJPEG)


def reason(error: Exception) -> str:
    """The first line of what a library says, short."""
    return " ".join(str(getattr(error, "err", "") or error).split())[:MOST_REASON] or type(error).__name__
