"""Read and write binary PGM."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cxr_infer.errors import ImageError
from cxr_infer.formats.libraries import refuse_floats
from cxr_infer.formats.picture import Picture, check_size
from cxr_infer.imaging.pixels import full_scale
from cxr_infer.settings import ReadOptions

GAP = rb"\s+(?:#[^\n]*\n\s*)*"  # white space and comments
HEADER = re.compile(rb"P5%b(\d{1,9})%b(\d{1,9})%b(\d{1,5})\s" % (GAP, GAP, GAP))
LONGEST_HEADER = 4096  # bytes
OTHER_PNM = {b"P1": "PBM", b"P2": "PGM in words", b"P3": "PPM in words", b"P4": "PBM", b"P6": "PPM", b"P7": "PAM"}


def is_pgm(head: bytes) -> bool:
    return re.match(rb"P5\s+[\d#]", head) is not None


def relative(content: bytes) -> str | None:
    """Return the name of a Netpbm format other than binary PGM; None for any other file."""
    return OTHER_PNM.get(content[:2]) if content[2:3].isspace() else None


def open_pgm(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read a binary PGM: one byte per pixel or two, big endian; the header gives the value of white."""
    header = HEADER.match(content[:LONGEST_HEADER])
    if header is None:
        raise ImageError(f"{path}: not a binary PGM, or its header is incomplete; convert it to PNG")
    width, height, white = map(int, header.groups())
    check_size(path, (width, height), options)
    if not 0 < white < 1 << 16 or width * height == 0:
        raise ImageError(f"{path}: invalid PGM header ({width}x{height} pixels up to {white}); is it damaged?")
    dtype = np.dtype(">u2") if white > 255 else np.dtype(np.uint8)
    if len(content) - header.end() < width * height * dtype.itemsize:
        raise ImageError(f"{path}: ends before its last pixel; is it incomplete?")
    if content.startswith((b"P4", b"P5", b"P6"), header.end() + width * height * dtype.itemsize):
        raise ImageError(f"{path}: has several images; split it into one file per image")
    stored = np.frombuffer(content, dtype, width * height, header.end()).reshape(height, width)
    pixels = stored.astype(dtype.newbyteorder("="))
    return Picture(pixels, white=white if white != full_scale(pixels.dtype) else None)


def encode_pgm(picture: Picture) -> bytes:
    """Encode a PGM. Raises ImageError for floating-point pixels."""
    refuse_floats(picture, ".pgm")
    height, width = picture.pixels.shape
    white = picture.white or full_scale(picture.pixels.dtype)
    stored = picture.pixels.astype(">u2" if white > 255 else np.uint8)
    return b"P5\n%d %d\n%d\n" % (width, height, white) + stored.tobytes()
