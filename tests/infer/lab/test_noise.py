from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import ImageError, UsageError
from cxr_infer.imaging.mottle import estimate_mottle
from cxr_infer.lab.noise import (
    DETECTORS,
    WHITE,
    Detector,
    detector_of,
    detector_of_image,
    expose,
    find_detector,
    generator,
    load_detectors,
    told_of,
)

FloatImage = NDArray[np.float32]
SIDE = 256


@pytest.fixture(scope="module")
def ramp() -> FloatImage:
    return np.tile(np.linspace(0.2, 0.7, SIDE, dtype=np.float32), (SIDE, 1))


@pytest.mark.parametrize("name", [WHITE, *DETECTORS])
def test_a_dose_is_as_strong_in_every_noise(ramp: FloatImage, name: str) -> None:
    noisy, told = expose(ramp, name, 400.0, np.random.default_rng(1))
    assert noisy.dtype == np.float32
    noise = (noisy - ramp).astype(np.float64)
    assert noise.std() == pytest.approx(np.sqrt(ramp.mean() / 400), rel=0.03)
    assert told.spectrum.shape == ramp.shape
    assert told.spectrum.mean() == pytest.approx(1)
    found = noise.reshape(SIDE, 8, 32).std(axis=(0, 2))
    asked = np.interp(ramp[0], *told.curve.T).reshape(8, 32)
    np.testing.assert_allclose(found, np.sqrt((asked**2).mean(axis=1)), rtol=0.15)
    assert told.poisson == (name == WHITE)


def test_white_noise_counts_photons(ramp: FloatImage) -> None:
    noisy, told = expose(ramp, WHITE, 50.0, np.random.default_rng(1))
    np.testing.assert_allclose(noisy * 50, np.rint(noisy * 50), atol=1e-4)
    assert told.dose == pytest.approx(50)
    assert noisy.max() <= 1
    np.testing.assert_array_equal(told.spectrum, 1)


def test_equal_generators_draw_equal_noise(ramp: FloatImage) -> None:
    keys = [("lungs", "white", 3), ("lungs", "white", 3), ("lungs", "white", 4)]
    first, again, other = (expose(ramp, "ge_dr_knee", 100.0, generator(7, *key))[0] for key in keys)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.99


def test_the_shipped_detectors_are_those_that_are_named() -> None:
    assert tuple(load_detectors()) == (WHITE, *DETECTORS)
    with pytest.raises(UsageError, match="noise 'canon' is unknown; use white, canon_dr_chest"):
        find_detector("canon")
    for dose in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="no number of photons"):
            expose(np.full((64, 64), 0.5, np.float32), WHITE, dose, np.random.default_rng(0))


@pytest.mark.parametrize("name", [WHITE, "canon_dr_chest"])
def test_an_image_tells_the_noise_that_it_was_given(clean: FloatImage, name: str) -> None:
    middle = np.asarray(0.2 + 0.5 * clean, dtype=np.float32)
    noisy, told = expose(middle, name, 200.0, np.random.default_rng(2))
    own, dose = detector_of_image(noisy)
    assert isinstance(own, Detector)
    assert dose == pytest.approx(200, rel=0.3)
    assert own.spectrum.mean() == pytest.approx(1)
    again, _ = expose(middle, own, dose, np.random.default_rng(3))
    noise, more = ((image - middle).astype(np.float64) for image in (noisy, again))
    assert more.std() == pytest.approx(noise.std(), rel=0.15)
    neighbours = [np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1] for one in (noise, more)]
    assert neighbours[1] == pytest.approx(neighbours[0], abs=0.12)
    estimated = told_of(estimate_mottle(noisy), noisy.shape)
    assert estimated.dose == pytest.approx(told.dose, rel=0.5)


def test_an_image_without_noise_tells_none() -> None:
    flat = np.full((128, 128), 0.5, np.float32)
    with pytest.raises(ImageError, match="does not tell its noise"):
        detector_of(estimate_mottle(flat))
