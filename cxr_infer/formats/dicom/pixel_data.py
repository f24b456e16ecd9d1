"""Convert between pixel data and stored values, for every transfer syntax, sign and bit layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.attributes import as_number, code, integer, text, value, values
from cxr_infer.formats.dicom.codestream import Decoded, decode_frame, joined_fragments
from cxr_infer.formats.dicom.data_set import DicomFile
from cxr_infer.settings import ReadOptions

StoredValues = NDArray[np.integer[Any]]  # (H, W) int8, uint8, int16 or uint16
Words = NDArray[np.unsignedinteger[Any]]  # (H, W) uint8 or uint16, whole pixel cells

FEWEST_BITS, MOST_BITS = 8, 16  # BitsStored
PHOTOMETRIC = "PhotometricInterpretation"
PHOTOMETRIC_INTERPRETATIONS = ("MONOCHROME1", "MONOCHROME2")
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
OVERLAY_BIT, OVERLAY_DATA = 0x0102, 0x3000  # elements of such a group

ONE_FRAME = "its NumberOfFrames is invalid; read as a single frame"
NO_HIGH_BIT = "its HighBit {} contradicts BitsStored or BitsAllocated; read as {}"
NO_REPRESENTATION = "its PixelRepresentation is neither 0 nor 1; read as 0"
ASSUMED = "lacks {}; read as {}"
CLIPPED = "its compressed image has values beyond BitsStored; they were clipped"


@dataclass(frozen=True)
class PixelCells:
    """The layout of stored values in pixel cells of 8 or 16 bits (PS3.5 section 8.1.1)."""

    rows: int
    columns: int
    allocated: int  # bits of a cell
    stored: int  # bits of a value
    high: int  # its most significant bit, counted from 0
    signed: bool  # two's complement

    @property
    def lowest(self) -> int:
        """Least storable value."""
        return -(1 << self.stored - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest storable value."""
        return self.lowest + (1 << self.stored) - 1

    @property
    def shift(self) -> int:
        """Unused bits of a cell below the value."""
        return self.high + 1 - self.stored

    @property
    def word(self) -> np.dtype[Any]:
        return np.dtype(f"u{self.allocated // 8}")

    @property
    def number(self) -> np.dtype[Any]:
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")


@dataclass(frozen=True)
class StoredPixels:
    """Stored values, and the data needed to write other values in their place.

    values: (H, W) in the layout's range. words: the pixel cells, if unused bits carry data such as overlays (retired in
    2004); None if the cells are just the sign-extended values. lossy: method and ratio of lossy compression; None if
    lossless. notes: on how the pixels were read.
    """

    layout: PixelCells
    values: StoredValues
    words: Words | None = None
    lossy: tuple[str, float] | None = None
    notes: tuple[str, ...] = ()

    def packed(self, values: StoredValues) -> bytes:
        """Return native little-endian pixel data of other (H, W) values; unused bits keep their content."""
        if self.words is None:
            return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        shift = self.layout.shift
        field = self.layout.word.type(((1 << self.layout.stored) - 1) << shift)
        shifted = values.view(self.layout.word) << self.layout.word.type(shift)
        words: Words = (self.words & ~field) | (shifted & field)
        return words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes()


def layout_of(dataset: Dataset, reading: ReadOptions) -> tuple[PixelCells, tuple[str, ...]]:
    """Read the layout from the header, with notes. Raises ImageError if it is not a gray image of acceptable size."""
    notes = [*_check_frames(dataset)]
    samples, note = _or_default(dataset, "SamplesPerPixel", 1)
    notes += note
    photometric = code(dataset, PHOTOMETRIC)
    if not photometric:
        raise ImageError(f"lacks {PHOTOMETRIC}, so it is unknown which values are white; export it again")
    if samples != 1 or photometric not in PHOTOMETRIC_INTERPRETATIONS:
        raise ImageError("not a gray image (MONOCHROME1 or MONOCHROME2); convert it to gray first")
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise ImageError(f"invalid image size {columns}x{rows}; export it again")
    if rows * columns > reading.max_pixels:
        raise ImageError(f"{columns}x{rows} pixels are more than the {reading.max_pixels} allowed; see --max-pixels")
    allocated = integer(dataset, "BitsAllocated")
    high = integer(dataset, "HighBit", allocated - 1)
    stored, note = _or_default(dataset, "BitsStored", min(high + 1, allocated))
    notes += note
    if allocated not in (8, 16) or not FEWEST_BITS <= stored <= min(MOST_BITS, allocated):
        raise ImageError(
            f"stores {stored} of {allocated} bits per pixel; only 8 to 16 bits in words of 8 or 16 are supported"
        )
    if value(dataset, "HighBit") is None or not stored <= high + 1 <= allocated:
        notes += () if value(dataset, "HighBit") is None else (NO_HIGH_BIT.format(high, stored - 1),)
        high = stored - 1
    representation, note = _or_default(dataset, "PixelRepresentation", 0)
    notes += note
    if representation not in (0, 1):
        notes.append(NO_REPRESENTATION)
    return PixelCells(rows, columns, allocated, stored, high, representation == 1), tuple(notes)


def _check_frames(dataset: Dataset) -> tuple[str, ...]:
    given = value(dataset, "NumberOfFrames")
    frames = 1.0 if given is None else as_number(given)
    if frames is not None and frames > 1:
        raise ImageError(f"has {frames:g} frames; split it into one file per frame")
    return () if frames == 1 else (ONE_FRAME,)


def _or_default(dataset: Dataset, keyword: str, default: int) -> tuple[int, tuple[str, ...]]:
    """Return an integer, or the default and a note if it is absent."""
    absent = value(dataset, keyword) is None
    return integer(dataset, keyword, default), (ASSUMED.format(keyword, default),) if absent else ()


def state_layout(dataset: Dataset, layout: PixelCells) -> None:
    """Write the layout into a data set, in place of missing or contradictory attributes."""
    stated = {
        "Rows": layout.rows,
        "Columns": layout.columns,
        "BitsAllocated": layout.allocated,
        "SamplesPerPixel": 1,
        "BitsStored": layout.stored,
        "HighBit": layout.high,
        "PixelRepresentation": int(layout.signed),
    }
    for keyword, number in stated.items():
        if values(dataset, keyword) != [number]:
            setattr(dataset, keyword, number)
    if text(dataset, PHOTOMETRIC) != code(dataset, PHOTOMETRIC):
        dataset.PhotometricInterpretation = code(dataset, PHOTOMETRIC)
    if value(dataset, "NumberOfFrames") is not None and _check_frames(dataset):
        dataset.NumberOfFrames = 1


def stored_pixels(file: DicomFile, layout: PixelCells) -> StoredPixels:
    """Decode the pixel data. Raises ImageError if they are missing or truncated, or contradict the header."""
    if not file.pixel_data:
        raise ImageError("contains no pixel data; export it with its image")
    if not file.encapsulated:
        return _of_words(_native(file, layout), layout)
    frame, noted = joined_fragments(file.pixel_data)
    decoded = decode_frame(frame, file.syntax, (layout.rows, layout.columns), layout.word.itemsize)
    lossy = (decoded.lossy, layout.rows * layout.columns * layout.allocated / 8 / len(frame)) if decoded.lossy else None
    lossless = decoded.lossy is None and not decoded.signed and decoded.precision <= layout.allocated
    if lossless and (file.syntax == RLELossless or _has_overlays_in_words(file.dataset)):
        return _of_words(decoded.pixels.astype(layout.word), layout, (*noted, *decoded.notes))
    values, notes = _of_samples(decoded, layout)
    words = None if not layout.shift else values.view(layout.word) << layout.word.type(layout.shift)
    return StoredPixels(layout, values, words, lossy, (*noted, *decoded.notes, *notes))


def _native(file: DicomFile, layout: PixelCells) -> Words:
    data, count = file.pixel_data or b"", layout.rows * layout.columns
    promised = count * layout.word.itemsize
    if len(data) < promised:
        raise ImageError(f"ends after {len(data)} of {promised} bytes of pixel data; is it incomplete?")
    swapped = not file.syntax.is_little_endian
    if swapped and file.pixel_vr == "OW" and layout.allocated == 8:  # two pixels per word (PS3.5 A.3)
        words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype("<u2").view(np.uint8)[:count]
    else:
        words = np.frombuffer(data, layout.word.newbyteorder(">" if swapped else "<"), count)
    return words.reshape(layout.rows, layout.columns).astype(layout.word)


def _of_words(words: Words, layout: PixelCells, notes: tuple[str, ...] = ()) -> StoredPixels:
    """Extract values from pixel cells whose other bits are arbitrary."""
    # shift left to drop the bits above the value, then right to extend the sign
    values = (words << layout.word.type(layout.allocated - 1 - layout.high)).view(layout.number)
    values >>= layout.number.type(layout.allocated - layout.stored)
    return StoredPixels(layout, values, None if np.array_equal(values.view(layout.word), words) else words, None, notes)


def _of_samples(decoded: Decoded, layout: PixelCells) -> tuple[StoredValues, tuple[str, ...]]:
    """Convert the samples of a compressed image to stored values; clip those beyond BitsStored."""
    samples = decoded.pixels
    if layout.signed and not decoded.signed:
        samples = _with_sign(samples.astype(np.uint16), decoded.precision, layout.stored)
    elif decoded.signed and not layout.signed:
        samples = samples.astype(np.int32) & ((1 << decoded.precision) - 1)
    if decoded.precision > layout.stored:
        samples = samples >> samples.dtype.type(min(layout.shift, decoded.precision - layout.stored))
    values = np.clip(samples, layout.lowest, layout.highest)
    beyond = not np.array_equal(values, samples)
    return values.astype(layout.number), (CLIPPED,) if beyond else ()


def _with_sign(samples: NDArray[np.uint16], precision: int, stored: int) -> NDArray[np.int16]:
    """Interpret samples as two's complement: of `stored` bits if all fit in these, else of `precision` bits."""
    bits = stored if int(samples.max()) < 1 << stored else precision
    spare = 16 - bits
    return (samples << np.uint16(spare)).view(np.int16) >> np.int16(spare)


def _has_overlays_in_words(dataset: Dataset) -> bool:
    """Whether the header declares overlays in unused bits of the pixel cells (PS3.3 C.9.2, retired)."""
    return any(
        dataset.get_item(group << 16 | OVERLAY_BIT) is not None and dataset.get_item(group << 16 | OVERLAY_DATA) is None
        for group in OVERLAY_GROUPS
    )
