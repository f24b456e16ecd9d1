"""Unsuitable, damaged and hostile DICOM files: each is refused in one line or read correctly."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    MPEG2MPML,
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.formats.dicom.signature import DICOM_HEAD, is_dicom
from cxr_infer.settings import ReadOptions
from tests.conftest import Run
from tests.infer.formats.dicom.dicom_files import (
    BUNDLED,
    PROVENANCE,
    RAMP,
    digital,
    encapsulated,
    encoded,
    read,
    refusal,
    secondary,
    stored,
)


def frame_of(rows: int, columns: int) -> bytes:
    """The beginning of a JPEG that declares that size."""
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, rows, columns, 1) + b"\x01\x11\x00\xff\xda\xff\xd9"


def codestream_of(rows: int, columns: int, tile: int) -> bytes:
    """The beginning of a JPEG 2000 image that declares that size and square tiles."""
    size = struct.pack(">HH8IH", 41, 0, columns, rows, 0, 0, tile, tile, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01\xff\xd9"


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"SOPClassUID": CTImageStorage}, "is DICOM but not an X-ray (CT Image)"),
        ({"NumberOfFrames": 2}, "has 2 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not a gray image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not a gray image"),
        ({"PhotometricInterpretation": None}, "lacks PhotometricInterpretation"),
        ({"PhotometricInterpretation": " "}, "lacks PhotometricInterpretation"),
        ({"PixelData": None}, "contains no pixel data"),
        ({"Rows": None}, "lacks a valid Rows"),
        ({"Rows": 0}, "invalid image size"),
        ({"Rows": 60000, "Columns": 60000}, "60000x60000 pixels are more than the 100000000 allowed"),
        ({"Rows": 400}, "ends after 1440 of 14400 bytes"),
        ({"BitsAllocated": 32}, "of 32 bits"),
        ({"BitsStored": 7, "HighBit": 6}, "stores 7 of 8 bits"),
        ({"BitsStored": 9, "HighBit": 8}, "stores 9 of 8 bits"),
        ({"SOPInstanceUID": None}, "lacks SOPInstanceUID"),
        ({"SeriesInstanceUID": ""}, "lacks SeriesInstanceUID"),
        ({"StudyInstanceUID": None}, "lacks StudyInstanceUID"),
    ],
)
def test_unsuitable_images_are_refused_in_one_line(attributes: dict[str, Any], problem: str) -> None:
    dataset = secondary(stored(RAMP, 8), 8)
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    message = refusal(encoded(dataset))
    assert problem in message
    assert "SECRET" not in message.upper()


def test_undecodable_files_are_refused_with_the_reason() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    for old, new, problem in (
        (ExplicitVRLittleEndian, "1.2.3.4", "its transfer syntax is not a standard one"),
        (ExplicitVRLittleEndian, "\x1b[31m", "its transfer syntax is not a standard one"),
        (SecondaryCaptureImageStorage, "\x1b[31m", "its SOPClassUID is invalid"),
        ("MONOCHROME2", "\x1b[31m", "not a gray image"),
    ):
        assert problem in refusal(content.replace(old.encode(), new.encode().ljust(len(old), b"\0")))
    video = encapsulated(secondary(stored(RAMP, 8), 8), MPEG2MPML, b"1234")
    assert "cannot be decoded" in refusal(video)


@pytest.mark.parametrize(
    ("syntax", "frame", "problem"),
    [
        (JPEGBaseline8Bit, frame_of(60000, 60000), "its header disagree about the size"),
        (JPEGBaseline8Bit, frame_of(40, 36).replace(b"\xff\xda", b""), "damaged"),
        (JPEGBaseline8Bit, frame_of(40, 36)[:-2], "truncated"),
        (JPEGBaseline8Bit, b"nonsense\xff\xd9", "damaged"),
        (JPEGBaseline8Bit, b"\xff\xd8" + b"\xff" * 50000 + b"\xd9", "damaged"),
        (JPEG2000Lossless, b"\xff\x4f\xff\x51" + bytes(60) + b"\xff\xd9", "damaged"),
        (JPEG2000Lossless, codestream_of(60000, 60000, 60000), "its header disagree about the size"),
        (JPEG2000Lossless, codestream_of(40, 36, 0), "damaged"),
        (JPEG2000Lossless, codestream_of(40, 36, 40), "damaged"),
        (RLELossless, bytes(64), "damaged"),
    ],
)
def test_compressed_images_with_false_headers_are_refused(syntax: UID, frame: bytes, problem: str) -> None:
    assert problem in refusal(encapsulated(secondary(stored(RAMP, 8), 8), syntax, frame))


def test_a_jpeg_2000_image_of_a_million_tiles_is_refused() -> None:
    dataset = secondary(np.zeros((1000, 1000), np.uint8), 8)
    assert "has 1000000 tiles" in refusal(encapsulated(dataset, JPEG2000Lossless, codestream_of(1000, 1000, 1)))


BOMB = """
import resource, sys, time
from pathlib import Path
from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.settings import ReadOptions
from cxr_infer.errors import ImageError
import cxr_infer.formats.dicom.reader
path = Path(sys.argv[1])
content = path.read_bytes()
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_dicom(path, content, ReadOptions(max_pixels=5_000_000))
except ImageError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, time.process_time() - started)
"""


def test_a_deflated_bomb_takes_little_memory_and_time(tmp_path: Path) -> None:
    whole = encoded(secondary(stored(RAMP, 8), 8), DeflatedExplicitVRLittleEndian)
    head = pydicom.dcmread(BytesIO(whole), stop_before_pixels=True).file_meta
    start = 128 + 4 + 12 + head.FileMetaInformationGroupLength
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [squeezer.compress(zlib.decompress(whole[start:], -zlib.MAX_WBITS))]
    parts += [squeezer.compress(struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 2_000_000_000))]
    parts += [squeezer.flush(zlib.Z_FULL_FLUSH)]
    zeros = squeezer.compress(bytes(10_000_000)) + squeezer.flush(zlib.Z_FULL_FLUSH)  # independent of what precedes it
    parts += [zeros] * 200 + [squeezer.flush()]
    path = tmp_path / "bomb.dcm"
    path.write_bytes(whole[:start] + b"".join(parts))
    done = subprocess.run([sys.executable, "-c", BOMB, path], capture_output=True, text=True, timeout=600)
    message, figures = done.stdout.splitlines()
    megabytes, seconds = map(float, figures.split())
    assert message == f"{path}: inflates to more than 26 MB; see --max-pixels"
    assert megabytes < 100
    assert seconds < 5
    assert not done.stderr


def test_truncated_and_corrupted_files_are_read_or_refused_in_one_line() -> None:
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


@pytest.mark.slow
def test_files_with_too_many_or_too_large_attributes_are_refused() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    many = np.zeros(1_000_000, np.dtype([("tag", "<u4"), ("vr", "S2"), ("length", "<u2")]))
    numbers = np.arange(many.size)
    many["tag"], many["vr"] = 0x7FE1 + 2 * (numbers >> 16) + ((numbers & 0xFFFF) << 16), b"LO"
    assert "too many attributes for an image" in refusal(content + many.tobytes())
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    sequence = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"SQ", 0, 0xFFFFFFFF)
    assert "too many attributes for an image" in refusal(content + sequence + item * 1_000_000)
    blob = struct.pack("<HH2sHI", 0x7FE1, 0x1010, b"OB", 0, 20_000_000) + bytes(20_000_000)
    assert "has 20 MB of attributes" in refusal(content + blob)


def test_endlessly_nested_sequences_are_refused() -> None:
    content = encoded(secondary(stored(RAMP, 8), 8))
    nested = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    start = content.index(b"\x08\x00\x05\x00CS")
    assert "damaged" in refusal(content[:start] + nested * 20000)


def test_every_file_bundled_with_pydicom_is_read_or_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """The warnings filter of these tests turns every pydicom warning that we let through into an exception."""
    outcomes = {"read": 0, "refused": 0, "not DICOM": 0}
    for path in sorted(BUNDLED.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if not is_dicom(content[:DICOM_HEAD]):
            outcomes["not DICOM"] += 1
            continue
        try:
            radiograph = read_dicom(path, content, ReadOptions())
            radiograph.restored(radiograph.unit()).encode(PROVENANCE)
            outcomes["read"] += 1
        except ImageError as error:
            outcomes["refused"] += str(error).startswith(f"{path}: ")
    assert outcomes["read"] >= 15
    assert outcomes["refused"] >= 150
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pydicom, as it reads the names
def test_a_run_over_the_files_bundled_with_pydicom_names_no_patient(run: Run, tmp_path: Path) -> None:
    done = run("cxr-infer", "dir", BUNDLED, "--out", "out", "--json", "r.json")
    assert done.returncode == 1, done.stderr
    output = done.stdout + done.stderr + (tmp_path / "r.json").read_text()
    assert "bug in cxr-infer" not in output
    records = json.loads((tmp_path / "r.json").read_text())["files"]
    files = [path.relative_to(BUNDLED).as_posix() for path in BUNDLED.rglob("*") if path.is_file()]
    assert {record["name"] for record in records} == set(files)
    assert sum(record["status"] == "done" for record in records) >= 15
    for path in files:
        with contextlib.suppress(pydicom.errors.InvalidDicomError, TypeError):
            name = str(pydicom.dcmread(BUNDLED / path, specific_tags=["PatientName"]).get("PatientName", ""))
            assert len(name) < 4 or name not in output, path
