"""Picture files as other programs write them, and malformed ones built byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

BITS_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MASK = 4  # a value of NewSubfileType and of PhotometricInterpretation
SIDE = (40, 56)  # px, default height and width


def by_pillow(kind: str, *images: NDArray[Any] | Image.Image, **options: Any) -> bytes:
    opened = [image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images]
    content = io.BytesIO()
    more = {"save_all": True, "append_images": opened[1:]} if len(opened) > 1 else {}
    opened[0].save(content, kind, **more, **options)
    return content.getvalue()


def by_opencv(suffix: str, pixels: NDArray[Any], *options: int) -> bytes:
    done, content = cv2.imencode(suffix, pixels, options)
    assert done
    return content.tobytes()


def by_tifffile(pixels: NDArray[Any], **options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **options)
    return content.getvalue()


def by_tifffile_in_turn(*pages: tuple[NDArray[Any], int]) -> bytes:
    """One file of several directories, each given as pixels and NewSubfileType."""
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        for pixels, kind in pages:
            more = {"photometric": kind} if kind == MASK else {}
            file.write(np.ascontiguousarray(pixels), subfiletype=kind, **more)
    return content.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def with_alpha(colours: NDArray[Any], alpha: int) -> NDArray[Any]:
    return np.dstack([colours, np.full(SIDE, alpha, colours.dtype)])


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    sum_ = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_)


def png(
    width: int, height: int, data: bytes, *, bits: int = 8, kind: int = 0, sums: dict[bytes, int] | None = None
) -> bytes:
    """A PNG of these raw rows, each beginning with its filter byte; nothing is checked."""
    sums = sums or {}
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content, sums.get(name)) for name, content in parts)


def rows(pixels: NDArray[Any]) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def packed(pixels: NDArray[Any], bits: int) -> bytes:
    """Raw PNG rows of gray values below 2^bits, several to a byte."""
    wide = np.unpackbits(pixels[..., None], axis=-1)[..., 8 - bits :].reshape(len(pixels), -1)
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(wide, axis=1))


def tiff_directory(width: int, height: int, next_directory: int = 0) -> bytes:
    """A TIFF header and directory that declare 8-bit gray pixels in one strip at offset 8."""
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_directory)


def raw_tiff(data: bytes, bits: int, photometric: int = 1, **more: int) -> bytes:
    """A TIFF of SIDE pixels with these uncompressed bytes; more: further tags by number, such as `t274=6`."""
    tags = {256: SIDE[1], 257: SIDE[0], 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: SIDE[0]}
    tags |= {279: len(data)} | {int(tag[1:]): value for tag, value in more.items()}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def bits_of(pixels: NDArray[np.uint16], bits: int) -> bytes:
    """Rows of values below 2^bits, packed without gaps."""
    wide = np.unpackbits(pixels.astype(">u2")[..., None].view(np.uint8), axis=-1)[..., 16 - bits :]
    return np.packbits(wide.reshape(len(pixels), -1), axis=1).tobytes()


def holed(content: bytes) -> bytes:
    """The content zeroed from its middle to near its end, as an interrupted copy leaves it."""
    half = len(content) // 2
    return content[:half] + bytes(half - 600) + content[2 * half - 600 :]


def corrupt(content: bytes, at: float) -> bytes:
    """The content with eight bytes inverted at this fraction of its length."""
    place = int(at * len(content))
    return content[:place] + bytes(b ^ 0xFF for b in content[place : place + 8]) + content[place + 8 :]
