"""Noise power spectra of synthetic noise of known spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_infer.errors import ImageError
from cxr_infer.lab.noise import find_detector, noise_field, spectrum_at
from cxr_infer.lab.noise_power import axis_profile, noise_power, radial_profile, region_side

SD, SIDE, BANDS = 5.0, 64, 12
SPACING = 0.2  # mm


def test_white_noise_is_flat_and_its_integral_is_the_variance() -> None:
    rng = np.random.default_rng(1)
    spectrum = noise_power((SD * rng.standard_normal((256, 320)) for _ in range(4)), SIDE, SPACING)
    profile = radial_profile(spectrum, BANDS)
    off = (profile.power / (SD**2 * SPACING**2) - 1) / profile.relative_error
    assert np.abs(off).max() < 4
    assert spectrum.variance == pytest.approx(SD**2, rel=0.01)
    assert profile.frequency[-1] <= 0.5 / SPACING


def test_the_spectrum_of_a_detector_is_recovered() -> None:
    rng = np.random.default_rng(2)
    known = spectrum_at(find_detector("canon_dr_chest").spectrum, (256, 256))
    spectrum = noise_power((SD * noise_field(known, rng) for _ in range(40)), SIDE)
    frequency = np.fft.fftfreq(256)
    radius = np.hypot(frequency, frequency[:, None])
    profile = radial_profile(spectrum, BANDS)
    for center, power, error in zip(profile.frequency, profile.power, profile.relative_error, strict=True):
        ring = np.abs(radius - center) < 0.25 / BANDS
        assert power == pytest.approx(SD**2 * known[ring].mean(), rel=0.04 + 3 * error)
    assert profile.power.max() > 3 * profile.power.min()


def test_the_stated_error_matches_the_spread_of_spectra() -> None:
    rng = np.random.default_rng(3)
    found = [radial_profile(noise_power([rng.standard_normal((160, 160))], SIDE), BANDS) for _ in range(60)]
    spread = np.std([each.power for each in found], axis=0)
    np.testing.assert_allclose(spread.mean(), found[0].relative_error.mean(), rtol=0.2)


def test_axis_profiles_distinguish_rows_from_columns() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((320, 321))
    along_rows = noise[:, 1:] + noise[:, :-1]  # neighbours in a row share noise: power falls along rows alone
    spectrum = noise_power([along_rows], SIDE)
    across, down = axis_profile(spectrum, bands=BANDS), axis_profile(spectrum, down=True, bands=BANDS)
    np.testing.assert_allclose(across.power / (4 * np.cos(np.pi * across.frequency) ** 2 + 0.05), 1, atol=0.4)
    assert across.power[-1] < 0.1 * across.power[0]
    assert down.power[-1] > 0.7 * down.power[0]


def test_shading_does_not_count_as_noise() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((128, 128))
    y, x = np.mgrid[:128, :128] / 128
    plain, shaded = (noise_power([noise + shade], SIDE).values for shade in (0.0, 40 * x + 30 * y**2 + 20 * x * y))
    np.testing.assert_allclose(shaded, plain, atol=1e-9)


def test_regions_fit_the_image() -> None:
    assert region_side((2000, 2000)) == 256
    assert region_side((300, 200)) == 128
    with pytest.raises(ImageError, match="12x12 px is too small"):
        region_side((12, 12))
    with pytest.raises(ImageError, match="is smaller than a region"):
        noise_power([np.zeros((20, 20))], 32)
