"""What the stored values of an image mean, and what a display or a detector makes of them.

1. Modality: rescale slope and intercept, or the modality LUT (PS3.3 C.11.1).
2. For presentation: the VOI LUT, else the window, the first of several (PS3.3 C.11.2). Where there is neither: the
   whole range of the stored bits, as in pictures. Where window or range fit the pixels so badly that a model would see
   next to nothing: the image's own range, and a note.
3. For processing, or where no window but a PixelIntensityRelationship says that values are a detector's: the image's
   own range, of the logarithm where values are LIN, proportional to X-ray intensity (PS3.3 C.8.11.3.1.2). Measured on
   phantoms of 300 photons at most: 10 to 16 dB of mottle gone by the logarithm, 2 dB without.

Which end is bone: MONOCHROME1 means that the least value is white (PS3.3 C.7.6.3.1.2), and so does INVERSE as a
PresentationLUTShape (C.8.11.3.1.1). For processing, PixelIntensityRelationshipSign says it.

An image's own range is from its least to its largest value that is not padding, without outliers such as dead pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.attributes import as_number, code, integer, is_number, number, text, value, values
from cxr_infer.formats.dicom.lookup import Table, first_table

FOR_PROCESSING = frozenset(UID(f"1.2.840.10008.5.1.4.1.1.{kind}.1") for kind in ("1.1", "1.2", "1.3"))  # DX, MG, IO

RESCALE = ("RescaleSlope", "RescaleIntercept")
DECIMALS = ("WindowCenter", "WindowWidth", *RESCALE)

OUTLIERS = 0.001  # share of pixels at either end that may be dead, hot or drawn
MARGIN = 0.1  # of the range without outliers, by which values beyond it still belong to the image
LEAST_INSIDE = 0.1  # share of the pixels that a window must show neither black nor white
LEAST_CONTRAST = 1e-3  # between the ends of what a window shows; less, and it is none
LEAST_WIDTH = 1e-6  # of a window; a narrower one, or one that is no window, is a step
LEAST_SPAN = 0.25  # share of the stored range that pixels must span to be shown in all of it
ROUNDING = 1 / 64  # of a LUT, up to which entries may be equal by rounding
DECADES = 3  # of X-ray intensity behind a chest, scatter included, that a logarithm keeps apart

OWN_RANGE = "for processing: scaled by the image's own range"
OWN_LOG_RANGE = "for processing, linear in X-ray intensity: its logarithm is denoised, scaled by the image's own range"
BAD_WINDOW = "its window or VOI LUT shows almost none of the pixels; scaled by the image's own range instead"
LOW_RANGE = "no window, and less than a quarter of the stored range in use; scaled by the image's own range"
SLOPE_ZERO = "its RescaleSlope is 0; read as 1"
COMMAS = "its window or rescale has decimal commas; read as points"
NO_RESCALE = "its rescale is not a pair of numbers; ignored"
NO_NUMBERS = "its window is not a pair of numbers; ignored"
DEPTH = "its VOI LUT has entries of another depth than declared; the largest entry decided"
CONTRADICTION = "its PresentationLUTShape contradicts its PhotometricInterpretation; low values taken as white"
INVERTED = "black and white inverted, as --invert asks"


@dataclass(frozen=True)
class Grayscale:
    """What a display shows of each storable value, air black, bone white, as two monotone tables (storable values,).

    shown: in [0, 1]. carried: the same where a window or VOI LUT tells values apart, and beyond it below 0 and above 1,
    as steep as there; None where nothing is cut off. inverted: whether low values are white. notes: what a user should
    know.
    """

    shown: Table
    carried: Table | None
    inverted: bool
    notes: tuple[str, ...]


def grayscale_of(dataset: Dataset, storable: NDArray[np.int64], counts: NDArray[np.int64], invert: bool) -> Grayscale:
    """The gray of every storable value.

    counts: pixels that have each, without padding. invert: whether the file is wrong about which end is white.
    Raises ImageError where its attributes contradict each other.
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


def _modality(dataset: Dataset, storable: NDArray[np.int64]) -> tuple[Table, tuple[str, ...]]:
    """What stored values measure (PS3.3 C.11.1). Raises ImageError where different ones measure the same."""
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


def _monotone(table: Table) -> bool:
    steps = np.diff(table)
    return bool(np.all(steps >= 0) or np.all(steps <= 0))


def _inverted(dataset: Dataset, processing: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether low values are white, and a note where the file says both.

    processing: then a positive PixelIntensityRelationshipSign says that low values mean little intensity, as of bone.
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
    dataset: Dataset, meaning: Table, counts: NDArray[np.int64]
) -> tuple[Table, Table | None, tuple[str, ...]]:
    """What a display shows before inversion, in [0, 1]; that carried on beyond a window or VOI LUT; and notes."""
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


def _voi(dataset: Dataset, meaning: Table) -> tuple[Table | None, Table | None, tuple[str, ...]]:
    """The values of interest in [0, 1], by the first VOI LUT or else the first window (PS3.3 C.11.2); that carried on.

    None, and None, where there is neither.
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


def _carried_on(shown: Table) -> Table:
    """A LUT's gray whose flat ends go on as steeply as it usually is; ends so short that they are rounding stay."""
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


def window(measured: Table, center: float, width: float, function: str = "LINEAR") -> Table:
    """Values in [0, 1] by a window, of any shape (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2).

    A width that the standard forbids gives a step, which no image fits.
    """
    position = _position(measured, center, width, function)
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * position, -500, 500))))
    return np.clip(position + 0.5, 0, 1)


def _position(measured: Table, center: float, width: float, function: str) -> Table:
    """Where in a window values lie, from -0.5 to 0.5 inside it."""
    if function not in ("SIGMOID", "LINEAR_EXACT"):  # LINEAR, which is also meant where nothing is said
        center, width = center - 0.5, width - 1
    return np.asarray((measured - center) / max(width, LEAST_WIDTH))


def _shows_enough(shown: Table, counts: NDArray[np.int64]) -> bool:
    inside = counts[(shown > 0) & (shown < 1)].sum()
    return (
        _monotone(shown)
        and bool(shown.max() - shown.min() > LEAST_CONTRAST)
        and bool(inside >= LEAST_INSIDE * counts.sum())
    )


def own_range(measured: Table, counts: NDArray[np.int64]) -> tuple[float, float]:
    """Least and largest of an image's values, outliers left out. measured: monotone; counts: pixels that have each."""
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


def _between(measured: Table, least: float, largest: float) -> Table:
    return np.clip((measured - least) / (largest - least or 1.0), 0, 1)


def _processing(
    dataset: Dataset, meaning: Table, counts: NDArray[np.int64], low_is_bone: bool
) -> tuple[Table, tuple[str, ...]]:
    """What a display would show of a detector's values, in [0, 1], bone white, and a note."""
    if code(dataset, "PixelIntensityRelationship") == "LIN":
        intensity = meaning if low_is_bone else meaning.max() - meaning
        _, brightest = own_range(intensity, counts)
        faintest = max(brightest, 1.0) / 10**DECADES
        density = -np.log(np.maximum(intensity, faintest))
        return _between(density, *own_range(density, counts)), (OWN_LOG_RANGE,)
    density = -meaning if low_is_bone else meaning
    return _between(density, *own_range(density, counts)), (OWN_RANGE,)
