"""Read and write PNG. Chunks are checked before OpenCV decodes the pixels, and inserted after it encoded them."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.formats.libraries import decode, encode, exif
from cxr_infer.formats.picture import TRANSPARENT, UPRIGHT, Display, Picture, check_size, gray_picture, orientation_of
from cxr_infer.formats.resolution import from_phys, to_phys
from cxr_infer.settings import ReadOptions

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
TELLS_ORIENTATION = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks that may hold it, as EXIF or text
TELLS_DISPLAY = (b"gAMA", b"cHRM", b"sRGB", b"cICP")  # chunks about gamma and colour; Pillow inflates iCCP
LONGEST_OF_THEM = 64  # bytes; the longest valid one has 32
OVERHEAD = 12  # bytes of a chunk: length, name and checksum
BIT_DEPTH, COLOUR_TYPE = 24, 25  # bytes of the file, within IHDR
GRAY, RGB = 0, 2  # colour types in which tRNS names a single transparent value

AFTER_HEADER = 33  # bytes: magic number and IHDR

# Measured on denoised 1024 px X-rays: 11 ms per megapixel and 2.2 bits per pixel. zlib's default strategy at levels
# 1 / 3 / 6 took 18 / 31 / 104 ms for 2.8 / 2.6 / 2.3 bits. Of the other filters, Paeth took 13 ms for files 1% smaller;
# the rest took 11 ms for files 4 to 11% larger.
OPTIONS = (
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_AVG,
)


class Chunk(NamedTuple):
    """A chunk and its byte range in the file, length and checksum included."""

    name: bytes
    start: int
    end: int


def open_png(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read a PNG of 1 to 16 bits: gray, palette or colour. Raises ImageError and exceptions of Pillow and OpenCV."""
    chunks = _chunks(path, content)
    names = [one.name for one in chunks]
    if b"IDAT" not in names:
        raise ImageError(f"{path}: contains no pixels; is it damaged?")
    first_pixels = names.index(b"IDAT")
    header = PngImagePlugin.PngImageFile(io.BytesIO(content))
    check_size(path, header.size, options)
    if getattr(header, "n_frames", 1) > 1:
        raise ImageError(f"{path}: has several frames; split it into one file per frame")
    if any(name in TELLS_ORIENTATION for name in names[first_pixels:]):
        header = PngImagePlugin.PngImageFile(io.BytesIO(_told_first(content, chunks)))
    told_exif = Image.Image.getexif(header)  # Pillow's own getexif for PNG would decode all pixels first
    data = {one.name: content[one.start + 8 : one.end - 4] for one in chunks[:first_pixels]}
    key = data.get(b"tRNS") if content[COLOUR_TYPE] in (GRAY, RGB) else None
    pixels = decode(content if key is None else _without(content, chunks, b"tRNS"), header.size)
    if key is not None and _is_used(pixels, key, content[BIT_DEPTH]):
        raise ImageError(f"{path}: {TRANSPARENT}")
    told = b"".join(
        chunk(name, data[name]) for name in TELLS_DISPLAY if 0 < len(data.get(name, b"")) <= LONGEST_OF_THEM
    )
    return replace(
        gray_picture(path, pixels, orientation_of(told_exif)),
        resolution=from_phys(data[b"pHYs"]) if b"pHYs" in data else None,
        display=Display(header.info.get("icc_profile") or b"", told),
    )


def _chunks(path: Path, content: bytes) -> list[Chunk]:
    """List the chunks up to IEND. OpenCV would allocate a chunk's declared length before reading it."""
    found = [Chunk(b"", 0, len(PNG_MAGIC))]
    while found[-1].name != b"IEND":
        at = found[-1].end
        length, name = struct.unpack_from(">I4s", content, at)
        found.append(Chunk(name, at, at + OVERHEAD + length))
        if found[-1].end > len(content):
            raise ImageError(f"{path}: ends within a chunk; is it incomplete?")
    return found[1:]


def _told_first(content: bytes, chunks: list[Chunk]) -> bytes:
    """Return the PNG with the chunks of its orientation moved before its pixels."""
    told = [one for one in chunks if one.name in TELLS_ORIENTATION]
    header, *rest = [one for one in chunks if one not in told]
    return content[: len(PNG_MAGIC)] + b"".join(content[one.start : one.end] for one in (header, *told, *rest))


def _without(content: bytes, chunks: list[Chunk], name: bytes) -> bytes:
    return content[: len(PNG_MAGIC)] + b"".join(content[c.start : c.end] for c in chunks if c.name != name)


def _is_used(pixels: NDArray[Any], key: bytes, bits: int) -> bool:
    """Whether any pixel has the transparent value of tRNS: gray, or red, green and blue, 16 bits each."""
    values = np.frombuffer(key, ">u2").astype(np.int64) & ((1 << bits) - 1)
    if bits < 8:  # OpenCV scales the pixels to 8 bits
        values *= 255 // ((1 << bits) - 1)
    if len(values) != (1 if pixels.ndim == 2 else 3):
        raise struct.error("invalid length of chunk tRNS")
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    return bool(np.any(np.all(channels == values[::-1], axis=2)))  # OpenCV's order is blue, green, red


def carried(display: Display) -> Display:
    """Return the parts that a PNG can hold."""
    return replace(display.gray_profile(), chunks=display.chunks)


def encode_png(picture: Picture) -> bytes:
    """Encode a PNG. Raises ImageError for floating-point pixels."""
    metadata = {}
    if picture.orientation != UPRIGHT:  # EXIF data in PNG begin with the TIFF header
        told = exif(picture.orientation).removeprefix(b"Exif\0\0")
        metadata[cv2.IMAGE_METADATA_EXIF] = np.frombuffer(told, np.uint8)
    return with_chunks(encode(picture, ".png", OPTIONS, metadata), _chunks_about(picture))


def _chunks_about(picture: Picture) -> bytes:
    display = carried(picture.display)
    phys = to_phys(picture.resolution) if picture.resolution is not None else None
    return (
        display.chunks
        + (chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(display.profile)) if display.profile else b"")
        + (chunk(b"pHYs", phys) if phys else b"")
    )


def chunk(name: bytes, data: bytes) -> bytes:
    """Encode one chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    """Insert chunks right after the header of a PNG, where those about colour belong."""
    return png[:AFTER_HEADER] + chunks + png[AFTER_HEADER:]
