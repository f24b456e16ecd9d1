"""DICOM read and written: transfer syntaxes, files of other programs, pixel spacing."""

from __future__ import annotations

import base64
import struct
import warnings
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cxr_infer.formats.dicom.signature import DICOM_HEAD, is_dicom
from tests.infer.formats.dicom.dicom_files import (
    BUNDLED,
    RAMP,
    computed,
    encapsulated,
    encoded,
    lookup_table,
    read,
    read_set,
    refusal,
    result,
    stored,
)


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
def test_every_transfer_syntax_is_read_bit_exact(syntax: UID, bits: int, signed: bool) -> None:
    pixels = stored(RAMP, bits, signed)
    content = encoded(computed(pixels, bits), syntax)
    radiograph = read(content)
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    written = result(radiograph)
    assert written.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(written.pixel_array, pixels)
    assert written.PatientName == "Müller^Secret"


HIGH_THROUGHPUT = base64.b64decode(  # RAMP in 12 bits, reversibly, by OpenJPH 0.26.3; no installed library writes it
    "/0//UQApQAAAAAAkAAAAKAAAAAAAAAAAAAAAJAAAACgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAfQAAf+TwAArADMA6eV//zHKAsM0AMAAEcAAEwABEwD1+QAiNADAABJAABUQ"
    "AASAAM3UAMJ8XgDkdJUA/gDjAMAAE8AAFpQAATCWAGqt1xYAAJhuumnTTQQFkIB6fGxjKnsAgjQZzRUAwAAW5AABb0AAFoCgFGQAIkAH0hf+jQN/"
    "0p77f+tht/lRvp7I+yQBAGCunFm5cgDmzMzKcgDEYxgD5YxgS2hbsJFYvkIBhAD4iICXSyehmggqLQcNAMAAL16AAF9AQAAvRAFCJAGaCBJEkAgC"
    "iUAWIJQgBZNEECiCBACB/As5qAy1ZzHIPM52llu42ftIpO/TstXZs5p3smVdDtdzmy67Szni7a9SKTuPVX3zmznarch+BDtdDtlNnO9dMpkTQwQA"
    "AABRAKIAoAAQQQAEAoBAAAAARAACAkQBlJUBToBSmVmAWckUMJWVAU5lJYAzgLLyoIciEBbFEICnWIQHNIhAc1cugbudc15dt3Oucr/XVO+mHT1V"
    "6DMNPWfpfLO614vv9Ya68lv9bda8stPVXWvLp6afWvLoG4qcv/7zpjl/BAAAAAAAIAAAAAAgAADgAAAAd9LWijF02ojsvGQrd5aBKfohHS1olBMx"
    "Cjsvmzh23eW+R1raIR302pKCfacwWvWcE0YD/9k="
)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_high_throughput_jpeg_2000_is_read_bit_exact_or_refused(syntax: UID) -> None:
    pixels = stored(RAMP, 12)
    radiograph = read(encapsulated(computed(pixels, 12), syntax, HIGH_THROUGHPUT))
    np.testing.assert_array_equal(radiograph.pixels, pixels)
    np.testing.assert_array_equal(result(radiograph).pixel_array, pixels)
    assert "truncated" in refusal(encapsulated(computed(pixels, 12), syntax, HIGH_THROUGHPUT[:300]))


def test_big_endian_words_outside_the_pixel_data_are_swapped_too() -> None:
    dataset = computed(stored(RAMP, 12), 12)
    lut = lookup_table(0, 12, range(4096))
    lut.add_new("LUTData", "OW", np.arange(4096, dtype=">u2").tobytes())
    dataset.VOILUTSequence = [lut]
    radiograph = read_set(dataset, ExplicitVRBigEndian)
    np.testing.assert_allclose(radiograph.unit(), RAMP, atol=1e-3)
    assert result(radiograph).VOILUTSequence[0].LUTData == np.arange(4096, dtype="<u2").tobytes()


def test_implicit_vr_under_an_explicit_vr_header_is_read_and_written() -> None:
    pixels = stored(RAMP, 12)
    content = encoded(computed(pixels, 12), ImplicitVRLittleEndian)
    implicit = f"{ImplicitVRLittleEndian}\0".encode()
    meta = b"\x02\x00\x10\x00UI"
    old = meta + struct.pack("<H", len(implicit)) + implicit
    explicit = f"{ExplicitVRLittleEndian}\0".encode()
    assert content.count(old) == 1
    content = content.replace(old, meta + struct.pack("<H", len(explicit)) + explicit)
    written = result(read(content))
    np.testing.assert_array_equal(written.pixel_array, pixels)
    assert written.PatientName == "Müller^Secret"


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
def test_files_of_other_encoders_are_read_bit_exact(name: str) -> None:
    dataset = pydicom.dcmread(BUNDLED / "test_files" / f"{name}.dcm")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    stream = BytesIO()
    dataset.save_as(stream)
    expected = pydicom.dcmread(BUNDLED / "test_files" / "MR_small.dcm").pixel_array
    np.testing.assert_array_equal(read(stream.getvalue()).pixels, expected)


def test_warnings_of_the_caller_are_not_suppressed() -> None:
    read_set(computed(stored(RAMP, 8), 8))
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", stacklevel=1)


def test_the_first_bytes_decide_whether_a_file_is_dicom() -> None:
    content = encoded(computed(stored(RAMP, 8), 8))
    assert is_dicom(content[:DICOM_HEAD])
    assert not is_dicom(content[:131])
    assert not is_dicom(b"\x89PNG" + bytes(200))


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"ImagerPixelSpacing": [0.143, 0.143], "PixelSpacing": [0.1, 0.1]}, 0.143),
        ({"PixelSpacing": ["0.2", "0.2"]}, 0.2),
        ({"ImagerPixelSpacing": [0.1, 0.2], "PixelSpacing": [0.2, 0.2]}, 0.2),
        ({"ImagerPixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": "0.2"}, None),
        ({}, None),
    ],
)
def test_imager_pixel_spacing_takes_precedence_over_pixel_spacing(
    attributes: dict[str, object], spacing: float | None
) -> None:
    assert read(encoded(computed(stored(RAMP, 12), 12, **attributes))).pixel_spacing == spacing
