from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cxr_infer import denoise
from cxr_infer.dicom import DICOM_HEAD, is_dicom, read_dicom
from cxr_infer.dicom.radiograph import DicomRadiograph
from cxr_infer.dicom.scale import BAD_WINDOW, LOW_RANGE, OWN_LOG_RANGE, OWN_RANGE, window
from cxr_infer.errors import AlreadyDenoised, ImageError
from cxr_infer.metrics import psnr
from cxr_infer.radiograph import Provenance, Reading
from cxr_infer.settings import Settings
from tests.infer.dicom_files import (
    PROVENANCE,
    computed,
    digital,
    encapsulated,
    encoded,
    lookup_table,
    lowest,
    secondary,
    stored,
)

PATH = Path("some where") / "x.dcm"
BUNDLED = Path(pydicom.__file__).parent / "data"
RAMP = np.linspace(0, 1, 40 * 36).reshape(40, 36)

reproducible = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def read(content: bytes, reading: Reading | None = None) -> DicomRadiograph:
    radiograph = read_dicom(PATH, content, reading or Reading())
    assert isinstance(radiograph, DicomRadiograph)
    return radiograph


def read_set(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> DicomRadiograph:
    return read(encoded(dataset, syntax))


def result(radiograph: Any, provenance: Provenance = PROVENANCE) -> pydicom.FileDataset:
    return pydicom.dcmread(BytesIO(radiograph.encode(provenance)))


def refusal(content: bytes, reading: Reading | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        read_dicom(PATH, content, reading or Reading())
    message = str(caught.value)
    assert message.startswith(f"{PATH}: ")
    assert message.isprintable()
    assert len(message) < 200
    return message


@st.composite
def gray_images(draw: st.DrawFn) -> Dataset:
    """A small CR or DX of any photometric interpretation, sign, depth, rescale, window and padding."""
    bits, signed, mono1 = draw(st.integers(8, 16)), draw(st.booleans()), draw(st.booleans())
    first, last = lowest(bits, signed), lowest(bits, signed) + (1 << bits) - 1
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(first, last + 1, (9, 11))
    pixels = pixels.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    attributes: dict[str, Any] = {"WindowCenter": None, "WindowWidth": None}
    if draw(st.booleans()):
        attributes |= {
            "RescaleSlope": draw(st.sampled_from([1, 0.25, -2.5])),
            "RescaleIntercept": -100,
            "RescaleType": "US",
        }
    kind = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "lut"]))
    if kind == "lut":
        entries = sorted(draw(st.lists(st.integers(0, 4095), min_size=2, max_size=40)))
        attributes["VOILUTSequence"] = [lookup_table(draw(st.integers(0, 200)), 12, entries)]
    elif kind != "none":
        attributes |= {"WindowCenter": draw(st.integers(first, last)), "WindowWidth": draw(st.integers(-1, 1 << bits))}
        attributes["VOILUTFunction"] = kind
    if draw(st.booleans()):
        ends = draw(st.tuples(st.integers(first, last), st.integers(first, last)))
        attributes |= {"PixelPaddingValue": ends[0], "PixelPaddingRangeLimit": ends[1]}
    relationship = draw(st.sampled_from(["LIN", "LOG"]))
    if draw(st.booleans()):
        return digital(pixels, bits, mono1, processing=True, PixelIntensityRelationship=relationship, **attributes)
    return computed(pixels, bits, mono1, **attributes)


@reproducible
@given(gray_images())
def test_pixels_that_are_not_changed_come_back_to_the_bit(dataset: Dataset) -> None:
    radiograph = read_set(dataset)
    same = radiograph.restored(radiograph.unit())
    np.testing.assert_array_equal(same.pixels, radiograph.pixels)
    assert same.pixels.dtype == radiograph.pixels.dtype
    assert result(same).PixelData == dataset.PixelData


@reproducible
@given(gray_images())
def test_unit_is_monotone_and_in_range(dataset: Dataset) -> None:
    radiograph = read_set(dataset)
    unit = radiograph.unit()
    assert unit.dtype == np.float32
    assert unit.shape == radiograph.pixels.shape
    assert unit.min() >= 0
    assert unit.max() <= 1
    padding = radiograph.scale.padding
    shown = np.ones(unit.shape, bool) if padding is None else ~padding.covers(radiograph.pixels)
    assert not unit[~shown].any()
    steps = np.diff(unit[shown][np.argsort(radiograph.pixels[shown], kind="stable")])
    assert (steps >= 0).all() or (steps <= 0).all()


@reproducible
@given(gray_images(), st.integers(0, 99))
def test_whatever_a_model_gives_is_storable_and_padding_stays_padding(dataset: Dataset, seed: int) -> None:
    radiograph = read_set(dataset)
    denoised = np.random.default_rng(seed).random(radiograph.pixels.shape, dtype=np.float32)
    restored = radiograph.restored(denoised)
    layout, padding = radiograph.source.layout, radiograph.scale.padding
    assert restored.pixels.min() >= layout.lowest
    assert restored.pixels.max() <= layout.highest
    if padding is not None:
        np.testing.assert_array_equal(padding.covers(restored.pixels), padding.covers(radiograph.pixels))
        covered = padding.covers(radiograph.pixels)
        np.testing.assert_array_equal(restored.pixels[covered], radiograph.pixels[covered])
    np.testing.assert_array_equal(result(restored).pixel_array, restored.pixels)


@pytest.mark.parametrize("mono1", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_bone_is_white_and_a_denoised_gray_is_stored_as_that_gray(bits: int, signed: bool, mono1: bool) -> None:
    radiograph = read_set(digital(stored(RAMP, bits, signed, mono1), bits, mono1))
    assert radiograph.bits == bits
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=0.51 / ((1 << bits) - 1) + 1e-7)
    turned = radiograph.restored(np.ascontiguousarray(RAMP[::-1, ::-1], dtype=np.float32))
    np.testing.assert_allclose(turned.unit(), RAMP[::-1, ::-1], atol=2 / ((1 << bits) - 1))


def test_monochrome1_is_the_inverse_of_monochrome2() -> None:
    pixels = stored(RAMP, 12)
    attributes = {"WindowCenter": 1900, "WindowWidth": 1500}
    one, two = (read_set(computed(pixels, 12, mono1, **attributes)).unit() for mono1 in (True, False))
    np.testing.assert_allclose(one, 1 - two, atol=1e-6)


def test_windows_by_the_standards_own_numbers() -> None:
    values = np.array([-1000.0, 0, 2047.5, 4095, 5000])
    # PS3.3 C.11.2.1.2.1: center 2048 and width 4096 are the identity of 12 bits
    np.testing.assert_allclose(window(values, 2048, 4096), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(window(values, 2048, 4096, "LINEAR_EXACT")[2:4], [2047.5 / 4096, 4095 / 4096])
    np.testing.assert_allclose(
        window(np.array([10.0, 20, 30]), 20, 40, "SIGMOID"), [1 / (1 + np.e), 0.5, np.e / (1 + np.e)]
    )
    np.testing.assert_array_equal(window(np.array([-1.0, 0, 1]), 0.5, 1), [0, 0.5, 1])


def test_windows_and_ranges_are_taken_by_what_the_values_mean() -> None:
    pixels = stored(0.25 + 0.5 * RAMP, 12)
    cases: list[tuple[Dataset, tuple[str, ...], tuple[float, float]]] = [
        (computed(pixels, 12), (), (0.25, 0.75)),
        (computed(pixels, 12, WindowCenter=[2048, 9], WindowWidth=[2048, 9]), (), (0, 1)),
        (computed(pixels, 12, WindowCenter=2048, WindowWidth=1), (BAD_WINDOW,), (0, 1)),
        (computed(pixels, 12, WindowCenter=9000, WindowWidth=100), (BAD_WINDOW,), (0, 1)),
        (computed(stored(0.2 * RAMP, 12), 12), (LOW_RANGE,), (0, 1)),
        (computed(pixels, 12, PixelIntensityRelationship="LOG"), (OWN_RANGE,), (0, 1)),
        (digital(pixels, 12, processing=True), (OWN_RANGE,), (0, 1)),
        (computed(pixels * 0 + 7, 12), (), (7 / 4095, 7 / 4095)),
    ]
    for dataset, notes, (least, largest) in cases:
        radiograph = read_set(dataset)
        assert radiograph.notes == notes
        np.testing.assert_allclose([radiograph.unit().min(), radiograph.unit().max()], [least, largest], atol=1e-3)


def test_dead_pixels_do_not_stretch_an_images_own_range() -> None:
    pixels = stored(0.4 + 0.2 * np.tile(RAMP, (5, 5)), 14)
    pixels[0, 0], pixels[1, 1] = 0, (1 << 14) - 1
    unit = read_set(digital(pixels, 14, processing=True)).unit()
    assert np.quantile(unit, 0.05) < 0.2
    assert np.quantile(unit, 0.95) > 0.8


@pytest.mark.parametrize("sign", [1, -1])
def test_of_values_linear_in_intensity_the_logarithm_is_seen(sign: int) -> None:
    thickness = RAMP * 4  # of the body, in half-values of e
    counts = np.rint(10000 * np.exp(-thickness))
    pixels = (counts if sign > 0 else 16383 - counts).astype(np.uint16)
    attributes = {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": sign}
    radiograph = read_set(digital(pixels, 14, processing=True, **attributes))
    assert radiograph.notes == (OWN_LOG_RANGE,)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=0.01)


def test_voi_luts_are_applied_and_bad_ones_are_not() -> None:
    pixels = stored(RAMP, 12)
    lut = lookup_table(0, 16, np.linspace(0, 1, 4096) ** 2 * 65535)
    radiograph = read_set(computed(pixels, 12, VOILUTSequence=[lut], WindowCenter=5, WindowWidth=5))
    np.testing.assert_allclose(radiograph.unit(), RAMP**2, atol=1e-3)
    lut.LUTData = [*range(0, 60000, 20), *range(60000, 60000 - 1096, -1)]
    assert read_set(computed(pixels, 12, VOILUTSequence=[lut])).notes == (BAD_WINDOW,)
    lut.LUTData = [1, 2, 3]
    assert "fewer entries" in refusal(encoded(computed(pixels, 12, VOILUTSequence=[lut])))
    assert "same value" in refusal(encoded(computed(pixels, 12, RescaleSlope=0, RescaleIntercept=1)))


def test_modality_luts_are_applied() -> None:
    lut = lookup_table(0, 16, range(65535, -1, -257))
    lut.ModalityLUTType = "US"
    radiograph = read_set(secondary(stored(RAMP, 8), 8, ModalityLUTSequence=[lut]))
    np.testing.assert_allclose(radiograph.unit(), 1 - RAMP, atol=1 / 255)


def test_a_negative_padding_value_may_come_as_unsigned() -> None:
    pixels = stored(RAMP, 12, signed=True)
    pixels[:4] = -2000
    dataset = computed(pixels, 12, PixelPaddingValue=-2000)
    dataset["PixelPaddingValue"].VR = "US"
    dataset["PixelPaddingValue"].value = 65536 - 2000
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.restored(radiograph.unit() * 0.5).pixels[:4], -2000)


@reproducible
@given(*[st.floats(-1e300, 1e300, allow_subnormal=False).map(lambda number: f"{number:.6g}")] * 4, st.booleans())
def test_no_number_is_too_strange(slope: str, intercept: str, center: str, width: str, sigmoid: bool) -> None:
    """The warnings filter of these tests makes an exception of every overflow."""
    attributes = {"RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": center, "WindowWidth": width}
    dataset = computed(stored(RAMP, 12), 12, VOILUTFunction="SIGMOID" if sigmoid else "LINEAR", **attributes)
    try:
        radiograph = read_set(dataset)
    except ImageError as error:
        problem = str(error)
        assert "no number that makes sense" in problem or "same value" in problem
        return
    np.testing.assert_array_equal(radiograph.restored(radiograph.unit()).pixels, radiograph.pixels)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_bits_beside_the_stored_ones_are_masked_and_carried(dtype: str) -> None:
    pixels = stored(RAMP, 12, signed=dtype == "int16")
    overlay = (np.arange(pixels.size) % 3 == 0).reshape(pixels.shape).astype(np.uint16) << 15
    dataset = computed(pixels, 12, WindowCenter=2048 if dtype == "uint16" else 0, WindowWidth=4096)
    words = (pixels.view(np.uint16) & 0x0FFF) | overlay
    dataset.PixelData = words.tobytes()
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    darker = radiograph.restored(radiograph.unit() * np.float32(0.9))
    written = np.frombuffer(result(darker).PixelData, np.uint16).reshape(pixels.shape)
    np.testing.assert_array_equal(written & 0xF000, overlay)
    np.testing.assert_array_equal(written & 0x0FFF, darker.pixels.view(np.uint16) & 0x0FFF)


def test_values_in_the_upper_bits_of_a_word_are_read_and_written_there() -> None:
    pixels = stored(RAMP, 12)
    dataset = computed(pixels, 12, HighBit=15)
    dataset.PixelData = (pixels << 4).tobytes()
    radiograph = read_set(dataset)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    assert result(radiograph).PixelData == dataset.PixelData


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, True)])
def test_transfer_syntaxes(syntax: UID, bits: int, signed: bool) -> None:
    pixels = stored(RAMP, bits, signed)
    content = encoded(computed(pixels, bits), syntax)
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    written = result(radiograph)
    assert written.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(written.pixel_array, pixels)
    assert written.PatientName == "Müller^Secret"


def test_big_endian_words_that_are_no_pixels_are_turned_too() -> None:
    dataset = computed(stored(RAMP, 12), 12)
    lut = lookup_table(0, 12, range(4096))
    lut.add_new("LUTData", "OW", np.arange(4096, dtype=">u2").tobytes())
    dataset.VOILUTSequence = [lut]
    radiograph = read_set(dataset, ExplicitVRBigEndian)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)
    assert result(radiograph).VOILUTSequence[0].LUTData == np.arange(4096, dtype="<u2").tobytes()


def test_implicit_value_representations_under_an_explicit_header_are_read_and_written_right() -> None:
    pixels = stored(RAMP, 12)
    content = encoded(computed(pixels, 12), ImplicitVRLittleEndian)
    implicit = f"{ImplicitVRLittleEndian}\0".encode()
    meta = b"\x02\x00\x10\x00UI"
    start = content.index(meta)
    old = meta + struct.pack("<H", len(implicit)) + implicit
    explicit = f"{ExplicitVRLittleEndian}\0".encode()
    content = content.replace(old, meta + struct.pack("<H", len(explicit)) + explicit)
    assert start > 0
    written = result(read(content))
    np.testing.assert_array_equal(written.pixel_array, pixels)
    assert written.PatientName == "Müller^Secret"


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


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE",
        "MR_small_bigendian",
        "MR_small_expb",
        "MR_small_implicit",
        "MR_small_jp2klossless",
        "MR_small_jpeg_ls_lossless",
    ],
)
def test_other_peoples_encoders(name: str) -> None:
    dataset = pydicom.dcmread(BUNDLED / "test_files" / f"{name}.dcm")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    stream = BytesIO()
    dataset.save_as(stream)
    expected = pydicom.dcmread(BUNDLED / "test_files" / "MR_small.dcm").pixel_array
    np.testing.assert_array_equal(read(stream.getvalue()).pixels, expected)


def test_loss_is_never_denied() -> None:
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
    """A DX with everything that a result must not carry on as it is, and its result."""
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


def test_a_result_says_what_it_is(denoised_pair: tuple[Dataset, pydicom.FileDataset]) -> None:
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


def test_a_result_keeps_everything_else(denoised_pair: tuple[Dataset, pydicom.FileDataset]) -> None:
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


def test_a_source_is_left_as_it_is_and_a_series_description_fits() -> None:
    radiograph = read_set(computed(stored(RAMP, 8), 8, SeriesDescription="d" * 64, SeriesNumber=None))
    first, second = result(radiograph), result(radiograph)
    assert len(first.SeriesDescription) == 64
    assert first.SeriesDescription.endswith("d (denoised)")
    assert first.SeriesNumber == 1000
    assert len(second.ContributingEquipmentSequence) == 1


def test_uids_are_the_same_for_the_same_work_and_no_other() -> None:
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
    with pytest.raises(AlreadyDenoised, match=r"x\.dcm: is a result of cxr-infer already"):
        read(content)


def test_mottle_goes_from_a_monochrome1_dx(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> None:
    radiograph = read_set(digital(stored(noisy, 12, mono1=True), 12, mono1=True))
    restored = radiograph.restored(np.asarray(denoise(radiograph.unit(), "window"), dtype=np.float32))
    assert psnr(clean, restored.unit()) > psnr(clean, radiograph.unit()) + 8


def test_mottle_goes_from_a_detectors_counts_by_their_logarithm(clean: NDArray[np.float32]) -> None:
    intensity = np.exp(-3 * clean)
    photons = np.random.default_rng(1).poisson(300 * intensity)
    counts, expected = ((16000 * values).astype(np.uint16) for values in (np.minimum(photons / 300, 1), intensity))
    gains = []
    for relationship in ("LIN", "LOG"):
        attributes = {"PixelIntensityRelationship": relationship, "PixelIntensityRelationshipSign": 1}
        radiograph = read_set(digital(counts, 14, processing=True, **attributes))
        restored = radiograph.restored(np.asarray(denoise(radiograph.unit(), "window"), dtype=np.float32))
        seen = [np.log(np.maximum(image, 100)) / 5 for image in (expected, counts, restored.pixels)]
        gains.append(psnr(seen[0], seen[2]) - psnr(seen[0], seen[1]))
    assert gains[0] > 8
    assert gains[0] > gains[1] + 4


def test_an_8_bit_secondary_capture_is_seen_as_the_same_picture(noisy_bytes: NDArray[np.uint8]) -> None:
    unit = read_set(secondary(noisy_bytes, 8)).unit()
    np.testing.assert_allclose(unit, noisy_bytes / np.float32(255), atol=1e-7)


def frame_of(rows: int, columns: int) -> bytes:
    """The beginning of a JPEG that promises so many pixels."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, rows, columns, 1) + b"\x01\x11\x00\xff\xda\xff\xd9"


def codestream_of(rows: int, columns: int, tile: int) -> bytes:
    """The beginning of a JPEG 2000 image that promises so many pixels in square tiles."""
    size = struct.pack(">HH8IH", 41, 0, columns, rows, 0, 0, tile, tile, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01\xff\xd9"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"SOPClassUID": CTImageStorage}, "not a CR, DX or Secondary Capture"),
        ({"NumberOfFrames": 2}, "has 2 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not a gray image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not a gray image"),
        ({"PhotometricInterpretation": None}, "not a gray image"),
        ({"PixelData": None}, "holds no pixel data"),
        ({"Rows": None}, "lacks Rows"),
        ({"Rows": 0}, "make no image"),
        ({"Rows": 60000, "Columns": 60000}, "60000x60000 pixels are more than the 100000000 allowed"),
        ({"Rows": 400}, "ends after 1440 of 14400 bytes"),
        ({"BitsAllocated": 32}, "of 32 bits"),
        ({"BitsStored": 7, "HighBit": 6}, "stores 7 of 8 bits"),
        ({"HighBit": 9}, "do not fit"),
        ({"SOPInstanceUID": None}, "lacks SOPInstanceUID"),
        ({"SeriesInstanceUID": ""}, "lacks SeriesInstanceUID"),
        ({"StudyInstanceUID": None}, "lacks StudyInstanceUID"),
    ],
)
def test_what_cannot_be_denoised_is_told_in_a_line(attributes: dict[str, Any], problem: str) -> None:
    dataset = secondary(stored(RAMP, 8), 8)
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    message = refusal(encoded(dataset))
    assert problem in message
    assert "SECRET" not in message.upper()


def test_what_cannot_be_decoded_is_told() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    for old, new, problem in (
        (ExplicitVRLittleEndian, "1.2.3.4", "names no transfer syntax"),
        (ExplicitVRLittleEndian, "\x1b[31m", "names no transfer syntax"),
        (SecondaryCaptureImageStorage, "\x1b[31m", "not a CR, DX"),
        ("MONOCHROME2", "\x1b[31m", "not a gray image"),
    ):
        assert problem in refusal(content.replace(old.encode(), new.encode().ljust(len(old), b"\0")))
    video = encapsulated(secondary(stored(RAMP, 8), 8), MPEG2MPML, b"1234")
    assert "cannot be decoded" in refusal(video)


@pytest.mark.parametrize(
    ("syntax", "frame", "problem"),
    [
        (JPEGBaseline8Bit, frame_of(60000, 60000), "another size than its header says"),
        (JPEGBaseline8Bit, frame_of(40, 36).replace(b"\xff\xda", b""), "damaged"),
        (JPEGBaseline8Bit, frame_of(40, 36)[:-2], "cut off"),
        (JPEGBaseline8Bit, b"nonsense\xff\xd9", "damaged"),
        (JPEGBaseline8Bit, b"\xff\xd8" + b"\xff" * 50000 + b"\xd9", "damaged"),
        (JPEG2000Lossless, b"\xff\x4f\xff\x51" + bytes(60) + b"\xff\xd9", "damaged"),
        (JPEG2000Lossless, codestream_of(60000, 60000, 60000), "another size than its header says"),
        (JPEG2000Lossless, codestream_of(40, 36, 0), "damaged"),
        (JPEG2000Lossless, codestream_of(40, 36, 40), "damaged"),
        (RLELossless, bytes(64), "damaged"),
    ],
)
def test_compressed_images_that_lie(syntax: UID, frame: bytes, problem: str) -> None:
    assert problem in refusal(encapsulated(secondary(stored(RAMP, 8), 8), syntax, frame))


def test_a_jpeg_2000_image_of_a_million_tiles_is_refused() -> None:
    dataset = secondary(np.zeros((1000, 1000), np.uint8), 8)
    assert "has 1000000 tiles" in refusal(encapsulated(dataset, JPEG2000Lossless, codestream_of(1000, 1000, 1)))


BOMB = """
import resource, sys, time
from pathlib import Path
from cxr_infer.dicom import read_dicom
from cxr_infer.radiograph import Reading
from cxr_infer.errors import ImageError
import cxr_infer.dicom.radiograph
path = Path(sys.argv[1])
content = path.read_bytes()
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    read_dicom(path, content, Reading(max_pixels=5_000_000))
except ImageError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, time.perf_counter() - started)
"""


def test_a_deflated_bomb_takes_little_memory_and_time(tmp_path: Path) -> None:
    whole = encoded(secondary(stored(RAMP, 8), 8), DeflatedExplicitVRLittleEndian)
    head = pydicom.dcmread(BytesIO(whole), stop_before_pixels=True).file_meta
    start = 128 + 4 + 12 + head.FileMetaInformationGroupLength
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [squeezer.compress(zlib.decompress(whole[start:], -zlib.MAX_WBITS))]
    parts += [squeezer.compress(struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 2_000_000_000))]
    parts += [squeezer.flush(zlib.Z_FULL_FLUSH)]
    zeros = squeezer.compress(bytes(10_000_000)) + squeezer.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it
    parts += [zeros] * 200 + [squeezer.flush()]
    path = tmp_path / "bomb.dcm"
    path.write_bytes(whole[:start] + b"".join(parts))
    done = subprocess.run([sys.executable, "-c", BOMB, path], capture_output=True, text=True, timeout=60)
    message, figures = done.stdout.splitlines()
    megabytes, seconds = map(float, figures.split())
    assert message == f"{path}: inflates to more than 26 MB; see --max-pixels"
    assert megabytes < 100
    assert seconds < 5
    assert not done.stderr


def test_cut_and_flipped_files_are_an_image_or_an_error_of_one_line() -> None:
    rng = np.random.default_rng(0)
    messages = []
    for syntax in (
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
        RLELossless,
    ):
        content = encoded(digital(stored(RAMP, 12), 12), syntax)
        damaged = [content[:end] for end in rng.integers(DICOM_HEAD, len(content), 12)]
        for _ in range(40):
            flipped = np.frombuffer(content, np.uint8).copy()
            flipped[rng.integers(DICOM_HEAD, len(content) - 900, 6)] = rng.integers(0, 256, 6)
            damaged.append(flipped.tobytes())
        for one in (*damaged, content[:DICOM_HEAD] + rng.bytes(5000), content[:DICOM_HEAD]):
            try:
                read(one).encode(PROVENANCE)
            except ImageError as error:
                messages.append(str(error))
    assert all(message.isprintable() for message in messages)
    assert len(messages) > 100


def test_files_made_of_millions_of_attributes_or_of_a_huge_one_are_refused() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    many = np.zeros(1_000_000, np.dtype([("tag", "<u4"), ("vr", "S2"), ("length", "<u2")]))
    numbers = np.arange(many.size)
    many["tag"], many["vr"] = 0x7FE1 + 2 * (numbers >> 16) + ((numbers & 0xFFFF) << 16), b"LO"
    assert "more attributes than any image has" in refusal(content + many.tobytes())
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    sequence = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"SQ", 0, 0xFFFFFFFF)
    assert "more attributes than any image has" in refusal(content + sequence + item * 1_000_000)
    blob = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 20_000_000) + bytes(20_000_000)
    assert "has 20 MB of attributes" in refusal(content + blob)


def test_sequences_nested_without_end_are_an_error() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    nested = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    start = content.index(b"\x08\x00\x05\x00CS")
    assert "damaged" in refusal(content[:start] + nested * 20000)


def test_every_file_bundled_with_pydicom_is_read_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """The warnings filter of these tests makes an exception of whatever pydicom warns of and we let through."""
    outcomes = {"read": 0, "refused": 0, "not DICOM": 0}
    for path in sorted(BUNDLED.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if not is_dicom(content[:DICOM_HEAD]):
            outcomes["not DICOM"] += 1
            continue
        try:
            radiograph = read_dicom(path, content, Reading())
            radiograph.restored(radiograph.unit()).encode(PROVENANCE)
            outcomes["read"] += 1
        except ImageError as error:
            outcomes["refused"] += str(error).startswith(f"{path}: ")
    assert outcomes["read"] >= 15
    assert outcomes["refused"] >= 150
    assert capfd.readouterr() == ("", "")


def test_warnings_of_others_are_left_alone() -> None:
    read_set(computed(stored(RAMP, 8), 8))
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


def test_without_pydicom_a_line_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(encoded(computed(stored(RAMP, 8), 8)))
    code = (
        "import sys; from pathlib import Path; sys.modules['pydicom'] = None\n"
        "from cxr_infer.dicom import is_dicom, read_dicom\n"
        "from cxr_infer.radiograph import Reading\n"
        "path = Path(sys.argv[1]); content = path.read_bytes(); assert is_dicom(content[:132])\n"
        "try: read_dicom(path, content, Reading())\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == f"{path}: a DICOM file; reading it needs pip install 'cxr-infer[dicom]'\n"


def test_a_missing_plugin_is_told_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(computed(stored(RAMP, 8), 8), RLELossless)
    monkeypatch.setattr("cxr_infer.dicom.stored.PLUGIN", "absent")
    assert "needs pip install 'cxr-infer[dicom]'" in refusal(content)


def test_the_head_decides_what_is_dicom() -> None:
    content = encoded(computed(stored(RAMP, 8), 8))
    assert is_dicom(content[:DICOM_HEAD])
    assert not is_dicom(content[:131])
    assert not is_dicom(b"\x89PNG" + bytes(200))
