"""Bias maps of methods of known bias, and false structure in images of known structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.lab.bias import Bias, marked, measure_bias
from cxr_infer.lab.false_structure import DIAMETERS, FWHM, strongest_blob, strongest_blobs

FloatImage = NDArray[np.float32]
SD, DRAWS = 0.05, 60


@pytest.fixture(scope="module")
def truth(clean: FloatImage) -> FloatImage:
    return np.ascontiguousarray(clean[60:188, 60:188])


def blur(image: FloatImage) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), dtype=np.float32)


def measured(truth: FloatImage, method: Callable[[FloatImage], FloatImage], draws: int = DRAWS) -> Bias:
    """The bias of a method on Gaussian noise that is not clipped."""

    def results() -> Iterator[FloatImage]:
        rng = np.random.default_rng(1)
        for _ in range(draws):
            yield method(truth + np.float32(SD) * rng.standard_normal(truth.shape, dtype=np.float32))

    return measure_bias(truth, results(), draws)


def test_the_identity_has_no_bias(truth: FloatImage) -> None:
    bias = measured(truth, lambda noisy: noisy)
    assert (bias.chance() < 0.05).mean() == pytest.approx(0.05, abs=0.006)
    assert not marked(bias.chance()).any()
    assert bias.deviation.mean() == pytest.approx(SD, rel=0.01)
    size = bias.size()
    assert size.low == 0
    assert size.value < 0.3 * SD / np.sqrt(DRAWS)
    assert 0 < size.high < SD / np.sqrt(DRAWS)


def test_the_bias_of_a_filter_matches_theory(truth: FloatImage) -> None:
    bias = measured(truth, blur)
    expected = blur(truth).astype(np.float64) - truth
    z = (bias.mean - expected) / bias.error
    assert z.std() == pytest.approx(1, abs=0.1)
    left = 1 / (2 * np.sqrt(np.pi) * 1.5)  # fraction of the noise SD that the blur leaves; it keeps the mean
    assert abs(z.mean()) < 4 / left / np.sqrt(truth.size)
    size = bias.size()
    assert size.value == pytest.approx(np.sqrt((expected**2).mean()), rel=0.03)
    assert size.low < np.sqrt((expected**2).mean()) < size.high
    off = marked(bias.chance())
    assert (np.abs(expected[off]) > 0.5 * bias.error[off]).mean() > 0.95
    assert off[np.abs(expected) > 8 * bias.error].mean() > 0.95


def test_added_structure_is_marked_and_hardly_anything_else(truth: FloatImage) -> None:
    added = np.zeros_like(truth)
    added[40:50, 70:80] = SD
    off = marked(measured(truth, lambda noisy: noisy + added).chance())
    assert off[40:50, 70:80].mean() > 0.8
    assert off.sum() - off[40:50, 70:80].sum() <= 0.05 * off.sum()


def test_bias_within_a_mask_and_of_constant_pixels(truth: FloatImage) -> None:
    bias = measured(np.zeros_like(truth), lambda noisy: np.where(noisy > 1e6, noisy, np.float32(0)))
    assert np.all(bias.chance() == 1)
    half = np.zeros(truth.shape, dtype=bool)
    half[:64] = True
    added = measured(truth, lambda noisy: noisy + half.astype(np.float32))
    assert added.within(half).size().value == pytest.approx(1, rel=0.01)
    assert added.within(~half).size().value < 0.01


@pytest.mark.parametrize("diameter", DIAMETERS)
def test_a_blob_is_measured_with_its_contrast(diameter: float) -> None:
    y, x = np.mgrid[:257, :257] - 128.0
    blob = 0.5 - 0.1 * np.exp(-(x**2 + y**2) / 2 * (FWHM / diameter) ** 2)
    assert strongest_blob(blob.astype(np.float32), diameter) == pytest.approx(0.1, rel=0.02)


def test_blobs_in_pure_noise_are_weaker_the_larger_they_are() -> None:
    rng = np.random.default_rng(2)
    noise = [0.5 + SD * rng.standard_normal((160, 160), dtype=np.float32) for _ in range(3)]
    blobs = strongest_blobs(noise).mean(axis=0)
    assert np.all(np.diff(np.log(blobs)) < -0.4)
    assert np.all(strongest_blobs([blur(each) for each in noise]).mean(axis=0) < blobs)
