"""DICOM results in other programs: DCMTK, dicom3tools and a PACS, Orthanc."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cxr_infer.formats.dicom.optional import read_dicom
from cxr_infer.settings import ReadOptions
from tests.infer.formats.dicom.dicom_files import (
    BUNDLED,
    PROVENANCE,
    computed,
    digital,
    encoded,
    lookup_table,
    secondary,
    stored,
)
from tests.ports import reserved_port
from tests.programs import program, server

pytestmark = pytest.mark.tools


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [program(name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)


SOURCES: dict[str, Callable[[NDArray[np.float32]], Dataset]] = {
    "cr": lambda unit: computed(stored(unit, 10, mono1=True), 10, mono1=True, WindowCenter=512, WindowWidth=900),
    "cr lut": lambda unit: computed(stored(unit, 12), 12, VOILUTSequence=[lookup_table(0, 16, range(0, 65536, 16))]),
    "dx": lambda unit: digital(stored(unit, 12, mono1=True), 12, mono1=True),
    "dx padded": lambda unit: digital(stored(unit, 14), 14, PixelPaddingValue=0),
    "dx for processing": lambda unit: digital(stored(unit, 16), 16, processing=True),
    "sc": lambda unit: secondary(stored(unit, 8), 8),
    "sc signed": lambda unit: secondary(stored(unit, 12, signed=True), 12),
}


def denoised(content: bytes, factor: float = 0.9) -> bytes:
    radiograph = read_dicom(Path("x.dcm"), content, ReadOptions())
    return radiograph.restored(radiograph.unit() * np.float32(factor)).encode(PROVENANCE)


@pytest.fixture
def results(tmp_path: Path, noisy: NDArray[np.float32]) -> dict[str, tuple[Path, Path]]:
    """By kind: the file and its result."""
    pairs = {}
    for index, (name, source) in enumerate(SOURCES.items()):
        dataset = source(noisy)
        dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{index}"
        before, after = tmp_path / f"{index}.dcm", tmp_path / f"{index}_denoised.dcm"
        before.write_bytes(encoded(dataset))
        after.write_bytes(denoised(before.read_bytes()))
        pairs[name] = before, after
    return pairs


def errors(path: Path) -> set[str]:
    """The errors that dciodvfy reports for a file."""
    done = run("dciodvfy", path)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


def test_results_of_valid_files_conform_to_the_standard(results: dict[str, tuple[Path, Path]]) -> None:
    for name, (before, after) in results.items():
        assert errors(before) == set(), name
        assert errors(after) == set(), name


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_results_from_other_transfer_syntaxes_add_no_errors(
    syntax: pydicom.uid.UID, tmp_path: Path, noisy: NDArray[np.float32]
) -> None:
    before, after = tmp_path / "before.dcm", tmp_path / "after.dcm"
    before.write_bytes(encoded(digital(stored(noisy, 12), 12), syntax))
    after.write_bytes(denoised(before.read_bytes()))
    assert errors(after) <= errors(before)


def test_results_of_files_of_other_vendors_add_no_errors(tmp_path: Path) -> None:
    names = ["JPEG2000.dcm", "JPGExtended.dcm"]
    names += [f"dicomdirtests/77654033/CR{number}/{name}" for number, name in ((1, "6154"), (2, "6247"), (3, "6278"))]
    for name in names:
        after = tmp_path / "after.dcm"
        after.write_bytes(denoised((BUNDLED / "test_files" / name).read_bytes()))
        assert errors(after) <= errors(BUNDLED / "test_files" / name), name


def test_dcmdump_reads_every_attribute(results: dict[str, tuple[Path, Path]]) -> None:
    for name, (_, after) in results.items():
        done = run("dcmdump", "+fo", after)
        assert (done.returncode, done.stderr) == (0, ""), name
        assert "Quantum mottle removed" in done.stdout
        assert run("dcmconv", after, after.with_suffix(".converted")).stderr == ""


@pytest.mark.parametrize(
    ("program", "option", "bits", "lossless"),
    [
        ("dcmcjpeg", "+e1", 12, True),  # JPEG Lossless, first-order prediction
        ("dcmcjpeg", "+el", 12, True),  # JPEG Lossless
        ("dcmcjpls", "+el", 12, True),  # JPEG-LS
        ("dcmcjpls", "+en", 12, False),
        ("dcmcjpeg", "+eb", 8, False),  # JPEG Baseline
        ("dcmcjpeg", "+ee", 12, False),  # JPEG Extended
        ("dcmcrle", "+d1", 12, True),
    ],
)
def test_images_compressed_by_dcmtk_are_read(
    program: str, option: str, bits: int, lossless: bool, tmp_path: Path, clean: NDArray[np.float32]
) -> None:
    plain, compressed = tmp_path / "plain.dcm", tmp_path / "compressed.dcm"
    pixels = stored(clean, bits)
    plain.write_bytes(encoded(secondary(pixels, bits)))
    arguments = [option] if program != "dcmcrle" else []
    assert run(program, *arguments, plain, compressed).returncode == 0
    radiograph = read_dicom(compressed, compressed.read_bytes(), ReadOptions())
    if lossless:
        np.testing.assert_array_equal(radiograph.pixels, pixels)
    else:
        np.testing.assert_allclose(radiograph.unit(), clean, atol=0.1)
    written = pydicom.dcmread(BytesIO(radiograph.encode(PROVENANCE)))
    assert written.get("LossyImageCompression", "00") == ("00" if lossless else "01")


def assert_same(sent: Path, received: bytes) -> None:
    """Compare all attributes and pixels; the receiver writes a file header of its own."""
    before, after = pydicom.dcmread(sent), pydicom.dcmread(BytesIO(received))
    assert after.PixelData == before.PixelData
    assert [element for element in after if element.tag.group != 2] == list(before)


def test_results_pass_unchanged_from_storescu_to_storescp(
    results: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    port, received = reserved_port(), tmp_path / "received"
    received.mkdir()
    sent = [after for _, after in results.values()]
    with server(port, "storescp", "--output-directory", received, port):
        done = run("storescu", "127.0.0.1", port, *sent)
        assert done.returncode == 0, done.stderr
    arrived = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in received.iterdir()}
    assert len(arrived) == len(sent)
    for path in sent:
        assert_same(path, arrived[str(pydicom.dcmread(path).SOPInstanceUID)].read_bytes())


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """An empty PACS on loopback: its DICOM port and its HTTP address."""
    dicom, http = reserved_port(), reserved_port()
    configuration = tmp_path / "orthanc.json"
    storage = tmp_path / "orthanc"
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(storage),
                "IndexDirectory": str(storage),
                "Plugins": [],
                "DicomPort": dicom,
                "HttpPort": http,
                "HttpBindAddresses": ["127.0.0.1"],
                "DicomServerEnabled": True,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "OverwriteInstances": False,
            }
        )
    )
    with server(http, "Orthanc", configuration):
        yield dicom, f"http://127.0.0.1:{http}"


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as response:
        return bytes(response.read())


def fetched_json(address: str) -> Any:
    return json.loads(fetched(address))


def test_a_pacs_returns_results_unchanged(results: dict[str, tuple[Path, Path]], orthanc: tuple[int, str]) -> None:
    port, address = orthanc
    files = [path for pair in results.values() for path in pair]
    again = results["dx"][1]
    again.with_suffix(".rerun").write_bytes(denoised(results["dx"][0].read_bytes()))
    for path in (*files, again.with_suffix(".rerun")):
        done = run("storescu", "127.0.0.1", port, path)
        assert done.returncode == 0, done.stderr
    instances = fetched_json(f"{address}/instances")
    assert len(instances) == len(files), "a rerun makes no duplicate"
    stored_files = {}
    for instance in instances:
        uid = fetched_json(f"{address}/instances/{instance}/simplified-tags")["SOPInstanceUID"]
        stored_files[uid] = fetched(f"{address}/instances/{instance}/file")
    for path in files:
        assert_same(path, stored_files[str(pydicom.dcmread(path).SOPInstanceUID)])
    (study,) = fetched_json(f"{address}/studies")
    assert len(fetched_json(f"{address}/studies/{study}")["Series"]) == 2, "the sources' series, and one of results"
    assert pydicom.dcmread(again).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
