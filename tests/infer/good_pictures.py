"""Pictures of every kind that a run must denoise, for the torture directory."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.infer.formats.picture_files import (
    BITS_TURNED,
    MASK,
    SIDE,
    bits_of,
    by_opencv,
    by_pillow,
    by_tifffile,
    by_tifffile_in_turn,
    packed,
    png,
    png_chunk,
    raw_tiff,
    rows,
    turned,
    with_alpha,
)
from tests.infer.torture_case import DEEP, DONE, GRAY, Case, link_to

FOUR_LEVELS = GRAY // 64 * 85
MILDLY = GRAY // 2 + 30  # stays in range after JPEG compression
EQUAL, DEEP_EQUAL = np.dstack([GRAY] * 3), np.dstack([DEEP] * 3)
TWELVE = (GRAY.astype(np.uint16) << 4) | 5
TEN, FOURTEEN = TWELVE >> 2, TWELVE << 2
UNIT = GRAY.astype(np.float32) / 255
GRAY_ALPHA = Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", SIDE[::-1], 255)])
PLAIN = by_opencv(".png", GRAY)

Contents = dict[str, tuple[bytes, NDArray[Any]]]  # content and pixels of each file, by name


def good_cases() -> dict[str, Case]:
    parts = (good_pngs(), good_tiffs(), tiffs_with_unusual_samples(), other_good_kinds(), oddly_named())
    spelled_out = {name: Case(content, DONE, "", stored) for part in parts for name, (content, stored) in part.items()}
    return spelled_out | turned_cases() | lossy_cases()


def in_palette(levels: Iterable[int]) -> Image.Image:
    """Return GRAY with a palette of 16 entries, the levels in this order."""
    image = Image.fromarray(GRAY // 16).convert("P")
    image.putpalette([value for level in levels for value in (level * 17,) * 3])
    return image


def good_pngs() -> Contents:
    return {
        "gray 8.png": (PLAIN, GRAY),
        "gray 16.png": (by_opencv(".png", DEEP), DEEP),
        "gray 1 bit.png": (png(56, 40, packed(GRAY // 128, 1), bits=1), GRAY // 128 * 255),
        "gray 2 bit.png": (png(56, 40, packed(GRAY // 64, 2), bits=2), FOUR_LEVELS),
        "gray 4 bit.png": (png(56, 40, packed(GRAY // 16, 4), bits=4), GRAY // 16 * 17),
        "palette.png": (by_pillow("PNG", in_palette(range(16))), GRAY // 16 * 17),
        "gray alpha.png": (by_pillow("PNG", GRAY_ALPHA), GRAY),
        "gray alpha 16.png": (png(56, 40, rows(np.dstack([DEEP, DEEP | 65535]).astype(">u2")), bits=16, kind=4), DEEP),
        "equal colours.png": (by_opencv(".png", EQUAL), GRAY),
        "equal colours alpha.png": (by_opencv(".png", with_alpha(EQUAL, 255)), GRAY),
        "equal colours 16.png": (by_opencv(".png", DEEP_EQUAL), DEEP),
        "equal colours alpha 16.png": (by_opencv(".png", with_alpha(DEEP_EQUAL, 65535)), DEEP),
        "twelve bit.png": (by_opencv(".png", TWELVE // 16), TWELVE // 16),
        "one pixel.png": (by_opencv(".png", GRAY[:1, 9:10]), GRAY[:1, 9:10]),
        "small.png": (by_opencv(".png", GRAY[:7, :5]), GRAY[:7, :5]),
        "one row.png": (by_opencv(".png", GRAY[:1]), GRAY[:1]),
        "one column.png": (by_opencv(".png", GRAY[:, :1]), GRAY[:, :1]),
        "black.png": (by_opencv(".png", GRAY * 0), GRAY * 0),
        "white.png": (by_opencv(".png", GRAY * 0 + 255), GRAY * 0 + 255),
        "palette from white to black.png": (by_pillow("PNG", in_palette(range(15, -1, -1))), 255 - GRAY // 16 * 17),
        "unused transparent gray.png": (by_pillow("PNG", GRAY | 1, transparency=8), GRAY | 1),
        "unused transparent gray 16.png": (by_pillow("PNG", DEEP | 1, transparency=8), DEEP | 1),
        "-rf.png": (PLAIN, GRAY),
    }


def good_tiffs() -> Contents:
    """TIFF files of 8 and 16 bits, with every compression and layout."""
    return {
        "gray 8.tif": (by_tifffile(GRAY), GRAY),
        "gray 16.tiff": (by_tifffile(DEEP), DEEP),
        "big endian.tif": (by_tifffile(DEEP, byteorder=">"), DEEP),
        "big.tif": (by_tifffile(DEEP, bigtiff=True), DEEP),
        "big big endian.tif": (by_tifffile(GRAY, bigtiff=True, byteorder=">"), GRAY),
        "tiles.tif": (by_tifffile(DEEP, tile=(16, 16)), DEEP),
        "strips.tif": (by_tifffile(DEEP, rowsperstrip=7), DEEP),
        "white is 0.tif": (by_tifffile(GRAY, photometric="miniswhite"), 255 - GRAY),
        "white is 0 16.tif": (by_tifffile(DEEP, photometric="miniswhite"), 65535 - DEEP),
        "white is 0 16 big endian.tif": (by_tifffile(DEEP, photometric="miniswhite", byteorder=">"), 65535 - DEEP),
        "deflate.tif": (by_tifffile(DEEP, compression="zlib", predictor=True), DEEP),
        "lzw.tif": (by_pillow("TIFF", GRAY, compression="tiff_lzw"), GRAY),
        "palette.tif": (by_pillow("TIFF", in_palette(range(16))), GRAY // 16 * 17),
        "palette from white to black.tif": (by_pillow("TIFF", in_palette(range(15, -1, -1))), 255 - GRAY // 16 * 17),
        "gray alpha.tif": (by_pillow("TIFF", GRAY_ALPHA), GRAY),
        "planes.tif": (by_tifffile(np.stack([GRAY] * 3), photometric="rgb", planarconfig="separate"), GRAY),
        "planes 16.tif": (by_tifffile(np.stack([DEEP] * 3), photometric="rgb", planarconfig="separate"), DEEP),
        "one sample in planes.tif": (raw_tiff(DEEP.tobytes(), 16, t284=2), DEEP),
        "with overviews.tif": (by_tifffile_in_turn((GRAY, 0), (GRAY[::2, ::2], 1), (GRAY[::4, ::4], 1)), GRAY),
        "thumbnail first.tif": (by_tifffile_in_turn((GRAY[::4, ::4], 1), (GRAY, 0)), GRAY),
        "opaque mask.tif": (by_tifffile_in_turn((GRAY, 0), (GRAY >= 0, MASK)), GRAY),
        "three equal samples.tif": (by_tifffile(DEEP_EQUAL, photometric="minisblack", planarconfig="contig"), DEEP),
        "zstd.tif": (by_pillow("TIFF", DEEP, compression="zstd"), DEEP),
        "lzma.tif": (by_pillow("TIFF", DEEP, compression="lzma"), DEEP),
        "gray.btf": (by_tifffile(GRAY, bigtiff=True), GRAY),
        "equal colours.tif": (by_tifffile(EQUAL, photometric="rgb"), GRAY),
        "equal colours 16.tif": (by_tifffile(DEEP_EQUAL, photometric="rgb"), DEEP),
    }


def tiffs_with_unusual_samples() -> Contents:
    """TIFF files of other depths and floats, and with meaningless tags."""
    return {
        "packbits.tif": (by_pillow("TIFF", GRAY, compression="packbits"), GRAY),
        "nine bit.tif": (raw_tiff(bits_of(TWELVE >> 3, 9), 9), TWELVE >> 3),
        "eleven bit.tif": (raw_tiff(bits_of(TWELVE >> 1, 11), 11), TWELVE >> 1),
        "thirteen bit.tif": (raw_tiff(bits_of(TWELVE << 1, 13), 13), TWELVE << 1),
        "fifteen bit, white is 0.tif": (raw_tiff(bits_of(TWELVE << 3, 15), 15, 0), 32767 - (TWELVE << 3)),
        "least bit first.tif": (raw_tiff(GRAY.tobytes().translate(BITS_TURNED), 8, t266=2), GRAY),
        "float, big endian.tif": (by_tifffile(UNIT, byteorder=">"), UNIT),
        "float, deflate, big big endian.tif": (
            by_tifffile(UNIT, byteorder=">", bigtiff=True, compression="zlib", rowsperstrip=7),
            UNIT,
        ),
        "ten bit.tif": (raw_tiff(bits_of(TEN, 10), 10), TEN),
        "twelve bit.tif": (raw_tiff(bits_of(TWELVE, 12), 12), TWELVE),
        "twelve bit, white is 0.tif": (raw_tiff(bits_of(TWELVE, 12), 12, 0), 4095 - TWELVE),
        "fourteen bit.tif": (raw_tiff(bits_of(FOURTEEN, 14), 14), FOURTEEN),
        "turned by nothing.tif": (raw_tiff(GRAY.tobytes(), 8, t274=0), GRAY),
        "turned by too much.tif": (raw_tiff(GRAY.tobytes(), 8, t274=99), GRAY),
        "unit of resolution unknown.tif": (raw_tiff(GRAY.tobytes(), 8, t296=1 << 20), GRAY),
        "float.tif": (by_tifffile(UNIT), UNIT),
        "float, white is 0.tif": (by_tifffile(UNIT, photometric="miniswhite"), 1 - UNIT),
        "float in tiles, big.tif": (by_tifffile(UNIT, tile=(16, 16), bigtiff=True), UNIT),
    }


def other_good_kinds() -> Contents:
    return {
        "palette from white to black.bmp": (by_pillow("BMP", in_palette(range(15, -1, -1))), 255 - GRAY // 16 * 17),
        "gray.dib": (by_opencv(".bmp", GRAY), GRAY),
        "gray.pnm": (by_opencv(".pgm", GRAY), GRAY),
        "gray.bmp": (by_opencv(".bmp", GRAY), GRAY),
        "equal colours.bmp": (by_opencv(".bmp", EQUAL), GRAY),
        "gray.pgm": (by_opencv(".pgm", GRAY), GRAY),
        "gray 16.pgm": (by_opencv(".pgm", DEEP), DEEP),
        "twelve.pgm": (b"P5 # twelve bit\n56 40\n4095\n" + TWELVE.astype(">u2").tobytes(), TWELVE),
        "lossless.webp": (by_opencv(".webp", GRAY, cv2.IMWRITE_WEBP_QUALITY, 101), GRAY),
    }


def oddly_named() -> Contents:
    """Pictures with misleading names, or names that could harm a terminal or a shell."""
    return {
        "SUFFIX.PNG": (PLAIN, GRAY),
        "more after its end.png": (PLAIN + b"appended by a scanner", GRAY),
        "several.dots.in.png": (PLAIN, GRAY),
        "a tiff by content.png": (by_tifffile(GRAY), GRAY),
        "a png by content.tif": (PLAIN, GRAY),
        "png of no suffix": (PLAIN, GRAY),
        "tiff of another.suffix": (by_tifffile(GRAY), GRAY),
        "in/a/deep/folder/x.png": (PLAIN, GRAY),
        "n" * 246 + ".png": (PLAIN, GRAY),
        "two\nlines.png": (PLAIN, GRAY),
        "[red]markup[/red].png": (PLAIN, GRAY),
        "\x1b[31mescape\x07.png": (PLAIN, GRAY),
        "\u202egnp.exe.png": (PLAIN, GRAY),
        "Лёгкие 肺.png": (PLAIN, GRAY),
        os.fsdecode(b"caf\xe9.png"): (PLAIN, GRAY),
        "$(touch pwned);`id`.png": (PLAIN, GRAY),
        "a directory.png/inside.png": (PLAIN, GRAY),
    }


def turned_cases() -> dict[str, Case]:
    """Rotated pictures, an interlaced one and a link."""
    return {
        "interlaced.png": Case(interlaced(), DONE, "", GRAY),
        "turned.png": Case(by_pillow("PNG", GRAY, exif=turned(8)), DONE, "", GRAY, orientation=8),
        "turned.tif": Case(by_pillow("TIFF", GRAY, tiffinfo={0x0112: 3}), DONE, "", GRAY, orientation=3),
        "turned colours.tif": Case(
            by_tifffile(EQUAL, photometric="rgb", extratags=[(0x0112, "H", 1, 6)]), DONE, "", GRAY, orientation=6
        ),
        "turned big big endian.tif": Case(
            by_tifffile(DEEP, bigtiff=True, byteorder=">", extratags=[(0x0112, "H", 1, 6)]),
            DONE,
            "",
            DEEP,
            orientation=6,
        ),
        "turned palette.tif": Case(
            by_pillow("TIFF", in_palette(range(16)), tiffinfo={0x0112: 6}), DONE, "", GRAY // 16 * 17, orientation=6
        ),
        "link within.png": Case(link_to("gray 8.png"), DONE, "", GRAY),
    }


def lossy_cases() -> dict[str, Case]:
    return {
        "gray.jfif": Case(by_pillow("JPEG", MILDLY), DONE),
        "gray.jpe": Case(by_pillow("JPEG", MILDLY), DONE),
        "jpeg of no suffix": Case(by_pillow("JPEG", MILDLY), DONE),
        "jpeg.tif": Case(by_pillow("TIFF", MILDLY, compression="jpeg"), DONE),
        "lossy gray.webp": Case(by_pillow("WEBP", MILDLY, quality=80), DONE),
        "gray.jpg": Case(by_pillow("JPEG", MILDLY), DONE),
        "progressive.jpeg": Case(by_pillow("JPEG", MILDLY, progressive=True), DONE),
        "turned.jpg": Case(by_pillow("JPEG", MILDLY, exif=turned(6)), DONE, orientation=6),
        "turned wrongly.jpg": Case(by_pillow("JPEG", MILDLY, exif=turned(77)), DONE),
        "a jpeg by content.png": Case(by_pillow("JPEG", MILDLY), DONE),
        "lossy.webp": Case(by_pillow("WEBP", Image.fromarray(np.full(SIDE, 90, np.uint8)), quality=50), DONE),
    }


def interlaced() -> bytes:
    """GRAY as an interlaced PNG (PNG specification, section 8.2: Adam7)."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    data = b"".join(rows(np.ascontiguousarray(GRAY[y::down, x::across])) for y, x, down, across in passes)
    header = struct.pack(">IIBBBBB", 56, 40, 8, 0, 0, 0, 1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content) for name, content in parts)
