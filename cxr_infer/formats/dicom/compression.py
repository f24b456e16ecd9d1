"""Encode stored values as pixel data: native, or compressed losslessly with the codec of the source."""

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
from cxr_infer.formats.dicom.pixel_data import StoredPixels, StoredValues

# transfer syntax of a source -> lossless transfer syntax of the same codec
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
    """Return the lossless transfer syntax for a result like its source; native with a note if it cannot be written."""
    kept = FAMILIES.get(source)
    if kept is not None and _can_write(kept, pixels):
        return kept, ()
    return ExplicitVRLittleEndian, (NOT_KEPT.format(source.name),) if source.is_encapsulated else ()


def _can_write(syntax: UID, pixels: StoredPixels) -> bool:
    """Whether an encoder is installed, the codec can hold any overlay bits, and other programs can read the result."""
    if syntax in (DeflatedExplicitVRLittleEndian, RLELossless):
        return True
    if syntax != JPEG2000Lossless and pixels.layout.stored <= 8 < pixels.layout.allocated:
        return False  # decoders return bytes for such streams, not words: pydicom fails and GDCM aborts
    encoder = {JPEG2000Lossless: JPEG2000LosslessEncoder, JPEGLSLossless: JPEGLSLosslessEncoder}.get(syntax)
    return pixels.words is None and (encoder is None or bool(encoder.is_available))


def add_pixel_data(dataset: Dataset, pixels: StoredPixels, values: StoredValues, syntax: UID) -> None:
    """Set the pixel data of a data set. values: (H, W), in the layout of `pixels`. syntax: from `kept_syntax`."""
    if syntax.is_encapsulated:
        dataset.add_new("PixelData", "OB", encapsulate([_frame(pixels, values, syntax)]))
        return
    data = pixels.packed(values)
    dataset.add_new("PixelData", "OW" if pixels.layout.allocated > 8 else "OB", data + b"\0" * (len(data) % 2))


def _frame(pixels: StoredPixels, values: StoredValues, syntax: UID) -> bytes:
    layout = pixels.layout
    facts: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "bits_allocated": layout.allocated,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": "MONOCHROME2",  # no codec distinguishes it from MONOCHROME1
    }
    if syntax in (JPEGLossless, JPEGLosslessSV1):
        return encode_lossless(_without_sign(pixels, values), layout.stored)
    if syntax == JPEGLSLossless:
        unsigned = facts | {"pixel_representation": 0}
        return JPEGLSLosslessEncoder.encode(
            _without_sign(pixels, values), bits_stored=layout.stored, encoding_plugin="pyjpegls", **unsigned
        )
    if syntax == RLELossless:  # encodes whole words, overlay bits included
        words = pixels.packed(values)
        return RLELosslessEncoder.encode(words, bits_stored=layout.allocated, encoding_plugin="pydicom", **facts)
    return JPEG2000LosslessEncoder.encode(values, bits_stored=layout.stored, encoding_plugin="pylibjpeg", **facts)


def _without_sign(pixels: StoredPixels, values: StoredValues) -> NDArray[np.unsignedinteger[Any]]:
    """Return the stored bits as unsigned numbers: these codecs have no sign; PixelRepresentation states it."""
    word = pixels.layout.word
    bits: NDArray[np.unsignedinteger[Any]] = values.view(word) & word.type((1 << pixels.layout.stored) - 1)
    return bits
