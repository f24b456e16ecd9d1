"""The Python snippets of the guide and the README run unchanged."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

import cxr_infer
from cxr_infer.lab.studies import STUDIES
from tests.conftest import REPOSITORY
from tests.docs.conftest import RunPython, blocks


@pytest.mark.slow
def test_the_python_guide_runs_from_top_to_bottom(run_python: RunPython, samples: Path) -> None:
    snippets = blocks("docs/guide/python.md", "python")
    assert len(snippets) >= 5
    done = run_python("\n".join(snippets))
    assert done.returncode == 0, done.stderr
    assert float(re.findall(r"mean PSNR, dB: (\S+)", done.stdout)[0]) > 20
    assert "window (fp32)" in done.stdout
    assert "not a gray (height, width) image" in done.stdout
    names = sorted(path.name for path in (samples / "xrays").iterdir())
    assert sorted(path.name for path in (samples / "results").glob("*.png")) == names
    for name in names:
        before, after = (
            cv2.imread(str(samples / folder / name), cv2.IMREAD_UNCHANGED) for folder in ("xrays", "results")
        )
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert (before != after).any()


def test_the_protocol_and_the_python_of_the_lab_guide_run(run_python: RunPython, samples: Path) -> None:
    (protocol,), (snippet,) = blocks("docs/guide/lab.md", "toml"), blocks("docs/guide/lab.md", "python")
    (samples / "tiny.toml").write_text(protocol)
    done = run_python(snippet)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    methods = 2 + (find_spec("bm3d") is not None)
    assert len(printed) == methods * (2 + 2), "for each method: contrast kept at two doses, lost and false lines"
    assert any("noisy" in line and line.endswith("[1.0, 1.0]") for line in printed)
    assert {"lab.json", "lab.html", "units"} == {path.name for path in (samples / "lab-tiny").iterdir()}


def test_every_study_of_the_lab_is_explained() -> None:
    page = (REPOSITORY / "docs" / "guide" / "lab.md").read_text()
    for study in STUDIES:
        assert f"| {study} |" in page or f"| {study.replace('-', ' ')} |" in page, study


def test_every_extra_is_in_the_install_guide() -> None:
    page = (REPOSITORY / "docs" / "guide" / "install.md").read_text()
    told = {extra for extras in re.findall(r"'\.\[([a-z,]+)\]'` \|", page) for extra in extras.split(",")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert told == set(project["optional-dependencies"])


def test_the_python_in_the_readme_runs(run_python: RunPython, samples: Path) -> None:
    (snippet,) = blocks("README.md", "python")
    assert len([line for line in snippet.splitlines() if line]) <= 4
    done = run_python(snippet)
    assert done.returncode == 0, done.stderr
    clean = cv2.imread(str(samples / "clean.png"), cv2.IMREAD_UNCHANGED)
    truth = cv2.imread(str(samples / "xrays-clean" / "phantom-2-dose-71.png"), cv2.IMREAD_UNCHANGED)
    assert cv2.PSNR(clean, truth) > 25


def test_every_public_name_is_in_the_reference() -> None:
    page = (REPOSITORY / "docs" / "reference" / "python.md").read_text()
    told = re.findall(r"^::: cxr_infer\.(\w+)$", page, re.MULTILINE)
    assert sorted([*told, "__version__"]) == sorted(cxr_infer.__all__)
