"""Stored values -> pixel data of a result: native, or compressed without loss in the family of the source."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import JPEG2000LosslessEncoder, RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cxr_infer.formats.dicom.pixel_data import Stored, StoredPixels

# from the transfer syntax of a source to the one of its family that loses nothing
FAMILIES = {
    DeflatedExplicitVRLittleEndian: DeflatedExplicitVRLittleEndian,
    RLELossless: RLELossless,
    JPEG2000: JPEG2000Lossless,
    JPEG2000Lossless: JPEG2000Lossless,
}
NOT_KEPT = "{} is not written here; the result is uncompressed"


def kept_syntax(source: UID, pixels: StoredPixels) -> tuple[UID, tuple[str, ...]]:
    """The transfer syntax of a result that is to be compressed as its source, and a note where that cannot be done."""
    kept = FAMILIES.get(source)
    possible = kept != JPEG2000Lossless or (pixels.words is None and JPEG2000LosslessEncoder.is_available)
    if kept is not None and possible:
        return kept, ()
    return ExplicitVRLittleEndian, (NOT_KEPT.format(source.name),) if source.is_encapsulated else ()


def add_pixel_data(dataset: Dataset, pixels: StoredPixels, values: Stored, syntax: UID) -> None:
    """Give a data set its pixel data in a transfer syntax that `kept_syntax` names. values: (H, W), of these pixels."""
    if syntax.is_encapsulated:
        dataset.add_new("PixelData", "OB", encapsulate([_frame(pixels, values, syntax)]))
        return
    data = pixels.packed(values)
    dataset.add_new("PixelData", "OW" if pixels.layout.allocated > 8 else "OB", data + b"\0" * (len(data) % 2))


def _frame(pixels: StoredPixels, values: Stored, syntax: UID) -> bytes:
    layout = pixels.layout
    facts: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "bits_allocated": layout.allocated,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": "MONOCHROME2",  # no family asks which of the two
    }
    if syntax == RLELossless:  # of whole words, with what lies beside the values
        words = pixels.packed(values)
        return RLELosslessEncoder.encode(words, bits_stored=layout.allocated, encoding_plugin="pydicom", **facts)
    return JPEG2000LosslessEncoder.encode(values, bits_stored=layout.stored, encoding_plugin="pylibjpeg", **facts)
