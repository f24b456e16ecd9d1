"""The HTML report: well-formed, self-contained, safe with hostile file names and without patient data."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder
from numpy.typing import NDArray

from cxr_infer.formats.readers import write_image
from cxr_infer.report.html.markup import text, without_folders
from cxr_infer.report.html.page import SCRIPTS
from cxr_infer.report.views import DETAIL
from tests.conftest import COMMAND, REPOSITORY, Run, tree
from tests.infer.formats.dicom.dicom_files import computed, encoded, stored
from tests.infer.report.html.page import Page, report_of

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>.png",
    "\" onfocus='alert(1)' autofocus.png",
    "line\nbreak &amp; $style {name}.png",
    "right \u202e to left \u2028.png",
)


def test_the_page_is_well_formed_and_self_contained(run: Run, xrays: Path) -> None:
    page, source = report_of(run, xrays, status=1)
    assert source.startswith("<!doctype html>")
    assert source.rstrip().endswith("</html>")
    assert "http:" not in source
    assert "https:" not in source
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), "an inline event handler"
        assert name != "style", "an inline style, which the policy forbids"
        if name in ("src", "href"):
            assert value.startswith(("data:image/jpeg;base64,", "#image-")), (tag, value[:80])
    assert len(page.values("article", "id")) == 3
    assert len(page.values("img", "src")) == 9
    assert "Research use only. Not a medical device" in page.shown
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {f"#{one}" for one in ids} >= set(page.values("a", "href"))


def test_the_policy_allows_only_its_own_style_and_script(run: Run, xrays: Path) -> None:
    page, _ = report_of(run, xrays, status=1)
    policy = page.values("meta", "content")[0]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for kind in ("style", "script"):
        (content,) = page.contents[kind]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_failed_and_ignored_files_are_listed_with_reasons_without_folders(
    run: Run, xrays: Path, tmp_path: Path
) -> None:
    reference = tmp_path / "clean"
    shutil.copytree(xrays, reference)
    page, source = report_of(run, xrays, "--reference", reference, status=1)
    assert "is not an image in a supported format" in page.shown
    assert "not an X-ray by name or content" in page.shown
    assert "1 file failed" in page.shown
    assert "ward <7>, denoised" in page.contents["h1"]
    assert str(tmp_path) not in source
    assert str(Path.home()) + "/" not in source


@pytest.mark.slow
def test_results_of_an_earlier_run_are_marked_and_shown(run: Run, xrays: Path) -> None:
    first, _ = report_of(run, xrays, status=1)
    page, _ = report_of(run, xrays, status=1)
    assert page.shown.count("finished in an earlier run") == 2 * 3, "in the table and beside the pictures"
    assert page.values("img", "src") == first.values("img", "src")
    assert page.contents["svg"] == first.contents["svg"]


def test_a_reference_adds_its_picture_and_the_difference_from_it(
    run: Run, xrays: Path, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    write_image(tmp_path / "clean" / "0.png", noisy_bytes[:80, :120])
    write_image(tmp_path / "clean" / "1.png", noisy_bytes[:80, :120])  # has another size
    page, _ = report_of(run, xrays, "--reference", tmp_path / "clean", status=1)
    alternatives = page.values("img", "alt")
    assert alternatives.count("before denoising") == alternatives.count("before minus after") == 3
    assert alternatives.count("clean reference") == alternatives.count("after minus clean") == 1
    classes = page.values("div", "class")
    assert classes.count("layer clean") == classes.count("layer error") == 1
    assert "no reference with that name" in page.shown
    assert "the reference is 120x80, the image 120x88" in page.shown


def test_hostile_names_are_harmless(run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    folder = tmp_path / "x"
    for name in HOSTILE:
        write_image(folder / name, noisy_bytes[:40, :40])
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / HOSTILE[0]).read_bytes())
    page, source = report_of(run, folder)
    assert "alert" not in "".join(page.contents["script"])
    assert len(page.contents["script"]) == 1
    assert len(page.values("img", "src")) == 3 * (len(HOSTILE) + 1)
    assert not {"\u202e", "\u2028"} & set(source)
    headings = page.contents["h3"]
    for name in HOSTILE[:3]:
        assert name in headings
    assert "line\\nbreak &amp; $style {name}.png" in headings
    assert "right \\u202e to left \\u2028.png" in headings
    assert "caf\\udce9.png" in headings


def test_no_patient_attribute_appears(run: Run, tmp_path: Path, noisy: NDArray[np.float32]) -> None:
    dataset = computed(stored(noisy[:64, :72], 12, mono1=True), 12, mono1=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "one").write_bytes(encoded(dataset))
    broken = computed(stored(noisy[:64, :72], 12), 12, NumberOfFrames=2)
    (tmp_path / "x" / "two.dcm").write_bytes(encoded(broken))
    page, source = report_of(run, tmp_path / "x", status=1)
    shown = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", source)
    assert "has 2 frames" in page.shown
    assert len(page.values("img", "src")) == 3
    for element in dataset:
        if element.VR in ("PN", "LO", "SH", "UI", "DA", "TM", "ST", "LT") and len(str(element.value)) > 2:
            assert str(element.value) not in shown, element.keyword
    for secret in ("Müller", "Secret", "SECRET", "19700101"):
        assert secret not in source


@pytest.mark.slow
def test_the_limit_is_filled_with_the_worst_and_a_random_sample(
    run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]
) -> None:
    folder = tmp_path / "x"
    for index in range(12):
        write_image(folder / f"{index:02}.png", noisy_bytes[index : index + 64, :64])
    page, _ = report_of(run, folder, "--report-limit", 4)
    assert len(page.values("article", "id")) == 4
    assert "The 2 worst of 12 images" in page.shown
    assert "2 of the other 10, drawn at random" in page.shown
    assert len(page.values("tr", "data-outcome")) == 12, "the table lists all"
    again, _ = report_of(run, folder, "--report-limit", 4, "--overwrite")
    assert again.contents["h3"] == page.contents["h3"], "the same random sample"
    none, _ = report_of(run, folder, "--report-limit", 0, "--overwrite")
    assert none.values("img", "src") == []


@pytest.mark.slow
def test_a_large_image_has_a_card_for_its_detail(run: Run, tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "x" / "large.png", np.tile(noisy_bytes, (5, 5)))
    page, _ = report_of(run, tmp_path / "x", "--strength", 0)
    assert page.values("article", "id") == ["image-1", "image-1-detail"]
    assert "1280 × 1280 px, 8 bit, shown at 80 %" in page.shown  # noqa: RUF001
    assert f"{DETAIL} × {DETAIL} of 1280 × 1280 px" in page.shown  # noqa: RUF001


@pytest.mark.slow
def test_results_are_the_same_with_and_without_a_report(run: Run, xrays: Path, tmp_path: Path) -> None:
    report_of(run, xrays, "--out", tmp_path / "with", status=1)
    run("cxr-infer", "dir", xrays, "--out", tmp_path / "without")
    assert tree(tmp_path / "with") == tree(tmp_path / "without")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--report", "report.txt"], "give --report a name that ends in .html"),
        (["--report", "ward <7>/report.html"], "inside the input directory; give --report"),
        (["--report", "folder.html"], "is a directory"),
        (["--report", "r.html", "--report-limit", "-1"], "report-limit -1 is negative"),
    ],
)
def test_wrong_usage_is_found_before_any_work(
    run: Run, xrays: Path, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    before = tree(tmp_path)
    done = run("cxr-infer", "dir", xrays, *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_a_valid_page(
    tmp_path: Path, noisy_bytes: NDArray[np.uint8], number: signal.Signals, status: int
) -> None:
    for index in range(400):
        write_image(tmp_path / "many" / f"{index:03}.png", noisy_bytes)
    command = [*COMMAND, "dir", "many", "--report", "r.html"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "many-denoised").glob("*.png")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == status
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    outcomes = page.values("tr", "data-outcome")
    assert len(outcomes) == 400
    assert outcomes.count("done") == len(page.values("article", "id")) > 0
    assert "The run was interrupted" in page.shown


def test_no_report_module_is_loaded_without_the_option(tmp_path: Path, noisy_bytes: NDArray[np.uint8]) -> None:
    write_image(tmp_path / "x" / "a.png", noisy_bytes[:40, :40])
    code = "import sys, cxr_infer.cli.commands as c; c.app(['dir', 'x', '-q'], standalone_mode=False)"
    code += "; sys.exit('cxr_infer.report.html' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_folders_are_left_out_of_messages() -> None:
    folders = ("/home/me/x", "x", "s3://me/x")
    assert without_folders("/home/me/x/a/b.png: is damaged", folders) == "a/b.png: is damaged"
    assert without_folders("x/b.png: is damaged", folders) == "b.png: is damaged"
    assert without_folders("s3://me/x/b.png: is damaged", folders) == "b.png: is damaged"
    assert without_folders("reference: /home/me/x/b.png: empty", folders) == "reference: b.png: empty"
    assert without_folders("max/b.png becomes xx/b.png", folders) == "max/b.png becomes xx/b.png"
    assert text("a\x1b<\u202e>") == "a\\x1b&lt;\\u202e&gt;"


@pytest.mark.slow
def test_the_wheel_contains_the_files_of_the_page(tmp_path: Path) -> None:
    wheel = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"]))
    names = set(zipfile.ZipFile(wheel).namelist())
    for asset in ("template.html", "card.html", "keys.html", "report.css", *SCRIPTS):
        assert f"cxr_infer/report/html/{asset}" in names
