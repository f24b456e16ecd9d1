"""The examples that need only the development environment; `examples/run_all.py` runs all of them in CI."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr_infer import denoise as denoised_here
from cxr_infer import load_model
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from tests.conftest import REPOSITORY, tree
from tests.docs.conftest import blocks

EXAMPLES = REPOSITORY / "examples"
PLAIN = ("python-onnxruntime", "python-opencv")
ESTIMATE = "noise_level fp32: largest difference 1.0e-07, at most 0.002"  # as printed by every example
PROGRAMS = sorted(path.parent.name for path in EXAMPLES.glob("*/denoise.*"))


def denoise(name: str, weights: Path) -> subprocess.CompletedProcess[str]:
    program = EXAMPLES / name / "denoise.py"
    return subprocess.run([sys.executable, program, weights], capture_output=True, text=True)


@pytest.mark.parametrize("name", PLAIN)
def test_an_example_gives_the_expected_output(name: str) -> None:
    done = denoise(name, REPOSITORY / "weights")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" image: largest difference") == 2
    assert "noise_level fp32: largest difference" in done.stdout
    for file in ("original fp32", "new fp32", "window fp32", "window int8"):
        assert f"{file}: largest difference" in done.stdout
        assert (f"{file} fixed: largest difference" in done.stdout) == (name != "python-opencv"), (
            "OpenCV always uses fixed shapes"
        )


@pytest.mark.parametrize("stored", [np.uint8, np.uint16])
def test_a_twelve_line_program_writes_the_same_png_as_this_project(
    tmp_path: Path, stored: type[np.unsignedinteger]
) -> None:
    program = EXAMPLES / "python-onnxruntime" / "png.py"
    assert len([line for line in program.read_text().splitlines() if line]) == 12
    white = np.iinfo(stored).max
    noisy = np.minimum(poisson_mottle(render_phantom(1, 128)[:100, :77], 71.0, np.random.default_rng(0)), 1)
    pixels = np.rint(noisy * white).astype(stored)
    cv2.imwrite(str(tmp_path / "noisy.png"), pixels)
    (tmp_path / "weights").symlink_to(REPOSITORY / "weights")
    subprocess.run([sys.executable, program], cwd=tmp_path, check=True)
    found = cv2.imread(str(tmp_path / "denoised.png"), cv2.IMREAD_UNCHANGED)
    assert found.dtype == stored
    expected = denoised_here(pixels, load_model("window", precision="fp32"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(1, 1e-3 * white))


@pytest.mark.parametrize(
    ("language", "program"), [("python", "python-onnxruntime/png.py"), ("js", "node-onnxruntime/png.mjs")]
)
def test_the_guide_shows_the_programs_that_are_run(language: str, program: str) -> None:
    assert blocks("docs/guide/embedding.md", language) == [(EXAMPLES / program).read_text()]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the folder with only `window` and the noise estimate."""
    folder = tmp_path / "weights"
    shutil.copytree(REPOSITORY / "weights", folder, ignore=shutil.ignore_patterns("*.safetensors", "original", "new"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["models"] = {"window": manifest["models"]["window"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def reports_a_difference(name: str, weights: Path) -> bool:
    """Whether an example reports too large a difference instead of crashing."""
    done = denoise(name, weights)
    return (done.returncode, done.stderr) == (1, "") and "noise_level fp32: largest difference" in done.stdout


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("wrong", [2e-4, np.nan, np.inf])
def test_an_example_fails_if_the_output_differs(name: str, wrong: float, weights: Path) -> None:
    path = weights / "window" / "test" / "denoised.npy"
    np.save(path, np.load(path) + np.float32(wrong))
    assert reports_a_difference(name, weights)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("wrong", [1.01, np.nan])
def test_an_example_fails_if_the_noise_level_differs(name: str, wrong: float, weights: Path) -> None:
    manifest = json.loads((weights / "manifest.json").read_text())
    manifest["models"]["window"]["test"]["image"]["noise_level"] *= wrong
    (weights / "manifest.json").write_text(json.dumps(manifest))
    assert reports_a_difference(name, weights)


@pytest.mark.parametrize(("difference", "failed"), [("1e-06", False), ("nan", True), ("inf", True), ("2e-03", True)])
def test_the_runner_checks_the_differences_that_an_example_prints(
    difference: str, failed: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import run_all

    cases = [f"{column}{case}" for column in run_all.COLUMNS[:4] for case in ("", " fixed")]
    said = "\n".join(f"{case}: largest difference 0.0e+00, at most 0.01" for case in cases)
    said += f"\nwindow fp32: largest difference {difference}, at most 0.001\n{ESTIMATE}"
    monkeypatch.setitem(run_all.EXAMPLES, "invented", lambda: [sys.executable, "-c", f"print({said!r})"])
    found, wrong = run_all.run("invented")
    assert wrong == failed
    assert found["window fp32"] == difference


def test_the_runner_requires_runs_with_fixed_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import run_all

    said = "\n".join(f"{column}: largest difference 0.0e+00, at most 0.01" for column in run_all.COLUMNS[:4])
    said += f"\nwindow int8 fixed: largest difference 0.0e+00, at most 0.01\n{ESTIMATE}"
    monkeypatch.setitem(run_all.EXAMPLES, "invented", lambda: [sys.executable, "-c", f"print({said!r})"])
    assert run_all.run("invented")[1]
    monkeypatch.setattr(run_all, "ALWAYS_FIXED", {"invented"})
    assert not run_all.run("invented")[1]


def test_the_runner_requires_the_noise_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import run_all

    cases = [f"{column}{case}" for column in run_all.COLUMNS[:4] for case in ("", " fixed")]
    said = "\n".join(f"{case}: largest difference 0.0e+00, at most 0.01" for case in cases)
    monkeypatch.setitem(run_all.EXAMPLES, "invented", lambda: [sys.executable, "-c", f"print({said!r})"])
    assert run_all.run("invented")[1]


@pytest.mark.parametrize("name", PLAIN)
def test_no_example_imports_this_project(name: str) -> None:
    assert all("cxr_" not in program.read_text() for program in (EXAMPLES / name).glob("*.py"))


def test_every_example_is_run_and_listed_within_tolerance() -> None:
    assert len(PROGRAMS) == 7
    readme, runner = ((EXAMPLES / name).read_text() for name in ("README.md", "run_all.py"))
    tolerances = {
        f"{name} {precision}": file["tolerance"]
        for name, model in json.loads((REPOSITORY / "weights" / "manifest.json").read_text())["models"].items()
        for precision, file in model["files"].items()
    }
    columns = [cell.strip() for cell in re.findall(r"^\| example \|(.*)\|$", readme, re.MULTILINE)[0].split("|")]
    for name in PROGRAMS:
        assert f'    "{name}": ' in runner
        assert len((EXAMPLES / name / "README.md").read_text().splitlines()) <= 12
        cells = re.findall(rf"^\| \[{name}\]\({name}\) \|(.*)\|$", readme, re.MULTILINE)[0].split("|")
        figures = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        assert all(float(figures[column]) <= tolerance for column, tolerance in tolerances.items())


def test_the_weights_beside_the_examples_are_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    import run_all

    (tmp_path / "weights").symlink_to(run_all.WEIGHTS)  # as earlier versions left it
    for _ in range(2):
        run_all.copy_weights(tmp_path / "weights")
        assert not (tmp_path / "weights").is_symlink()
        assert tree(tmp_path / "weights") == tree(run_all.WEIGHTS)
