"""Decode the samples of a TIFF directory. A file is refused unless every strip and tile is complete.

Libraries hide errors: for a damaged strip or an unknown compression they return zeros or uninitialised memory. So the
layout is parsed here, zlib, lzma and libjpeg decode single strips, and libtiff (in Pillow) gets only data for which it
reports errors.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.formats.decoders import LIBJPEG_TURBO, LIBTIFF
from cxr_infer.formats.decoding import decoded
from cxr_infer.formats.tiff.directory import STRIP_OFFSETS, ImageFileDirectory
from cxr_infer.formats.tiff.layout import (
    BY_LIBTIFF,
    DIFFERENCES,
    FILL_ORDER,
    FLOAT_DIFFERENCES,
    FLOATING,
    INFLATED,
    JPEG,
    JPEG_TABLES,
    LEAST_BIT_FIRST,
    LZMA,
    LZW,
    NONE,
    PHOTOMETRIC,
    STRIP_BYTE_COUNTS,
    TILE_BYTE_COUNTS,
    TILE_OFFSETS,
    YCBCR,
    Layout,
)
from cxr_infer.imaging.pixels import row_strips

BITS_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
NO_LZW = bytes(8)
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # APP14 segment without its last byte, the colour transform


def stored_samples(directory: ImageFileDirectory, layout: Layout) -> NDArray[Any]:
    """Return the stored samples, (H, W, samples) uint8, uint16 or float32.

    Raises ImageError, OSError, and the exceptions of decoders, if any strip or tile is damaged or incomplete.
    """
    dtype = np.float32 if layout.format == FLOATING else np.uint8 if layout.bits <= 8 else np.uint16
    image = np.empty((layout.height, layout.width, layout.samples), dtype)
    for index, segment in enumerate(_decoded(directory, layout, _parts(directory, layout))):
        plane, within = divmod(index, layout.segments)
        row = within // layout.across * layout.segment_height
        column = within % layout.across * layout.segment_width
        place = image[row : row + layout.segment_height, column : column + layout.segment_width]
        channels = place[..., plane : plane + 1] if layout.planes else place
        channels[:] = segment[: place.shape[0], : place.shape[1]]
    return image


def _parts(directory: ImageFileDirectory, layout: Layout) -> list[bytes]:
    """Return the compressed bytes of all segments. Raises ImageError if their number or offsets are impossible."""
    path, name = directory.path, "tile" if layout.tiled else "strip"
    offsets = directory.numbers(TILE_OFFSETS if layout.tiled else STRIP_OFFSETS)
    counts = directory.numbers(TILE_BYTE_COUNTS if layout.tiled else STRIP_BYTE_COUNTS)
    needed = layout.segments * (layout.samples if layout.planes else 1)
    if layout.compression == NONE and not counts:  # old files lack them
        counts = [layout.rows(index % layout.segments) * layout.row_bytes for index in range(len(offsets))]
    if len(offsets) != needed or len(counts) != needed:
        raise ImageError(f"{path}: has {len(offsets)} {name}s but needs {needed}; is it damaged, or a stack?")
    turned = layout.compression != JPEG and directory.number(FILL_ORDER, 1) == LEAST_BIT_FIRST
    parts = []
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        if not offset or not count:
            raise ImageError(f"{path}: its {name} {index + 1} is empty; is it damaged or incomplete?")
        if offset + count > len(directory.content):
            raise ImageError(f"{path}: ends within its {name} {index + 1}; is it incomplete?")
        part = directory.content[offset : offset + count]
        parts.append(part.translate(BITS_TURNED) if turned else part)
    return parts


def _decoded(directory: ImageFileDirectory, layout: Layout, parts: list[bytes]) -> Iterator[NDArray[Any]]:
    """Yield the samples of each segment, (rows, columns, depth)."""
    if layout.compression == LZW:
        parts = [_without_hole(part) for part in parts]
    if layout.compression in BY_LIBTIFF:
        whole = _by_libtiff(layout, parts)
    tables = directory.data(JPEG_TABLES)
    photometric = directory.number(PHOTOMETRIC)
    for index, part in enumerate(parts):
        rows = layout.segment_height if layout.tiled else layout.rows(index % layout.segments)
        if layout.compression == JPEG:
            yield _from_jpeg(part, tables, layout, rows, photometric)
            continue
        if layout.compression in BY_LIBTIFF:
            data, whole = whole[: rows * layout.row_bytes], whole[rows * layout.row_bytes :]
        else:
            inflated = _inflated(part, layout) if layout.compression in INFLATED else part
            data = memoryview(_exactly(directory, inflated, rows, layout))
        yield _samples(np.frombuffer(data, np.uint8).reshape(rows, layout.row_bytes), layout, directory.order)


def _exactly(directory: ImageFileDirectory, data: bytes, rows: int, layout: Layout) -> bytes:
    """Return exactly this many rows of decompressed data; some writers pad the last strip."""
    needed = rows * layout.row_bytes
    if len(data) < needed:
        raise ImageError(f"{directory.path}: a strip or tile has too few pixels; is it damaged?")
    if len(data) >= 2 * max(needed, layout.segment_height * layout.row_bytes):
        raise ImageError(f"{directory.path}: contains pixels of several pictures; split it into one file per picture")
    return data[:needed]


def _inflated(part: bytes, layout: Layout) -> bytes:
    """Decompress a Deflate or LZMA segment and verify its checksum. Raises as zlib and lzma do, and OSError."""
    inflater = _lzma() if layout.compression == LZMA else zlib.decompressobj()
    data = inflater.decompress(part, 2 * layout.segment_height * layout.row_bytes + 1)
    if not inflater.eof:
        raise OSError("a strip or tile ends too early or too late")
    return data


def _lzma() -> Any:
    from lzma import LZMADecompressor  # missing from some builds of Python

    return LZMADecompressor()


def _without_hole(part: bytes) -> bytes:
    """Strip padding after LZW data. Raises OSError if part of the data was zeroed, which libtiff would decode.

    Valid data contain no 8 zero bytes: an encoder never repeats the code of a black pixel three times.
    """
    end = len(part.rstrip(b"\0"))
    if NO_LZW in part[:end]:
        raise OSError("a strip or tile has a hole of zeros")
    return part[: end + 2]  # the last code may be zero


def _by_libtiff(layout: Layout, parts: list[bytes]) -> memoryview:
    """Decompress all segments with Pillow's libtiff, and concatenate them. Raises OSError if one is damaged.

    libtiff gets them as plain bytes, so that it need not handle bits, byte order, planes and tiles.
    """
    rows = layout.segment_height * layout.segments if layout.tiled else layout.height
    planes = (parts[at : at + layout.segments] for at in range(0, len(parts), layout.segments))
    return memoryview(b"".join(_bytes_of(plane, layout, rows) for plane in planes))


def _bytes_of(parts: list[bytes], layout: Layout, rows: int) -> memoryview:
    """Decompress the segments of a plane, wrapped in a TIFF of one byte per pixel and `rows` rows."""
    longs = {256: [layout.row_bytes], 257: [rows], 258: [8], 259: [layout.compression], 262: [1], 277: [1]}
    longs |= {273: [0] * len(parts), 278: [layout.segment_height], 279: [len(part) for part in parts]}
    lists_at = 8 + 2 + 12 * len(longs) + 4
    data_at = lists_at + 8 * len(parts)
    longs[273] = (data_at + np.cumsum([0, *map(len, parts[:-1])])).tolist()
    entries, lists = b"", b""
    for tag, values in sorted(longs.items()):
        value = values[0] if len(values) == 1 else lists_at + len(lists)
        lists += struct.pack(f"<{len(values)}I", *values) if len(values) > 1 else b""
        entries += struct.pack("<HHII", tag, 4, len(values), value)
    head = b"II*\0" + struct.pack("<IH", 8, len(longs)) + entries + bytes(4) + lists
    return decoded(LIBTIFF, head.ljust(data_at, b"\0") + b"".join(parts), rows * layout.row_bytes).data


def _from_jpeg(part: bytes, tables: bytes, layout: Layout, rows: int, photometric: int) -> NDArray[Any]:
    """Decode one segment that is a JPEG with shared tables (TIFF Technical Note 2)."""
    if not (part.startswith(JPEG_START) and part.rstrip(b"\0\xff").endswith(JPEG_END)):
        raise OSError("a strip or tile is not a complete JPEG")
    colour = ADOBE + bytes([photometric == YCBCR]) if layout.samples == 3 else b""
    stream = JPEG_START + colour + tables[2:].removesuffix(JPEG_END) + part[2:]
    with JpegImagePlugin.JpegImageFile(io.BytesIO(stream)) as image:  # reads the header only
        width, height = image.size
    if width != layout.segment_width or not rows <= height <= layout.segment_height:
        raise OSError(f"a strip or tile is a JPEG of {width}x{height} pixels")
    return decoded(LIBJPEG_TURBO, stream, width * height).reshape(height, width, -1)


def _samples(rows: NDArray[np.uint8], layout: Layout, order: str) -> NDArray[Any]:
    """Convert (rows, bytes) of a segment to (rows, columns, depth) samples, and undo the predictor."""
    shape = (len(rows), layout.segment_width, layout.depth)
    if layout.bits not in (8, 16, 32):
        return _unpacked(rows, layout.bits, layout.segment_width * layout.depth).reshape(shape)
    if layout.predictor == FLOAT_DIFFERENCES:
        return _float_differences(rows, layout).reshape(shape)
    whole = rows.view(f"{order}u{layout.bits // 8}").reshape(shape)
    if layout.predictor == DIFFERENCES:
        whole = np.cumsum(whole, axis=1, dtype=whole.dtype.newbyteorder("="))
    native = whole.astype(whole.dtype.newbyteorder("="), copy=False)
    return native.view(np.float32) if layout.format == FLOATING else native


def _unpacked(rows: NDArray[np.uint8], bits: int, number: int) -> NDArray[np.uint16]:
    """Unpack (rows, bytes) to (rows, number) samples of up to 16 bits, most significant bit first."""
    first = np.arange(number) * bits
    at, shift = first // 8, 24 - first % 8 - bits
    unpacked = np.empty((len(rows), number), np.uint16)
    for strip in row_strips(len(rows)):
        three = np.pad(rows[strip], ((0, 0), (0, 2))).astype(np.uint32)
        joined = three[:, at] << 16 | three[:, at + 1] << 8 | three[:, at + 2]
        unpacked[strip] = joined >> shift & (1 << bits) - 1
    return unpacked


def _float_differences(rows: NDArray[np.uint8], layout: Layout) -> NDArray[np.float32]:
    """Undo predictor 3 (Adobe TIFF Technical Note 3): differences of byte planes, most significant first."""
    if layout.format != FLOATING:
        raise OSError("predictor 3 is for floating-point pixels")
    size = layout.bits // 8
    bytes_ = np.cumsum(rows.reshape(len(rows), -1, layout.depth), axis=1, dtype=np.uint8)
    together = bytes_.reshape(len(rows), size, -1).swapaxes(1, 2)
    return np.ascontiguousarray(together).view(f">f{size}").astype(np.float32)
