from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.imaging.mottle import estimate_mottle, poisson_mottle, repair_wrapped, to_square_root_level
from cxr_infer.imaging.phantom import render_phantom


@pytest.fixture(scope="module")
def large() -> NDArray[np.float32]:
    return render_phantom(2, 512)


def test_poisson_mottle_has_the_mean_and_variance_of_photons() -> None:
    levels = np.repeat(np.array([[0.1], [0.5], [0.9]], np.float32), 200_000, axis=1)
    drawn = poisson_mottle(levels, 71.0, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(1), levels[:, 0], rtol=0.01)
    np.testing.assert_allclose(drawn.var(1), levels[:, 0] / 71, rtol=0.02)


def test_poisson_mottle_is_seeded_and_takes_one_dose_per_image() -> None:
    images = np.full((2, 1, 100, 100), 0.5, np.float32)
    doses = np.array([10.0, 1000.0])[:, None, None, None]
    first, again, other = (poisson_mottle(images, doses, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_allclose(first.var((1, 2, 3)), [0.05, 0.0005], rtol=0.1)


@pytest.mark.parametrize("white", [71.0, 200.0, 600.0])
def test_the_estimate_finds_the_dose(large: NDArray[np.float32], white: float) -> None:
    mottle = estimate_mottle(np.minimum(poisson_mottle(large, white, np.random.default_rng(4)), 1))
    assert mottle.level == pytest.approx(float(to_square_root_level(white)), rel=0.08)
    assert mottle.gain * white == pytest.approx(1, rel=0.35)


def test_the_estimate_grows_as_the_dose_falls_and_is_small_without_noise(large: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(4)
    levels = [estimate_mottle(np.minimum(poisson_mottle(large, w, rng), 1)).level for w in (1000, 300, 100, 30)]
    assert levels == sorted(levels)
    assert estimate_mottle(large).level < 0.4 * levels[0]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (8, 8), (9, 31)])
def test_the_estimate_of_small_flat_and_saturated_images_is_a_number(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for image in (np.zeros(shape), np.ones(shape), np.full(shape, 0.4), rng.random(shape)):
        mottle = estimate_mottle(image.astype(np.float32))
        assert np.isfinite([mottle.gain, mottle.offset, mottle.sd, mottle.level]).all()
        assert 0 <= mottle.level <= 0.5


def test_repair_restores_wrapped_pixels(large: NDArray[np.float32]) -> None:
    counts = poisson_mottle(large, 70.83, np.random.default_rng(1))
    wrapped = np.where(counts > 1, counts - np.float32(256 / 255), counts).clip(0, 1)
    saturated = np.minimum(counts, 1)
    repaired = repair_wrapped(wrapped)
    assert np.mean((wrapped - saturated) ** 2) > 0.01
    assert np.mean((repaired - saturated) ** 2) < 0.001


def test_repair_hardly_changes_an_image_that_did_not_wrap(large: NDArray[np.float32]) -> None:
    saturated = np.minimum(poisson_mottle(large, 200, np.random.default_rng(1)), 1)
    assert np.mean(repair_wrapped(saturated) != saturated) < 0.001
