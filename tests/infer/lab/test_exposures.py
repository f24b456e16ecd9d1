"""Repeated exposures of a phantom; the truth is known to the tests but not to the code under test."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab.exposures import Frames, blocks, detector_of_frames, noise_curve, register
from cxr_infer.lab.jackknife import share_kept
from cxr_infer.lab.noise import expose, find_detector, spectrum_at
from cxr_infer.lab.repeated import outcome, root_mean

FloatImage = NDArray[np.float32]
DOSE = 400.0


@pytest.fixture(scope="module")
def truth() -> FloatImage:
    return np.clip(render_phantom(3, 320), 0.2, 0.8)


def exposures(truth: FloatImage, noise: str = "white", count: int = 2, dose: float = DOSE) -> list[FloatImage]:
    rng = np.random.default_rng(1)
    return [expose(truth, noise, dose, rng)[0] for _ in range(count)]


def registered(images: list[FloatImage]) -> Frames:
    return register(images, [f"{number}.png" for number in range(len(images))])


def test_the_noise_curve_is_that_of_photon_counting(truth: FloatImage) -> None:
    curve = noise_curve(registered(exposures(truth, count=4)))
    assert len(curve.brightness) >= 6
    for brightness, sd in zip(curve.brightness, curve.sd, strict=True):
        assert sd.value == pytest.approx(np.sqrt(brightness / DOSE), rel=0.05)
        assert sd.low < sd.value < sd.high


def test_the_noise_of_a_detector_is_recovered_from_its_frames(truth: FloatImage) -> None:
    known = find_detector("kodak_cr_hand")
    found = detector_of_frames(registered(exposures(truth, "kodak_cr_hand", count=8, dose=200.0)))
    expected = spectrum_at(known.spectrum, (32, 32))
    frequency = np.fft.fftfreq(32)
    ring = np.hypot(frequency, frequency[:, None])
    for low in (0.1, 0.2, 0.3, 0.4):
        inside = (ring >= low) & (ring < low + 0.1)
        assert found.spectrum[inside].mean() == pytest.approx(expected[inside].mean(), rel=0.1, abs=0.02)


def test_shifted_frames_are_aligned(truth: FloatImage) -> None:
    first, second, third = exposures(truth, count=3)
    frames = registered([first[5:, :-7], second[:-5, 7:], third[2:-3, 3:-4]])
    assert frames.stack.shape == (3, 310, 306)
    assert np.sqrt(frames.variance.mean()) == pytest.approx(np.sqrt(truth.mean() / DOSE), rel=0.03)


def test_small_differences_of_tube_output_are_removed(truth: FloatImage) -> None:
    first, second = exposures(truth)
    frames = registered([first, second * np.float32(1.01) + np.float32(0.005)])
    assert frames.stack[1].mean() == pytest.approx(frames.stack[0].mean(), abs=1e-4)


def moved(image: FloatImage, pixels: float) -> FloatImage:
    shift = np.array([[1, 0, pixels], [0, 1, 0]], dtype=np.float64)
    return np.asarray(cv2.warpAffine(image, shift, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE))


def unusable_frames(truth: FloatImage) -> dict[str, list[FloatImage]]:
    first, second = exposures(truth, dose=4000.0)
    breath = truth.copy()
    breath[160:, 200:] = moved(truth, 0.6)[160:, 200:]
    shaded = truth + np.linspace(-0.012, 0.012, 320, dtype=np.float32)
    return {
        "at least two frames": [first],
        "but 0.png has": [first, second[1:]],
        "identical images; give separate exposures": [first, first],
        "something moved": [first, expose(moved(truth, 0.5), "white", 4000.0, np.random.default_rng(2))[0]],
        "something moved near row 2": [first, expose(breath, "white", 4000.0, np.random.default_rng(3))[0]],
        "in the brightness of broad areas": [first, expose(shaded, "white", 4000.0, np.random.default_rng(4))[0]],
        "differs in brightness by more than 5%": [first, second * np.float32(0.8)],
        "give frames of one object": [first, exposures(render_phantom(9, 320), dose=4000.0)[0]],
        "too small": [first[:40, :40], second[:40, :40]],
    }


def test_frames_that_differ_by_more_than_noise_are_refused_in_one_line(truth: FloatImage) -> None:
    for message, images in unusable_frames(truth).items():
        with pytest.raises(UsageError) as refused:
            registered(images)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("side", [160, 512])
def test_flat_fields_are_valid_frames_and_yield_their_noise(side: int) -> None:
    flat = np.full((side, side), 0.5, np.float32)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        frames = registered([expose(flat, "white", 800.0, rng)[0] * np.float32(scale) for scale in (1, 0.98)])
        assert frames.stack.shape == (2, side, side), "not shifted"
        for sd in noise_curve(frames).sd:
            assert sd.value == pytest.approx((0.5 / 800) ** 0.5, rel=0.05)


def test_a_repeated_frame_is_recognised(truth: FloatImage) -> None:
    for dose in (300.0, 4000.0, 1e5):
        one = exposures(truth, dose=dose)[0]
        with pytest.raises(UsageError, match="identical images; give separate exposures"):
            registered([one[37:260, 11:211], one[37:260, 11:211].copy()])


def test_frames_with_too_little_of_each_brightness_are_not_called_saturated() -> None:
    ramp = np.tile(np.linspace(0.1, 0.9, 100, dtype=np.float32), (100, 1))
    with pytest.raises(ImageError, match=r"too few blocks to measure noise: .*; give larger or other frames"):
        noise_curve(Frames(np.stack(exposures(ramp, dose=4000.0)), ("0.png", "1.png")))


def blurred(image: NDArray[np.float32]) -> FloatImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), dtype=np.float32)


def test_error_and_bias_without_a_clean_image_match_those_with_one(truth: FloatImage) -> None:
    frames = registered(exposures(truth, count=4))
    denoised = np.stack([blurred(frame) for frame in frames.stack])
    found = outcome(frames, denoised, None)
    error = root_mean(found["error"].astype(np.float64))
    true_error = 255 * np.sqrt(((denoised - truth) ** 2).mean())
    assert error.value == pytest.approx(true_error, rel=0.03)
    assert error.low < true_error < error.high
    bias = root_mean(found["bias"].astype(np.float64))
    true_bias = 255 * np.sqrt(((blurred(truth) - truth) ** 2).mean())
    assert bias.value == pytest.approx(true_bias, rel=0.05)
    assert bias.low < true_bias < bias.high
    kept = [share_kept(sums) for sums in found["kept"].astype(np.float64)]
    assert kept[0].value < kept[1].value < kept[2].value < kept[3].value
    assert kept[3].value == pytest.approx(1, abs=0.03)


def test_the_identity_has_the_error_of_the_noise_and_no_bias(truth: FloatImage) -> None:
    frames = registered(exposures(truth))
    found = outcome(frames, frames.stack, None)
    noise = 255 * np.sqrt(truth.mean() / DOSE)
    assert root_mean(found["error"].astype(np.float64)).value == pytest.approx(noise, rel=0.02)
    assert root_mean(found["bias"].astype(np.float64)).value == 0
    for sums in found["kept"].astype(np.float64):
        assert share_kept(sums).value == pytest.approx(1, abs=1e-9)
    assert not found["map"].any()


def test_all_pairs_of_three_frames_count(truth: FloatImage) -> None:
    """Results computed from sums over the frames equal the mean over all pairs of different frames."""
    frames = registered(exposures(truth, count=3))
    denoised = np.stack([blurred(frame) for frame in frames.stack])
    found = outcome(frames, denoised, None)
    shots, results = 255 * frames.stack.astype(np.float64), 255 * denoised.astype(np.float64)
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    error = np.mean([(results[a] - shots[b]) ** 2 for a, b in pairs], axis=0) - 255**2 * frames.variance
    bias = np.mean([(shots[a] - results[a]) * (shots[b] - results[b]) for a, b in pairs], axis=0)
    np.testing.assert_allclose(found["error"], blocks(error, 32).ravel(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found["bias"], blocks(bias, 32).ravel(), rtol=1e-4, atol=1e-3)
