from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import ModelError, UsageError
from cxr_infer.imaging.metrics import psnr
from cxr_infer.lab import methods
from cxr_infer.lab.command_method import CommandMethod
from cxr_infer.lab.methods import NamedMethod, find_method, find_methods, is_installed, package_versions, run
from cxr_infer.lab.noise import KnownNoise, expose

FloatImage = NDArray[np.float32]
COPY = f"'{sys.executable}' -c 'import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])' {{in}} {{out}}"


@pytest.fixture(scope="module", params=["white", "canon_dr_chest"])
def exposed(request: pytest.FixtureRequest, clean: FloatImage) -> tuple[FloatImage, FloatImage, KnownNoise]:
    cut = np.clip(clean[40:232, 40:232], 0.02, 0.98)
    return cut, *expose(cut, request.param, 71.0, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["gaussian", "nlm", "wavelet", "window"])
def test_every_method_removes_noise(name: str, exposed: tuple[FloatImage, FloatImage, KnownNoise]) -> None:
    cut, noisy, told = exposed
    method = find_method(name)
    denoised = run(method, noisy, told)
    assert method.name == name
    assert denoised.dtype == np.float32
    assert psnr(cut, denoised) > psnr(cut, noisy) + (1 if name == "wavelet" and not told.poisson else 3)


def test_identities_keep_every_pixel(exposed: tuple[FloatImage, FloatImage, KnownNoise], identity_onnx: Path) -> None:
    _, noisy, told = exposed
    for text in ("noisy", str(identity_onnx)):
        np.testing.assert_array_equal(run(find_method(text), noisy, told), noisy)
    np.testing.assert_allclose(run(find_method(COPY), noisy, told), noisy, atol=0.5001 / 65535)


def test_a_model_is_named_by_its_file(identity_onnx: Path) -> None:
    method = find_method(str(identity_onnx))
    assert isinstance(method, NamedMethod)
    assert len(method.sha256) == 64
    assert [one.name for one in find_methods(["noisy", "window:int8", COPY])] == ["noisy", "window:int8", COPY]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program {in} {out}", "cannot run no-such-program: No such file"),
        (f"'{sys.executable}' -c 'print(0)' {{in}} {{out}}", "succeeded but wrote no {out}"),
        (f"'{sys.executable}' -c 'raise SystemExit(\"no GPU\")' {{in}} {{out}}", "failed with exit status 1: no GPU"),
        (f"'{sys.executable}' -c 'import time; time.sleep(60)' {{in}} {{out}}", "took more than 0.5 s for one image"),
        (
            f"'{sys.executable}' -c 'import sys; open(sys.argv[2], \"w\").write(\"text\")' {{in}} {{out}}",
            "its result cannot be read",
        ),
    ],
)
def test_a_failing_program_is_reported_in_one_line(command: str, message: str, noisy: FloatImage) -> None:
    timeout = 0.5 if "sleep" in command else 60.0
    with pytest.raises(ModelError) as refused:
        CommandMethod(command, timeout)(noisy[:32, :32])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(os.name == "nt", reason="needs sessions")
def test_a_stop_ends_a_hanging_program_and_its_children(tmp_path: Path, noisy: FloatImage) -> None:
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    method = CommandMethod(f"'{sys.executable}' -c \"{script}\" {{in}} {{out}}")
    begun = time.monotonic()
    with pytest.raises(ModelError, match="ended, because a stop was requested"):
        method.until(lambda: pid_file.is_file() and pid_file.read_text() != "")(noisy[:32, :32])
    assert time.monotonic() - begun < 60
    child, deadline = int(pid_file.read_text()), time.monotonic() + 20
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_packages_that_methods_need_are_found_and_their_versions_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed("gaussian")
    assert is_installed("wavelet")
    assert set(package_versions(["noisy", "wavelet"])) == {"PyWavelets", "scikit-image"}
    monkeypatch.setattr(methods, "find_spec", lambda name: None)
    assert not is_installed("bm3d")
    assert is_installed("nlm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windows", "unknown method 'windows'; use noisy, gaussian"),
        ("prog {in}", "lacks {out}"),
        ("prog 'x {in} {out}", "No closing quotation"),
    ],
)
def test_unknown_invalid_and_repeated_methods_are_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_method(text)
    with pytest.raises(UsageError, match="'noisy' is given twice"):
        find_methods(["noisy", "window", "noisy"])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_method_with_non_finite_output_is_refused(
    exposed: tuple[FloatImage, FloatImage, KnownNoise], wrong: float
) -> None:
    def broken(noisy: FloatImage, told: KnownNoise) -> FloatImage:
        result = noisy.copy()
        result[3, 5] = wrong
        return result

    with pytest.raises(ModelError, match=r"'broken': returned shape .* non-finite values"):
        run(NamedMethod("broken", broken), *exposed[1:])
