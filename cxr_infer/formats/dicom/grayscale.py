"""Gray values of stored values, as a display shows them or a detector means them.

1. Modality: rescale slope and intercept, or the modality LUT (PS3.3 C.11.1).
2. Images for presentation: the first VOI LUT, else the first window (PS3.3 C.11.2). Without either, the whole range of
   the stored bits, as in pictures. If window or range show almost none of the pixels, the image's own range, with a
   note.
3. Images for processing, or without a window but with a PixelIntensityRelationship: the image's own range; of the
   logarithm if the relationship is LIN, proportional to X-ray intensity (PS3.3 C.8.11.3.1.2). Measured on phantoms of
   at most 300 photons: 10 to 16 dB of mottle removed with the logarithm, 2 dB without.

Polarity: low values are white for MONOCHROME1 (PS3.3 C.7.6.3.1.2) and for PresentationLUTShape INVERSE (C.8.11.3.1.1).
Images for processing: by PixelIntensityRelationshipSign.

An image's own range: least to largest value without padding and without outliers such as dead pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.attributes import as_number, code, integer, is_number, number, text, value, values
from cxr_infer.formats.dicom.lookup import StorableTable, first_table

FOR_PROCESSING = frozenset(UID(f"1.2.840.10008.5.1.4.1.1.{kind}.1") for kind in ("1.1", "1.2", "1.3"))  # DX, MG, IO

RESCALE = ("RescaleSlope", "RescaleIntercept")
DECIMALS = ("WindowCenter", "WindowWidth", *RESCALE)

OUTLIERS = 0.001  # fraction of pixels at either end that may be dead, hot or burnt-in text
MARGIN = 0.1  # fraction of the range without outliers by which the own range extends beyond it
LEAST_INSIDE = 0.1  # fraction of the pixels that a window must show neither black nor white
LEAST_CONTRAST = 1e-3  # least difference between the ends of a usable window, in [0, 1]
LEAST_WIDTH = 1e-6  # of a window; narrower or invalid ones become a step
LEAST_SPAN = 0.25  # fraction of the stored range that pixels must span for the whole range to be used
ROUNDING = 1 / 64  # fraction of a LUT whose entries may be equal only because of rounding
DECADES = 3  # dynamic range of X-ray intensity behind a chest, scatter included; lower values are clipped

OWN_RANGE = "an image for processing; scaled to its own range"
OWN_LOG_RANGE = "an image for processing, linear in X-ray intensity; its logarithm is denoised, scaled to its own range"
BAD_WINDOW = "its window or VOI LUT shows almost none of the pixels; scaled to its own range instead"
LOW_RANGE = "has no window and uses less than a quarter of its stored range; scaled to its own range"
SLOPE_ZERO = "its RescaleSlope is 0; read as 1"
COMMAS = "its window or rescale uses decimal commas; read as decimal points"
NO_RESCALE = "its RescaleSlope or RescaleIntercept is not a number; both were ignored"
NO_NUMBERS = "its WindowCenter or WindowWidth is not a number; the window was ignored"
DEPTH = "its VOI LUT does not have the declared bit depth; that of its largest entry was used"
CONTRADICTION = "its PresentationLUTShape contradicts its PhotometricInterpretation; low values taken as white"
INVERTED = "black and white inverted (--invert)"


@dataclass(frozen=True)
class Grayscale:
    """The gray of every storable value, air black, bone white, as two monotone tables (storable values,) float64.

    shown: in [0, 1], as displayed. carried: the same inside the window or VOI LUT, continued with its slope outside,
    below 0 and above 1; None if no window is applied. inverted: whether low values are white. notes: for the user.
    """

    shown: StorableTable
    carried: StorableTable | None
    inverted: bool
    notes: tuple[str, ...]


def grayscale_of(dataset: Dataset, storable: NDArray[np.int64], counts: NDArray[np.int64], invert: bool) -> Grayscale:
    """Return the gray of every storable value.

    storable: (N,) all stored values, ascending. counts: (N,) number of pixels with each value, without padding. invert:
    swap black and white, for files that have them swapped. Raises ImageError if attributes contradict each other.
    """
    meaning, notes = _modality(dataset, storable)
    if any("," in str(found) for keyword in DECIMALS for found in values(dataset, keyword)):
        notes = (*notes, COMMAS)
    processing = _for_processing(dataset)
    inverted, said = _inverted(dataset, processing)
    notes = (*notes, *said)
    if invert:
        inverted, notes = not inverted, (*notes, INVERTED)
    if processing:
        shown, noted = _processing(dataset, meaning, counts, inverted)
        return Grayscale(shown, None, inverted, (*notes, *noted))
    shown, carried, noted = _presentation(dataset, meaning, counts)
    if inverted:
        shown, carried = 1.0 - shown, None if carried is None else 1.0 - carried
    return Grayscale(shown, carried, inverted, (*notes, *noted))


def _modality(dataset: Dataset, storable: NDArray[np.int64]) -> tuple[StorableTable, tuple[str, ...]]:
    """Apply the Modality LUT or rescale (PS3.3 C.11.1). Raises ImageError if it is not monotone or is constant."""
    table, notes = first_table(dataset, "ModalityLUTSequence")
    if table is not None:
        meaning = table(storable)
    else:
        given = [value(dataset, keyword) for keyword in RESCALE]
        if all(found is None or is_number(found) for found in given):
            slope, intercept = (number(dataset, keyword) for keyword in RESCALE)
        else:
            slope, intercept, notes = None, None, (*notes, NO_RESCALE)
        if slope == 0:
            slope, notes = None, (*notes, SLOPE_ZERO)
        meaning = np.asarray(storable * (1.0 if slope is None else slope) + (intercept or 0.0), dtype=np.float64)
    if not _monotone(meaning) or meaning[0] == meaning[-1]:
        raise ImageError("its rescale or modality LUT gives different pixels the same value; correct that attribute")
    return meaning, notes


def _monotone(table: StorableTable) -> bool:
    steps = np.diff(table)
    return bool(np.all(steps >= 0) or np.all(steps <= 0))


def _inverted(dataset: Dataset, processing: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether low values are white, with a note if attributes contradict each other.

    processing: use PixelIntensityRelationshipSign if present; positive means low values are low intensity, i.e. bone.
    """
    sign = integer(dataset, "PixelIntensityRelationshipSign", 0) if processing else 0
    if sign:
        return sign > 0, ()
    monochrome1 = code(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    shape = code(dataset, "PresentationLUTShape")
    contradicts = shape in ("INVERSE", "IDENTITY") and (shape == "INVERSE") != monochrome1
    return monochrome1 or shape == "INVERSE", (CONTRADICTION,) if contradicts else ()


def _for_processing(dataset: Dataset) -> bool:
    if code(dataset, "PresentationIntentType") == "FOR PROCESSING" or text(dataset, "SOPClassUID") in FOR_PROCESSING:
        return True
    windowed = first_table(dataset, "VOILUTSequence")[0] or value(dataset, "WindowWidth") is not None
    return not windowed and code(dataset, "PixelIntensityRelationship") in ("LIN", "LOG")


def _presentation(
    dataset: Dataset, meaning: StorableTable, counts: NDArray[np.int64]
) -> tuple[StorableTable, StorableTable | None, tuple[str, ...]]:
    """Return `shown` and `carried` of `Grayscale` before inversion, and notes."""
    shown, carried, notes = _voi(dataset, meaning)
    if shown is None:
        least, largest = own_range(meaning, counts)
        whole = abs(meaning[-1] - meaning[0])
        if largest == least or largest - least >= LEAST_SPAN * whole:
            return (meaning - meaning.min()) / whole, None, notes
        return _between(meaning, least, largest), None, (*notes, LOW_RANGE)
    if not _shows_enough(shown, counts):
        return _between(meaning, *own_range(meaning, counts)), None, (*notes, BAD_WINDOW)
    return shown, carried, notes


def _voi(
    dataset: Dataset, meaning: StorableTable
) -> tuple[StorableTable | None, StorableTable | None, tuple[str, ...]]:
    """Apply the first VOI LUT, or else the first window (PS3.3 C.11.2): `shown`, `carried` and notes.

    Both are None if there is neither.
    """
    table, notes = first_table(dataset, "VOILUTSequence")
    if table is not None:
        shown = np.clip(table(meaning) / ((1 << table.depth) - 1), 0, 1)
        return shown, _carried_on(shown), notes if table.depth == table.bits else (*notes, DEPTH)
    centers, widths = values(dataset, "WindowCenter"), values(dataset, "WindowWidth")
    for found in zip(centers, widths, strict=False):
        center, width = map(as_number, found)
        if center is not None and width is not None:
            function = code(dataset, "VOILUTFunction")
            return window(meaning, center, width, function), _position(meaning, center, width, function) + 0.5, notes
    return None, None, (*notes, NO_NUMBERS) if centers or widths else notes


def _carried_on(shown: StorableTable) -> StorableTable:
    """Continue the flat ends of a LUT with its mean slope, except ends so short that they come from rounding."""
    steps = np.abs(np.diff(shown))
    if not steps.any():
        return shown
    usual = float((steps**2).sum() / steps.sum()) * (1 if shown[0] <= shown[-1] else -1)
    differs = np.flatnonzero(steps)
    carried = shown.copy()
    first, last = int(differs[0]), int(differs[-1]) + 1
    if first > ROUNDING * shown.size:
        carried[:first] -= usual * np.arange(first, 0, -1)
    if shown.size - 1 - last > ROUNDING * shown.size:
        carried[last:] += usual * np.arange(shown.size - last)
    return carried


def window(measured: StorableTable, center: float, width: float, function: str = "LINEAR") -> StorableTable:
    """Apply a window (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2).

    measured: values after the modality transformation, any shape. center, width: in the same unit. function:
    VOILUTFunction. Returns values in [0, 1]; an invalid width gives a step.
    """
    position = _position(measured, center, width, function)
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * position, -500, 500))))
    return np.clip(position + 0.5, 0, 1)


def _position(measured: StorableTable, center: float, width: float, function: str) -> StorableTable:
    """Return the position of values relative to a window, -0.5 to 0.5 inside it."""
    if function not in ("SIGMOID", "LINEAR_EXACT"):  # LINEAR, also the default
        center, width = center - 0.5, width - 1
    return np.asarray((measured - center) / max(width, LEAST_WIDTH))


def _shows_enough(shown: StorableTable, counts: NDArray[np.int64]) -> bool:
    inside = counts[(shown > 0) & (shown < 1)].sum()
    return (
        _monotone(shown)
        and bool(shown.max() - shown.min() > LEAST_CONTRAST)
        and bool(inside >= LEAST_INSIDE * counts.sum())
    )


def own_range(measured: StorableTable, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return least and largest value of an image without outliers.

    measured: (N,) monotone values. counts: (N,) number of pixels with each.
    """
    if measured[0] > measured[-1]:
        measured, counts = measured[::-1], counts[::-1]
    present = np.flatnonzero(counts)
    if present.size == 0:
        return float(measured[0]), float(measured[-1])
    share = np.cumsum(counts) / counts.sum()
    low, high = measured[np.searchsorted(share, (OUTLIERS, 1 - OUTLIERS))]
    margin = MARGIN * (high - low)
    least, largest = measured[present[0]], measured[present[-1]]
    return max(float(low - margin), float(least)), min(float(high + margin), float(largest))


def _between(measured: StorableTable, least: float, largest: float) -> StorableTable:
    return np.clip((measured - least) / (largest - least or 1.0), 0, 1)


def _processing(
    dataset: Dataset, meaning: StorableTable, counts: NDArray[np.int64], low_is_bone: bool
) -> tuple[StorableTable, tuple[str, ...]]:
    """Map a detector's values to [0, 1], bone white; also return a note."""
    if code(dataset, "PixelIntensityRelationship") == "LIN":
        intensity = meaning if low_is_bone else meaning.max() - meaning
        _, brightest = own_range(intensity, counts)
        faintest = max(brightest, 1.0) / 10**DECADES
        density = -np.log(np.maximum(intensity, faintest))
        return _between(density, *own_range(density, counts)), (OWN_LOG_RANGE,)
    density = -meaning if low_is_bone else meaning
    return _between(density, *own_range(density, counts)), (OWN_RANGE,)
