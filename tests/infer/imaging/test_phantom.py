from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cxr_infer.imaging.phantom import render_phantom


def test_the_seed_determines_the_phantom(clean: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(render_phantom(5, 256), clean)
    assert np.abs(render_phantom(6, 256) - clean).max() > 0.1


def test_range_and_type(clean: NDArray[np.float32]) -> None:
    assert clean.dtype == np.float32
    assert clean.shape == (256, 256)
    assert clean.min() == 0
    assert 0.9 < clean.max() <= 1


def test_bone_is_white_lung_is_dark_air_is_black(clean: NDArray[np.float32]) -> None:
    def at(x: float, y: float) -> float:
        row, column = round(y * 256), round(x * 256)
        return float(clean[row - 4 : row + 4, column - 4 : column + 4].mean())

    air, right_lung, left_lung, liver, spine = at(0.03, 0.5), at(0.27, 0.5), at(0.75, 0.5), at(0.28, 0.9), at(0.5, 0.8)
    assert air < 0.02
    assert air < min(right_lung, left_lung)
    assert max(right_lung, left_lung) < liver < spine


def test_the_marker_stands_out(clean: NDArray[np.float32]) -> None:
    corner = clean[:40, 215:]
    assert corner.max() > 0.8
    assert np.median(corner) < 0.1


def test_a_too_small_phantom_is_refused() -> None:
    with pytest.raises(ValueError, match="64 or more"):
        render_phantom(1, 32)
