"""The table and statistics of the HTML report: its rows, the histogram and the methods paragraph."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import __version__
from cxr_infer.formats.readers import write_image
from cxr_infer.report.html import HtmlReport
from cxr_infer.report.html.page import MOST_ROWS, RunFacts
from cxr_infer.report.html.statistics import histogram
from cxr_infer.report.json_file import JsonReport
from cxr_infer.report.noise_words import UNSURE
from cxr_infer.report.results import DONE, FAILED, FileResult, Summary
from tests.conftest import Run
from tests.infer.report.html.page import Page, report_of


def written(tmp_path: Path, results: list[FileResult]) -> Page:
    """Write the page of given results, without a run."""
    model = {"name": "window", "precision": "int8", "file": "/m.onnx", "sha256": "ab" * 32}
    head = {"model": model, "settings": {"strength": 1.0}, "versions": {}, "input": "in", "output": "out"}
    summary = Summary()
    with JsonReport() as records, HtmlReport() as report:
        for result in results:
            summary.add(result)
            records.add(result)
        report.write(tmp_path / "r.html", RunFacts(head, (), False, False), summary, records)
    return Page((tmp_path / "r.html").read_text("utf-8"))


def test_the_methods_paragraph_is_complete(run: Run, xrays: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    for index in range(2):
        write_image(xrays.with_name("clean") / f"{index}.png", noisy_bytes[: 80 + 8 * index, :120])
    words = ["--reference", xrays.with_name("clean"), "--precision", "fp32", "--strength", "0.5", "--json", "r.json"]
    page, _ = report_of(run, xrays, *words, status=1)
    report = json.loads((xrays.parent / "r.json").read_text())
    (paragraph,) = [p for p in page.contents["p"] if p.startswith("Images were denoised with")]
    assert f"cxr-infer {__version__} " in paragraph
    assert (
        f"model window in 32-bit floating point (fp32), SHA-256 {report['model']['sha256']}, at strength 0.5"
        in paragraph
    )
    assert "Images: 4 in total, 3 denoised in this run, 1 failed." in paragraph
    files = [file for file in report["files"] if file["status"] == "done"]
    for name, digits, unit in (("psnr", 2, " dB"), ("ssim", 4, "")):
        values = [file[name] for file in files if file[name] is not None]
        spread = f"{np.mean(values):.{digits}f} ({np.std(values, ddof=1):.{digits}f}){unit}"
        assert spread in paragraph
    assert "n = 2" in paragraph
    before = [file["mottle_before"] for file in files if file["mottle_left"] != UNSURE]
    assert f"{np.mean(before):.1f}" in paragraph
    assert f"onnxruntime {report['versions']['onnxruntime']}" in paragraph
    assert "use --precision fp32" in page.shown


def test_the_table_is_bounded_per_outcome_and_says_so(tmp_path: Path) -> None:
    many = [FileResult(f"{index}.png", DONE, width=9, height=9) for index in range(MOST_ROWS + 5)]
    page = written(tmp_path, [*many, FileResult("late.png", FAILED, "late.png: damaged")])
    assert page.values("tr", "data-outcome").count(DONE) == MOST_ROWS
    assert page.values("tr", "data-outcome").count(FAILED) == 1
    assert f"the first {MOST_ROWS} files and all files with pictures are listed" in page.shown
    assert str(MOST_ROWS + 5) in page.contents["dd"]


@pytest.mark.parametrize("removed", [[0.0], [-0.2, 0.0], [3.0] * 5, list(range(1000)), [1e-9, 5.0]])
def test_the_histogram_counts_every_image(tmp_path: Path, removed: list[float]) -> None:
    results = [
        FileResult(f"{index}.png", DONE, width=9, height=9, mottle_before=value + 1.0, mottle_after=1.0)
        for index, value in enumerate(removed)
    ]
    page = written(tmp_path, results)
    titles = page.contents["title"][1:]
    assert sum(int(title.rsplit(" ", 1)[1]) for title in titles if title.startswith(tuple("-0123456789"))) == len(
        removed
    )
    assert "mottle removed, gray levels of 0..255" in page.contents["text"]
    counted = histogram(array("d", removed))
    assert len(counted.counts) <= 26
    assert counted.start <= min(removed)
    assert max(removed) < counted.start + len(counted.counts) * counted.width + 1e-9
