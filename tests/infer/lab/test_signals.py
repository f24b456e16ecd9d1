from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.errors import UsageError
from cxr_infer.imaging.phantom import render_phantom
from cxr_infer.lab.protocol import SIGNAL_KINDS, Signal
from cxr_infer.lab.signals import (
    EDGE_ANGLE,
    around,
    contrast_detail,
    draw,
    lay,
    places,
    reach,
    search_task,
    surroundings,
)

FloatImage = NDArray[np.float32]
SHAPE = (96, 120)


@pytest.mark.parametrize("kind", SIGNAL_KINDS)
@pytest.mark.parametrize("contrast", [40.0, -40.0])
def test_a_signal_has_its_contrast_and_lies_within_its_reach(kind: str, contrast: float) -> None:
    signal = Signal(kind, 9.0, contrast)
    drawn = draw(signal, SHAPE, (48, 60))
    assert drawn.dtype == np.float32
    largest = drawn.flat[np.abs(drawn).argmax()]
    expected = -40 if kind == "dark-line" else contrast
    assert 255 * largest == pytest.approx(expected, rel=0.03)
    if kind != "edge":
        outside = drawn.copy()
        outside[around((48, 60), reach(signal), SHAPE)] = 0
        assert not outside.any()
        far = draw(signal, SHAPE, (-500.0, 900.0))
        assert not far.any(), "outside the image"


def test_areas_and_widths_match_the_formulas() -> None:
    disc = draw(Signal("disc", 21.0, 255.0), SHAPE, (48, 60))
    assert disc.sum() == pytest.approx(np.pi * 21**2 / 4, rel=0.005)
    nodule = draw(Signal("nodule", 30.0, 255.0), SHAPE, (48, 60))
    assert nodule.sum() == pytest.approx(np.pi * 15**2 / 2.5, rel=0.005)  # of (1 - r^2)^1.5: pi R^2 / (v + 1)
    assert nodule[48, 60 + 10] == pytest.approx((1 - (10 / 15) ** 2) ** 1.5, rel=1e-5)
    line = draw(Signal("line", 4.0, 255.0), SHAPE, (48, 60))
    angle = np.radians(-28)
    row, column = round(48 + 2 * np.sin(angle)), round(60 + 2 * np.cos(angle))
    away = (column - 60) * np.cos(angle) + (row - 48) * np.sin(angle)
    assert line[row, column] == pytest.approx(0.5 ** ((away / 2) ** 2), rel=0.01), (
        "half the contrast at half a width from the axis"
    )
    lattice = draw(Signal("lattice", 6.0, 255.0), SHAPE, (48, 60))
    assert abs(lattice.sum()) < 0.02 * np.abs(lattice).sum()


def test_sizes_are_in_mm_if_the_spacing_is_known() -> None:
    np.testing.assert_array_equal(
        draw(Signal("disc", 5.0, 50), SHAPE, (40, 50), spacing=0.25), draw(Signal("disc", 20.0, 50), SHAPE, (40, 50))
    )
    assert reach(Signal("nodule", 5.0, 50), 0.2) == reach(Signal("nodule", 25.0, 50))


def test_a_blur_keeps_the_mean_and_the_plateaus_of_an_edge() -> None:
    sharp, soft = (draw(Signal("disc", 15.0, 100), SHAPE, (48, 60), blur=blur) for blur in (0.0, 2.0))
    assert soft.sum() == pytest.approx(sharp.sum(), rel=1e-3)
    assert soft.max() < sharp.max()
    edge = draw(Signal("edge", 1.0, 100), SHAPE, (48, 60), blur=1.5)
    assert edge[:, 0].max() < 1e-6
    np.testing.assert_allclose(edge[:, -1], 100 / 255, rtol=1e-5, err_msg="the blur does not see the image border")


def test_a_blurred_edge_has_the_profile_of_the_error_function() -> None:
    row, column, blur = 48, 60, 1.5
    edge = draw(Signal("edge", 1.0, 100), SHAPE, (row, column), blur=blur)
    y, x = np.indices(SHAPE, dtype=np.float64)
    across = (x - column) * np.cos(EDGE_ANGLE) + (y - row) * np.sin(EDGE_ANGLE)
    sigma = np.hypot(blur, 1 / np.sqrt(12))  # the unblurred edge is one pixel wide
    expected = 100 / 255 * np.vectorize(NormalDist(0, sigma).cdf)(across)
    np.testing.assert_allclose(edge, expected, atol=0.005 * 100 / 255)


def test_places_are_apart_in_flat_mid_gray_areas() -> None:
    phantom = render_phantom(2, 512)
    signal = Signal("nodule", 24.0, 20.0)
    found = places(phantom, signal, 3, 12)
    assert 8 <= len(found) <= 12
    half = surroundings(signal)
    squares = [
        phantom[around((row, column), half, phantom.shape)] for row in range(20, 490, 6) for column in range(20, 490, 6)
    ]
    middle_gray = [square.std() for square in squares if 0.2 <= square.mean() <= 0.72]
    for index, (row, column) in enumerate(found):
        around_it = phantom[around((row, column), half, phantom.shape)]
        assert around_it.shape == (2 * half + 1, 2 * half + 1)
        assert 0.2 <= around_it.mean() <= 0.8
        assert around_it.std() < np.quantile(middle_gray, 0.35)
        assert all(np.abs(found[index] - other).max() > 2 * half for other in found[:index])
    np.testing.assert_array_equal(found, places(phantom, signal, 3, 12))
    assert not np.array_equal(found, places(phantom, signal, 4, 12))
    marked = lay(phantom, signal, found)
    for row, column in found:
        assert 255 * (marked - phantom)[row, column] == pytest.approx(20, abs=0.2)


def test_a_flat_field_has_places_anywhere_and_a_black_image_none() -> None:
    flat = np.full((128, 160), 0.5, np.float32)
    found = places(flat, Signal("disc", 6.0, 30.0), 0, 6)
    assert len(found) == 6
    assert found.max() > 100
    for image, contrast in ((np.zeros_like(flat), 10.0), (flat, 200.0), (flat[:20], 10.0)):
        with pytest.raises(UsageError, match=r"no place for it in an image of 160 x \d+ px; it needs"):
            places(image, Signal("disc", 6.0, contrast), 0, 6)
    with pytest.raises(UsageError, match="no place for it in an image of 160 x 128 px"):
        places(flat, Signal("disc", 6.0, 10.0), 0, 6, spacing=1e-9)


def test_a_search_hides_the_signal_at_every_candidate_equally_often() -> None:
    candidates = places(np.full((128, 160), 0.5, np.float32), Signal("disc", 6.0, 30.0), 0, 4)
    rng = np.random.default_rng(0)
    tasks = [search_task(candidates, rng) for _ in range(400)]
    counts = np.bincount([task.truth for task in tasks], minlength=4)
    assert counts.min() > 70
    assert tasks[0].centre == tuple(candidates[tasks[0].truth])


def test_a_contrast_detail_array_has_two_equal_discs_in_every_square() -> None:
    array, cells = contrast_detail((4.0, 8.0), (10.0, 20.0, 40.0), np.random.default_rng(1), spacing=0.5)
    assert array.shape == (2 * 64, 3 * 64)
    assert len(cells) == 6
    assert len({cell.corner_index for cell in cells}) > 1
    for index, cell in enumerate(cells):
        row, column = divmod(index, 3)
        square = array[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
        radius = cell.signal.size / 0.5 / 2
        assert square.sum() == pytest.approx(2 * np.pi * radius**2 * cell.signal.contrast / 255, rel=0.01)
        for centre in (cell.middle, cell.corner):
            assert 255 * array[round(centre[0]), round(centre[1])] == pytest.approx(cell.signal.contrast)
    with pytest.raises(UsageError, match="no room for discs of 8 px; use 25 or more"):
        contrast_detail((8.0,), (10.0,), np.random.default_rng(0), side=20)


def test_unknown_signals_are_named() -> None:
    with pytest.raises(UsageError, match="unknown signal 'square'; use disc, nodule"):
        draw(Signal("square", 5.0, 10.0), SHAPE, (40, 40))
    with pytest.raises(UsageError, match="has no size"):
        draw(Signal("disc", 0.0, 10.0), SHAPE, (40, 40))
