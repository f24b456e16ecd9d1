"""The Python API: the results of the commands, named models loaded once, and invalid arguments refused."""

from __future__ import annotations

import inspect
import re
import typing
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cxr_infer
from cxr_infer import ImageError, ReadOptions, Settings, Summary, UsageError
from cxr_infer.api import Fields
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.pixels import from_unit
from cxr_infer.model import denoiser
from tests.conftest import Run, tree


@pytest.fixture
def xrays(tmp_path: Path, noisy: NDArray[np.float32], clean: NDArray[np.float32]) -> Path:
    """Noisy files in x, the clean ones in clean."""
    for name, start in (("a.png", 0), ("ward/b.png", 64)):
        part = (slice(start, start + 96), slice(64, 160))
        write_image(tmp_path / "x" / name, from_unit(noisy[part], np.dtype(np.uint8)))
        write_image(tmp_path / "clean" / name, from_unit(clean[part], np.dtype(np.uint8)))
    return tmp_path / "x"


def test_denoise_directory_gives_the_results_of_the_command(run: Run, xrays: Path, tmp_path: Path) -> None:
    reference = tmp_path / "clean"
    results = list(cxr_infer.denoise_directory(xrays, tmp_path / "out", reference=reference, strength=0.5))
    done = run("cxr-infer", "dir", xrays, "--out", "command", "--reference", reference, "--strength", "0.5", "-q")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == tree(tmp_path / "command")
    assert [(result.name, result.status) for result in results] == [("a.png", "done"), ("ward/b.png", "done")]
    assert all(result.psnr and result.psnr_before and result.psnr > result.psnr_before + 1 for result in results)
    again = Summary()
    for result in cxr_infer.denoise_directory(xrays, tmp_path / "out", reference=reference, strength=0.5):
        again.add(result)
    assert (again.done, again.skipped) == (0, 2)
    assert again.mean("psnr") == pytest.approx(np.mean([result.psnr for result in results]))


def test_figures_before_denoising_are_those_of_the_input(xrays: Path, tmp_path: Path) -> None:
    (result, _) = cxr_infer.denoise_directory(xrays, tmp_path / "out", reference=tmp_path / "clean", strength=0.0)
    assert result.psnr_before is not None
    after, before = (result.psnr, result.ssim, result.mse), (result.psnr_before, result.ssim_before, result.mse_before)
    assert after == before


def test_invalid_arguments_are_refused_at_the_call(xrays: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        cxr_infer.denoise_directory(tmp_path / "missing")
    with pytest.raises(UsageError, match="inside it"):
        cxr_infer.denoise_directory(xrays, xrays / "out")
    with pytest.raises(UsageError, match="takes whole images"):
        cxr_infer.denoise_directory(xrays, model="original", window=64)
    assert not (tmp_path / "x-denoised").exists()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"strength": "0.5"}, "strength '0.5' has the wrong type; give a number"),
        ({"window": 64.5}, "window 64.5 has the wrong type; give a whole number"),
        ({"overlap": 8.5}, "overlap 8.5 has the wrong type; give a whole number"),
        ({"memory": float("inf")}, "memory inf has the wrong type; give a whole number"),
        ({"memory": None}, "memory None has the wrong type; give a whole number"),
        ({"white": 4095.5}, "white 4095.5 has the wrong type; give a whole number"),
        ({"invert": "no"}, "invert 'no' has the wrong type; give True or False"),
        ({"compress": 1}, "compress 1 has the wrong type; give text"),
        ({"settings": {"strength": 0.5}}, "a dict is not a Settings object; give one, or its fields as keywords"),
        ({"read": Settings()}, "a Settings is not a ReadOptions object; give one, or its fields as keywords"),
        ({"model": None}, "a NoneType is not a model; give a name, the path of an .onnx file or a Model"),
    ],
)
def test_values_of_a_wrong_type_are_refused(noisy: NDArray[np.float32], fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(problem)}$"):
        cxr_infer.denoise(noisy[:32, :32], **fields)


def test_numbers_of_numpy_are_settings(noisy: NDArray[np.float32]) -> None:
    small = noisy[:32, :32]
    given = cxr_infer.denoise(small, strength=np.float32(0.5), window=np.int64(64))  # type: ignore[arg-type]
    assert np.array_equal(given, cxr_infer.denoise(small, strength=0.5, window=64))


def test_equal_settings_of_other_types_leave_results_finished(xrays: Path, tmp_path: Path) -> None:
    for strength, white, status in (
        (1, np.uint16(255), "done"),
        (1.0, 255, "skipped"),
        (np.float32(1), 255, "skipped"),
    ):
        results = cxr_infer.denoise_directory(xrays, tmp_path / "out", strength=strength, white=white)  # type: ignore[arg-type]
        assert {result.status for result in results} == {status}


def test_a_path_for_an_image_and_a_name_for_an_engine_are_refused(xrays: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.png' is a path, not an image; use denoise_file, or open it first$"):
        cxr_infer.denoise(str(xrays / "a.png"))
    with pytest.raises(UsageError, match=r"^engine .ray. is not an engine; give an object of a subclass of"):
        cxr_infer.denoise_directory(xrays, engine="ray")  # type: ignore[arg-type]


def test_sample_takes_a_name_or_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples = cxr_infer.sample("xrays", size=64)
    assert tree(tmp_path / "xrays").keys() == tree(tmp_path / "xrays-clean").keys() == {*samples.names}
    assert cxr_infer.sample(tmp_path / "other", size=64).names == samples.names
    assert tree(tmp_path / "other") == tree(tmp_path / "xrays")


def test_the_docstrings_of_public_functions_explain_every_argument() -> None:
    for name in cxr_infer.__all__:
        public = getattr(cxr_infer, name)
        if inspect.isfunction(public):
            told = re.findall(r"^    \*{0,2}(\w+): ", inspect.getdoc(public) or "", re.MULTILINE)
            missing = inspect.signature(public).parameters.keys() - set(told)
            assert not missing, name
            assert "\nReturns:\n" in str(inspect.getdoc(public)), name


def test_denoise_file_gives_the_pixels_of_denoise(xrays: Path, tmp_path: Path) -> None:
    result = cxr_infer.denoise_file(xrays / "a.png")
    assert result.output == str(xrays / "a-denoised.png")
    assert result.mottle_before is not None
    from PIL import Image

    expected = cxr_infer.denoise(Image.open(xrays / "a.png"))
    assert np.array_equal(np.asarray(Image.open(xrays / "a-denoised.png")), expected)
    with pytest.raises(UsageError, match="exists"):
        cxr_infer.denoise_file(xrays / "a.png")
    assert cxr_infer.denoise_file(xrays / "a.png", tmp_path / "b.tif", overwrite=True).status == "done"


def test_a_named_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch, noisy: NDArray[np.float32]) -> None:
    opened: list[Path] = []
    original = denoiser.Model.open

    def counted(content: bytes, path: Path, threads: int | None = None) -> denoiser.Model:
        opened.append(path)
        return original(content, path, threads)

    monkeypatch.setattr(denoiser.Model, "open", staticmethod(counted))
    cxr_infer.api._shipped.cache_clear()
    for _ in range(3):
        cxr_infer.denoise(noisy[:32, :32], "window", precision="fp32")
    assert len(opened) == 1


def test_keyword_arguments_are_the_fields_of_the_settings(noisy: NDArray[np.float32]) -> None:
    known = {field.name: field.type for one in (Settings, ReadOptions) for field in fields(one)}
    assert set(typing.get_type_hints(Fields)) == set(known)
    small = noisy[:32, :32]
    assert np.array_equal(cxr_infer.denoise(small, settings=Settings(strength=0.0)), small)
    assert np.array_equal(cxr_infer.denoise(small, settings=Settings(), strength=0.0), small)
    for call in (cxr_infer.denoise, cxr_infer.estimate_noise):
        with pytest.raises(TypeError, match="unknown keyword 'strengths'; did you mean 'strength'"):
            call(small, strengths=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unknown keyword 'xyz'; the fields are compress"):
        cxr_infer.denoise(small, xyz=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="is outside 0"):
        cxr_infer.denoise(small, strength=2.0)


def test_a_low_range_warns_once_unless_white_is_given(noisy: NDArray[np.float32]) -> None:
    twelve_bit = np.round(np.minimum(noisy[:64, :64], 1) * 4095).astype(np.uint16)
    with pytest.warns(UserWarning, match="white=4095") as seen:
        cxr_infer.denoise(twelve_bit)
    assert [warning.filename for warning in seen] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cxr_infer.denoise(twelve_bit, white=4095)
        cxr_infer.denoise(twelve_bit, read=ReadOptions(white=4095))


def test_metrics_of_integer_arrays_match_those_of_floats(
    clean: NDArray[np.float32], noisy: NDArray[np.float32]
) -> None:
    stored, other = (from_unit(image, np.dtype(np.uint8)) for image in (clean, noisy))
    assert cxr_infer.psnr(stored, stored) == 120
    assert cxr_infer.psnr(stored, other) == pytest.approx(cxr_infer.psnr(clean, noisy), abs=0.1)
    assert cxr_infer.mse(stored, other) == pytest.approx(cxr_infer.mse(clean, noisy), rel=0.03)
    assert cxr_infer.ssim(stored, other) == pytest.approx(cxr_infer.ssim(clean, noisy), abs=0.02)
    twelve = from_unit(clean, np.dtype(np.uint16), 4095)
    assert cxr_infer.psnr(clean, twelve, white=4095) > 70
    with pytest.raises(ImageError, match="both must have the same shape"):
        cxr_infer.psnr(clean, noisy[:9])


def test_noise_is_estimated_from_an_array(noisy: NDArray[np.float32]) -> None:
    found = cxr_infer.estimate_noise(from_unit(noisy, np.dtype(np.uint8)))
    assert found.sure
    assert found.photons_at_white == pytest.approx(71, rel=0.3)
