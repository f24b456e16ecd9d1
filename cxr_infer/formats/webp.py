"""Read and write WebP. Chunks are checked before OpenCV decodes the pixels; results are lossless."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxr_infer.errors import ImageError
from cxr_infer.formats.libraries import decode, encode, exif, refuse_16_bits
from cxr_infer.formats.picture import UPRIGHT, Display, Picture, check_size, gray_picture, orientation_of
from cxr_infer.settings import ReadOptions

HEAD = 12  # bytes: RIFF, length, WEBP
LOSSY, LOSSLESS, EXTENDED, FRAME = b"VP8 ", b"VP8L", b"VP8X", b"ANMF"  # names of chunks
SLACK = 1  # gray levels: libwebp decodes colourless Y'CbCr with a green that is off by one
OPTIONS = (cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100 is lossless


def is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:HEAD] == b"WEBP"


def open_webp(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read a still WebP. Raises ImageError, and the exceptions of decoders."""
    chunks = _chunks(path, content)
    names = [name for name, _ in chunks]
    first = dict(reversed(chunks))
    size = _size(first)
    check_size(path, size, options)
    if names.count(FRAME) > 1:
        raise ImageError(f"{path}: has several frames; split it into one file per frame")
    told = Image.Exif()
    told.load(first.get(b"EXIF", b""))
    picture = gray_picture(path, decode(content, size), orientation_of(told), SLACK if LOSSY in names else 0)
    return replace(picture, display=Display(first.get(b"ICCP", b"")))


def _chunks(path: Path, content: bytes) -> list[tuple[bytes, bytes]]:
    """List names and data of the chunks within the file's declared length (RFC 9649)."""
    end = 8 + int(struct.unpack_from("<I", content, 4)[0])
    found, at = [], HEAD
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", content, at)
        found.append((name, content[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
        if at - length % 2 > len(content):
            raise ImageError(f"{path}: ends within a chunk; is it incomplete?")
    return found


def _size(first: dict[bytes, bytes]) -> tuple[int, int]:
    """Return (width, height) of the canvas or picture. Raises struct.error if they are missing."""
    if EXTENDED in first:
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", first[EXTENDED], 4)
        return 1 + (low_width | high_width << 16), 1 + (low_height | high_height << 16)
    if LOSSLESS in first:
        (bits,) = struct.unpack_from("<I", first[LOSSLESS], 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", first.get(LOSSY, b""), 6)
    return width & 0x3FFF, height & 0x3FFF


def carried(display: Display) -> Display:
    """Return the parts that a WebP can hold: any profile, as it has no gray."""
    return Display(display.profile)


def encode_webp(picture: Picture) -> bytes:
    """Encode a lossless WebP. Raises ImageError for more than 8 bits."""
    refuse_16_bits(picture, ".webp")
    metadata = {}
    if picture.orientation != UPRIGHT:
        metadata[cv2.IMAGE_METADATA_EXIF] = np.frombuffer(exif(picture.orientation), np.uint8)
    if picture.display.profile:
        metadata[cv2.IMAGE_METADATA_ICCP] = np.frombuffer(picture.display.profile, np.uint8)
    return encode(picture, ".webp", OPTIONS, metadata)
