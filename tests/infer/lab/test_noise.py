from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import DataError, ImageError, UsageError
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.lab.noise import (
    DETECTORS,
    MEASURED,
    WHITE_NOISE,
    DetectorNoise,
    detector_of,
    detector_of_image,
    expose,
    find_detector,
    generator,
    load_detectors,
    noise_field,
    spectrum_at,
    told_of,
)

FloatImage = NDArray[np.float32]
SIDE = 256
ALL = load_detectors()


@pytest.fixture(scope="module")
def ramp() -> FloatImage:
    return np.tile(np.linspace(0.2, 0.7, SIDE, dtype=np.float32), (SIDE, 1))


@pytest.mark.parametrize("name", [WHITE_NOISE, *DETECTORS])
def test_a_dose_gives_every_noise_the_same_strength(ramp: FloatImage, name: str) -> None:
    noisy, told = expose(ramp, name, 400.0, np.random.default_rng(1))
    assert noisy.dtype == np.float32
    noise = (noisy - ramp).astype(np.float64)
    assert noise.std() == pytest.approx(np.sqrt(ramp.mean() / 400), rel=0.03)
    assert told.spectrum.shape == ramp.shape
    assert told.spectrum.mean() == pytest.approx(1)
    found = noise.reshape(SIDE, 8, 32).std(axis=(0, 2))
    asked = np.interp(ramp[0], *told.curve.T).reshape(8, 32)
    np.testing.assert_allclose(found, np.sqrt((asked**2).mean(axis=1)), rtol=0.15)
    assert told.poisson == (name == WHITE_NOISE)


def test_white_noise_counts_photons(ramp: FloatImage) -> None:
    noisy, told = expose(ramp, WHITE_NOISE, 50.0, np.random.default_rng(1))
    np.testing.assert_allclose(noisy * 50, np.rint(noisy * 50), atol=1e-4)
    assert told.dose == pytest.approx(50)
    assert noisy.max() <= 1
    np.testing.assert_array_equal(told.spectrum, 1)


def test_equal_generators_draw_equal_noise(ramp: FloatImage) -> None:
    keys = [("lungs", "white", 3), ("lungs", "white", 3), ("lungs", "white", 4)]
    first, again, other = (expose(ramp, "ge_dr_knee", 100.0, generator(7, *key))[0] for key in keys)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_named_detectors_are_shipped_and_others_refused() -> None:
    assert tuple(load_detectors()) == (WHITE_NOISE, *DETECTORS)
    with pytest.raises(UsageError, match="unknown noise 'canon'; use white, canon_dr_chest"):
        find_detector("canon")
    for dose in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is invalid; use a finite number of photons"):
            expose(np.full((64, 64), 0.5, np.float32), WHITE_NOISE, dose, np.random.default_rng(0))


@pytest.mark.parametrize("name", [WHITE_NOISE, "canon_dr_chest"])
def test_the_noise_added_to_an_image_is_estimated_from_it(clean: FloatImage, name: str) -> None:
    middle = np.asarray(0.2 + 0.5 * clean, dtype=np.float32)
    noisy, told = expose(middle, name, 200.0, np.random.default_rng(2))
    own, dose = detector_of_image(noisy)
    assert isinstance(own, DetectorNoise)
    assert dose == pytest.approx(200, rel=0.3)
    assert own.spectrum.mean() == pytest.approx(1)
    again, _ = expose(middle, own, dose, np.random.default_rng(3))
    noise, more = ((image - middle).astype(np.float64) for image in (noisy, again))
    assert more.std() == pytest.approx(noise.std(), rel=0.15)
    neighbours = [np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1] for one in (noise, more)]
    assert neighbours[1] == pytest.approx(neighbours[0], abs=0.12)
    estimated = told_of(estimate_mottle(noisy), noisy.shape)
    assert estimated.dose == pytest.approx(told.dose, rel=0.5)


def test_an_image_without_noise_yields_no_estimate() -> None:
    flat = np.full((128, 128), 0.5, np.float32)
    with pytest.raises(ImageError, match="cannot be estimated well enough"):
        detector_of(estimate_mottle(flat))


def power(noise: NDArray[np.floating], bands: int = 6) -> NDArray[np.float64]:
    """Mean power, relative to the overall mean, in rings of equal width from 0 to 0.5 cycles/px."""
    spectrum = np.abs(np.fft.fft2(noise - noise.mean())) ** 2
    rows, columns = (np.fft.fftfreq(side) for side in noise.shape)
    ring = np.minimum((np.hypot(rows[:, None], columns) * 2 * bands).astype(int), bands)
    means = np.bincount(ring.ravel(), spectrum.ravel()) / np.bincount(ring.ravel())
    return np.asarray(means[:bands] / spectrum.mean())


def correlation(noise: NDArray[np.floating], axis: int) -> float:
    a, b = (np.take(noise, range(start, noise.shape[axis] - 1 + start), axis) for start in (0, 1))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_every_measurement_loads_and_names_its_source() -> None:
    table = json.loads((MEASURED / "detectors.json").read_text())
    readme = (MEASURED / "README.md").read_text()
    for name in DETECTORS:
        detector = ALL[name]
        assert detector.spectrum.shape == (32, 32)
        assert detector.spectrum.min() >= 0
        assert detector.spectrum.mean() == pytest.approx(1, abs=1e-3)
        brightness, sd = detector.curve.T
        assert (np.diff(brightness) > 0).all()
        assert 0 < brightness[0] < brightness[-1] < 1
        assert (sd > 0).all()
        assert f"| `{name}` | {table[name]['detector']} |" in readme


def test_damaged_measurements_are_named(tmp_path: Path) -> None:
    for text in ("{", '{"gone": {"curve": [[0, 1]]}}', '{"a": 1}'):
        (tmp_path / "detectors.json").write_text(text)
        with pytest.raises(DataError, match=str(tmp_path)):
            load_detectors(tmp_path)


@pytest.mark.parametrize("name", list(ALL))
def test_noise_has_the_spectrum_asked_for(name: str) -> None:
    large = spectrum_at(ALL[name].spectrum, (256, 320))
    assert large.shape == (256, 320)
    assert large.mean() == pytest.approx(1)
    np.testing.assert_allclose(large, np.roll(large[::-1, ::-1], (1, 1), axis=(0, 1)), rtol=1e-3)
    noise = noise_field(large, np.random.default_rng(1))
    assert noise.std() == pytest.approx(1, rel=0.05)
    expected = power(np.fft.ifft2(np.sqrt(large)).real)
    np.testing.assert_allclose(power(noise), expected, rtol=0.12)


def test_neighbouring_pixels_correlate_as_on_the_detector() -> None:
    """The correlations measured on the radiographs themselves, across and down."""
    measured = {"canon_dr_chest": (0.26, 0.28), "ge_dr_knee": (0.45, 0.57), "fuji_cr_hip": (0.09, 0.10)}
    for name, (across, down) in measured.items():
        noise = noise_field(spectrum_at(ALL[name].spectrum, (384, 384)), np.random.default_rng(0))
        assert correlation(noise, 1) == pytest.approx(across, abs=0.08)
        assert correlation(noise, 0) == pytest.approx(down, abs=0.08)
