from __future__ import annotations

import numpy as np
import pytest

from cxr_infer.imaging.mottle import estimate_mottle
from cxr_train.noise import (
    PUBLISHED_PHOTONS_AT_WHITE,
    Detector,
    correlated_mottle,
    correlated_normal,
    published_mottle,
    round_to_steps,
    saturating_mottle,
)

GRAYS = np.repeat(np.array([[10], [100], [200], [255]], np.uint8), 100_000, axis=1)


def as_published(clean: np.ndarray, seed: int) -> np.ndarray:
    """The line of the published notebook: poisson(v / 900 * 250) / 250 * 900, cast to uint8."""
    noisy = np.random.default_rng(seed).poisson(clean / 900.0 * 250) / 250.0 * 900.0
    return noisy.astype(np.int64).astype(np.uint8)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrapping_mottle_matches_the_published_code_bit_exactly(seed: int) -> None:
    np.testing.assert_array_equal(
        published_mottle(GRAYS, np.random.default_rng(seed), wrap=True), as_published(GRAYS, seed)
    )


def test_wrapping_and_saturating_mottle_draw_the_same_photons() -> None:
    wrapped = published_mottle(GRAYS, np.random.default_rng(5), wrap=True).astype(int)
    saturated = published_mottle(GRAYS, np.random.default_rng(5), wrap=False).astype(int)
    inside = saturated < 255
    assert np.abs(wrapped - saturated)[inside].max() <= 1, "one form truncates, the other rounds"
    assert (wrapped[~inside] < 200).mean() > 0.5, "bright pixels wrapped to near black"


def test_saturating_mottle_has_the_published_dose() -> None:
    # these grays are rarely saturated, and their noise is many 8-bit steps wide
    grays = np.repeat(np.array([[60], [120]], np.uint8), 100_000, axis=1)
    drawn = published_mottle(grays, np.random.default_rng(1), wrap=False) / 255
    np.testing.assert_allclose(drawn.mean(1), grays[:, 0] / 255, rtol=0.01)
    np.testing.assert_allclose(drawn.var(1), grays[:, 0] / 255 / PUBLISHED_PHOTONS_AT_WHITE, rtol=0.02)
    assert pytest.approx(70.83, abs=0.01) == PUBLISHED_PHOTONS_AT_WHITE


def test_saturating_mottle_stays_in_range() -> None:
    drawn = saturating_mottle(np.ones((50, 50), np.float32), 20, np.random.default_rng(0))
    assert drawn.max() == 1
    assert drawn.dtype == np.float32
    assert 0.3 < (drawn < 1).mean() < 0.7


def test_round_to_steps_makes_8_bit_steps() -> None:
    values = round_to_steps(np.random.default_rng(0).random((20, 20), dtype=np.float32))
    np.testing.assert_allclose(values * 255, np.rint(values * 255), atol=1e-4)


@pytest.mark.parametrize("blur", [0.0, 0.4, 0.8])
def test_correlated_noise_keeps_unit_variance(blur: float) -> None:
    noise = correlated_normal((400, 400), blur, np.random.default_rng(0))
    assert noise.var() == pytest.approx(1, rel=0.05)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / max(blur, 1e-3)) ** 2)
    expected = (taps[1:] * taps[:-1]).sum() / (taps**2).sum()
    assert np.mean(noise[:, 1:] * noise[:, :-1]) == pytest.approx(expected, abs=0.01)


def test_detector_noise_has_the_variance_of_its_formula() -> None:
    detector = Detector(density=3.0, exposure=5000, blur=0.5, electronic=3.0)
    for level in (0.2, 0.5, 0.8):
        clean = np.full((300, 300), level, np.float32)
        photons = 5000 * np.exp(-3.0 * level)
        expected = (photons + 3.0**2) / photons**2 / 3.0**2
        noisy = detector.expose(clean, np.random.default_rng(0))
        assert noisy.mean() == pytest.approx(level, abs=0.01)
        assert noisy.var() == pytest.approx(expected, rel=0.1)


def test_detector_noise_is_reproducible_from_its_seed() -> None:
    clean, detector = np.full((40, 40), 0.5, np.float32), Detector(density=3.0, exposure=5000, blur=0.5, electronic=3.0)
    first, again = (detector.expose(clean, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_blurred_quanta_hardly_change_the_estimated_level() -> None:
    clean = np.tile(np.linspace(0.1, 0.8, 512, dtype=np.float32), (512, 1))
    levels = [
        estimate_mottle(Detector(3.0, 5000, blur, 1.0).expose(clean, np.random.default_rng(0))).level
        for blur in (0.0, 0.7)
    ]
    assert levels[1] == pytest.approx(levels[0], rel=0.15)


def test_correlated_mottle_has_the_variance_of_its_dose() -> None:
    clean = np.repeat(np.array([[0.2], [0.5]], np.float32), 250_000, axis=1).reshape(2, 500, 500)
    for image in clean:
        noisy = correlated_mottle(image, 200.0, 1.0, np.random.default_rng(0))
        assert noisy.mean() == pytest.approx(image.mean(), rel=0.01)
        assert noisy.var() == pytest.approx(image.mean() / 200, rel=0.05)
        residual = noisy - image
        assert np.mean(residual[:, 1:] * residual[:, :-1]) > 0.5 * residual.var()
