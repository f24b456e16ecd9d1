from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.detail import INSERTS, brightness_shift, contrast_kept, flat_field, lay_inserts, mottle_of, places
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.imaging.pixels import FloatImage


@pytest.fixture(scope="module")
def phantom() -> FloatImage:
    return render_phantom(2, 512)


def blur(image: FloatImage, white: float) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), dtype=np.float32)


def test_inserts_stay_near_their_places(phantom: FloatImage) -> None:
    found = list(places(phantom))
    assert len(found) > 5
    for draw in INSERTS.values():
        insert = lay_inserts(phantom, draw) - phantom
        assert (insert != 0).any(axis=1).any()
        near = np.zeros(phantom.shape, bool)
        for row, column in found:
            near[row - 40 : row + 40, column - 40 : column + 40] = True
        assert np.abs(insert[~near]).max() < 1e-6


def test_identity_keeps_all_contrast_and_a_constant_none(phantom: FloatImage) -> None:
    kept = contrast_kept([phantom], lambda noisy, white: noisy, mottle_of(71.0))
    assert kept == pytest.approx(dict.fromkeys(INSERTS, 1.0), abs=0.15), "saturated noise removes a little contrast"
    erased = contrast_kept([phantom], lambda noisy, white: np.zeros_like(noisy), mottle_of(71.0))
    assert erased == dict.fromkeys(INSERTS, 0.0)


def test_a_blur_keeps_the_contrast_given_by_its_formula(phantom: FloatImage) -> None:
    kept = contrast_kept([phantom * 0.4 + 0.3], blur, mottle_of(2000.0))
    # Gaussian of width s blurred by b, response projected on it: 2 s^2 / (2 s^2 + b^2), its root for a long line
    assert kept["nodule, +14"] == pytest.approx(32 / (32 + 2.25), abs=0.03)
    assert kept["1.5 px line, +18"] == pytest.approx(np.sqrt(2.25 / (2.25 + 2.25)), abs=0.04)
    assert kept["1 px dark line, -20"] == pytest.approx(np.sqrt(1 / (1 + 2.25)), abs=0.04)


def test_a_flat_field_distinguishes_a_perfect_method_from_a_blur() -> None:
    perfect = flat_field(lambda noisy, white: np.full_like(noisy, noisy.mean()), 200.0)
    assert perfect["grain_left"] < 0.01
    assert perfect["residual_correlation"] < 0.015
    blurred = flat_field(blur, 200.0)
    assert blurred["grain_left"] > 1
    assert blurred["residual_correlation"] > 0.03


def test_brightness_shift_is_found_in_its_band() -> None:
    clean = np.tile(np.array([0.1, 0.6, 1.0], np.float32), (10, 1))
    denoised = clean + np.tile(np.array([0.0, 2 / 255, -3 / 255], np.float32), (10, 1))
    bands = brightness_shift([(clean, denoised)])
    assert [low for _, low, _ in bands] == [0, 128, 255]
    np.testing.assert_allclose([error for _, _, error in bands], [0, 2, -3], atol=1e-4)
    assert sum(share for share, _, _ in bands) == pytest.approx(1)
