"""Files that violate the standard and are read with a note, because DCMTK, GDCM and pydicom read them too."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cxr_infer.formats.dicom.data_set import NO_HEADER, NO_PREAMBLE, NO_SYNTAX, TRAILING, TWO_HEADERS
from cxr_infer.formats.dicom.grayscale import COMMAS, DEPTH, NO_NUMBERS, NO_RESCALE, SLOPE_ZERO
from cxr_infer.formats.dicom.lookup import SHORT
from cxr_infer.formats.dicom.pixel_data import ASSUMED, NO_HIGH_BIT, NO_REPRESENTATION, ONE_FRAME
from cxr_infer.formats.dicom.reader import NO_NUMBER
from cxr_infer.formats.dicom.signature import DICOM_HEAD, is_dicom
from tests.infer.formats.dicom.dicom_files import (
    PROVENANCE,
    RAMP,
    computed,
    digital,
    encoded,
    lookup_table,
    read,
    read_set,
    refusal,
    result,
    stored,
)

PIXELS = stored(RAMP, 12)


def with_text(content: bytes, keyword: str, text: bytes) -> bytes:
    """The file, in Explicit VR Little Endian, with other bytes in a text attribute."""
    element = pydicom.dcmread(BytesIO(content))[keyword]
    head = struct.pack("<HH", element.tag.group, element.tag.element) + element.VR.encode()
    at = content.index(head)
    (length,) = struct.unpack_from("<H", content, at + 6)
    text += b" " * (len(text) % 2)
    return content[: at + 6] + struct.pack("<H", len(text)) + text + content[at + 8 + length :]


def bare_data_set(dataset: Dataset, implicit: bool, little: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    if not little:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    write_dataset(stream, dataset)
    return stream.getvalue()


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
def test_a_data_set_without_preamble_and_header_is_read(implicit: bool, little: bool) -> None:
    content = bare_data_set(computed(PIXELS, 12), implicit, little)
    assert is_dicom(content[:DICOM_HEAD])
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert radiograph.notes == (NO_HEADER,)
    written = result(radiograph)
    assert written.PatientName == "Müller^Secret"
    np.testing.assert_array_equal(written.pixel_array, PIXELS)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless])
def test_a_header_without_preamble_is_read(syntax: UID) -> None:
    content = encoded(computed(PIXELS, 12), syntax)[DICOM_HEAD:]
    assert is_dicom(content[:DICOM_HEAD])
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert radiograph.notes == (NO_PREAMBLE,)


def test_a_header_without_transfer_syntax_is_read() -> None:
    whole = encoded(computed(PIXELS, 12), ImplicitVRLittleEndian)
    at = whole.index(b"\x02\x00\x10\x00UI")
    (length,) = struct.unpack_from("<H", whole, at + 6)
    radiograph = read(whole[:at] + whole[at + 8 + length :])
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert radiograph.notes == (NO_SYNTAX,)


@pytest.mark.parametrize(
    "head",
    [
        b"#!/bin/sh\nset -e\n" * 9,
        b"\x08\x00" * 66,
        b"\x02\x00\x00\x00" * 33,
        np.arange(33, dtype="<u4").tobytes(),
        bytes(132),
        b"\x89PNG\r\n\x1a\n" + bytes(124),
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100",
    ],
)
def test_other_files_are_not_recognised_as_data_sets(head: bytes) -> None:
    assert not is_dicom(head[:DICOM_HEAD])


@pytest.mark.parametrize("second", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_first_of_two_headers_is_used(second: UID) -> None:
    content = encoded(computed(PIXELS, 12))
    (length,) = struct.unpack_from("<I", content, DICOM_HEAD + 8)
    end = DICOM_HEAD + 12 + length
    other = pydicom.filewriter.write_file_meta_info
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2", "1.3"
    meta.TransferSyntaxUID = second
    other(stream, meta, enforce_standard=True)
    radiograph = read(content[:end] + stream.getvalue() + content[end:])
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert radiograph.notes == (TWO_HEADERS,)
    assert (0x0002, 0x0010) not in result(radiograph)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless]
)
@pytest.mark.parametrize("ending", [bytes(2), bytes(2_000_000), b"\xff" * 5000])
def test_bytes_after_the_data_set_are_ignored(syntax: UID, ending: bytes) -> None:
    content = encoded(computed(PIXELS, 12), syntax)
    radiograph = read(content + ending)
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert radiograph.notes == ((TRAILING,) if len(ending) > 8 else ())


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"NumberOfFrames": 0}, ONE_FRAME),
        ({"PixelRepresentation": None}, "lacks PixelRepresentation; read as 0"),
        ({"SamplesPerPixel": None}, "lacks SamplesPerPixel; read as 1"),
        ({"BitsStored": None, "HighBit": None}, "lacks BitsStored; read as 16"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, SLOPE_ZERO),
    ],
)
def test_missing_or_invalid_attributes_get_their_only_possible_value(attributes: dict[str, Any], note: str) -> None:
    radiograph = read_set(computed(PIXELS, 12, **attributes))
    np.testing.assert_array_equal(radiograph.pixels, PIXELS)
    assert note in radiograph.notes
    np.testing.assert_array_equal(result(radiograph).pixel_array, PIXELS)


def test_decimal_commas_are_read_as_decimal_points() -> None:
    dataset = computed(PIXELS, 12, WindowCenter=1000, WindowWidth=3000, RescaleSlope=2, RescaleIntercept=3)
    expected = read_set(dataset)
    content = encoded(dataset)
    for keyword, text in (
        ("WindowCenter", b"1000,0"),
        ("WindowWidth", b"3000,00\\40,5"),
        ("RescaleSlope", b"2,0"),
        ("RescaleIntercept", b" 3,0"),
    ):
        content = with_text(content, keyword, text)
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.unit(), expected.unit())
    assert radiograph.notes == (COMMAS,)
    assert b"3000,00\\40,5" in radiograph.encode(PROVENANCE), "the text is written unchanged"


@pytest.mark.parametrize("half", [{"WindowCenter": 1000}, {"WindowWidth": 3000}])
def test_a_window_without_center_or_width_is_ignored(half: dict[str, int]) -> None:
    radiograph = read_set(computed(PIXELS, 12, **half))
    assert radiograph.notes == (NO_NUMBERS,)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)


def test_a_window_that_is_not_a_number_is_ignored() -> None:
    content = with_text(encoded(computed(PIXELS, 12, WindowCenter=1000, WindowWidth=3000)), "WindowWidth", b"wide")
    radiograph = read(content)
    assert radiograph.notes == (NO_NUMBERS,)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("text", [b"none", b"N/A", b"nan", b"-inf", b"1;5"])
def test_a_rescale_that_is_not_a_number_is_ignored(keyword: str, text: bytes) -> None:
    dataset = computed(PIXELS, 12, WindowCenter=2048, WindowWidth=4096, RescaleSlope=1, RescaleIntercept=0)
    radiograph = read(with_text(encoded(dataset), keyword, text))
    assert radiograph.notes == (NO_RESCALE,)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)
    np.testing.assert_array_equal(result(radiograph).pixel_array, PIXELS)


def test_the_first_of_two_row_counts_is_used_and_written() -> None:
    content = encoded(computed(PIXELS, 12))
    at = content.index(b"\x28\x00\x10\x00US")
    rows = struct.pack("<HHH", 4, len(PIXELS), 7)
    radiograph = read(content[: at + 6] + rows + content[at + 10 :])
    np.testing.assert_array_equal(result(radiograph).pixel_array, PIXELS)


@pytest.mark.parametrize("text", [b"A1", b"1,5x", b"99999999999", b"-5000"])
@pytest.mark.parametrize("keyword", ["SeriesNumber", "InstanceNumber"])
def test_invalid_series_and_instance_numbers_are_replaced(keyword: str, text: bytes) -> None:
    content = with_text(encoded(computed(PIXELS, 12)), keyword, text)
    radiograph = read(content)
    assert radiograph.notes == ((NO_NUMBER,) if keyword == "SeriesNumber" and not text.strip(b"-").isdigit() else ())
    written = result(radiograph)
    np.testing.assert_array_equal(written.pixel_array, PIXELS)
    assert written.SeriesNumber == (1000 if keyword == "SeriesNumber" else 1003)


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
def test_empty_lut_items_are_ignored(keyword: str) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", None)
    item.add_new("LUTExplanation", "LO", "")
    item.add_new("LUTData", "US", None)
    good = lookup_table(0, 16, range(65535, -1, -16))
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        window = {"WindowCenter": 2048, "WindowWidth": 4096}
        alone = read(encoded(computed(PIXELS, 12, **window, **{keyword: [item]}), syntax))
        np.testing.assert_allclose(alone.unit(), RAMP, atol=1e-3)
        followed = read(encoded(computed(PIXELS, 12, **{keyword: [item, good]}), syntax))
        np.testing.assert_allclose(followed.unit(), 1 - RAMP, atol=1e-3)
        for radiograph in (alone, followed):
            assert any(keyword in note for note in radiograph.notes)
            assert result(radiograph)[keyword].value[0].LUTData in (None, b"", [])


def test_a_truncated_voi_lut_is_ignored() -> None:
    short, whole = lookup_table(0, 16, range(0, 65536, 64)), lookup_table(0, 16, range(65535, -1, -16))
    short["LUTDescriptor"].value = [4096, 0, 16]
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    for luts, expected in (([short], RAMP), ([short, whole], 1 - RAMP)):
        radiograph = read_set(computed(PIXELS, 12, **window, VOILUTSequence=luts))
        np.testing.assert_allclose(radiograph.unit(), expected, atol=1e-3)
        assert radiograph.notes == (SHORT.format("VOILUTSequence"),)
        np.testing.assert_array_equal(result(radiograph).pixel_array, PIXELS)


@pytest.mark.parametrize("largest", [255, 1023, 4095, 65535])
def test_the_largest_entry_of_a_voi_lut_decides_its_depth(largest: int) -> None:
    lut = lookup_table(0, 16, np.linspace(0, largest, 4096).round())
    radiograph = read_set(computed(PIXELS, 12, VOILUTSequence=[lut]))
    np.testing.assert_allclose(radiograph.shown(), RAMP, atol=3e-3)
    assert radiograph.notes == ((DEPTH,) if largest < 65535 else ())


@pytest.mark.parametrize(
    ("dataset", "part"),
    [
        (computed(PIXELS, 12, RescaleSlope="1e300"), "RescaleSlope"),
        (computed(PIXELS, 12, ModalityLUTSequence=[lookup_table(0, 12, [1, 2])]), "LUT"),
        (computed(PIXELS, 12, PixelPaddingValue=0, PixelPaddingRangeLimit=4095), "PixelPaddingValue covers every"),
    ],
)
def test_messages_say_which_part_is_wrong(dataset: Dataset, part: str) -> None:
    if part == "LUT":
        dataset.ModalityLUTSequence[0]["LUTDescriptor"].value = [9, 0, 12]
    message = refusal(encoded(dataset))
    assert part in message
    assert "not a DICOM file" not in message


def test_an_unmatched_sequence_end_ends_the_data_set() -> None:
    pixels = stored(RAMP, 12)
    for syntax, order in ((ExplicitVRLittleEndian, "<"), (ImplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")):
        for element in (0xE0DD, 0xE00D):
            content = encoded(digital(pixels, 12), syntax) + struct.pack(f"{order}HHI", 0xFFFE, element, 0)
            radiograph = read(content)
            np.testing.assert_array_equal(radiograph.pixels, pixels)
            assert TRAILING in radiograph.notes
            np.testing.assert_array_equal(result(radiograph).pixel_array, pixels)


def test_missing_bits_stored_are_inferred_from_the_high_bit() -> None:
    pixels = stored(RAMP, 12)
    radiograph = read(encoded(digital(pixels, 12, BitsStored=None)))
    assert radiograph.bits == 12
    assert ASSUMED.format("BitsStored", 12) in radiograph.notes
    written = result(radiograph)
    assert (written.BitsStored, written.HighBit) == (12, 11)
    np.testing.assert_array_equal(written.pixel_array, pixels)


@pytest.mark.parametrize("high", [0, 7, 10, 16, 99])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_an_impossible_high_bit_is_ignored(high: int, syntax: UID) -> None:
    content = encoded(digital(PIXELS, 12), syntax)
    at = content.index(b"\x28\x00\x02\x01US") + 8
    radiograph = read(content[:at] + struct.pack("<H", high) + content[at + 2 :])
    assert radiograph.notes == (NO_HIGH_BIT.format(high, 11),)
    written = result(radiograph)
    assert (written.BitsStored, written.HighBit) == (12, 11)
    np.testing.assert_array_equal(written.pixel_array, PIXELS)


def test_an_invalid_pixel_representation_is_read_as_unsigned() -> None:
    pixels = stored(RAMP, 12)
    radiograph = read(encoded(digital(pixels, 12, PixelRepresentation=7)))
    assert NO_REPRESENTATION in radiograph.notes
    written = result(radiograph)
    assert written.PixelRepresentation == 0
    np.testing.assert_array_equal(written.pixel_array, pixels)


@pytest.mark.parametrize("mono1", [False, True])
def test_lower_case_terms_are_read_like_upper_case_ones(mono1: bool) -> None:
    """Value representation CS allows upper case only; some writers ignore that."""
    dataset = digital(PIXELS, 12, mono1, WindowCenter=1000, WindowWidth=900, VOILUTFunction="SIGMOID")
    capitals = encoded(dataset)
    small = capitals
    for term in (dataset.PhotometricInterpretation, dataset.PresentationLUTShape, dataset.VOILUTFunction):
        small = small.replace(term.encode(), term.lower().encode())
    there, here = read(capitals), read(small)
    assert small != capitals
    assert (here.inverted, here.notes) == (mono1, there.notes)
    np.testing.assert_array_equal(here.unit(), there.unit())
    assert result(here).PhotometricInterpretation == dataset.PhotometricInterpretation
