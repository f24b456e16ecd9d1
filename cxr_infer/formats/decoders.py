"""Third-party decoders written in C and C++, each a function of the bytes of one compressed image.

Crafted bytes may crash or hang such code, or worse. So files are decoded in a child process with limits; see
`decoding`.
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
SCRATCH = 16 << 20  # bytes that OpenCV may need in addition to the pixels

Decode = Callable[[bytes], NDArray[Any]]


class DecodingError(Exception):
    """A decoder rejected an image; the message is the decoder's own."""


class DecoderLostError(Exception):
    """A decoder crashed, or exceeded its time or memory; the message names the decoder."""


@dataclass(frozen=True)
class ImageDecoder:
    """title: name of the library. modules: imported by `decode`. decode: raises the library's own exceptions."""

    title: str
    modules: tuple[str, ...]
    decode: Decode

    def load(self) -> None:
        """Import its modules. Raises ImportError if a package is missing."""
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
        raise DecodingError("OpenCV returned no pixels")
    return pixels


def _by_libtiff(content: bytes) -> NDArray[np.uint8]:
    """Decode a TIFF file with one byte per pixel to its bytes."""
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


OPENCV = ImageDecoder("OpenCV", ("cv2",), _by_opencv)  # PNG, JPEG, BMP and WebP
LIBTIFF = ImageDecoder("libtiff", ("PIL.TiffImagePlugin",), _by_libtiff)
LIBJPEG_TURBO = ImageDecoder("libjpeg-turbo", ("PIL.JpegImagePlugin",), _by_pillow)
LIBJPEG = ImageDecoder("libjpeg", ("libjpeg",), _by_libjpeg)  # the JPEG committee's: 12 bits, JPEG-LS
OPENJPEG = ImageDecoder("OpenJPEG", ("openjpeg",), _by_openjpeg)
DECODERS = (OPENCV, LIBTIFF, LIBJPEG_TURBO, LIBJPEG, OPENJPEG)


def reason(error: Exception) -> str:
    """Return the message of a library's exception as one short line."""
    return " ".join(str(getattr(error, "err", "") or error).split())[:MOST_REASON] or type(error).__name__
