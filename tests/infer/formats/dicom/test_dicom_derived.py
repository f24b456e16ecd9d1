from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from cxr_infer.errors import AlreadyDenoised
from cxr_infer.formats.radiograph import Provenance
from cxr_infer.settings import Settings
from tests.infer.formats.dicom.dicom_files import (
    BUNDLED,
    PROVENANCE,
    RAMP,
    computed,
    digital,
    read,
    read_set,
    result,
    secondary,
    stored,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["DERIVED", "SECONDARY"]),
        ("ORIGINAL", ["DERIVED", "SECONDARY"]),
        (["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"]),
        (["DERIVED", "", "X"], ["DERIVED", "SECONDARY", "X"]),
    ],
)
def test_image_type_says_derived_and_keeps_the_rest(given: Any, expected: list[str]) -> None:
    assert result(read_set(secondary(stored(RAMP, 8), 8, ImageType=given))).ImageType == expected


def test_earlier_lossy_compression_stays_recorded() -> None:
    source = pydicom.dcmread(BUNDLED / "test_files" / "JPGExtended.dcm")
    source.LossyImageCompressionRatio = "7.5"
    for attributes in ({}, {"LossyImageCompression": "00"}):
        for keyword, value in attributes.items():
            setattr(source, keyword, value)
        stream = BytesIO()
        source.save_as(stream)
        written = result(read(stream.getvalue()))
        assert written.LossyImageCompression == "01"
        if attributes:
            assert written.LossyImageCompressionMethod == "ISO_10918_1"
            assert written.LossyImageCompressionRatio > 10
        else:
            assert written.LossyImageCompressionRatio == 7.5


@pytest.fixture(scope="module")
def denoised_pair() -> tuple[Dataset, pydicom.FileDataset]:
    """A DX with every attribute that a result must change or drop, and its result."""
    equipment = Dataset()
    equipment.Manufacturer = "Maker"
    attributes = {
        "DerivationDescription": "Edge enhanced",
        "SmallestImagePixelValue": 3,
        "LargestImagePixelValue": 9,
        "IconImageSequence": [Dataset()],
        "ContributingEquipmentSequence": [equipment],
        "TimezoneOffsetFromUTC": "+0545",
    }
    source = digital(stored(RAMP, 12, mono1=True), 12, mono1=True, **attributes)
    radiograph = read_set(source)
    return source, result(radiograph.restored(radiograph.unit() * np.float32(0.9)))


def test_a_result_describes_itself_and_its_source(denoised_pair: tuple[Dataset, pydicom.FileDataset]) -> None:
    source, written = denoised_pair
    assert written.ImageType == ["DERIVED", "PRIMARY", ""]
    assert written.SOPInstanceUID == written.file_meta.MediaStorageSOPInstanceUID != source.SOPInstanceUID
    assert written.SOPClassUID == written.file_meta.MediaStorageSOPClassUID == source.SOPClassUID
    assert written.SOPInstanceUID.is_valid
    assert written.SeriesInstanceUID.is_valid
    assert written.SeriesInstanceUID not in (source.SeriesInstanceUID, written.SOPInstanceUID)
    assert written.SeriesNumber == 1003
    assert written.SeriesDescription == "Chest PA (denoised)"
    ours = f"Quantum mottle removed by cxr-infer 0.1.0: model window (fp32), SHA-256 {'ab' * 32}, strength 1"
    assert written.DerivationDescription == f"Edge enhanced; {ours}"
    assert [(code.CodeValue, code.CodingSchemeDesignator) for code in written.DerivationCodeSequence] == [
        ("113087", "DCM")
    ]
    (image,) = written.SourceImageSequence
    assert image.ReferencedSOPClassUID == source.SOPClassUID
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert image.SpatialLocationsPreserved == "YES"
    first, ours = written.ContributingEquipmentSequence
    assert first.Manufacturer == "Maker"
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (ours.ManufacturerModelName, ours.SoftwareVersions) == ("cxr-infer", "0.1.0")
    assert ours.ContributionDateTime.endswith("+0545")
    assert written.ContentQualification == "RESEARCH"
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"):
        assert written[keyword].value not in ("", source.get(keyword)), keyword


def test_a_result_keeps_all_other_attributes(denoised_pair: tuple[Dataset, pydicom.FileDataset]) -> None:
    source, written = denoised_pair
    changed = {
        *("ImageType", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "PixelData"),
        *("ContentDate", "ContentTime", "DerivationDescription", "ContributingEquipmentSequence"),
    }
    dropped = {"SmallestImagePixelValue", "LargestImagePixelValue", "IconImageSequence"}
    for element in source:
        if element.keyword in dropped:
            assert element.tag not in written
        elif element.keyword not in changed:
            assert written[element.tag] == element
    assert written[0x0011, 0x1001].value == "kept"
    assert len(written.PixelData) == len(source.PixelData)


def test_encoding_leaves_the_source_unchanged_and_the_description_fits() -> None:
    radiograph = read_set(computed(stored(RAMP, 8), 8, SeriesDescription="d" * 64, SeriesNumber=None))
    first, second = result(radiograph), result(radiograph)
    assert len(first.SeriesDescription) == 64
    assert first.SeriesDescription.endswith("d (denoised)")
    assert first.SeriesNumber == 1000
    assert len(second.ContributingEquipmentSequence) == 1


def test_uids_are_equal_only_for_equal_sources_and_settings() -> None:
    pixels = stored(RAMP, 8)
    radiograph = read_set(secondary(pixels, 8))
    one, again = result(radiograph), result(radiograph)
    assert (one.SOPInstanceUID, one.SeriesInstanceUID) == (again.SOPInstanceUID, again.SeriesInstanceUID)
    sibling = result(read_set(secondary(pixels, 8, SOPInstanceUID="1.2.3")))
    assert sibling.SeriesInstanceUID == one.SeriesInstanceUID
    assert sibling.SOPInstanceUID != one.SOPInstanceUID
    for other in (
        Provenance("0.1.0", "window (fp32)", "cd" * 32, Settings()),
        Provenance("0.1.0", "window (fp32)", "ab" * 32, Settings(strength=0.5)),
    ):
        different = result(radiograph, other)
        assert different.SOPInstanceUID != one.SOPInstanceUID
        assert different.SeriesInstanceUID != one.SeriesInstanceUID


def test_a_result_is_not_denoised_again() -> None:
    content = read_set(computed(stored(RAMP, 12), 12)).encode(PROVENANCE)
    with pytest.raises(AlreadyDenoised, match=r"x\.dcm: is already a result of cxr-infer"):
        read(content)
