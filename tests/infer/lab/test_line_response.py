from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.lab.line_response import LENGTH, WIDTH, line_response, lines_missing

FloatImage = NDArray[np.float32]

SIDE = 128  # px
CONTRAST = 12 / 255


def with_line(image: FloatImage, angle: float, contrast: float, x: float = 64, y: float = 64) -> FloatImage:
    """A line of the template's width, 1.5 times as long as the template, through (x, y)."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across = (columns - x) * np.sin(angle) - (rows - y) * np.cos(angle)
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    line = np.exp(-(across**2) / (2 * WIDTH**2)) * np.clip(0.75 * LENGTH + 0.5 - np.abs(along), 0, 1)
    return np.asarray(image + contrast * line, dtype=np.float32)


def missing(image: FloatImage, other: FloatImage) -> tuple[int, int]:
    """Numbers of lines of either sign: those in an image, and those of them that the other image lacks."""
    either = [lines_missing(*pair) for pair in zip(line_response(image), line_response(other), strict=True)]
    return sum(present for present, _ in either), sum(absent for _, absent in either)


@pytest.fixture
def slope() -> FloatImage:
    """Smooth, but neither flat nor linear."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    return np.asarray(0.2 + 0.5 * columns + 0.1 * rows**2, dtype=np.float32)


@pytest.mark.parametrize("angle", np.radians([0, 3.75, 20, 45, 71, 90, 123, 176.25]))
def test_the_response_to_a_line_is_its_contrast(slope: FloatImage, angle: float) -> None:
    for sign in (1, -1):
        image = with_line(slope, angle, sign * CONTRAST)
        bright, dark = line_response(image)
        along, other = (bright, dark) if sign > 0 else (dark, bright)
        assert along[64, 64] == pytest.approx(CONTRAST, rel=0.1)
        assert other[64, 64] < 0.25 / 255
    assert max(response[8:-8, 8:-8].max() for response in line_response(slope)) < 0.25 / 255


def test_a_line_is_missing_if_the_other_image_has_none_nearby(slope: FloatImage) -> None:
    marked = with_line(with_line(slope, 0.4, CONTRAST, y=40), 2.0, -CONTRAST, y=96)
    assert missing(marked, slope) == (2, 2)
    assert missing(slope, marked) == (0, 0)
    assert missing(marked, marked) == (2, 0)
    one = with_line(slope, 0.4, CONTRAST)
    assert missing(one, with_line(slope, 0.4, CONTRAST, y=66)) == (1, 0), "2 px away"
    assert missing(one, with_line(slope, 0.4, -CONTRAST)) == (1, 1), "of the other sign"
    assert missing(one, with_line(slope, 0.4, 0.6 * CONTRAST)) == (1, 0)
    assert missing(one, with_line(slope, 0.4, 0.3 * CONTRAST)) == (1, 1)
    assert missing(with_line(slope, 0.4, 0.5 * CONTRAST), slope) == (0, 0), "6 gray levels"
