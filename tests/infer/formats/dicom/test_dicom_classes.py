"""The SOP class decides whether a file is an X-ray, wherever it is stored, and is kept."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxr_infer.errors import NoRadiograph
from cxr_infer.formats.dicom.data_set import NO_CLASS
from tests.infer.formats.dicom.dicom_files import (
    RAMP,
    computed,
    digital,
    encoded,
    read,
    read_set,
    refusal,
    result,
    secondary,
    stored,
)

PIXELS = stored(RAMP, 12)

CLASSES = {
    "mammogram": ("1.2.840.10008.5.1.4.1.1.1.2", "MG"),
    "mammogram for processing": ("1.2.840.10008.5.1.4.1.1.1.2.1", "MG"),
    "intraoral": ("1.2.840.10008.5.1.4.1.1.1.3", "IO"),
    "angiogram": ("1.2.840.10008.5.1.4.1.1.12.1", "XA"),
    "fluoroscopy": ("1.2.840.10008.5.1.4.1.1.12.2", "RF"),
    "gray bytes": ("1.2.840.10008.5.1.4.1.1.7.2", "PX"),
    "gray words": ("1.2.840.10008.5.1.4.1.1.7.3", "OT"),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_single_frame_x_rays_of_other_classes_keep_their_class(kind: str) -> None:
    sop_class, modality = CLASSES[kind]
    pixels = stored(RAMP, 8) if kind == "gray bytes" else PIXELS
    attributes = {"SOPClassUID": sop_class, "Modality": modality, "NumberOfFrames": 1}
    dataset = secondary(pixels, 8 if kind == "gray bytes" else 12, **attributes)
    written = result(read_set(dataset))
    np.testing.assert_array_equal(written.pixel_array, pixels)
    assert (written.SOPClassUID, written.file_meta.MediaStorageSOPClassUID) == (sop_class, sop_class)
    assert written.Modality == modality
    dataset.NumberOfFrames = 2
    assert "has 2 frames" in refusal(encoded(dataset))


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State"),
        ("1.2.840.10008.5.1.4.1.1.88.67", "X-Ray Radiation Dose SR"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object Selection Document"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT Image"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
        ("1.2.3.4.5", "an unknown SOP class"),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_objects_other_than_x_rays_are_refused_by_name(sop_class: str, name: str, syntax: UID) -> None:
    dataset = digital(PIXELS, 12, SOPClassUID=sop_class, PixelData=None)
    with pytest.raises(NoRadiograph, match=name):
        read(encoded(dataset, syntax))


def without_class(content: bytes) -> bytes:
    at = content.index(b"\x08\x00\x16\x00UI")
    (length,) = struct.unpack_from("<H", content, at + 6)
    return content[:at] + content[at + 8 + length :]


def test_the_class_may_be_in_the_file_header_only() -> None:
    radiograph = read(without_class(encoded(computed(PIXELS, 12))))
    assert radiograph.notes == (NO_CLASS,)
    written = result(radiograph)
    assert written.SOPClassUID == written.file_meta.MediaStorageSOPClassUID == ComputedRadiographyImageStorage
    with pytest.raises(NoRadiograph, match="Media Storage Directory"):
        read(without_class(encoded(digital(PIXELS, 12, SOPClassUID="1.2.840.10008.1.3.10"))))


@pytest.mark.parametrize("make", [computed, secondary])
def test_the_class_decides_and_a_contradicting_modality_is_noted(make: Callable[..., Dataset]) -> None:
    pixels = stored(RAMP, 8)
    for modality in ("CT", "MR", "US"):
        radiograph = read_set(make(pixels, 8, Modality=modality))
        assert [note for note in radiograph.notes if f"its Modality {modality} is not" in note]
        assert result(radiograph).Modality == modality
    for modality in ("CR", "DX", "OT", "RG", "", "Secret^Name"):
        assert not [note for note in read_set(make(pixels, 8, Modality=modality)).notes if "Modality" in note]
