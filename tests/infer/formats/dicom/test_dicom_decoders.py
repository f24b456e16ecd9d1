"""Compressed images: our pixels compared with those of DCMTK and GDCM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1

from tests.infer.formats.dicom.dicom_files import encapsulated, encoded, read, secondary, stored
from tests.infer.formats.dicom.jpeg_files import lossless_jpeg
from tests.infer.formats.dicom.test_dicom_tools import run
from tests.programs import program as required

pytestmark = pytest.mark.tools
OTHERS = {"DCMTK": ("dcmdjpeg",), "GDCM": ("gdcmconv", "--raw")}


def decoded_by(program: str, content: bytes, place: Path) -> NDArray[np.integer]:
    """The pixels of a compressed file, decompressed by another program."""
    before, after = place / "before.dcm", place / "after.dcm"
    before.write_bytes(content)
    after.unlink(missing_ok=True)
    name, *options = OTHERS[program]
    done = run(name, *options, before, after)
    assert done.returncode == 0, done.stderr
    return np.asarray(pydicom.dcmread(after).pixel_array)


def rough(bits: int, signed: bool = False) -> NDArray[np.integer]:
    """(24, 31): smooth, noisy, with black pixels next to white ones."""
    y, x = np.mgrid[:24, :31]
    unit = 0.5 + 0.5 * np.sin(x / 5) * np.cos(y / 4) + np.random.default_rng(bits).normal(0, 0.05, x.shape)
    unit[::5, ::3] = (x + y)[::5, ::3] % 2
    return stored(np.clip(unit, 0, 1), bits, signed)


@pytest.mark.parametrize("program", OTHERS)
@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_of_every_depth_matches_other_decoders(program: str, predictor: int, tmp_path: Path) -> None:
    required(OTHERS[program][0])
    syntax = JPEGLosslessSV1 if predictor == 1 else JPEGLossless
    for bits in range(8, 17):
        pixels = rough(bits)
        for wraps in (False, True) if predictor < 5 else (False,):  # for the others, decoders wrap differently
            frame = lossless_jpeg(pixels, bits, predictor, wraps=wraps)
            content = encapsulated(secondary(pixels, bits), syntax, frame + b"\0" * (len(frame) % 2))
            theirs = decoded_by(program, content, tmp_path)
            np.testing.assert_array_equal(theirs, pixels, err_msg=f"{bits} bits, {wraps=}")
            np.testing.assert_array_equal(read(content).pixels, theirs)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("syntax", "ratios"), [(JPEG2000Lossless, []), (JPEG2000, [8])])
def test_jpeg_2000_matches_gdcm(syntax: UID, ratios: list[int], signed: bool, tmp_path: Path) -> None:
    required("gdcmconv")
    for bits in (8, 10, 12, 16):
        pixels = np.tile(rough(bits, signed), (2, 2))
        frame = encode_array(pixels, bits_stored=bits, photometric_interpretation=2, compression_ratios=ratios)
        content = encapsulated(secondary(pixels, bits), syntax, frame + b"\0" * (len(frame) % 2))
        np.testing.assert_array_equal(read(content).pixels, decoded_by("GDCM", content, tmp_path))


@pytest.mark.parametrize(
    ("encoder", "options", "bits"),
    [
        ("dcmcjpeg", ("+eb", "+q", "90"), 8),
        ("dcmcjpeg", ("+ee", "+q", "90"), 12),
        ("dcmcjpeg", ("+el", "+sv", "6"), 16),
        ("dcmcjpls", ("+el",), 8),
        ("dcmcjpls", ("+el",), 16),
    ],
)
def test_images_encoded_by_dcmtk_match_gdcm(encoder: str, options: tuple[str, ...], bits: int, tmp_path: Path) -> None:
    required("gdcmconv")
    plain, compressed = tmp_path / "plain.dcm", tmp_path / "compressed.dcm"
    plain.write_bytes(encoded(secondary(rough(bits), bits)))
    assert run(encoder, *options, plain, compressed).returncode == 0
    content = compressed.read_bytes()
    theirs = decoded_by("GDCM", content, tmp_path).astype(int)
    np.testing.assert_allclose(read(content).pixels, theirs, atol=1 if "+ee" in options else 0)
