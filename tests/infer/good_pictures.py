"""Pictures of every kind that a run must denoise, for the torture directory."""

from __future__ import annotations

import os
import struct
import zlib

import cv2
import numpy as np
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


def good_cases() -> dict[str, Case]:
    mildly = GRAY // 2 + 30  # JPEG keeps it within gray
    equal, deep_equal = np.dstack([GRAY] * 3), np.dstack([DEEP] * 3)
    palette = Image.fromarray(GRAY // 16).convert("P")
    palette.putpalette([value for level in range(16) for value in (level * 17,) * 3])
    twelve = (GRAY.astype(np.uint16) << 4) | 5
    ten, fourteen = twelve >> 2, twelve << 2
    unit = GRAY.astype(np.float32) / 255
    plain = by_opencv(".png", GRAY)
    inverted = Image.fromarray(GRAY // 16).convert("P")
    inverted.putpalette([value for level in range(15, -1, -1) for value in (level * 17,) * 3])
    gray_alpha = Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", SIDE[::-1], 255)])
    spelled_out = {
        "gray 8.png": (plain, GRAY),
        "gray 16.png": (by_opencv(".png", DEEP), DEEP),
        "gray 1 bit.png": (png(56, 40, packed(GRAY // 128, 1), bits=1), GRAY // 128 * 255),
        "gray 2 bit.png": (png(56, 40, packed(GRAY // 64, 2), bits=2), FOUR_LEVELS),
        "gray 4 bit.png": (png(56, 40, packed(GRAY // 16, 4), bits=4), GRAY // 16 * 17),
        "palette.png": (by_pillow("PNG", palette), GRAY // 16 * 17),
        "gray alpha.png": (by_pillow("PNG", gray_alpha), GRAY),
        "gray alpha 16.png": (png(56, 40, rows(np.dstack([DEEP, DEEP | 65535]).astype(">u2")), bits=16, kind=4), DEEP),
        "equal colours.png": (by_opencv(".png", equal), GRAY),
        "equal colours alpha.png": (by_opencv(".png", with_alpha(equal, 255)), GRAY),
        "equal colours 16.png": (by_opencv(".png", deep_equal), DEEP),
        "equal colours alpha 16.png": (by_opencv(".png", with_alpha(deep_equal, 65535)), DEEP),
        "twelve bit.png": (by_opencv(".png", twelve // 16), twelve // 16),
        "one pixel.png": (by_opencv(".png", GRAY[:1, 9:10]), GRAY[:1, 9:10]),
        "small.png": (by_opencv(".png", GRAY[:7, :5]), GRAY[:7, :5]),
        "one row.png": (by_opencv(".png", GRAY[:1]), GRAY[:1]),
        "one column.png": (by_opencv(".png", GRAY[:, :1]), GRAY[:, :1]),
        "black.png": (by_opencv(".png", GRAY * 0), GRAY * 0),
        "white.png": (by_opencv(".png", GRAY * 0 + 255), GRAY * 0 + 255),
        "SUFFIX.PNG": (plain, GRAY),
        "more after its end.png": (plain + b"appended by a scanner", GRAY),
        "several.dots.in.png": (plain, GRAY),
        "a tiff by content.png": (by_tifffile(GRAY), GRAY),
        "a png by content.tif": (plain, GRAY),
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
        "packbits.tif": (by_pillow("TIFF", GRAY, compression="packbits"), GRAY),
        "palette.tif": (by_pillow("TIFF", palette), GRAY // 16 * 17),
        "palette from white to black.tif": (by_pillow("TIFF", inverted), 255 - GRAY // 16 * 17),
        "palette from white to black.png": (by_pillow("PNG", inverted), 255 - GRAY // 16 * 17),
        "palette from white to black.bmp": (by_pillow("BMP", inverted), 255 - GRAY // 16 * 17),
        "gray alpha.tif": (by_pillow("TIFF", gray_alpha), GRAY),
        "planes.tif": (by_tifffile(np.stack([GRAY] * 3), photometric="rgb", planarconfig="separate"), GRAY),
        "planes 16.tif": (by_tifffile(np.stack([DEEP] * 3), photometric="rgb", planarconfig="separate"), DEEP),
        "one sample in planes.tif": (raw_tiff(DEEP.tobytes(), 16, t284=2), DEEP),
        "nine bit.tif": (raw_tiff(bits_of(twelve >> 3, 9), 9), twelve >> 3),
        "eleven bit.tif": (raw_tiff(bits_of(twelve >> 1, 11), 11), twelve >> 1),
        "thirteen bit.tif": (raw_tiff(bits_of(twelve << 1, 13), 13), twelve << 1),
        "fifteen bit, white is 0.tif": (raw_tiff(bits_of(twelve << 3, 15), 15, 0), 32767 - (twelve << 3)),
        "least bit first.tif": (raw_tiff(GRAY.tobytes().translate(BITS_TURNED), 8, t266=2), GRAY),
        "with overviews.tif": (by_tifffile_in_turn((GRAY, 0), (GRAY[::2, ::2], 1), (GRAY[::4, ::4], 1)), GRAY),
        "thumbnail first.tif": (by_tifffile_in_turn((GRAY[::4, ::4], 1), (GRAY, 0)), GRAY),
        "opaque mask.tif": (by_tifffile_in_turn((GRAY, 0), (GRAY >= 0, MASK)), GRAY),
        "three equal samples.tif": (by_tifffile(deep_equal, photometric="minisblack", planarconfig="contig"), DEEP),
        "zstd.tif": (by_pillow("TIFF", DEEP, compression="zstd"), DEEP),
        "lzma.tif": (by_pillow("TIFF", DEEP, compression="lzma"), DEEP),
        "float, big endian.tif": (by_tifffile(unit, byteorder=">"), unit),
        "float, deflate, big big endian.tif": (
            by_tifffile(unit, byteorder=">", bigtiff=True, compression="zlib", rowsperstrip=7),
            unit,
        ),
        "png of no suffix": (plain, GRAY),
        "tiff of another.suffix": (by_tifffile(GRAY), GRAY),
        "gray.dib": (by_opencv(".bmp", GRAY), GRAY),
        "gray.pnm": (by_opencv(".pgm", GRAY), GRAY),
        "gray.btf": (by_tifffile(GRAY, bigtiff=True), GRAY),
        "unused transparent gray.png": (by_pillow("PNG", GRAY | 1, transparency=8), GRAY | 1),
        "unused transparent gray 16.png": (by_pillow("PNG", DEEP | 1, transparency=8), DEEP | 1),
        "ten bit.tif": (raw_tiff(bits_of(ten, 10), 10), ten),
        "twelve bit.tif": (raw_tiff(bits_of(twelve, 12), 12), twelve),
        "twelve bit, white is 0.tif": (raw_tiff(bits_of(twelve, 12), 12, 0), 4095 - twelve),
        "fourteen bit.tif": (raw_tiff(bits_of(fourteen, 14), 14), fourteen),
        "turned by nothing.tif": (raw_tiff(GRAY.tobytes(), 8, t274=0), GRAY),
        "turned by too much.tif": (raw_tiff(GRAY.tobytes(), 8, t274=99), GRAY),
        "unit of resolution unknown.tif": (raw_tiff(GRAY.tobytes(), 8, t296=1 << 20), GRAY),
        "float.tif": (by_tifffile(unit), unit),
        "float, white is 0.tif": (by_tifffile(unit, photometric="miniswhite"), 1 - unit),
        "float in tiles, big.tif": (by_tifffile(unit, tile=(16, 16), bigtiff=True), unit),
        "equal colours.tif": (by_tifffile(equal, photometric="rgb"), GRAY),
        "equal colours 16.tif": (by_tifffile(deep_equal, photometric="rgb"), DEEP),
        "gray.bmp": (by_opencv(".bmp", GRAY), GRAY),
        "equal colours.bmp": (by_opencv(".bmp", equal), GRAY),
        "gray.pgm": (by_opencv(".pgm", GRAY), GRAY),
        "gray 16.pgm": (by_opencv(".pgm", DEEP), DEEP),
        "twelve.pgm": (b"P5 # twelve bit\n56 40\n4095\n" + twelve.astype(">u2").tobytes(), twelve),
        "lossless.webp": (by_opencv(".webp", GRAY, cv2.IMWRITE_WEBP_QUALITY, 101), GRAY),
        "in/a/deep/folder/x.png": (plain, GRAY),
        "n" * 246 + ".png": (plain, GRAY),
        "two\nlines.png": (plain, GRAY),
        "-rf.png": (plain, GRAY),
        "[red]markup[/red].png": (plain, GRAY),
        "\x1b[31mescape\x07.png": (plain, GRAY),
        "\u202egnp.exe.png": (plain, GRAY),
        "Лёгкие 肺.png": (plain, GRAY),
        os.fsdecode(b"caf\xe9.png"): (plain, GRAY),
        "$(touch pwned);`id`.png": (plain, GRAY),
        "a directory.png/inside.png": (plain, GRAY),
    }
    cases = {name: Case(content, DONE, "", stored) for name, (content, stored) in spelled_out.items()}
    return cases | {
        "interlaced.png": Case(interlaced(), DONE, "", GRAY),
        "turned.png": Case(by_pillow("PNG", GRAY, exif=turned(8)), DONE, "", GRAY, orientation=8),
        "turned.tif": Case(by_pillow("TIFF", GRAY, tiffinfo={0x0112: 3}), DONE, "", GRAY, orientation=3),
        "turned colours.tif": Case(
            by_tifffile(equal, photometric="rgb", extratags=[(0x0112, "H", 1, 6)]), DONE, "", GRAY, orientation=6
        ),
        "turned big big endian.tif": Case(
            by_tifffile(DEEP, bigtiff=True, byteorder=">", extratags=[(0x0112, "H", 1, 6)]),
            DONE,
            "",
            DEEP,
            orientation=6,
        ),
        "turned palette.tif": Case(
            by_pillow("TIFF", palette, tiffinfo={0x0112: 6}), DONE, "", GRAY // 16 * 17, orientation=6
        ),
        "gray.jfif": Case(by_pillow("JPEG", mildly), DONE),
        "gray.jpe": Case(by_pillow("JPEG", mildly), DONE),
        "jpeg of no suffix": Case(by_pillow("JPEG", mildly), DONE),
        "jpeg.tif": Case(by_pillow("TIFF", mildly, compression="jpeg"), DONE),
        "lossy gray.webp": Case(by_pillow("WEBP", mildly, quality=80), DONE),
        "gray.jpg": Case(by_pillow("JPEG", mildly), DONE),
        "progressive.jpeg": Case(by_pillow("JPEG", mildly, progressive=True), DONE),
        "turned.jpg": Case(by_pillow("JPEG", mildly, exif=turned(6)), DONE, orientation=6),
        "turned wrongly.jpg": Case(by_pillow("JPEG", mildly, exif=turned(77)), DONE),
        "a jpeg by content.png": Case(by_pillow("JPEG", mildly), DONE),
        "lossy.webp": Case(by_pillow("WEBP", Image.fromarray(np.full(SIDE, 90, np.uint8)), quality=50), DONE),
        "link within.png": Case(link_to("gray 8.png"), DONE, "", GRAY),
    }


def interlaced() -> bytes:
    """GRAY as an interlaced PNG (PNG specification, section 8.2: Adam7)."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    data = b"".join(rows(np.ascontiguousarray(GRAY[y::down, x::across])) for y, x, down, across in passes)
    header = struct.pack(">IIBBBBB", 56, 40, 8, 0, 0, 0, 1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, content) for name, content in parts)
