"""Pictures: gray pixels of PNG, JPEG, TIFF, BMP, PGM and WebP files in, the same kind and bit depth out, lossless.

Pillow reads the headers, so that nothing is decoded that promises too much, OpenCV the pixels. TIFF has its own module.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content, write_bytes
from cxr_infer.intensity import Pixels, from_unit, full_scale
from cxr_infer.picture import ORIENTATION, UPRIGHT, Picture, check_size, decode, gray_picture
from cxr_infer.radiograph import Reading
from cxr_infer.tiff import MAGICS, open_tiff

LOSSLESS_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".pgm", ".webp"})  # written back as what they are
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})  # written as NAME.jpg.png, so that no second compression is added
PICTURE_SUFFIXES = LOSSLESS_SUFFIXES | LOSSY_SUFFIXES

BYTES_A_PIXEL = 8  # of the largest uncompressed picture, 16-bit colour with alpha
HEADERS = 16_000_000  # bytes that notes in a file may take beside its pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_TELLS_ORIENTATION = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may, as EXIF or in text
PNG_CHUNK_OVERHEAD = 12  # bytes: length, name and checksum
PGM_GAP = rb"\s+(?:#[^\n]*\n\s*)*"  # white space and comments
PGM_HEADER = re.compile(rb"P5%b(\d{1,9})%b(\d{1,9})%b(\d{1,5})\s" % (PGM_GAP, PGM_GAP, PGM_GAP))
LONGEST_PGM_HEADER = 4096  # bytes

LOW_RANGE = (
    "uses a sixteenth of the 16-bit range or less; if it holds 12-bit data, --white 4095 lets the model see it in full"
)
LOW_16_BIT = 1 << 12
BEYOND_WHITE = "pixels above --white are left as they are"


def read_picture(path: Path, content: bytes, reading: Reading, suffix: str) -> Picture:
    """Decode the content of a picture file.

    path: for messages. reading: how much it may promise. suffix: of the kind of file that the result will be.
    Raises ImageError where it is no picture, damaged, truly coloured, transparent, of several pages, or too large.
    """
    opened = next((opened for magic, opened in KINDS if content.startswith(magic)), None)
    if opened is None:
        raise ImageError(f"{path}: not an image of a kind that is read here, whatever its name says; is it damaged?")
    try:
        picture = opened(path, content, reading)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # of WebP, which Pillow begins to decode as it reads the header
        raise ImageError(f"{path}: its pixels are more than the Pillow library takes; convert it to PNG") from error
    except struct.error as error:  # by a header that ends in the middle of a number
        raise ImageError(f"{path}: cannot be decoded; is it damaged or incomplete?") from error
    except Exception as error:  # Pillow and OpenCV raise a dozen unrelated types on damaged files
        raise ImageError(f"{path}: cannot be decoded ({_reason(error)}); is it damaged or incomplete?") from error
    notes = picture.notes
    if reading.white is not None and picture.white is None and picture.bits == 16:
        picture = replace(picture, white=reading.white)
        if picture.pixels.max() > reading.white:
            notes = (*notes, BEYOND_WHITE)
    elif picture.white is None and picture.bits == 16 and picture.pixels.max() < LOW_16_BIT:
        notes = (*notes, LOW_RANGE)
    return replace(picture, suffix=suffix, notes=notes, invert=reading.invert)


def _reason(error: Exception) -> str:
    """The first line of what a library says, short."""
    return " ".join(str(getattr(error, "err", "") or error).split())[:120] or type(error).__name__


def _open_png(path: Path, content: bytes, reading: Reading) -> Picture:
    """PNG. OpenCV makes room for what a chunk promises, gigabytes, before it finds that it is not there."""
    at, names = len(PNG_MAGIC), [b""]
    while names[-1] != b"IEND":
        length, name = struct.unpack_from(">I4s", content, at)
        names.append(name)
        at += PNG_CHUNK_OVERHEAD + length
        if at > len(content):
            raise ImageError(f"{path}: ends within a chunk; is it incomplete?")
    if b"IDAT" not in names:
        raise ImageError(f"{path}: holds no pixels; is it damaged?")
    told_late = any(name in PNG_TELLS_ORIENTATION for name in names[names.index(b"IDAT") :])
    # Pillow's own method for PNG decodes all pixels, to see whether EXIF data come after them
    exif_of = PngImagePlugin.PngImageFile.getexif if told_late else Image.Image.getexif
    return _opened_with(PngImagePlugin.PngImageFile, exif_of)(path, content, reading)


def _opened_with(
    plugin: Callable[[io.BytesIO], Any], exif_of: Callable[[Any], Image.Exif] = Image.Image.getexif
) -> Callable[[Path, bytes, Reading], Picture]:
    """A reader that lets Pillow's plugin read the header and OpenCV the pixels. exif_of: how to ask for EXIF data."""

    def opened(path: Path, content: bytes, reading: Reading) -> Picture:
        header = plugin(io.BytesIO(content))
        check_size(path, header.size, reading)
        if getattr(header, "n_frames", 1) > 1:
            raise ImageError(f"{path}: has several frames; split it into one file a frame")
        if "transparency" in header.info and header.mode != "P":  # of palettes, OpenCV makes an alpha channel
            raise ImageError(f"{path}: has transparent pixels; flatten it to gray first")
        orientation = exif_of(header).get(ORIENTATION, UPRIGHT)
        pixels = decode(path, content)
        return gray_picture(path, pixels, orientation if orientation in range(1, 9) else UPRIGHT)

    return opened


def _open_pgm(path: Path, content: bytes, reading: Reading) -> Picture:
    """Binary PGM; its header promises the value that means white, of one byte a pixel or two, big endian."""
    header = PGM_HEADER.match(content[:LONGEST_PGM_HEADER])
    if header is None:
        raise ImageError(f"{path}: not a binary PGM with a whole header; convert it to PNG")
    width, height, white = map(int, header.groups())
    check_size(path, (width, height), reading)
    if not 0 < white < 1 << 16 or width * height == 0:
        raise ImageError(f"{path}: {width}x{height} pixels up to {white} make no PGM; is it damaged?")
    dtype = np.dtype(">u2") if white > 255 else np.dtype(np.uint8)
    if len(content) - header.end() < width * height * dtype.itemsize:
        raise ImageError(f"{path}: ends before its last pixel; is it incomplete?")
    if content.startswith((b"P4", b"P5", b"P6"), header.end() + width * height * dtype.itemsize):
        raise ImageError(f"{path}: has several images; split it into one file an image")
    stored = np.frombuffer(content, dtype, width * height, header.end()).reshape(height, width)
    pixels = stored.astype(dtype.newbyteorder("="))
    return Picture(pixels, "", (), white if white != full_scale(pixels.dtype) else None)


KINDS: tuple[tuple[bytes, Callable[[Path, bytes, Reading], Picture]], ...] = (
    (PNG_MAGIC, _open_png),
    (b"\xff\xd8\xff", _opened_with(JpegImagePlugin.JpegImageFile)),
    *((magic, open_tiff) for magic in MAGICS),
    (b"BM", _opened_with(BmpImagePlugin.BmpImageFile)),
    (b"P5", _open_pgm),
    (b"RIFF", _opened_with(WebPImagePlugin.WebPImageFile)),
)


def most_bytes(reading: Reading) -> int:
    """How large the file of an image may be that has as many pixels as are allowed."""
    return BYTES_A_PIXEL * reading.max_pixels + HEADERS


def read_gray(path: Path) -> Pixels:
    """One picture file as (H, W) uint8 or uint16, black 0. Raises ImageError as `read_picture` does."""
    reading = Reading()
    picture = read_picture(path, read_content(path, most_bytes(reading)), reading, path.suffix)
    return picture.pixels if picture.bits < 32 else from_unit(picture.pixels, np.dtype(np.uint16))


def write_image(path: Path, pixels: Pixels) -> None:
    """Write (H, W) gray or (H, W, 3) BGR pixels, uint8 or uint16, as the kind that the suffix names.

    The file appears under its name only once it is complete. Raises ImageError where it cannot be written.
    """
    try:
        content = Picture(pixels, path.suffix).encode()
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    write_bytes(path, content)
