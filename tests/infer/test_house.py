"""Rules for the whole repository: imports, public names, the CI command and file sizes."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import cxr_infer
from tests.conftest import REPOSITORY

STAGES = ("torch", "onnx", "onnxscript", "safetensors", "cxr_train", "cxr_export", "fsspec", "ray")
WITHOUT_PYDICOM = ("signature", "optional")  # the modules of formats.dicom that do not need it
# the modules of node that need its extra
OF_PYNETDICOM = ("demo", "dicom_file", "dimse_client", "dimse_server", "folder", "intake", "multipart", "phantoms")
OF_PYNETDICOM += ("receiving", "sending", "service", "stow_answer", "stow_server")


def test_every_module_imports_without_the_other_stages() -> None:
    modules = [module.name for module in pkgutil.walk_packages(cxr_infer.__path__, "cxr_infer.")]
    assert len(modules) > 80
    dicom = "cxr_infer.formats.dicom."
    of_pydicom = {m for m in modules if m.startswith(dicom) and m.removeprefix(dicom) not in WITHOUT_PYDICOM}
    assert of_pydicom
    of_pydicom |= {f"cxr_infer.node.{name}" for name in OF_PYNETDICOM}
    assert of_pydicom <= set(modules)
    for blocked, importable in (
        (STAGES, modules),
        (
            (*STAGES, "pydicom", "pynetdicom", "python_multipart"),
            [module for module in modules if module not in of_pydicom],
        ),
    ):
        code = f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n" + "\n".join(
            f"import {module}" for module in importable
        )
        code += "\nfrom cxr_infer import load_model, denoise\nimport numpy\n"
        code += "denoise(numpy.zeros((20, 20), 'uint8'), load_model('window'))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_bare_import_loads_no_heavy_package() -> None:
    code = "import sys, cxr_infer; dir(cxr_infer)\n"
    code += "print(sorted({'numpy', 'cv2', 'onnxruntime', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_public_names_are_pinned() -> None:
    functions = {"__version__", "denoise", "denoise_directory", "denoise_file", "estimate_noise", "load_model"}
    functions |= {"mse", "psnr", "sample", "ssim"}
    types = {"Engine", "FileResult", "Model", "Mottle", "ReadOptions", "Samples", "Settings", "Summary"}
    errors = {"CxrError", "DataError", "ImageError", "ModelError", "UsageError"}
    assert set(cxr_infer.__all__) == functions | types | errors
    assert dir(cxr_infer) == sorted(cxr_infer.__all__)
    for name in cxr_infer.__all__:
        assert getattr(cxr_infer, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = cxr_infer.nonsense


def test_ci_runs_the_readme_command() -> None:
    readme, ci = (REPOSITORY / "README.md").read_text(), (REPOSITORY / ".ci" / "run").read_text()
    test_command = (
        "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e '.[dev]' && pytest"
    )
    assert test_command in readme
    assert test_command in ci


def test_no_shipped_file_is_too_large() -> None:
    sizes = {p: p.stat().st_size for p in (REPOSITORY / "weights").rglob("*") if p.is_file()}
    assert max(sizes.values()) < 20e6
    assert sum(sizes.values()) < 60e6
    assert all(size < 5e6 for path, size in sizes.items() if path.parent.name == "window")
