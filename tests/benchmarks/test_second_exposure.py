from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.second_exposure import NAMES, contrast_kept, further_from_truth, in_and_out, read_pair
from cxr_infer.errors import DataError
from cxr_infer.formats.readers import write_image
from cxr_infer.imaging.metrics import psnr
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage


@pytest.fixture(scope="module")
def twice() -> tuple[FloatImage, FloatImage, FloatImage]:
    """A scene, and two frames of it with independent noise of standard deviation 0.02."""
    scene = np.asarray(0.25 + 0.5 * render_phantom(3, 512), dtype=np.float32)
    rng = np.random.default_rng(0)
    first, second = (scene + rng.normal(0, 0.02, scene.shape).astype(np.float32) for _ in range(2))
    return scene, first, second


def test_the_second_exposure_gives_the_true_error(twice: tuple[FloatImage, FloatImage, FloatImage]) -> None:
    scene, first, second = twice
    regions = {"all": np.s_[0:512, 0:512], "upper": np.s_[0:256, 0:512]}
    blurred = np.asarray(cv2.GaussianBlur(first, (0, 0), 1.5), dtype=np.float32)
    for name, (before, after) in in_and_out(first, second, blurred, regions).items():
        assert before == pytest.approx(psnr(scene[regions[name]], first[regions[name]]), abs=0.1)
        assert after == pytest.approx(psnr(scene[regions[name]], blurred[regions[name]]), abs=0.3)
    assert in_and_out(first, second, first, regions)["all"] == pytest.approx([20 * np.log10(50)] * 2, abs=0.1)


def test_regions_made_worse_are_named(twice: tuple[FloatImage, FloatImage, FloatImage]) -> None:
    scene, first, second = twice
    regions = {"kept": np.s_[0:256, 0:512], "spoilt": np.s_[256:512, 0:512]}
    spoilt = first.copy()
    spoilt[256:] += np.float32(0.01)
    measured = in_and_out(first, second, spoilt, regions)
    assert further_from_truth(measured) == ["spoilt"]
    assert further_from_truth(in_and_out(first, second, scene, regions)) == []


def test_contrast_kept_is_the_fraction_of_fine_structure_left(twice: tuple[FloatImage, FloatImage, FloatImage]) -> None:
    _, first, second = twice
    region = {"all": np.s_[0:512, 0:512]}
    assert contrast_kept(first, second, first, region)["all"] == pytest.approx(1)
    fine = first - cv2.GaussianBlur(first, (0, 0), 6.0)
    half = np.asarray(first - fine * np.float32(0.5), dtype=np.float32)
    assert 0.4 < contrast_kept(first, second, half, region)["all"] < 0.75


def test_missing_and_wrongly_sized_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"give --pair a folder with {NAMES[0]} and {NAMES[1]}"):
        read_pair(tmp_path)
    for name in NAMES:
        write_image(tmp_path / name, np.zeros((16, 16), np.uint16))
    with pytest.raises(DataError, match=f"{NAMES[0]}: .*the measured regions need"):
        read_pair(tmp_path)
