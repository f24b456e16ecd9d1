"""Read and write BMP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import BmpImagePlugin

from cxr_infer.formats.libraries import encode, opened, refuse_16_bits
from cxr_infer.formats.picture import Display, Picture
from cxr_infer.settings import ReadOptions

HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # lengths of all header versions
V4, PROFILES = 108, (b"KNIL", b"DEBM")  # a length; LINK and MBED, as little-endian numbers


def is_bmp(head: bytes) -> bool:
    """Whether a file is a BMP. The two letters are not enough: a known header must follow."""
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in HEADERS


def open_bmp(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read a BMP. Raises ImageError, and the exceptions of Pillow and OpenCV."""
    picture, info = opened(BmpImagePlugin.BmpImageFile, path, content, options)
    return replace(picture, display=Display(info.get("icc_profile") or b"", other_curve=_has_curve(content)))


def _has_curve(content: bytes) -> bool:
    """Whether a BMP of version 4 or 5 has its own gamma or profile, which are not read."""
    if int.from_bytes(content[14:18], "little") < V4:
        return False
    space, gamma = content[70:74], content[110:122]  # bV4CSType; bV4GammaRed, Green and Blue
    return space in PROFILES or (space == bytes(4) and gamma != bytes(12))


def encode_bmp(picture: Picture) -> bytes:
    """Encode a BMP. Raises ImageError for more than 8 bits."""
    refuse_16_bits(picture, ".bmp")
    return encode(picture, ".bmp")
