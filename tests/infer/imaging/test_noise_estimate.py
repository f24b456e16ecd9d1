"""`estimate_mottle` on noise of known strength, curve and spectrum."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.imaging.mottle import estimate_mottle, poisson_mottle
from cxr_infer.imaging.noise_shape import Shape
from cxr_infer.imaging.phantom import render_phantom
from tests.infer.imaging.noise import DETECTORS, Curve, Image, enlarged, exposed, field, sharpened, stored


@pytest.fixture(scope="module")
def chest() -> Image:
    """A chest whose brightness stays between 0.15 and 0.85."""
    return 0.15 + 0.7 * render_phantom(2, 512).astype(np.float64)


@pytest.mark.parametrize("sd", [3.0, 8.0])
@pytest.mark.parametrize("name", DETECTORS)
def test_strength_and_shape_of_every_detector_are_found(chest: Image, name: str, sd: float) -> None:
    shape = DETECTORS[name]
    found = estimate_mottle(stored(exposed(chest, sd, shape)))
    assert found.gray_levels == pytest.approx(sd, rel=0.12)
    assert found.sure
    assert found.correlation == pytest.approx(shape.correlation(), abs=0.09)
    assert found.correlated == (name != "white")
    if name != "white":
        assert found.shape.white == pytest.approx(shape.white, abs=0.15)
        assert (found.shape.across, found.shape.down) == pytest.approx((shape.across, shape.down), abs=0.17)


def test_the_kind_describes_the_shape(chest: Image) -> None:
    kinds = {name: estimate_mottle(stored(exposed(chest, 8, shape))).kind for name, shape in DETECTORS.items()}
    assert kinds["white"] == "white"
    assert kinds["scintillator"].startswith("correlated over 1.")
    assert kinds["slot scanner"].endswith("px down")
    assert estimate_mottle(np.full((64, 64), 0.5, np.float32)).kind == "none"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("times", [2, 3, 4, 6])
@pytest.mark.parametrize("name", ["white", "scintillator"])
def test_noise_of_enlarged_images_is_found_at_full_strength(chest: Image, name: str, times: int, bits: int) -> None:
    small = chest[:256, 128:384]
    noisy = enlarged(exposed(small, 8, DETECTORS[name]), times)
    true = 255 * float(np.std(noisy - enlarged(small, times)))
    found = estimate_mottle(stored(noisy, bits))
    assert found.gray_levels == pytest.approx(true, rel=0.2)
    assert min(found.correlation) > 0.5
    # narrow filters see little of wide noise; the model must be given more than that
    assert found.level > 0.6 * found.sd / (2 * np.sqrt(chest.mean()))
    assert (found.kind == "enlarged") == (times > 2)


def test_sharpened_noise_is_recognised(chest: Image) -> None:
    noise = sharpened(field(chest.shape, Shape(), 3))
    found = estimate_mottle(stored(chest + noise / noise.std() * 8 / 255))
    assert found.kind == "sharpened"
    assert found.gray_levels == pytest.approx(8, rel=0.1)


CURVES: dict[str, Curve] = {
    "counts": np.sqrt,
    "logarithm": lambda b: b**-0.2,
    "steep": lambda b: b**1.4,
    "S": lambda b: 1 + 2 / (1 + np.exp(-(b - 0.45) * 15)),
    "hump": lambda b: 0.4 + np.exp(-(((b - 0.5) / 0.15) ** 2)),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_follows_any_smooth_shape(chest: Image, name: str) -> None:
    curve = CURVES[name]
    noisy = exposed(chest, 6, DETECTORS["scintillator"], curve=curve)
    brightness = np.linspace(0.25, 0.8, 12)
    true = curve(brightness) * 6 / np.sqrt(np.mean(curve(chest) ** 2))
    found = 255 * estimate_mottle(stored(noisy)).sd_at(brightness)
    assert np.sqrt(np.mean((found / true - 1) ** 2)) < 0.12
    np.testing.assert_allclose(found, true, rtol=0.3)


@pytest.mark.parametrize("white", [20.0, 71.0, 200.0, 600.0])
def test_photons_are_counted_if_the_noise_is_quantum_noise(chest: Image, white: float) -> None:
    counts = poisson_mottle(chest, white, np.random.default_rng(0))
    assert estimate_mottle(stored(counts)).photons_at_white == pytest.approx(white, rel=0.12)


@pytest.mark.parametrize("name", ["logarithm", "steep", "hump"])
def test_no_photons_are_invented_for_other_noise(chest: Image, name: str) -> None:
    assert estimate_mottle(stored(exposed(chest, 6, Shape(), curve=CURVES[name]))).photons_at_white is None


def _line_pairs(side: int) -> Image:
    return 0.2 * np.sign(np.sin(np.arange(side) * 2 * np.pi / 6)) * np.ones((side, 1))


def _mesh(side: int) -> Image:
    lines = np.arange(side) % 6 == 0
    return 0.2 * (lines | lines[:, None])


def _text(side: int) -> Image:
    letters = np.random.default_rng(0).random((side // 8 + 1, side // 6 + 1)) < 0.5
    return 0.4 * np.kron(letters, np.ones((8, 6)))[:side, :side]


@pytest.mark.parametrize("pattern", [_line_pairs, _mesh, _text])
@pytest.mark.parametrize("name", ["white", "scintillator"])
def test_patterns_on_a_twentieth_of_the_image_do_not_move_the_estimate(
    chest: Image, name: str, pattern: object
) -> None:
    noisy = exposed(chest, 4, DETECTORS[name])
    marked = noisy.copy()
    marked[220:334, 150:264] += pattern(114)  # type: ignore[operator]
    before, after = (estimate_mottle(stored(image)) for image in (noisy, marked))
    assert after.sd == pytest.approx(before.sd, rel=0.04)
    brightness = np.linspace(0.25, 0.8, 12)
    np.testing.assert_allclose(after.sd_at(brightness), before.sd_at(brightness), rtol=0.12)


def test_line_pairs_of_another_brightness_do_not_move_the_estimate() -> None:
    noisy = exposed(np.tile(np.linspace(0.2, 0.6, 512), (512, 1)), 4, Shape())
    noisy[200:315, 200:315] = 0.75 + _line_pairs(115)
    assert estimate_mottle(stored(noisy)).gray_levels == pytest.approx(4, rel=0.05)


AREAS: dict[str, Image] = {
    "black": np.zeros((512, 160)),
    "nearly black": np.full((512, 160), 3 / 255),
    "saturated": np.ones((512, 160)),
    "flat": np.full((512, 160), 0.5),
    "ramp": np.tile(np.linspace(0.3, 0.6, 160), (512, 1)),
}


@pytest.mark.parametrize("area", AREAS)
def test_areas_without_noise_are_left_out(chest: Image, area: str) -> None:
    noisy = exposed(chest, 4, Shape())
    noisy[:, 340:500] = AREAS[area]
    assert estimate_mottle(stored(noisy)).gray_levels == pytest.approx(4, rel=0.1)


def test_the_type_of_the_pixels_does_not_matter(chest: Image) -> None:
    noisy = exposed(chest, 2, DETECTORS["scintillator"])
    in_16_bit = stored(noisy).astype(np.uint16) * 257  # 8-bit values stored in 16 bits
    images = (noisy.astype(np.float32), stored(noisy), stored(noisy, 16), in_16_bit)
    found = [estimate_mottle(image).gray_levels for image in images]
    np.testing.assert_allclose(found, found[0], rtol=0.03)


@pytest.mark.parametrize("sd", [0.5, 0.8, 1.5])
def test_rounding_does_not_count_as_noise(sd: float) -> None:
    noisy = exposed(np.full((512, 512), 0.4), sd, Shape())
    assert estimate_mottle(stored(noisy)).gray_levels == pytest.approx(sd, rel=0.06)


PICTURES: dict[str, Image] = {
    "flat": np.full((512, 512), 0.4),
    "ramp": np.tile(np.linspace(0.2, 0.8, 512), (512, 1)),
    "blobs": 0.5 + 0.3 * np.sin(np.linspace(0, 9, 512)) * np.cos(np.linspace(0, 7, 512))[:, None],
}


@pytest.mark.parametrize("name", PICTURES)
def test_smooth_pictures_contain_no_noise(name: str) -> None:
    for image in (stored(PICTURES[name]), stored(PICTURES[name], 16), PICTURES[name].astype(np.float32)):
        found = estimate_mottle(image)
        assert found.gray_levels < 12**-0.5, "the noise of rounding to 8 bits"
        assert not found.sure


def test_halftone_dots_are_not_called_free_of_noise() -> None:
    """No block allows an estimate, yet the model is given a noise level and smears the dots."""
    down, across = np.indices((512, 512))
    screen = 0.5 + 0.25 * (np.cos(2 * np.pi * (across + down) / 6) + np.cos(2 * np.pi * (across - down) / 6))
    dots = np.clip((PICTURES["blobs"] - screen) * 6 + 0.5, 0, 1)
    found = estimate_mottle(stored(dots))
    assert found.level > 0
    assert found.kind == "unknown"
    assert not found.sure


def test_estimates_of_structure_and_faint_noise_are_not_sure(chest: Image) -> None:
    board = 0.3 + 0.3 * ((np.indices((512, 512)) // 4).sum(0) % 2)
    for picture in (chest, board):
        assert not estimate_mottle(stored(picture)).sure
    errors = [estimate_mottle(stored(exposed(chest, sd, Shape()))).relative_error for sd in (0.4, 1.5, 8.0)]
    assert errors == sorted(errors, reverse=True)


def test_plain_noise_of_a_small_image_is_seldom_called_sharpened() -> None:
    rng, called = np.random.default_rng(7), []
    for side in (64, 96, 128):
        down, across = np.indices((side, side)) / side
        clean = 0.4 + 0.2 * across + 0.1 * np.sin(3 * down)
        called += [estimate_mottle(np.minimum(poisson_mottle(clean, 100, rng), 1)).sharpened for _ in range(60)]
    assert all(type(word) is bool for word in called)
    assert sum(called) <= 0.04 * len(called)


@pytest.mark.parametrize("side", [1, 7, 8, 20, 40, 130])
def test_estimates_of_small_images_are_not_sure(side: int) -> None:
    noisy = exposed(np.full((side, side), 0.5), 4, Shape())
    found = estimate_mottle(stored(noisy))
    numbers = [found.gain, found.offset, found.sd, found.level, *found.correlation, found.relative_error]
    assert np.isfinite(numbers).all()
    assert found.sd >= 0
    assert found.sure == (side > 100)
    if side >= 40:
        assert found.gray_levels == pytest.approx(4, rel=0.15)


def test_processing_in_strips_does_not_change_the_estimate(chest: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy: NDArray[np.generic] = stored(enlarged(exposed(chest[:192, :192], 8, Shape()), 4))
    whole = estimate_mottle(noisy)  # type: ignore[arg-type]
    monkeypatch.setattr("cxr_infer.imaging.pixels.STRIP", 2048)
    assert estimate_mottle(noisy).sd == pytest.approx(whole.sd, rel=1e-4)  # type: ignore[arg-type]


def test_line_pairs_and_text_do_not_raise_the_level_given_to_the_model() -> None:
    """Too high a level would erase them."""
    rng = np.random.default_rng(0)
    clean = np.tile(np.linspace(0.2, 0.7, 512, dtype=np.float32), (512, 1))
    plain = clean + rng.normal(0, 1.5 / 255, clean.shape).astype(np.float32)
    marked = plain.copy()
    bars = np.where(np.arange(512) // 3 % 2, 0.08, -0.08).astype(np.float32)
    for left in (40, 200, 360):  # in most bins of brightness, but few of the blocks
        marked[100:164, left : left + 96] += bars[None, :96]
    assert estimate_mottle(marked).level == pytest.approx(estimate_mottle(plain).level, rel=0.25)
    page = np.zeros((512, 512), np.uint8)
    for row in range(20, 510, 16):
        cv2.putText(page, "kVp 120  mAs 3.2  DAP 0.11 Gy cm2", (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    assert estimate_mottle(page).level == 0
