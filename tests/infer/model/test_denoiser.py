from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
import shutil
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer import ImageError, Model, ModelError, UsageError, denoise, load_model
from cxr_infer.imaging.metrics import mse, psnr
from cxr_infer.imaging.mottle import poisson_mottle
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.model.card import MODEL_NAMES, ModelCard, card_path, sha256
from cxr_infer.model.installed import model_path
from cxr_infer.settings import Settings

GRAY_LEVEL = 1 / 255
INT8_FAST = pytest.mark.parametrize("window", [pytest.param("fp32", marks=pytest.mark.slow), "int8"], indirect=True)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def window(request: pytest.FixtureRequest) -> Model:
    return load_model("window", precision=request.param)


def test_window_removes_mottle(window: Model, clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> None:
    assert psnr(clean, denoise(noisy, window)) > psnr(clean, noisy) + 10


def test_window_hardly_changes_a_clean_image(window: Model, clean: NDArray[np.float32]) -> None:
    assert mse(clean, denoise(clean, window)) < 1e-4


@INT8_FAST
def test_markers_text_and_lines_are_preserved(window: Model) -> None:
    """The fraction of contrast preserved of marks drawn into a phantom, at the published dose."""
    background = np.clip(render_phantom(3, 512), 0.05, 0.8)
    for name, thickness, gray, least in (("L R", 4, 240, 0.95), ("12:45", 1, 30, 0.8)):
        drawn = np.zeros((512, 512), np.uint8)
        for row in (120, 260, 400):
            cv2.putText(drawn, name, (130, row), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, thickness, cv2.LINE_AA)
        cv2.line(drawn, (60, 470), (450, 440), 255, 2, cv2.LINE_AA)
        mask = drawn / np.float32(255)
        clean = background + mask * (np.float32(gray / 255) - background)
        difference = clean - background
        denoised = [
            window.denoise_unit(np.minimum(poisson_mottle(image, 70.83, np.random.default_rng(8)), 1), Settings())
            for image in (background, clean)
        ]
        kept = ((denoised[1] - denoised[0]) * difference).sum() / (difference**2).sum()
        assert least < kept < 1.1, name


def memory_for(pixels: float, model: Model) -> Settings:
    """Settings that allow that many pixels in the network at once."""
    return Settings(memory=int(pixels * model.card.memory_per_pixel / 1e6))


@cache
def phantom_with_mottle(size: int, dose: float) -> NDArray[np.float32]:
    return np.minimum(poisson_mottle(render_phantom(9, size), dose, np.random.default_rng(2)), 1)


@INT8_FAST
@pytest.mark.parametrize("settings", [None, Settings(window=64), Settings(window=200)], ids=["memory", "64", "200"])
@pytest.mark.parametrize("dose", [20.0, 71.0])
def test_windows_leave_no_seams(window: Model, settings: Settings | None, dose: float) -> None:
    noisy = phantom_with_mottle(512 if settings else 768, dose)  # 768 leaves room for the overlaps in the budget
    assert window.grid(noisy.shape, Settings()).computed == noisy.size, "one window by default"
    settings = settings or memory_for(0.6 * noisy.size, window)
    assert window.grid(noisy.shape, settings).computed > noisy.size
    whole, in_windows = (window.denoise_unit(noisy, chosen) for chosen in (Settings(), settings))
    difference = in_windows - whole
    # on 8-bit grids any value may be rounded either way: that is grain of a level or two, but never a line
    most, nearly_all = (1, 1) if window.card.precision == "fp32" else (3, 2)
    assert np.abs(difference).max() <= most * GRAY_LEVEL
    assert np.quantile(np.abs(difference), 0.999) <= nearly_all * GRAY_LEVEL
    for axis in (0, 1):
        assert np.abs(difference.mean(axis=axis)).max() <= 0.1 * GRAY_LEVEL


def test_the_default_overlap_costs_little(window: Model) -> None:
    grid = window.grid((1024, 1024), Settings())
    assert grid.computed < 1.15 * 1024**2


def test_memory_limits_the_pixels_in_the_network_at_once(window: Model) -> None:
    most = 80_000_000 // window.card.memory_per_pixel
    for shape in ((4096, 4096), (300, 9000), (1024, 1024)):
        assert window.grid(shape, Settings(memory=80)).window_pixels <= most
    with pytest.raises(UsageError, match="memory 2 MB is too little for an overlap of"):
        window.grid((1024, 1024), Settings(memory=2))


def test_more_memory_means_larger_windows_and_less_overlap(window: Model) -> None:
    budgets = [memory_for(pixels, window) for pixels in (0.7e6, 1.4e6, 2.2e6, 7e6, 20e6)]
    computed = [window.grid((4096, 4096), settings).computed for settings in budgets]
    assert computed == sorted(set(computed), reverse=True)
    assert computed[-1] == 4096**2


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (17, 9), (100, 333)])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_accepts_images_of_any_size(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    result = denoise(image, name)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_the_pixel_type_is_preserved(window: Model, noisy: NDArray[np.float32], dtype: type) -> None:
    scale = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    image = (noisy * scale).astype(dtype)
    result = denoise(image, window)
    assert result.dtype == dtype
    levels = 2 if window.card.precision == "fp32" else 4  # a rounded input may be quantised differently
    np.testing.assert_allclose(result / scale, denoise(noisy, window), atol=levels * GRAY_LEVEL)


@pytest.mark.parametrize("side", [1, 15, 16, 17, 64, 100])
def test_any_window_size_runs_with_the_default_overlap(window: Model, noisy: NDArray[np.float32], side: int) -> None:
    result = denoise(noisy[:90, :70], window, window=side)
    assert np.abs(result - denoise(noisy[:90, :70], window)).mean() < 0.05


def test_strength_blends_the_residual(window: Model, noisy: NDArray[np.float32]) -> None:
    full, half = (denoise(noisy, window, strength=s) for s in (1.0, 0.5))
    np.testing.assert_array_equal(denoise(noisy, window, strength=0.0), noisy)
    np.testing.assert_allclose(half, (noisy + full) / 2, atol=1e-6)


def test_invalid_settings_are_refused(window: Model, noisy: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match="strength"):
        denoise(noisy, window, strength=1.5)
    with pytest.raises(UsageError, match="overlap"):
        denoise(noisy, window, window=64, overlap=-1)
    with pytest.raises(UsageError, match="whole images"):
        denoise(noisy, "new", window=64)
    with pytest.raises(UsageError, match="unknown model 'nope'"):
        load_model("nope")
    with pytest.raises(UsageError, match="threads"):
        load_model("window", threads=0)


def test_arrays_that_are_not_gray_images_are_refused(window: Model) -> None:
    with pytest.raises(ImageError, match="shape"):
        denoise(np.zeros((4, 4, 3), np.uint8), window)
    with pytest.raises(ImageError, match="shape"):
        denoise(np.zeros((0, 4), np.uint8), window)
    with pytest.raises(ImageError, match=r"\[0, 1\]"):
        denoise(np.full((4, 4), np.nan, np.float32), window)
    with pytest.raises(ImageError, match="int32"):
        denoise(np.zeros((4, 4), np.int32), window)


def test_any_onnx_file_with_the_same_interface_runs(identity_onnx: Path, noisy: NDArray[np.float32]) -> None:
    model = load_model(identity_onnx)
    np.testing.assert_array_equal(denoise(noisy, model, window=64, overlap=16), noisy)


def test_bad_model_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx.*no such model"):
        load_model(tmp_path / "gone.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model_path("window").read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"damaged\.onnx.*cannot be loaded"):
        load_model(damaged)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_the_card_describes_its_file(name: str) -> None:
    path = model_path(name)
    card = json.loads(card_path(path).read_text())
    model = load_model(name)
    assert card["sha256"] == sha256(path) == model.sha256
    assert card["bytes"] == path.stat().st_size < 20e6
    assert ModelCard.from_mapping(card, "card.json") == model.card
    assert "Research use only" in card["limits"]
    assert "Wang" in card["citation"]


def test_a_model_can_be_sent_to_other_processes(window: Model, noisy: NDArray[np.float32]) -> None:
    expected = window.denoise_unit(noisy, Settings())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(window.denoise_unit, (noisy, Settings())), expected)


def test_a_pickled_model_is_the_same_model(tmp_path: Path, noisy: NDArray[np.float32]) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(model_path("window", "fp32"), path)
    model = load_model(path, threads=1)
    content = pickle.dumps(model)
    path.unlink()  # the pickle contains the file
    for again in (pickle.loads(content), pickle.loads(pickle.dumps(load_model("window", precision="fp32")))):
        assert (again.card, again.sha256, again.title) == (model.card, model.sha256, model.title)
        np.testing.assert_array_equal(denoise(noisy, again), denoise(noisy, model))
    assert pickle.loads(content).path == path
    assert pickle.loads(content).session.get_session_options().intra_op_num_threads == 1
    with pytest.raises(ModelError, match=r"mine\.onnx: cannot be read"):
        pickle.dumps(model)
    shutil.copy(model_path("window", "int8"), path)
    with pytest.raises(ModelError, match=r"mine\.onnx: changed since it was loaded; load it again"):
        copy.deepcopy(model)
