from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from cxr_infer.imaging.metrics import largest_difference, mse, psnr, psnr_of_mse, ssim


def test_ssim_matches_scikit_image(clean: NDArray[np.float32], noisy: NDArray[np.float32]) -> None:
    theirs = structural_similarity(
        clean, noisy, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(clean, noisy) == pytest.approx(theirs, abs=1e-5)


def test_equal_images_are_perfect(clean: NDArray[np.float32]) -> None:
    assert mse(clean, clean) == 0
    assert psnr(clean, clean) == pytest.approx(120)
    assert ssim(clean, clean) == pytest.approx(1)


def test_psnr_of_a_known_error() -> None:
    a, b = np.zeros((20, 20), np.float32), np.full((20, 20), 0.1, np.float32)
    assert mse(a, b) == pytest.approx(0.01)
    assert psnr(a, b) == pytest.approx(20)


def test_ssim_is_defined_for_images_smaller_than_the_window() -> None:
    tiny = np.array([[0.5]], np.float32)
    assert ssim(tiny, tiny) == pytest.approx(1)
    assert ssim(tiny, np.zeros_like(tiny)) < 0.1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_differences_from_non_finite_values_are_infinite(wrong: float) -> None:
    """`max(0.0, nan)` is 0.0, which is within any tolerance."""
    good, bad = np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)
    bad[1, 1] = wrong
    assert largest_difference(good, good + np.float32(0.25)) == 0.25
    assert [largest_difference(*pair) for pair in ((good, bad), (bad, good), (bad, bad))] == [np.inf] * 3
    assert largest_difference(good, good[:1]) == np.inf


def test_the_psnr_of_a_non_finite_error_is_not_finite() -> None:
    assert np.isnan(psnr_of_mse(np.nan))
    assert psnr_of_mse(np.inf) == -np.inf
