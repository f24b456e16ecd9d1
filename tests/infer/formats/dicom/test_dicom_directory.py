"""A study folder: X-rays under any name, and other files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.conftest import Run
from tests.infer.formats.dicom.dicom_files import RAMP, computed, digital, encoded, stored

PIXELS = stored(RAMP, 12)
OTHERS = {
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
    "SR.dcm": "1.2.840.10008.5.1.4.1.1.88.67",
    "KO.dcm": "1.2.840.10008.5.1.4.1.1.88.59",
    "CT/1.dcm": "1.2.840.10008.5.1.4.1.1.2",
}


@pytest.mark.slow
def test_x_rays_of_a_study_are_denoised_and_other_files_ignored(run: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    (study / "CT").mkdir(parents=True)
    whole = encoded(computed(PIXELS, 12, WindowCenter=1500, WindowWidth=1000))
    (study / "browser.jpg").write_bytes(whole)
    (study / "IM1").write_bytes(whole)
    for name, sop_class in OTHERS.items():
        dataset = digital(PIXELS, 12, SOPClassUID=sop_class)
        if not name.startswith("CT"):
            del dataset.PixelData
        (study / name).write_bytes(encoded(dataset))
    (study / "old.dcm.gz").write_bytes(b"\x1f\x8b")
    (study / "all.zip").write_bytes(b"PK")
    done = run("cxr-infer", "dir", study, "--strength", "0", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    records = {record["name"]: record for record in json.loads((tmp_path / "r.json").read_text())["files"]}
    assert {name for name, record in records.items() if record["status"] == "done"} == {"browser.jpg", "IM1"}
    assert {name for name, record in records.items() if record["status"] == "ignored"} == {
        *OTHERS,
        "old.dcm.gz",
        "all.zip",
    }
    assert "Presentation State" in records["PR"]["message"]
    assert "ignored 6 files (hidden or not X-rays); --json lists them" in done.stderr
    assert "archives to unpack first: all.zip, old.dcm.gz" in done.stderr
    for name in ("browser.jpg", "IM1"):
        np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "study-denoised" / name).pixel_array, PIXELS)
        assert records[name]["inverted"] is False
        assert 0.5 < records[name]["outside_window"] < 0.9
    again = run("cxr-infer", "dir", study, "--strength", "0")
    assert again.returncode == 0
    assert "2 skipped" in again.stdout
    results = run("cxr-infer", "dir", f"{study}-denoised", "--out", "other")
    assert results.returncode == 0
    assert "2 skipped (already results of cxr-infer)" in results.stdout
    assert "already there" not in results.stdout


@pytest.mark.slow
def test_a_changed_invert_option_requires_a_new_result(run: Run, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "a.dcm").write_bytes(encoded(computed(PIXELS, 12)))
    for options, status in (([], "done"), ([], "skipped"), (["--invert"], "done"), (["--invert"], "skipped")):
        done = run("cxr-infer", "dir", study, "--strength", "0", "--json", "r.json", *options)
        assert done.returncode == 0, done.stderr
        (record,) = json.loads((tmp_path / "r.json").read_text())["files"]
        assert record["status"] == status
        if status == "done":
            assert record["inverted"] is bool(options)


@pytest.mark.slow
def test_a_single_file_of_another_class_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pr.dcm"
    path.write_bytes(encoded(digital(PIXELS, 12, SOPClassUID=OTHERS["PR"], PixelData=None)))
    done = run("cxr-infer", "file", path, "out.dcm")
    assert done.returncode != 0
    assert "Grayscale Softcopy Presentation State" in done.stderr
