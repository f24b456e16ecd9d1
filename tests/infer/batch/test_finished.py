"""Results of an earlier run are not computed again, but measured, listed and shown as if they were."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.batch.engine import denoise_files
from cxr_infer.batch.jobs import make_plan
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.pixels import from_unit
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.report.results import DONE, FINISHED, SKIPPED, FileResult
from cxr_infer.report.views import Pairs
from cxr_infer.settings import KEEP, ReadOptions, Settings
from cxr_infer.storage.directory import Directory
from tests.conftest import COMMAND, Run
from tests.infer.formats.dicom.dicom_files import RAMP, computed, digital, encoded, in_every_syntax, stored
from tests.infer.good_pictures import good_cases
from tests.terminals import terminal

NO_FIGURE = "–"  # noqa: RUF001  an en dash
OF_THE_RUN = {"status", "message", "milliseconds", "megapixels_per_second"}  # these differ between runs


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("window", threads=1)


@pytest.fixture
def pair(tmp_path: Path, noisy: NDArray[np.float32], clean: NDArray[np.float32]) -> Path:
    """Five noisy files in x, four of the clean ones in clean."""
    for index in range(5):
        part = (slice(16 * index, 16 * index + 128), slice(64, 192))
        depth = np.dtype(np.uint16 if index == 4 else np.uint8)
        write_image(tmp_path / "x" / f"{index}.png", from_unit(noisy[part], depth))
        if index:
            write_image(tmp_path / "clean" / f"{index}.png", from_unit(clean[part], depth))
    return tmp_path / "x"


def figures(result: FileResult) -> dict[str, object]:
    return {name: value for name, value in result.to_dict().items() if name not in OF_THE_RUN}


def both_runs(
    folder: Path, out: Path, model: Model, settings: Settings, reading: ReadOptions
) -> Iterator[tuple[tuple[FileResult, Pairs], tuple[FileResult, Pairs]]]:
    """Yield the result and the pictures of each image, from a first and from a second run."""
    seen: list[dict[str, tuple[FileResult, Pairs]]] = []
    for _ in range(2):
        shown: dict[str, tuple[FileResult, Pairs]] = {}

        def show(result: FileResult, pairs: Pairs, shown: dict[str, tuple[FileResult, Pairs]] = shown) -> None:
            shown[result.name] = (result, pairs)

        plan = make_plan(Directory(folder), Directory(out))
        results = list(denoise_files(plan, model, settings, reading, reference=folder, show=show))
        assert {r.name for r in results if r.status in (DONE, SKIPPED)} == set(shown)
        seen.append(shown)
    for name, first in seen[0].items():
        yield first, seen[1][name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "reading"),
    [(Settings(), ReadOptions()), (Settings(0.5, compress=KEEP), ReadOptions(white=4095, invert=True))],
)
def test_a_second_run_measures_and_shows_the_finished_results(
    tmp_path: Path, model: Model, settings: Settings, reading: ReadOptions
) -> None:
    """For every kind of file, the stored result gives the figures that were measured before it was written."""
    for name, case in good_cases().items():
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(case.make, bytes):
            (tmp_path / "x" / name).write_bytes(case.make)
    dicom = dict(in_every_syntax())
    dicom["mono1"] = encoded(computed(stored(RAMP, 12, mono1=True), 12, mono1=True, WindowCenter=1500, WindowWidth=900))
    dicom["processing"] = encoded(digital(stored(RAMP, 14), 14))
    for name, content in dicom.items():
        (tmp_path / "x" / f"{name}.dcm").write_bytes(content)
    count = 0
    for (first, before), (second, after) in both_runs(tmp_path / "x", tmp_path / "out", model, settings, reading):
        assert (second.status, second.milliseconds) == (SKIPPED, None)
        assert second.message == "; ".join(filter(None, (FINISHED, first.message)))
        assert figures(second) == figures(first), first.name
        assert first.psnr is not None
        np.testing.assert_array_equal(after.whole.before, before.whole.before)
        np.testing.assert_array_equal(after.whole.after, before.whole.after)
        count += 1
    assert count > 100


def test_reports_and_references_can_be_requested_later(run: Run, pair: Path) -> None:
    """As in the README: denoise first, measure and report later."""
    assert run("cxr-infer", "dir", "x").returncode == 0
    options = ("--reference", "clean", "--report", "r.html", "--json", "r.json")
    done = run("cxr-infer", "dir", "x", *options)
    assert done.returncode == 0, done.stderr
    assert "5 skipped" in done.stdout
    assert all(f"{index}.png" in done.stdout for index in range(5))
    later = json.loads((pair.parent / "r.json").read_text())
    page = (pair.parent / "r.html").read_text()
    assert all(f'id="image-{number}"' in page for number in range(1, 6))
    run("cxr-infer", "dir", "x", *options, "--overwrite")
    fresh = json.loads((pair.parent / "r.json").read_text())
    for old, new in zip(later["files"], fresh["files"], strict=True):
        assert {k: v for k, v in old.items() if k not in OF_THE_RUN} == {
            k: v for k, v in new.items() if k not in OF_THE_RUN
        }
        assert (old["status"], new["status"]) == ("skipped", "done")
        assert (old["psnr"] is None) == (old["name"] == "0.png")
    assert later["summary"]["means"] == fresh["summary"]["means"]
    assert (later["summary"]["done"], later["summary"]["skipped"]) == (0, 5)
    assert later["summary"]["megapixels"] == 0


def test_an_unmeasured_result_has_a_reason(run: Run, pair: Path) -> None:
    assert run("cxr-infer", "dir", "x").returncode == 0
    done = run("cxr-infer", "dir", "x", "--max-pixels", "100", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((pair.parent / "r.json").read_text())["files"][0]
    assert (record["status"], record["psnr"], record["width"]) == ("skipped", None, None)
    assert "not measured: x/0.png: 128x128 pixels are more than the 100 allowed" in record["message"]
    assert "not measured: x/0.png: 128x128" in done.stderr
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("0.png")] == [
        ["0.png", *NO_FIGURE * 5]
    ]


def test_finished_results_are_not_measured_if_not_requested(pair: Path, model: Model) -> None:
    for _ in range(2):
        plan = make_plan(Directory(pair), Directory(pair.with_name("out")))
        results = list(denoise_files(plan, model, measure_finished=False))
    assert [(r.status, r.message, r.mottle_before) for r in results] == [(SKIPPED, FINISHED, None)] * 5


@pytest.mark.parametrize(
    "columns", [pytest.param(60, marks=pytest.mark.slow), 80, pytest.param(120, marks=pytest.mark.slow)]
)
def test_a_second_run_lists_the_same_rows_on_a_terminal(pair: Path, columns: int) -> None:
    rows = []
    for _ in range(2):
        with terminal([*COMMAND, "dir", "x", "--reference", "clean"], columns, pair.parent) as shown:
            shown.read()
            assert shown.process.wait() == 0
        rows.append([line.split()[:4] for line in shown.lines if line.startswith(("1.png", "4.png"))])
    assert len(rows[0]) == 2
    assert rows[1] == rows[0]
