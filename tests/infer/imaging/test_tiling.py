from __future__ import annotations

import numpy as np
import pytest

from cxr_infer.errors import UsageError
from cxr_infer.imaging.tiling import Grid, blend_weights, plan_axis, plan_windows, predict_in_windows

SHAPES = [(1, 1), (1, 70), (5, 3), (63, 64), (64, 64), (65, 130), (200, 91), (257, 511)]
TILES = [(48, 16, 16), (16, 48, 16), (93, 7, 16), (16, 0, 1), (28, 20, 8), (320, 64, 16)]


def square(shape: tuple[int, int], kept: int, overlap: int, multiple: int) -> Grid:
    rows, columns = (plan_axis(extent, kept, overlap, multiple) for extent in shape)
    return Grid(rows, columns)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kept", "overlap", "multiple"), TILES)
def test_identity_reconstructs_any_size_bit_exact(
    shape: tuple[int, int], kept: int, overlap: int, multiple: int
) -> None:
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    seen: list[tuple[int, ...]] = []

    def identity(windows: np.ndarray) -> np.ndarray:
        seen.append(windows.shape[1:])
        return windows

    result = predict_in_windows(image, identity, square(shape, kept, overlap, multiple), batch=3)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image)
    assert len(set(seen)) == 1, "windows of one image have one shape"
    assert all(side % multiple == 0 for side in seen[0][1:])


@pytest.mark.parametrize("extent", [1, 2, 63, 64, 65, 100, 127, 512, 1000, 1023])
@pytest.mark.parametrize(("kept", "overlap", "multiple"), TILES)
def test_windows_cover_the_axis_evenly(extent: int, kept: int, overlap: int, multiple: int) -> None:
    axis = plan_axis(extent, kept, overlap, multiple)
    covered = np.zeros(axis.padded, dtype=int)
    for start in axis.starts:
        covered[start : start + axis.length] += 1
    assert covered.min() >= 1
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.length == axis.padded >= extent
    steps = np.diff(axis.starts)
    if len(steps):
        assert steps.max() - steps.min() <= multiple, "evenly spaced"
        assert (steps % multiple == 0).all()
        assert axis.length - steps.max() >= overlap, "neighbours share at least the overlap"


def test_a_window_larger_than_the_image_is_cut_to_the_size_needed() -> None:
    assert plan_axis(40, 512, 64, 16) == plan_axis(40, 48, 0, 16)
    assert plan_axis(40, 512, 64, 16).starts == (0,)


@pytest.mark.parametrize("shape", [(512, 512), (1024, 1024), (1500, 1200), (300, 9000), (4096, 4096), (1, 1)])
@pytest.mark.parametrize(("most", "overlap"), [(1_300_000, 96), (200_000, 96), (60_000, 64), (300_000, 0)])
def test_windows_are_as_large_as_the_limit_allows(shape: tuple[int, int], most: int, overlap: int) -> None:
    grid = plan_windows(shape, most, overlap, 16)
    assert grid.window_pixels <= most
    side = int(most**0.5) // 16 * 16 - overlap
    same_area = square(shape, side, overlap, 16)
    assert grid.computed <= same_area.computed, "square windows of that area compute no less"
    if shape[0] * shape[1] <= most:
        assert grid.computed < shape[0] * shape[1] + 16 * (sum(shape) + 16), "what fits is one window"


def test_too_few_pixels_for_any_window_are_refused() -> None:
    with pytest.raises(UsageError, match="windows of 10000 pixels are too small for an overlap of 96 px"):
        plan_windows((4096, 4096), 10_000, 96, 16)


@pytest.mark.parametrize(("overlap", "multiple"), [(96, 16), (64, 16), (7, 1), (20, 8), (0, 16)])
def test_windows_of_three_overlaps_a_side_suffice_for_any_image(overlap: int, multiple: int) -> None:
    least = (3 * overlap + 2 * multiple) ** 2
    for height in range(1, 7 * (overlap + multiple), 5):
        for width in (height, 3000, 2 * overlap + 1, 3 * overlap):
            grid = plan_windows((height, max(width, 1)), least, overlap, multiple)
            assert grid.window_pixels <= least


@pytest.mark.parametrize("overlap", [1, 2, 16, 48, 95])
def test_blend_weights_rise_from_the_older_window_to_the_newer(overlap: int) -> None:
    weights = blend_weights(overlap)
    assert weights.shape == (overlap,)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert (np.diff(weights) >= 0).all()
    np.testing.assert_allclose(weights + weights[::-1], 1, atol=1e-6)


def test_disagreeing_windows_are_blended_without_a_jump() -> None:
    count = iter(range(100))

    def alternating(windows: np.ndarray) -> np.ndarray:
        return np.stack([np.full_like(w, next(count) % 2) for w in windows])

    result = predict_in_windows(np.zeros((64, 300), np.float32), alternating, square((64, 300), 32, 32, 16))
    assert result.min() == 0
    assert result.max() == 1
    assert np.abs(np.diff(result, axis=1)).max() < 0.15


def test_batches_are_bounded() -> None:
    sizes: list[int] = []

    def note(windows: np.ndarray) -> np.ndarray:
        sizes.append(len(windows))
        return windows

    predict_in_windows(np.zeros((64, 1000), np.float32), note, square((64, 1000), 48, 16, 16), batch=5)
    assert max(sizes) == 5
