"""Stored values -> pixel data of a result: native, or compressed without loss in the family of the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import JPEG2000LosslessEncoder, JPEGLSLosslessEncoder, RLELosslessEncoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_infer.formats.dicom.lossless_jpeg_encoder import encode_lossless
from cxr_infer.formats.dicom.pixel_data import Stored, StoredPixels

# from the transfer syntax of a source to the one of its family that loses nothing
FAMILIES = {
    DeflatedExplicitVRLittleEndian: DeflatedExplicitVRLittleEndian,
    RLELossless: RLELossless,
    JPEGLossless: JPEGLossless,
    JPEGLosslessSV1: JPEGLosslessSV1,
    JPEGLSLossless: JPEGLSLossless,
    JPEGLSNearLossless: JPEGLSLossless,
    JPEG2000: JPEG2000Lossless,
    JPEG2000Lossless: JPEG2000Lossless,
}
NOT_KEPT = "{} cannot be written; the result is uncompressed"


def kept_syntax(source: UID, pixels: StoredPixels) -> tuple[UID, tuple[str, ...]]:
    """The transfer syntax of a result that is to be compressed as its source, and a note where that cannot be done."""
    kept = FAMILIES.get(source)
    if kept is not None and _can_write(kept, pixels):
        return kept, ()
    return ExplicitVRLittleEndian, (NOT_KEPT.format(source.name),) if source.is_encapsulated else ()


def _can_write(syntax: UID, pixels: StoredPixels) -> bool:
    """Whether there is an encoder, a place for what lies beside the values, and programs that read the result."""
    if syntax in (DeflatedExplicitVRLittleEndian, RLELossless):
        return True
    if syntax != JPEG2000Lossless and pixels.layout.stored <= 8 < pixels.layout.allocated:
        return False  # of such streams decoders give bytes where words are promised: pydicom fails, and GDCM ends
    encoder = {JPEG2000Lossless: JPEG2000LosslessEncoder, JPEGLSLossless: JPEGLSLosslessEncoder}.get(syntax)
    return pixels.words is None and (encoder is None or bool(encoder.is_available))


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
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return encode_lossless(_without_sign(pixels, values), layout.stored)
    if syntax == JPEGLSLossless:
        unsigned = facts | {"pixel_representation": 0}
        return JPEGLSLosslessEncoder.encode(
            _without_sign(pixels, values), bits_stored=layout.stored, encoding_plugin="pyjpegls", **unsigned
        )
    if syntax == RLELossless:  # of whole words, with what lies beside the values
        words = pixels.packed(values)
        return RLELosslessEncoder.encode(words, bits_stored=layout.allocated, encoding_plugin="pydicom", **facts)
    return JPEG2000LosslessEncoder.encode(values, bits_stored=layout.stored, encoding_plugin="pylibjpeg", **facts)


def _without_sign(pixels: StoredPixels, values: Stored) -> NDArray[np.unsignedinteger[Any]]:
    """The stored bits as numbers from 0 on: these families know no others, the header says how they are meant."""
    word = pixels.layout.word
    bits: NDArray[np.unsignedinteger[Any]] = values.view(word) & word.type((1 << pixels.layout.stored) - 1)
    return bits
