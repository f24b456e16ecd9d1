"""Pictures: gray pixels of PNG, JPEG, TIFF, BMP, PGM and WebP files in, the same kind and bit depth out, lossless.

Pillow reads the headers, so that nothing is decoded that promises too much, OpenCV the pixels. PNG and TIFF have
modules of their own.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, WebPImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content, write_bytes
from cxr_infer.formats.foreign import CONVERT, Foreign, what_it_is
from cxr_infer.formats.picture import (
    WRITTEN_AS,
    Display,
    Picture,
    check_size,
    decode,
    gray_picture,
    orientation_of,
)
from cxr_infer.formats.png import PNG_MAGIC, open_png
from cxr_infer.formats.resolution import CM, INCH, Resolution, checked
from cxr_infer.formats.tiff.directory import MAGICS as TIFF_MAGICS
from cxr_infer.formats.tiff.reader import open_tiff
from cxr_infer.imaging.intensity import Pixels, from_unit, full_scale, low_range, to_bytes
from cxr_infer.imaging.likeness import NO_RADIOGRAPH, bands, looks_drawn
from cxr_infer.settings import ReadOptions

LOSSLESS_SUFFIXES = frozenset(WRITTEN_AS)  # written back as what they are
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jif", ".jfif"})  # as NAME.jpg.png, not compressed again
PICTURE_SUFFIXES = LOSSLESS_SUFFIXES | LOSSY_SUFFIXES

BYTES_A_PIXEL = 8  # of the largest uncompressed picture, 16-bit colour with alpha
HEADERS = 16_000_000  # bytes that notes in a file may take beside its pixels
HEAD = 132  # bytes by which the kind of a file is known

PGM_GAP = rb"\s+(?:#[^\n]*\n\s*)*"  # white space and comments
PGM_HEADER = re.compile(rb"P5%b(\d{1,9})%b(\d{1,9})%b(\d{1,5})\s" % (PGM_GAP, PGM_GAP, PGM_GAP))
LONGEST_PGM_HEADER = 4096  # bytes
OTHER_PNM = {b"P1": "PBM", b"P2": "PGM in words", b"P3": "PPM in words", b"P4": "PBM", b"P6": "PPM", b"P7": "PAM"}
BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # lengths of those that exist
BMP_V4, BMP_PROFILES = 108, (b"KNIL", b"DEBM")  # a length; LINK and MBED, as little-endian numbers
JFIF_UNITS = {1: INCH, 2: CM}
WEBP_LOSSY = b"VP8 "  # the chunk of pixels that lost something
WEBP_SLACK = 1  # levels: of Y'CbCr without colour, libwebp makes a green that is one apart

BEYOND_WHITE = "pixels above --white are left as they are"
DISPLAY_LOST = "its gamma or colour profile does not go along; a viewer may show the result lighter or darker"


@dataclass(frozen=True)
class Kind:
    """A kind of picture. suffix: of a result where no name says one. begins: whether the first HEAD bytes are its."""

    suffix: str
    begins: Callable[[bytes], bool]
    open: Callable[[Path, bytes, ReadOptions], Picture]


def kind_of(head: bytes) -> Kind | None:
    """The kind of a picture by the first HEAD bytes of its file, whatever its name."""
    return next((kind for kind in KINDS if kind.begins(head)), None)


def read_picture(path: Path, content: bytes, options: ReadOptions, suffix: str) -> Picture:
    """Decode the content of a picture file.

    path: for messages. options: how it is read. suffix: of the result, which decides its kind, else the content does.
    Raises ImageError where it is no picture, damaged, truly coloured, transparent, of several pages, or too large.
    """
    kind = kind_of(content[:HEAD])
    if kind is None:
        other = OTHER_PNM.get(content[:2]) if content[2:3].isspace() else None
        found = Foreign(f"a {other} file") if other else what_it_is(content[:HEAD])
        what, way_out = (f"{found.name}, not", found.way_out) if found else ("not an image of", CONVERT)
        raise ImageError(f"{path}: {what} a kind that is read here, whatever its name says; {way_out}")
    try:
        picture = kind.open(path, content, options)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # of WebP, which Pillow begins to decode as it reads the header
        raise ImageError(f"{path}: its pixels are more than the Pillow library takes; convert it to PNG") from error
    except struct.error as error:  # by a header that ends in the middle of a number
        raise ImageError(f"{path}: cannot be decoded; is it damaged or incomplete?") from error
    except Exception as error:  # Pillow and OpenCV raise a dozen unrelated types on damaged files
        raise ImageError(f"{path}: cannot be decoded ({_reason(error)}); is it damaged or incomplete?") from error
    named = suffix if suffix.lower() in WRITTEN_AS else kind.suffix
    return _with_options(replace(picture, suffix=named), options)


def _with_options(picture: Picture, options: ReadOptions) -> Picture:
    """What the user says of stored values, and notes about them."""
    notes = list(picture.notes)
    if picture.bits == 16 and picture.white is None:
        if options.white is not None:
            picture = replace(picture, white=options.white)
            if picture.pixels.max() > options.white:
                notes.append(BEYOND_WHITE)
        elif (note := low_range(picture.pixels)) is not None:
            notes.append(note)
    if looks_drawn(_eight_bit(replace(picture, pixels=bands(picture.pixels)))):
        notes.append(NO_RADIOGRAPH)
    if picture.display.is_lost_in(WRITTEN_AS[picture.suffix.lower()]):
        notes.append(DISPLAY_LOST)
    return replace(picture, notes=tuple(notes), inverted=options.invert)


def _eight_bit(picture: Picture) -> NDArray[np.uint8]:
    """(H, W) gray levels of 0..255; of 16-bit values, those that are used fill them."""
    if picture.bits == 32 or picture.white is not None:
        return to_bytes(picture.unit())
    if picture.bits == 8:
        return np.asarray(picture.pixels)
    return np.asarray(picture.pixels >> max(0, int(picture.pixels.max()).bit_length() - 8), np.uint8)


def _reason(error: Exception) -> str:
    """The first line of what a library says, short."""
    return " ".join(str(getattr(error, "err", "") or error).split())[:120] or type(error).__name__


def _opened_with(plugin: Callable[[io.BytesIO], Any]) -> Callable[[Path, bytes, ReadOptions], Picture]:
    """A reader that lets Pillow's plugin read the header and OpenCV the pixels."""

    def opened(path: Path, content: bytes, options: ReadOptions) -> Picture:
        header = plugin(io.BytesIO(content))
        check_size(path, header.size, options)
        if getattr(header, "n_frames", 1) > 1:
            raise ImageError(f"{path}: has several frames; split it into one file a frame")
        slack = WEBP_SLACK if _is_lossy_webp(content) else 0
        picture = gray_picture(path, decode(path, content), orientation_of(Image.Image.getexif(header)), slack)
        profile = header.info.get("icc_profile") or b""
        display = Display(profile, other_curve=_is_bmp(content) and _has_bmp_curve(content))
        return replace(picture, resolution=_jfif_resolution(header.info), display=display)

    return opened


def _jfif_resolution(info: dict[Any, Any]) -> Resolution | None:
    """Of a JPEG; none of other kinds."""
    x, y = info.get("jfif_density", (0, 0))
    unit = JFIF_UNITS.get(info.get("jfif_unit", 0))
    return checked(Fraction(x), Fraction(y), unit) if unit is not None else None


def _is_lossy_webp(content: bytes) -> bool:
    """Whether one of its chunks is of the lossy kind (RFC 9649)."""
    at = 12
    while content.startswith(b"RIFF") and at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        if name == WEBP_LOSSY:
            return True
        at += 8 + length + length % 2
    return False


def _open_pgm(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Binary PGM; its header promises the value that means white, of one byte a pixel or two, big endian."""
    header = PGM_HEADER.match(content[:LONGEST_PGM_HEADER])
    if header is None:
        raise ImageError(f"{path}: not a binary PGM with a whole header; convert it to PNG")
    width, height, white = map(int, header.groups())
    check_size(path, (width, height), options)
    if not 0 < white < 1 << 16 or width * height == 0:
        raise ImageError(f"{path}: {width}x{height} pixels up to {white} make no PGM; is it damaged?")
    dtype = np.dtype(">u2") if white > 255 else np.dtype(np.uint8)
    if len(content) - header.end() < width * height * dtype.itemsize:
        raise ImageError(f"{path}: ends before its last pixel; is it incomplete?")
    if content.startswith((b"P4", b"P5", b"P6"), header.end() + width * height * dtype.itemsize):
        raise ImageError(f"{path}: has several images; split it into one file an image")
    stored = np.frombuffer(content, dtype, width * height, header.end()).reshape(height, width)
    pixels = stored.astype(dtype.newbyteorder("="))
    return Picture(pixels, white=white if white != full_scale(pixels.dtype) else None)


def _is_bmp(head: bytes) -> bool:
    """Two letters are too little to know it by: what follows must be a header that exists."""
    return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADERS


def _has_bmp_curve(content: bytes) -> bool:
    """Whether a BMP of version 4 or 5 has gamma of its own or a profile, which nothing here reads."""
    if int.from_bytes(content[14:18], "little") < BMP_V4:
        return False
    space, gamma = content[70:74], content[110:122]  # bV4CSType; bV4GammaRed, Green and Blue
    return space in BMP_PROFILES or (space == bytes(4) and gamma != bytes(12))


KINDS = (
    Kind(".png", lambda head: head.startswith(PNG_MAGIC), open_png),
    Kind(".png", lambda head: head.startswith(b"\xff\xd8\xff"), _opened_with(JpegImagePlugin.JpegImageFile)),
    Kind(".tif", lambda head: head.startswith(TIFF_MAGICS), open_tiff),
    Kind(".bmp", _is_bmp, _opened_with(BmpImagePlugin.BmpImageFile)),
    Kind(".pgm", lambda head: re.match(rb"P5\s+[\d#]", head) is not None, _open_pgm),
    Kind(
        ".webp",
        lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        _opened_with(WebPImagePlugin.WebPImageFile),
    ),
)


def most_bytes(options: ReadOptions) -> int:
    """How large the file of an image may be that has as many pixels as are allowed."""
    return BYTES_A_PIXEL * options.max_pixels + HEADERS


def read_gray(path: Path) -> Pixels:
    """One picture file as (H, W) uint8 or uint16, black 0. Raises ImageError as `read_picture` does."""
    options = ReadOptions()
    picture = read_picture(path, read_content(path, most_bytes(options)), options, path.suffix)
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
