"""Stored values <-> [0, 1] with air black and bone white, by what the values mean.

A stored value has 16 bits at most, so one monotone table over all of them holds the whole chain:

1. Modality: rescale slope and intercept, or the modality LUT (PS3.3 C.11.1).
2. For presentation: the VOI LUT, else the window, the first of several (PS3.3 C.11.2), inverted for MONOCHROME1 after
   that. Where there is neither: the whole range of the stored bits, as in pictures. Where window or range fit the
   pixels so badly that a model would see next to nothing: the image's own range, and a note.
3. For processing, or where no window but a PixelIntensityRelationship says that values are a detector's: the image's
   own range, of the logarithm where values are LIN, proportional to X-ray intensity (PS3.3 C.8.11.3.1.2). Which end is
   bone says PixelIntensityRelationshipSign, and where it is absent, MONOCHROME1 or 2. Measured on phantoms of 300
   photons at most: 10 to 16 dB of mottle gone by the logarithm, 2 dB without.

An image's own range is from its least to its largest value that is not padding, without outliers such as dead pixels.

The way back adds to each stored value the change that denoising made, in stored values. Equal pixels thus stay equal
to the bit, also where several stored values share one gray, as outside a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForProcessing

from cxr_infer.dicom.attributes import integer, items, number, text, value
from cxr_infer.dicom.stored import Layout, Stored
from cxr_infer.errors import ImageError
from cxr_infer.radiograph import FloatImage
from cxr_infer.strips import row_strips

Table = NDArray[np.float64]  # (storable values,), from the least up

OUTLIERS = 0.001  # share of pixels at either end that may be dead, hot or drawn
MARGIN = 0.1  # of the range without outliers, by which values beyond it still belong to the image
LEAST_INSIDE = 0.1  # share of the pixels that a window must show neither black nor white
LEAST_WIDTH = 1e-6  # of a window; a narrower one, or one that is no window, is a step
LEAST_SPAN = 0.25  # share of the stored range that pixels must span to be shown in all of it
DECADES = 3  # of X-ray intensity behind a chest, scatter included, that a logarithm keeps apart

OWN_RANGE = "for processing: scaled by the image's own range"
OWN_LOG_RANGE = "for processing, linear in X-ray intensity: its logarithm is denoised, scaled by the image's own range"
BAD_WINDOW = "its window or VOI LUT shows next to nothing of the pixels; scaled by the image's own range instead"
LOW_RANGE = "no window, and less than a quarter of the stored range in use; scaled by the image's own range"


@dataclass(frozen=True)
class Padding:
    """Stored values around an image that are no measurement, both ends included (PS3.3 C.7.5.1.1.2)."""

    low: int
    high: int

    def covers(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class Scale:
    """The table of an image, and the way back.

    grays: (storable values,) float32 in [0, 1]; padding is 0, as air. levels, stored: the same as a curve from gray to
    stored value, levels rising; where a gray has several stored values, it has their mean, and a flat end its edge.
    """

    layout: Layout
    padding: Padding | None
    grays: FloatImage
    levels: Table
    stored: Table

    def unit(self, values: Stored) -> FloatImage:
        """(H, W) stored values -> float32 in [0, 1]."""
        return self._looked_up(self.grays, values)

    def restored(self, values: Stored, denoised: FloatImage) -> Stored:
        """Stored values with the change from their `unit` to `denoised`; what is not storable saturates. All (H, W)."""
        result = np.empty_like(values)
        before = np.interp(self.grays, self.levels, self.stored)
        for strip in row_strips(values.shape[0]):
            old = values[strip]
            change = np.interp(denoised[strip], self.levels, self.stored) - self._looked_up(before, old)
            new = np.clip(old + np.rint(change), self.layout.lowest, self.layout.highest)
            result[strip] = new if self.padding is None else _beside(self.padding, old, new)
        return result

    def _looked_up(self, table: NDArray[Any], values: Stored) -> NDArray[Any]:
        found = np.empty(values.shape, table.dtype)
        for strip in row_strips(values.shape[0]):
            np.take(table, values[strip].astype(np.int32) - self.layout.lowest, out=found[strip], mode="clip")
        return found


def _beside(padding: Padding, old: Stored, new: NDArray[Any]) -> NDArray[Any]:
    """New values, but padding where it was and nowhere else: a value that would become padding stops before it."""
    stopped = np.where(old > padding.high, np.maximum(new, padding.high + 1), np.minimum(new, padding.low - 1))
    beyond = np.where(old > padding.high, new < padding.low, new > padding.high)
    return np.where(padding.covers(old), old, np.where(beyond, new, stopped))


def scale_of(dataset: Dataset, layout: Layout, values: Stored) -> tuple[Scale, tuple[str, ...]]:
    """The scale of an image, and notes on it. Raises ImageError where its attributes contradict each other."""
    padding = _padding(dataset, layout)
    storable = np.arange(layout.lowest, layout.highest + 1)
    counts = np.zeros(storable.size, dtype=np.int64)
    for strip in row_strips(values.shape[0]):
        places = values[strip].ravel().astype(np.int32) - layout.lowest
        counts += np.bincount(places, minlength=storable.size)
    if padding is not None:
        counts[padding.covers(storable)] = 0
    meaning = _modality(dataset, storable)
    shown, notes = (_processing if _for_processing(dataset) else _presentation)(dataset, meaning, counts)
    grays = shown.astype(np.float32)
    levels, stored = _curve(grays, layout.lowest)
    if padding is not None:
        grays[padding.covers(storable)] = 0
    return Scale(layout, padding, grays, levels, stored), notes


def _padding(dataset: Dataset, layout: Layout) -> Padding | None:
    if value(dataset, "PixelPaddingValue") is None:
        return None
    ends = [integer(dataset, "PixelPaddingValue")]
    ends.append(integer(dataset, "PixelPaddingRangeLimit", ends[0]))
    if layout.signed:  # files exist that give the bits of a negative number as an unsigned one
        ends = [end - (1 << layout.allocated) if end >= 1 << layout.allocated - 1 else end for end in ends]
    return Padding(min(ends), max(ends))


def _curve(grays: FloatImage, lowest: int) -> tuple[Table, Table]:
    """Grays and their stored values, grays rising. grays: monotone."""
    levels, first, count = np.unique(grays, return_index=True, return_counts=True)
    last = first + count - 1
    stored = (first + last) / 2
    stored[0], stored[-1] = (last[0], first[-1]) if grays[0] <= grays[-1] else (first[0], last[-1])
    return levels.astype(np.float64), stored + lowest


def _modality(dataset: Dataset, storable: NDArray[np.int64]) -> Table:
    """What stored values measure (PS3.3 C.11.1). Raises ImageError where different ones measure the same."""
    luts = items(dataset, "ModalityLUTSequence")
    if luts:
        meaning = _looked_up(luts[0], storable)
    else:
        slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
        meaning = np.asarray(storable * (1.0 if slope is None else slope) + (intercept or 0.0), dtype=np.float64)
    if not _monotone(meaning) or meaning[0] == meaning[-1]:
        raise ImageError("its rescale or modality LUT gives different pixels the same value; correct that attribute")
    return meaning


def _looked_up(lut: Dataset, values: NDArray[Any]) -> Table:
    """The entries of a LUT for values, clipped to its ends (PS3.3 C.11.1.1.1). Raises ImageError where it is short."""
    descriptor = [int(entry) for entry in lut.LUTDescriptor]
    entries = descriptor[0] & 0xFFFF or 1 << 16  # 0 means 65536, which has no room; it may come as a signed number
    data = lut.LUTData
    packed = data if isinstance(data, bytes) else np.atleast_1d(np.asarray(data)).astype("<u2").tobytes()
    table = np.frombuffer(packed, dtype="<u2" if len(packed) >= 2 * entries else "u1")
    if table.size < entries:
        raise ImageError("its LUT has fewer entries than it says; export it again")
    places = np.clip(np.rint(values) - descriptor[1], 0, entries - 1).astype(np.int64)
    return np.asarray(table[places], dtype=np.float64)


def _monotone(table: Table) -> bool:
    steps = np.diff(table)
    return bool(np.all(steps >= 0) or np.all(steps <= 0))


def _for_processing(dataset: Dataset) -> bool:
    if (
        text(dataset, "PresentationIntentType") == "FOR PROCESSING"
        or text(dataset, "SOPClassUID") == DigitalXRayImageStorageForProcessing
    ):
        return True
    windowed = items(dataset, "VOILUTSequence") or value(dataset, "WindowWidth") is not None
    return not windowed and text(dataset, "PixelIntensityRelationship") in ("LIN", "LOG")


def _presentation(dataset: Dataset, meaning: Table, counts: NDArray[np.int64]) -> tuple[Table, tuple[str, ...]]:
    """What a display shows, in [0, 1]: of MONOCHROME1, the least value is white (PS3.3 C.7.6.3.1.2)."""
    shown = _voi(dataset, meaning)
    notes: tuple[str, ...] = ()
    if shown is None:
        least, largest = _own_range(meaning, counts)
        whole = abs(meaning[-1] - meaning[0])
        if largest == least or largest - least >= LEAST_SPAN * whole:
            shown = (meaning - meaning.min()) / whole
        else:
            shown, notes = _between(meaning, least, largest), (LOW_RANGE,)
    elif not _shows_enough(shown, counts):
        shown, notes = _between(meaning, *_own_range(meaning, counts)), (BAD_WINDOW,)
    inverted = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    return (1.0 - shown if inverted else shown), notes


def _voi(dataset: Dataset, meaning: Table) -> Table | None:
    """The values of interest in [0, 1]: the first VOI LUT, else the first window, else None (PS3.3 C.11.2)."""
    luts = items(dataset, "VOILUTSequence")
    if luts:
        white = (1 << min(max(int(luts[0].LUTDescriptor[2]), 8), 16)) - 1
        return np.clip(_looked_up(luts[0], meaning) / white, 0, 1)
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    return window(meaning, center, width, text(dataset, "VOILUTFunction"))


def window(values: Table, center: float, width: float, function: str = "LINEAR") -> Table:
    """Values in [0, 1] by a window, of any shape (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2).

    A width that the standard forbids gives a step, which no image fits.
    """
    if function not in ("SIGMOID", "LINEAR_EXACT"):  # LINEAR, which is also meant where nothing is said
        center, width = center - 0.5, width - 1
    position = (values - center) / max(width, LEAST_WIDTH)
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * position, -500, 500))))
    return np.clip(position + 0.5, 0, 1)


def _shows_enough(shown: Table, counts: NDArray[np.int64]) -> bool:
    inside = counts[(shown > 0) & (shown < 1)].sum()
    return _monotone(shown) and bool(inside >= LEAST_INSIDE * counts.sum())


def _own_range(values: Table, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Least and largest of an image's values, outliers left out. values: monotone; counts: pixels that have each."""
    if values[0] > values[-1]:
        values, counts = values[::-1], counts[::-1]
    present = np.flatnonzero(counts)
    if present.size == 0:
        return float(values[0]), float(values[-1])
    share = np.cumsum(counts) / counts.sum()
    low, high = values[np.searchsorted(share, (OUTLIERS, 1 - OUTLIERS))]
    margin = MARGIN * (high - low)
    return max(float(low - margin), float(values[present[0]])), min(float(high + margin), float(values[present[-1]]))


def _between(values: Table, least: float, largest: float) -> Table:
    return np.clip((values - least) / (largest - least or 1.0), 0, 1)


def _processing(dataset: Dataset, meaning: Table, counts: NDArray[np.int64]) -> tuple[Table, tuple[str, ...]]:
    """What a display would show of a detector's values, in [0, 1], bone white.

    A positive PixelIntensityRelationshipSign says that low values mean little intensity, as behind bone.
    """
    sign = integer(dataset, "PixelIntensityRelationshipSign", 0)
    low_is_bone = sign > 0 if sign else text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if text(dataset, "PixelIntensityRelationship") == "LIN":
        intensity = meaning if low_is_bone else meaning.max() - meaning
        _, brightest = _own_range(intensity, counts)
        faintest = max(brightest, 1.0) / 10**DECADES
        density = -np.log(np.maximum(intensity, faintest))
        return _between(density, *_own_range(density, counts)), (OWN_LOG_RANGE,)
    density = -meaning if low_is_bone else meaning
    return _between(density, *_own_range(density, counts)), (OWN_RANGE,)
