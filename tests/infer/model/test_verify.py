from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

from cxr_infer.errors import ModelError
from cxr_infer.model.card import TOLERANCES
from cxr_infer.model.verify import Verified, verify_models
from tests.conftest import REPOSITORY, Run


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped models that replaces the installed ones."""
    folder = tmp_path / "weights"
    shutil.copytree(REPOSITORY / "weights", folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin"))
    for module in ("model.installed", "model.verify"):
        monkeypatch.setattr(f"cxr_infer.{module}.weights_directory", lambda: folder)
    return folder


def problems(found: list[Verified]) -> list[str]:
    return [one.problem for one in found if one.problem]


def test_the_shipped_models_reproduce_their_expected_outputs(run: Run) -> None:
    *found, estimate = verify_models()
    assert len(found) == 4
    for one in found:
        assert one.problem == ""
        assert one.tolerance == TOLERANCES[one.installed.precision]
        assert one.tensors is not None
        assert one.image is not None
        assert max(one.tensors, one.image) <= one.tolerance
    shown = run("cxr-infer", "models", "--verify")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("yes") == 5
    assert (estimate.installed.name, estimate.problem, estimate.tensors) == ("noise_level", "", None)
    assert estimate.image is not None
    assert estimate.image <= 1e-5 < (estimate.tolerance or 0), "the float model agrees to its last digits"


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shift_expected(path: Path) -> None:
    np.save(path, np.load(path) + np.float32(0.02))


def expect_nan(path: Path) -> None:
    array = np.load(path)
    array.flat[-1] = np.nan
    np.save(path, array)


def remove(path: Path) -> None:
    path.unlink()


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("window/model.onnx", change_a_byte, "does not match the SHA-256 of its card"),
        ("window/model.int8.onnx", change_a_byte, "does not match the SHA-256 of its card"),
        ("window/test/denoised.npy", shift_expected, "its output differs by 2.0e-02 from the expected one"),
        ("new/test/image.denoised.npy", shift_expected, "its output differs by 2.0e-02 from the expected one"),
        ("window/test/denoised.npy", expect_nan, "its output differs by inf from the expected one"),
        ("new/test/image.denoised.npy", expect_nan, "its output differs by inf from the expected one"),
        ("window/test/noise_level.npy", truncate, "test tensor missing or damaged"),
        ("original/test/image.npy", remove, "test tensor missing or damaged"),
        ("original/test/image.npy", replace_by_fifo, "test tensor missing or damaged"),
    ],
)
def test_each_fault_is_reported_in_one_line(
    weights: Path, name: str, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(weights / name)
    found = problems(verify_models())
    assert {line.split(": ", 1)[1].split(";")[0][: len(reason)] for line in found} == {reason}
    assert all(name.split("/")[0] in line for line in found)


@pytest.mark.parametrize(("spoil", "reason"), [
    (change_a_byte, "does not match the SHA-256 of its manifest"), (remove, "no such model file"),
])  # fmt: skip
def test_the_noise_estimate_is_verified_too(weights: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(weights / "noise_level.onnx")
    (found,) = problems(verify_models())
    assert found.startswith(f"{weights / 'noise_level.onnx'}: {reason}")


def test_a_deviating_noise_estimate_is_reported(weights: Path) -> None:
    path = weights / "manifest.json"
    content = json.loads(path.read_text())
    content["models"]["window"]["test"]["image"]["noise_level"] *= 1.01
    path.write_text(json.dumps(content))
    (found,) = problems(verify_models())
    assert "noise_level.onnx: its output differs by 9.9e-03 from the expected one, more than 0.002" in found
    del content["noise_estimate"]
    path.write_text(json.dumps(content))
    assert len(verify_models()) == 4, "models that are given no noise level need no estimate"


def test_a_mismatched_manifest_is_reported(weights: Path) -> None:
    path = weights / "manifest.json"
    content = json.loads(path.read_text())
    content["models"]["new"]["files"]["fp32"]["sha256"] = "0" * 64
    del content["models"]["window"]["files"]["int8"]
    path.write_text(json.dumps(content))
    reasons = problems(verify_models())
    assert "SHA-256 of its manifest" in reasons[0]
    assert "not in the manifest" in reasons[1]
    path.write_text("{")
    with pytest.raises(ModelError, match="damaged manifest"):
        verify_models()
    path.unlink()
    with pytest.raises(ModelError, match="no manifest"):
        verify_models()


def test_one_changed_byte_ends_the_command_with_status_2(weights: Path) -> None:
    change_a_byte(weights / "window" / "model.onnx")
    code = (
        "import pathlib, cxr_infer.model.installed, cxr_infer.model.verify\n"
        f"folder = pathlib.Path({str(weights)!r})\n"
        "for module in (cxr_infer.model.installed, cxr_infer.model.verify): module.weights_directory = lambda: folder\n"
        "from cxr_infer.cli.commands import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "models", "--verify"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "model.onnx: does not match the SHA-256 of its card; reinstall cxr-infer" in done.stderr
    assert done.stdout.count("yes") == 4, "three other models and the noise estimate"


@pytest.mark.slow
def test_the_wheel_contains_the_files_that_verify_needs(tmp_path: Path) -> None:
    built = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path), versions=["standard"]))
    names = {name for name in zipfile.ZipFile(built).namelist() if name.startswith("cxr_infer/weights/")}
    manifest = json.loads((REPOSITORY / "weights" / "manifest.json").read_text())
    for model in manifest["models"].values():
        needed = [file[key] for file in model["files"].values() for key in ("file", "card")]
        needed += [array[key] for array in model["test"]["inputs"].values() for key in ("npy", "raw")]
        needed += [array["npy"] for array in model["test"]["image"]["expected"].values()]
        assert {f"cxr_infer/weights/{name}" for name in needed} <= names
    assert f"cxr_infer/weights/{manifest['noise_estimate']['file']}" in names
    assert {"cxr_infer/weights/manifest.json", "cxr_infer/weights/manifest.schema.json"} <= names
    assert not [name for name in names if name.endswith((".safetensors", ".md", ".yaml", ".png"))]
