from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import ModelError, UsageError, denoise, load_model
from cxr_infer.imaging.metrics import psnr
from cxr_infer.model.card import card_path, onnx_file
from cxr_infer.model.hardware import multiplies_int8_fast
from cxr_infer.model.installed import installed_models, model_path
from tests.conftest import Run


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("flags\t: fpu avx avx2 fma", True),
        ("Features\t: fp asimd asimddp", True),
        ("flags\t: fpu avx sse4_2", False),
        ("Features\t: fp asimd", False),
        ("flags\t: fpu avx2x", False),
    ],
)
def test_the_kernel_says_whether_int8_is_fast(tmp_path: Path, flags: str, fast: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags} end\n")
    assert multiplies_int8_fast(tmp_path / "cpuinfo") is fast


def test_opencv_is_asked_if_the_kernel_lists_no_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (True, False):
        monkeypatch.setattr("cv2.checkHardwareSupport", lambda feature, found=found: found)
        assert multiplies_int8_fast(tmp_path / "gone") is found


@pytest.mark.parametrize("fast", [True, False])
def test_auto_selects_int8_on_cpus_that_compute_it_fast(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxr_infer.model.installed.multiplies_int8_fast", lambda: fast)
    assert model_path("window", "auto").name == onnx_file("int8" if fast else "fp32")
    assert model_path("window", "int8").name == "model.int8.onnx"
    assert model_path("window", "fp32").name == "model.onnx"
    assert model_path("original", "auto").name == "model.onnx"


def test_unavailable_precisions_are_refused(identity_onnx: Path) -> None:
    with pytest.raises(UsageError, match="model new has no int8 file; use --precision fp32"):
        load_model("new", precision="int8")
    with pytest.raises(UsageError, match="unknown precision 'fp16'; use auto, fp32, int8"):
        load_model("window", precision="fp16")
    with pytest.raises(UsageError, match="has one precision; omit"):
        load_model(identity_onnx, precision="int8")


def test_both_precisions_give_nearly_the_same_image(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> None:
    plain, integers = (denoise(noisy, load_model("window", precision=p)) for p in ("fp32", "int8"))
    assert psnr(clean, integers) > psnr(clean, plain) - 0.2
    assert 1e-4 < np.abs(plain - integers).mean() < 1 / 255


def test_every_installed_file_is_listed_with_its_precision() -> None:
    models = installed_models()
    assert [(m.name, m.precision) for m in models] == [
        ("original", "fp32"),
        ("new", "fp32"),
        ("window", "fp32"),
        ("window", "int8"),
    ]
    assert all(m.intact and m.bytes < 20e6 for m in models)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_changed_shipped_file_is_not_loaded(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(model_path("window").parent, tmp_path / "window")
    path = tmp_path / "window" / onnx_file(precision)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr("cxr_infer.model.installed.weights_directory", lambda: tmp_path)
    with pytest.raises(ModelError, match="SHA-256"):
        load_model("window", precision=precision)
    card_path(path).unlink()
    with pytest.raises(ModelError, match="no model card"):
        load_model("window", precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_run_names_its_precision(run: Run, xrays: Path, precision: str) -> None:
    done = run("cxr-infer", "dir", xrays.name, "--precision", precision, "--json", "report.json")
    assert done.returncode == 0, done.stderr
    assert f"window ({precision}) on x" in done.stdout
