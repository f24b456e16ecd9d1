"""Pixel data <-> stored values: every transfer syntax, sign and bit layout, within the memory that a header may ask."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEG2000TransferSyntaxes, RLELossless

from cxr_infer.dicom.attributes import integer, text
from cxr_infer.errors import ImageError
from cxr_infer.settings import ReadOptions

Stored = NDArray[np.integer[Any]]  # (H, W) int8, uint8, int16 or uint16
Words = NDArray[np.unsignedinteger[Any]]  # (H, W) uint8 or uint16, with bits beside the stored values

FEWEST_BITS, MOST_BITS = 8, 16  # stored a pixel
PLUGIN = "pylibjpeg"  # the decoder, whatever else is installed, so that everyone gets the same pixels
PHOTOMETRIC_INTERPRETATIONS = ("MONOCHROME1", "MONOCHROME2")
MOST_TILES = 4096  # of a JPEG 2000 image: decoders take several kB for each before the first pixel
# markers that start a frame in JPEG without hierarchy (ITU-T T.81, table B.1) and in JPEG-LS (ITU-T T.87, C.1.1)
FRAME_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB, 0xF7})
SCAN_MARKER, HIERARCHY_MARKER, FILL_BYTE = 0xDA, 0xDE, 0xFF
END_MARKER, MOST_AFTER_END = b"\xff\xd9", 64  # of JPEG and JPEG 2000; decoders fill up what is cut off, and say nothing


@dataclass(frozen=True)
class Layout:
    """How an image's stored values lie in words of 8 or 16 bits (PS3.5 section 8.1.1)."""

    rows: int
    columns: int
    allocated: int  # bits of a word
    stored: int  # bits of a value
    high: int  # its most significant bit, counted from 0
    signed: bool  # two's complement

    @property
    def lowest(self) -> int:
        """The least value that can be stored."""
        return -(1 << self.stored - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest value that can be stored."""
        return self.lowest + (1 << self.stored) - 1

    @property
    def word(self) -> np.dtype[Any]:
        return np.dtype(f"u{self.allocated // 8}")

    @property
    def number(self) -> np.dtype[Any]:
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")


@dataclass(frozen=True)
class StoredPixels:
    """Stored values, and what is needed to put others in their place.

    values: (H, W) in the layout's range. words: as they came, where they hold more than the values, as overlays in
    unused bits (retired in 2004) do; None where they are the values, sign-extended.
    """

    layout: Layout
    values: Stored
    words: Words | None

    def packed(self, values: Stored) -> bytes:
        """Native little-endian pixel data of other values, (H, W) like these, every unused bit as it was."""
        if self.words is None:
            return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        shift = self.layout.high + 1 - self.layout.stored
        field = self.layout.word.type(((1 << self.layout.stored) - 1) << shift)
        shifted = values.view(self.layout.word) << self.layout.word.type(shift)
        words: Words = (self.words & ~field) | (shifted & field)
        return words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()


def layout_of(dataset: Dataset, reading: ReadOptions) -> Layout:
    """What the header promises. Raises ImageError where that is no gray image of bearable size."""
    frames = integer(dataset, "NumberOfFrames", 1)
    if frames != 1:
        raise ImageError(f"has {frames} frames; only single images are denoised")
    photometric = text(dataset, "PhotometricInterpretation")
    if integer(dataset, "SamplesPerPixel", 1) != 1 or photometric not in PHOTOMETRIC_INTERPRETATIONS:
        raise ImageError("not a gray image (MONOCHROME1 or MONOCHROME2); convert it to gray first")
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise ImageError(f"{columns}x{rows} pixels make no image; export it again")
    if rows * columns > reading.max_pixels:
        raise ImageError(f"{columns}x{rows} pixels are more than the {reading.max_pixels} allowed; see --max-pixels")
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", stored - 1)
    if allocated not in (8, 16) or not FEWEST_BITS <= stored <= MOST_BITS:
        raise ImageError(f"stores {stored} of {allocated} bits a pixel; 8 to 16 bits in words of 8 or 16 are read")
    if not stored <= high + 1 <= allocated:
        raise ImageError(f"{stored} bits do not fit below bit {high} of {allocated}; export it again")
    return Layout(rows, columns, allocated, stored, high, integer(dataset, "PixelRepresentation", 0) == 1)


def stored_pixels(dataset: Dataset, layout: Layout) -> StoredPixels:
    """Decode the pixel data. Raises ImageError where it is missing, too short, or not what the header says."""
    if not isinstance(dataset.get("PixelData"), bytes):
        raise ImageError("holds no pixel data; export it with its image")
    words = _words(dataset, layout)
    # to the left, so that bits above the value fall out, and back, which extends the sign
    values = (words << layout.word.type(layout.allocated - 1 - layout.high)).view(layout.number)
    values >>= layout.number.type(layout.allocated - layout.stored)
    return StoredPixels(layout, values, None if np.array_equal(values.view(layout.word), words) else words)


def _words(dataset: Dataset, layout: Layout) -> Words:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError("its transfer syntax cannot be decoded; convert it to Explicit VR Little Endian") from error
    if syntax.is_encapsulated:
        if PLUGIN not in decoder.available_plugins:
            raise ImageError("a compressed DICOM file; reading it needs pip install 'cxr-infer[dicom]'")
        check_frame(first_frame(dataset), syntax, layout)
    else:
        promised, found = layout.rows * layout.columns * layout.word.itemsize, len(dataset.PixelData)
        if found < promised:
            raise ImageError(f"ends after {found} of {promised} bytes of pixel data; is it incomplete?")
    options: dict[str, Any] = {
        "decoding_plugin": PLUGIN if syntax.is_encapsulated else "",
        "correct_unused_bits": False,
    }
    pixels, _ = decoder.as_array(dataset, index=0, raw=True, **options)
    return np.ascontiguousarray(pixels, dtype=layout.number).view(layout.word)


def first_frame(dataset: Dataset) -> bytes:
    """The compressed image of encapsulated pixel data."""
    return get_frame(dataset.PixelData, 0, number_of_frames=1)


def check_frame(frame: bytes, syntax: UID, layout: Layout) -> None:
    """Raises ImageError where a compressed image is not what its header says: decoders believe the image."""
    try:
        if syntax == RLELossless:
            _check_runs(frame, layout)
        else:
            _check_size(frame, syntax, layout)
    except (struct.error, IndexError):
        raise ImageError("its compressed image is damaged; export it again") from None


def _check_size(frame: bytes, syntax: UID, layout: Layout) -> None:
    if END_MARKER not in frame[-MOST_AFTER_END:]:
        raise ImageError("its compressed image is cut off; export it again")
    size_of = _jpeg_2000_size if syntax in JPEG2000TransferSyntaxes else _jpeg_size  # High-Throughput is among them
    if size_of(frame) != (layout.rows, layout.columns, 1):
        raise ImageError("its compressed image has another size than its header says; export it again")


def _check_runs(frame: bytes, layout: Layout) -> None:
    """Raises where RLE runs do not fill the image exactly (PS3.5 G.3 to G.5): there the decoder panics, and prints."""
    segments, *starts = struct.unpack_from("<16I", frame)
    ends = [*starts[1:segments], len(frame)]
    if segments != layout.word.itemsize:
        raise IndexError
    for position, end in zip(starts, ends, strict=False):
        missing = layout.rows * layout.columns
        while missing > 0:
            run = frame[position]
            if run < 128:  # so many bytes and one follow as they are
                position, missing = position + run + 2, missing - run - 1
            elif run > 128:  # the next one is repeated
                position, missing = position + 2, missing + run - 257
            else:
                position += 1
        if missing < 0 or end - position not in (0, 1):  # one byte may make the length even
            raise IndexError


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of a JPEG or JPEG-LS image (ITU-T T.81, B.2.2). Raises where there are none."""
    if not frame.startswith(b"\xff\xd8"):
        raise IndexError
    position = 2
    while frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in FRAME_MARKERS:
            if frame.find(bytes((FILL_BYTE, SCAN_MARKER)), position) < 0:
                break
            rows, columns, components = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, components
        if marker in (SCAN_MARKER, HIERARCHY_MARKER):
            break
        position += 1 if marker == FILL_BYTE else 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    raise IndexError


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of a JPEG 2000 codestream (ITU-T T.800, A.5.1). Raises where there are none."""
    if not frame.startswith(b"\xff\x4f\xff\x51"):
        raise IndexError
    right, bottom, left, top, width, height, first_x, first_y, components = struct.unpack_from(">8IH", frame, 8)
    if not width or not height:
        raise IndexError
    tiles = -(-(right - first_x) // width) * -(-(bottom - first_y) // height)
    if tiles > MOST_TILES:
        raise ImageError(f"its compressed image has {tiles} tiles; {MOST_TILES} are allowed")
    return bottom - top, right - left, components
