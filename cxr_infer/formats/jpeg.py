"""Read and write JPEG. Results are written as PNG, to avoid further loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import JpegImagePlugin

from cxr_infer.formats.libraries import encode, opened, refuse_16_bits
from cxr_infer.formats.picture import Display, Picture
from cxr_infer.formats.resolution import CM, INCH, Resolution, checked
from cxr_infer.settings import ReadOptions

JPEG_MAGIC = b"\xff\xd8\xff"
JFIF_UNITS = {1: INCH, 2: CM}


def open_jpeg(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read a JPEG. Raises ImageError, and the exceptions of Pillow and OpenCV."""
    picture, info = opened(JpegImagePlugin.JpegImageFile, path, content, options)
    return replace(picture, resolution=_resolution(info), display=Display(info.get("icc_profile") or b""))


def _resolution(info: Mapping[Any, Any]) -> Resolution | None:
    x, y = info.get("jfif_density", (0, 0))
    unit = JFIF_UNITS.get(info.get("jfif_unit", 0))
    return checked(Fraction(x), Fraction(y), unit) if unit is not None else None


def encode_jpeg(picture: Picture) -> bytes:
    """Encode a lossy JPEG, if a caller asks for .jpg. Raises ImageError for more than 8 bits."""
    refuse_16_bits(picture, ".jpg")
    return encode(picture, ".jpg")
