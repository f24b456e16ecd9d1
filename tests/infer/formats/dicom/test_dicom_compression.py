"""`--compress keep`: results are losslessly compressed in the family of their sources and hold the same pixels."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_infer.errors import UsageError
from cxr_infer.formats.dicom import compression
from cxr_infer.settings import KEEP, NONE, Settings
from tests.conftest import Run
from tests.infer.formats.dicom.dicom_files import (
    PROVENANCE,
    RAMP,
    computed,
    digital,
    encapsulated,
    encoded,
    read,
    result,
    secondary,
    stored,
)
from tests.infer.formats.dicom.jpeg_files import lossless_jpeg
from tests.infer.formats.dicom.test_dicom_codestreams import jpeg, jpeg_2000

KEPT = replace(PROVENANCE, settings=Settings(strength=0.0, compress=KEEP))
PLAIN = replace(PROVENANCE, settings=Settings(strength=0.0))
SOURCES = {
    "12 bit": lambda: digital(stored(RAMP, 12), 12),
    "12 bit, inverted": lambda: digital(stored(RAMP, 12, mono1=True), 12, mono1=True),
    "16 bit": lambda: computed(stored(RAMP, 16), 16),
    "signed": lambda: computed(stored(RAMP, 12, signed=True), 12),
    "signed, 16 bit": lambda: computed(stored(RAMP, 16, signed=True), 16),
    "8 bit": lambda: secondary(stored(RAMP, 8), 8),
    "8 bit, odd": lambda: secondary(stored(RAMP[:39, :35], 8), 8),
}


WRITTEN = (
    RLELossless,
    JPEG2000Lossless,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)


def compressed(dataset: Dataset, syntax: UID) -> bytes:
    """A file in a transfer syntax; JPEG Lossless by the encoder of these tests, not by the one under test."""
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="no pyjpegls")
    if syntax not in (JPEGLossless, JPEGLosslessSV1):
        return encoded(dataset, syntax)
    words = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}", dataset.Rows * dataset.Columns)
    samples = words.reshape(dataset.Rows, dataset.Columns) & ((1 << dataset.BitsStored) - 1)
    predictor = 1 if syntax == JPEGLosslessSV1 else 6
    return encapsulated(dataset, syntax, lossless_jpeg(samples, dataset.BitsStored, predictor))


def unchanged(content: bytes, compress: str = KEEP) -> FileDataset:
    """The result at a strength of 0, as another program reads it."""
    radiograph = read(content)
    return result(radiograph.restored(radiograph.unit()), KEPT if compress == KEEP else PLAIN)


@pytest.mark.parametrize("syntax", WRITTEN, ids=str)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_compression_family_and_every_pixel_are_kept(syntax: UID, source: object) -> None:
    content = compressed(source(), syntax)  # type: ignore[operator]
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(kept.pixel_array, pydicom.dcmread(BytesIO(content)).pixel_array)
    assert read(content).encoding_notes(KEPT.settings) == ()


def test_the_instance_uid_does_not_depend_on_the_compression() -> None:
    content = encoded(digital(stored(RAMP, 12), 12), RLELossless)
    kept, plain = unchanged(content), unchanged(content, NONE)
    assert plain.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert kept.SOPInstanceUID == plain.SOPInstanceUID == kept.file_meta.MediaStorageSOPInstanceUID
    np.testing.assert_array_equal(kept.pixel_array, plain.pixel_array)
    assert [e.tag for e in kept] == [e.tag for e in plain]


def test_a_smooth_image_takes_less_space() -> None:
    smooth = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16)
    for syntax in WRITTEN:
        radiograph = read(compressed(digital(smooth, 12), syntax))
        assert len(radiograph.encode(KEPT)) < 0.7 * len(radiograph.encode(PLAIN)), syntax.name


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=str)
def test_uncompressed_sources_stay_uncompressed_without_a_note(syntax: UID) -> None:
    content = encoded(digital(stored(RAMP, 12), 12), syntax)
    assert unchanged(content).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read(content).encoding_notes(KEPT.settings) == ()


def test_general_jpeg_2000_becomes_lossless() -> None:
    source = pydicom.dcmread(BytesIO(encoded(digital(stored(RAMP, 12), 12), JPEG2000Lossless)))
    source.file_meta.TransferSyntaxUID = JPEG2000
    stream = BytesIO()
    source.save_as(stream, enforce_file_format=True)
    content = stream.getvalue()
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == JPEG2000Lossless
    np.testing.assert_array_equal(kept.pixel_array, source.pixel_array)


def test_lossy_jpeg_2000_becomes_lossless_and_stays_marked_lossy() -> None:
    lossy = jpeg_2000(stored(RAMP, 12), 12, compression_ratios=[5])
    content = encapsulated(digital(stored(RAMP, 12), 12), JPEG2000, lossy)
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert kept.LossyImageCompression == "01"
    np.testing.assert_array_equal(kept.pixel_array, read(content).pixels)


@pytest.mark.parametrize("near", [0, 3])
def test_near_lossless_jpeg_ls_becomes_lossless_and_stays_marked_lossy(near: int) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="no pyjpegls")
    pixels = stored(RAMP, 12)
    content = encapsulated(digital(pixels, 12), JPEGLSNearLossless, bytes(jpeg_ls.encode(pixels, lossy_error=near)))
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert kept.LossyImageCompression == ("01" if near else "00")
    np.testing.assert_array_equal(kept.pixel_array, read(content).pixels)


def test_other_compression_families_are_left_uncompressed_with_a_note() -> None:
    content = encapsulated(secondary(stored(RAMP, 8), 8), JPEGBaseline8Bit, jpeg(stored(RAMP, 8)))
    (note,) = read(content).encoding_notes(KEPT.settings)
    assert note == "JPEG Baseline (Process 1) cannot be written; the result is uncompressed"
    assert read(content).encoding_notes(PLAIN.settings) == ()
    assert unchanged(content).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless], ids=str)
def test_8_bit_values_in_16_bit_words_are_left_uncompressed(syntax: UID) -> None:
    """Other programs fail on them."""
    pixels = stored(RAMP, 8).astype(np.uint16)
    content = compressed(digital(pixels, 8), syntax)
    np.testing.assert_array_equal(read(content).pixels, pixels)
    (note,) = read(content).encoding_notes(KEPT.settings)
    assert note.endswith("the result is uncompressed")
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(kept.pixel_array, pixels)


@pytest.mark.parametrize(
    ("syntax", "encoder", "name"),
    [
        (JPEG2000Lossless, "JPEG2000LosslessEncoder", "JPEG 2000 Image Compression (Lossless Only)"),
        (JPEGLSLossless, "JPEGLSLosslessEncoder", "JPEG-LS Lossless Image Compression"),
    ],
)
def test_a_missing_encoder_is_noted(syntax: UID, encoder: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = compressed(digital(stored(RAMP, 12), 12), syntax)

    class Absent:
        is_available = False

    monkeypatch.setattr(compression, encoder, Absent)
    assert unchanged(content).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read(content).encoding_notes(KEPT.settings) == (f"{name} cannot be written; the result is uncompressed",)


def with_overlay(syntax: UID) -> tuple[bytes, bytes]:
    """A file with an overlay above the 12 bits of its values, and its words."""
    words = stored(RAMP, 12) | ((np.arange(RAMP.size).reshape(RAMP.shape) % 3 == 0) << 12).astype(np.uint16)
    dataset: Dataset = digital(stored(RAMP, 12), 12)
    dataset.add_new(0x60000010, "US", RAMP.shape[0])
    dataset.add_new(0x60000011, "US", RAMP.shape[1])
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    dataset.PixelData = words.astype("<u2").tobytes()
    dataset.BitsStored, dataset.HighBit = 16, 15  # for the encoder, which would refuse higher bits
    content = pydicom.dcmread(BytesIO(encoded(dataset, syntax)))
    content.BitsStored, content.HighBit = 12, 11
    stream = BytesIO()
    content.save_as(stream, enforce_file_format=True)
    return stream.getvalue(), words.astype("<u2").tobytes()


def test_overlay_bits_above_the_values_are_kept() -> None:
    content, words = with_overlay(RLELossless)
    kept = unchanged(content)
    assert kept.file_meta.TransferSyntaxUID == RLELossless
    kept.BitsStored, kept.HighBit = 16, 15  # whole words, because pydicom would mask the overlay
    assert kept.pixel_array.astype("<u2").tobytes() == words
    content, words = with_overlay(JPEG2000Lossless)
    kept = unchanged(content)
    assert (kept.file_meta.TransferSyntaxUID, kept.PixelData) == (ExplicitVRLittleEndian, words)
    assert len(read(content).encoding_notes(KEPT.settings)) == 1


@pytest.mark.skipif(shutil.which("gdcmconv") is None, reason="no gdcmconv")
@pytest.mark.parametrize("syntax", WRITTEN, ids=str)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_gdcm_reads_the_same_pixels(syntax: UID, source: object, tmp_path: Path) -> None:
    content = compressed(source(), syntax)  # type: ignore[operator]
    unchanged(content).save_as(tmp_path / "kept.dcm", enforce_file_format=True)
    subprocess.run(["gdcmconv", "--raw", tmp_path / "kept.dcm", tmp_path / "raw.dcm"], check=True)
    raw = pydicom.dcmread(tmp_path / "raw.dcm")
    np.testing.assert_array_equal(raw.pixel_array, pydicom.dcmread(BytesIO(content)).pixel_array)


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="no dcmdjpeg")
@pytest.mark.parametrize(
    ("syntax", "program"),
    [(JPEGLossless, "dcmdjpeg"), (JPEGLosslessSV1, "dcmdjpeg"), (JPEGLSLossless, "dcmdjpls")],
    ids=str,
)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_dcmtk_reads_the_same_pixels(syntax: UID, program: str, source: object, tmp_path: Path) -> None:
    content = compressed(source(), syntax)  # type: ignore[operator]
    unchanged(content).save_as(tmp_path / "kept.dcm", enforce_file_format=True)
    subprocess.run([program, tmp_path / "kept.dcm", tmp_path / "raw.dcm"], check=True)
    raw = pydicom.dcmread(tmp_path / "raw.dcm")
    np.testing.assert_array_equal(raw.pixel_array, pydicom.dcmread(BytesIO(content)).pixel_array)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy")
@pytest.mark.parametrize("syntax", WRITTEN, ids=str)
def test_compression_adds_no_errors_to_a_file(syntax: UID, tmp_path: Path) -> None:
    content = compressed(digital(stored(RAMP, 12), 12), syntax)
    (tmp_path / "before.dcm").write_bytes(content)
    (tmp_path / "after.dcm").write_bytes(read(content).encode(KEPT))
    found = []
    for name in ("before.dcm", "after.dcm"):
        done = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True)
        found.append({line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")})
    assert found[1] <= found[0]


@pytest.mark.slow
def test_the_command_keeps_the_compression_if_asked(run: Run, tmp_path: Path, identity_onnx: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.dcm").write_bytes(encoded(digital(stored(RAMP, 12), 12), JPEG2000Lossless))
    command = ("cxr-infer", "dir", "x", "--model", identity_onnx, "--quiet", "--json", "r.json")
    syntaxes, statuses = [], []
    for option in ("none", "keep", "keep"):
        done = run(*command, "--compress", option)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["settings"]["compress"] == option
        statuses.append(report["files"][0]["status"])
        syntaxes.append(pydicom.dcmread(tmp_path / "x-denoised" / "a.dcm").file_meta.TransferSyntaxUID)
    assert syntaxes == [ExplicitVRLittleEndian, JPEG2000Lossless, JPEG2000Lossless]
    assert statuses == ["done", "done", "skipped"]
    done = run("cxr-infer", "file", "x/a.dcm", "b.dcm", "--compress", "jpeg")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("jpeg", "keep", "none"))
    with pytest.raises(UsageError):
        Settings(compress="")
