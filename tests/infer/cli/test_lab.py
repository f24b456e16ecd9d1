"""The `lab` command as a process: its output, interruption and resumption, and refused arguments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from cxr_infer.cli.commands import app
from cxr_infer.cli.lab_command import complete_protocol
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import from_unit
from cxr_infer.lab import laboratory, studies
from cxr_infer.lab.noise import expose, generator
from tests.conftest import REPOSITORY, Run
from tests.infer.lab.protocols import FAKES, TOML, write_toml

DRIVER = (sys.executable, "-m", "tests.infer.lab.driver")
WIDE = {"COLUMNS": "200"}

Lab = Callable[..., "subprocess.CompletedProcess[str]"]


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DRIVER, "lab", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **WIDE, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        process = started(tmp_path, *arguments)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return call


def figures(result: dict[str, Any]) -> Any:
    """Return all of a result except its time and command."""
    return result["findings"], result["protocol"], result["methods"], result["images"]


def test_lab_writes_a_result_and_reports_its_paths(lab: Lab, tmp_path: Path) -> None:
    done = lab(write_toml(tmp_path), "--csv", "--png")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "lab-tiny"
    assert {"lab.csv", "lab.html", "lab.json", "plots", "units"} == {path.name for path in out.iterdir()}
    assert "result written to lab-tiny/lab.json, lab-tiny/lab.html, lab-tiny/lab.csv, lab-tiny/plots" in done.stdout
    assert "100% " in done.stderr
    result = json.loads((out / "lab.json").read_text())
    assert result["command"][1:3] == ["lab", str(tmp_path / "tiny.toml")]
    assert result["protocol"]["changed"] == []


def test_the_json_option_prints_nothing_else(lab: Lab, tmp_path: Path) -> None:
    done = lab(write_toml(tmp_path), "--json", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == (tmp_path / "out" / "lab.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_stopped_run_resumes_with_the_same_figures(
    lab: Lab, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    slow = f"{sys.executable} -c 'import shutil, sys, time; time.sleep(0.2); shutil.copy(*sys.argv[1:])' {{in}} {{out}}"
    arguments = (write_toml(tmp_path), "--method", slow, "--workers", 1, "-o")
    stopped = started(tmp_path, *arguments, "stopped")
    units = tmp_path / "stopped" / "units" / "error"
    while stopped.poll() is None and (not units.is_dir() or len(list(units.iterdir())) < 10):
        time.sleep(0.02)
    stopped.send_signal(number)
    _, stderr = stopped.communicate(timeout=120)
    assert stopped.returncode == status, stderr
    assert "interrupted; completed measurements are in stopped; run the same command to continue" in stderr
    assert not (tmp_path / "stopped" / "lab.json").exists()
    computed = {path: path.stat().st_mtime_ns for path in units.iterdir()}
    assert 10 <= len(computed) < 16
    assert lab(*arguments, "stopped").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in computed} == computed, "existing measurements were computed again"
    assert lab(*arguments, "whole").returncode == 0
    results = [json.loads((tmp_path / name / "lab.json").read_text()) for name in ("stopped", "whole")]
    assert figures(results[0]) == figures(results[1])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_resumes_with_the_same_figures(lab: Lab, tmp_path: Path) -> None:
    path = write_toml(tmp_path, TOML.replace("draws = 4", "draws = 12"))
    killed = started(tmp_path, path, "-o", "killed")
    units = tmp_path / "killed" / "units" / "error"
    while killed.poll() is None and (not units.is_dir() or len(list(units.iterdir())) < 5):
        time.sleep(0.002)
    killed.kill()
    killed.communicate(timeout=120)
    for name in ("killed", "whole"):
        done = lab(path, "-o", name)
        assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / name / "lab.json").read_text()) for name in ("killed", "whole")]
    assert figures(results[0]) == figures(results[1])


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_figures(lab: Lab, tmp_path: Path) -> None:
    path = write_toml(tmp_path)
    for workers in (1, 2):
        assert lab(path, "--workers", workers, "-o", workers).returncode == 0
    one, two = (json.loads((tmp_path / name / "lab.json").read_text()) for name in ("1", "2"))
    assert figures(one) == figures(two)


@pytest.mark.slow
def test_custom_images_and_methods_are_recorded(lab: Lab, tmp_path: Path, clean: NDArray[np.float32]) -> None:
    write_image(tmp_path / "xrays" / "a.png", from_unit(clean, np.dtype(np.uint16)))
    done = lab(write_toml(tmp_path), "--images", "xrays", "--spacing", "0.2", "--method", "gaussian", "-o", "out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "lab.json").read_text())
    assert [(one["name"], one["width"], one["height"]) for one in result["images"]] == [("a.png", 96, 96)]
    assert result["protocol"]["changed"] == ["methods: noisy, gaussian", "images: 1", "spacing: 0.2 mm"]
    assert result["protocol"]["content"]["spacing"] == 0.2
    assert [method["name"] for method in result["methods"]] == ["noisy", "gaussian"]


@pytest.mark.slow
# neighbours of white noise blurred by a Gaussian correlate by exp(-1 / (4 blur^2))
@pytest.mark.parametrize(("blur", "correlation"), [(None, 0.0), (1.2, 0.84)])
def test_the_noise_of_a_given_image_is_used(lab: Lab, tmp_path: Path, blur: float | None, correlation: float) -> None:
    phantom = render_phantom(3, 512)
    noise = np.random.default_rng(0).standard_normal(phantom.shape)
    noise = noise if blur is None else cv2.GaussianBlur(noise, (0, 0), blur)
    noisy = np.clip(phantom + 8 / 255 * noise / noise.std(), 0, 1).astype(np.float32)
    write_image(tmp_path / "noisy.png", from_unit(noisy, np.dtype(np.uint16)))
    done = lab(write_toml(tmp_path), "--noise-of", "noisy.png")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "lab-tiny" / "lab.json").read_text())
    assert result["protocol"]["changed"] == ["noise of an image, which is called 'own'"]
    assert result["protocol"]["content"]["noises"] == ["white", "own"]

    own = laboratory.with_noise_of(laboratory.asked_for("quick"), noisy).own
    assert own is not None
    made = expose(np.full((256, 256), 0.5, np.float32), own, 200.0, generator(1))[0] - 0.5
    neighbours = np.corrcoef(made[:, 1:].ravel(), made[:, :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(correlation, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quik",), "unknown protocol 'quik'; use quick or full, or the path of a .toml file"),
        (("none.toml",), "none.toml: cannot be read: No such file or directory; check the path"),
        (("tiny.toml", "--method", "windo"), "unknown method 'windo'"),
        (("tiny.toml", "--spacing", "0.2"), "--spacing applies to --images; give both or neither"),
        (("tiny.toml", "--images", ".", "--spacing", "inf"), "--spacing inf mm is out of range; use 0.001 to 100"),
        (
            ("tiny.toml", "--frames", "a.png", "--noise-of", "a.png"),
            "--frames and --noise-of exclude each other",
        ),
        (("tiny.toml", "--noise-of", "none.png"), "none.png: "),
        (("tiny.toml", "--noise-of", "tiny.toml"), "tiny.toml: "),
        (("tiny.toml", "--images", "none"), "none: no such directory; check the path"),
        (("tiny.toml", "--images", "."), "tiny.toml: "),
        (("tiny.toml", "--frames", "tiny.toml"), "tiny.toml: "),
        (("tiny.toml", "-o", "."), ".: has files but no result of cxr-infer lab; give -o another directory"),
        (("wrong.toml",), "wrong.toml: methods: unknown method 'windo'"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(studies, "STUDIES", FAKES)
    monkeypatch.setattr(laboratory, "STUDIES", FAKES)
    write_toml(tmp_path)
    (tmp_path / "wrong.toml").write_text(TOML.replace("gaussian", "windo"))
    done = CliRunner().invoke(app, ["lab", *arguments])
    assert done.exit_code in (1, 2)
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "lab-tiny").exists()


def test_help_has_panels_and_protocols_are_completed(run: Run, tmp_path: Path) -> None:
    done = run("cxr-infer", "lab", "--help")
    assert done.returncode == 0
    for panel in ("Basic", "Measure", "Advanced"):
        assert f" {panel} " in done.stdout
    assert list(complete_protocol("q")) == ["quick"]
    write_toml(tmp_path)
    assert list(complete_protocol(f"{tmp_path}/t")) == [str(tmp_path / "tiny.toml")]
    assert list(complete_protocol(f"{tmp_path}/none/t")) == []
