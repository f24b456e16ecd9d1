"""The torture directory through the real command: expected outcomes, nothing else touched, memory bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxr_infer.formats.dicom.signature import DICOM_HEAD, is_dicom
from cxr_infer.formats.registry import output_name
from cxr_infer.storage.record_files import LEDGER
from tests.conftest import REPOSITORY
from tests.infer.torture import build
from tests.infer.torture_case import DONE, FAILED, IGNORED, Case

ENOUGH_MEMORY = 300  # MB; the bombs ask for a gigabyte and more


@dataclass(frozen=True)
class Tortured:
    """The outcome of a run over the directory."""

    source: Path
    out: Path
    cases: dict[str, Case]
    records: dict[str, dict[str, Any]]
    done: subprocess.CompletedProcess[str]
    untouched: bool
    peak: float  # MB


def facts(folder: Path) -> dict[str, tuple[object, ...]]:
    """Names, kinds, sizes, times and contents of everything in a directory."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
        content = path.read_bytes() if plain else None
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


@pytest.fixture(scope="module")
def tortured(tmp_path_factory: pytest.TempPathFactory) -> Tortured:
    """One run at strength 0, so that good pixels can be checked bit-exactly."""
    place = tmp_path_factory.mktemp("torture")
    source, out, report = place / "in", place / "out", place / "report.json"
    cases = build(source)
    before = facts(source)
    command = [sys.executable, "-m", "benchmarks.memory", place / "peak", "dir", source, "--out", out]
    done = subprocess.run(
        [*command, "--strength", "0", "--json", report],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    records = {record["name"]: record for record in json.loads(report.read_text())["files"]}
    return Tortured(source, out, cases, records, done, facts(source) == before, float((place / "peak").read_text()))


def result_of(name: str) -> str:
    """Return the name of a file's result: DICOM keeps its name, all else depends on the suffix."""
    path = Path(name)
    return (path if path.stem == "dicom by content" else path.with_name(output_name(path.name))).as_posix()


def test_every_file_has_one_record(tortured: Tortured) -> None:
    assert len(tortured.cases) > 120
    assert set(tortured.records) == set(tortured.cases)


def test_every_file_has_its_expected_outcome(tortured: Tortured) -> None:
    wrong = {
        name: (tortured.records[name]["status"], tortured.records[name]["message"])
        for name, case in tortured.cases.items()
        if tortured.records[name]["status"] != case.becomes or case.reason not in tortured.records[name]["message"]
    }
    assert not wrong


def test_strength_0_returns_pixels_bit_exact_with_their_orientation(tortured: Tortured) -> None:
    checked = 0
    for name, case in tortured.cases.items():
        if case.becomes != DONE:
            continue
        path = tortured.out / result_of(name)
        if is_dicom(path.read_bytes()[:DICOM_HEAD]):
            checked += 1
            np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, case.stored, err_msg=name)
            continue
        with Image.open(path) as image:
            assert image.getexif().get(0x0112, 1) == case.orientation, name
            pixels = np.array(image)
        if name.endswith(".tif") and case.orientation in (3, 6):  # Pillow rotates these
            pixels = np.rot90(pixels, {3: 2, 6: 1}[case.orientation])
        if name == "twelve.pgm":  # Pillow rescales it
            pixels = np.rint(pixels * (4095 / 65535)).astype(np.uint16)
        if case.stored is not None:
            checked += 1
            if pixels.ndim == 3:  # WebP has no gray
                assert np.all(pixels == pixels[..., :1]), name
                pixels = pixels[..., 0]
            np.testing.assert_array_equal(pixels, case.stored, err_msg=name)
            assert pixels.dtype == case.stored.dtype or name == "gray 16.pgm", name  # Pillow returns 32 bit
    assert checked > 50


def test_only_results_are_written_and_originals_are_unchanged(tortured: Tortured) -> None:
    assert tortured.untouched
    expected = {result_of(name) for name, case in tortured.cases.items() if case.becomes == DONE}
    found = {p.relative_to(tortured.out).as_posix() for p in tortured.out.rglob("*") if not p.is_dir()}
    assert found == expected | {LEDGER}
    assert {p.name for p in tortured.source.parent.iterdir()} == {"in", "out", "outside.png", "peak", "report.json"}


def test_each_failure_is_reported_in_one_line_with_the_file(tortured: Tortured) -> None:
    assert tortured.done.returncode == 1
    assert "Traceback" not in tortured.done.stderr
    failures = [line for line in tortured.done.stderr.splitlines() if line.startswith("failed: ")]
    others = [line for line in tortured.done.stderr.splitlines() if not line.startswith("failed: ")]
    assert len(failures) == sum(case.becomes == FAILED for case in tortured.cases.values())
    assert all(line.startswith(("note: ", "ignored ")) or "/" in line for line in others), others
    assert sum(line.startswith("skipped: ") and "already denoised.dcm" in line for line in others) == 1
    ignored = sum(case.becomes == IGNORED for case in tortured.cases.values())
    assert f"ignored {ignored} files (hidden or not X-rays); " in tortured.done.stderr


def test_names_reach_the_terminal_only_as_plain_text(tortured: Tortured) -> None:
    for stream in (tortured.done.stdout, tortured.done.stderr):
        assert not {"\x1b", "\x07", "\u202e"} & set(stream)
    assert "nothing\\nat all.png" in tortured.done.stderr
    assert "text \\x1b[31m\\u202e.png" in tortured.done.stderr


def test_memory_stays_bounded(tortured: Tortured) -> None:
    assert 30 < tortured.peak < ENOUGH_MEMORY
