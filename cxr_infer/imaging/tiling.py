"""Cut an image into overlapping windows and blend the results. Pure functions on NumPy arrays.

Windows are evenly spaced and all of one shape. Neighbours are blended linearly, canvas + weight * (new - canvas), which
preserves equal values to the bit: an identity predictor reconstructs the image exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage

Predict = Callable[[FloatImage], FloatImage]  # (N, 1, H, W) -> (N, 1, H, W)

# Fraction of an overlap, at each window's edge, where that window has no weight: next to a cut the network sees the
# least context.
BLIND_SHARE = 0.25


@dataclass(frozen=True)
class AxisGrid:
    """Windows along one axis, in px: each `length` long, one at every start; the axis is padded to `padded`."""

    length: int
    starts: tuple[int, ...]
    padded: int


@dataclass(frozen=True)
class Grid:
    """Windows over an image, each rows.length x columns.length px."""

    rows: AxisGrid
    columns: AxisGrid

    @property
    def window_pixels(self) -> int:
        return self.rows.length * self.columns.length

    @property
    def computed(self) -> int:
        """Pixels that pass through the network; overlaps count more than once."""
        return self.window_pixels * len(self.rows.starts) * len(self.columns.starts)


def plan_axis(extent: int, kept: int, overlap: int, multiple: int = 1) -> AxisGrid:
    """Cover an axis of `extent` px with evenly spaced windows of at most kept + overlap px.

    kept: px by which a window extends the area already covered. overlap: minimum px shared by neighbours. multiple:
    window lengths and starts are multiples of it, so that pooling groups the same pixels in every window as in the
    whole image; `kept` and `overlap` are rounded up to it.
    """
    cells, step, shared = (-(-px // multiple) for px in (extent, kept, overlap))
    return split_axis(extent, max(1, -(-(cells - shared) // step)), overlap, multiple)


def split_axis(extent: int, count: int, overlap: int, multiple: int = 1) -> AxisGrid:
    """Cover an axis of `extent` px with `count` windows as short as possible; see `plan_axis`."""
    cells, shared = -(-extent // multiple), -(-overlap // multiple)
    length = min(cells, -(-(cells + (count - 1) * shared) // count))
    if length == cells:
        return AxisGrid(cells * multiple, (0,), cells * multiple)
    starts = tuple(i * (cells - length) // (count - 1) * multiple for i in range(count))
    return AxisGrid(length * multiple, starts, cells * multiple)


def plan_windows(shape: tuple[int, int], most_pixels: int, overlap: int, multiple: int = 1) -> Grid:
    """Choose windows of at most `most_pixels` each, of any proportions, that compute the fewest pixels in total.

    shape: (H, W) of the image. overlap, multiple: px, see `plan_axis`. If there are several windows, none is shorter
    than twice the overlap, so that most of the computed pixels are kept. Raises UsageError if `most_pixels` is too
    small for that; (3 * overlap + 2 * multiple)^2 always suffices.
    """
    by_height, by_width = (_splits(extent, overlap, multiple) for extent in shape)
    grids = []
    for rows in by_height:
        columns = next((axis for axis in by_width if rows.length * axis.length <= most_pixels), None)
        if columns is not None:
            grids.append(Grid(rows, columns))
    if not grids:
        raise UsageError(
            f"windows of {most_pixels} pixels are too small for an overlap of {overlap} px; allow larger windows"
        )
    return min(grids, key=lambda grid: grid.computed)


def _splits(extent: int, overlap: int, multiple: int) -> list[AxisGrid]:
    """Return splits into one window, two, and so on, while windows are at least twice as long as their overlap."""
    splits = [split_axis(extent, 1, overlap, multiple)]
    while splits[-1].length > multiple:
        following = split_axis(extent, len(splits) + 1, overlap, multiple)
        if following.length < 2 * overlap:
            break
        splits.append(following)
    return splits


def blend_weights(overlap: int) -> FloatImage:
    """Return the weight of the later window across an overlap of `overlap` px: 0, a cubic rise, 1."""
    position = (np.arange(overlap) + 0.5) / max(overlap, 1)
    rise = np.clip((position - BLIND_SHARE) / (1 - 2 * BLIND_SHARE), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def blend_into(canvas: FloatImage, piece: FloatImage, start: int, covered: int) -> None:
    """Blend a piece into a canvas in place, along the last axis at `start`; the canvas is filled up to `covered`."""
    end = start + piece.shape[-1]
    shared = min(max(covered - start, 0), piece.shape[-1])
    if shared:
        below = canvas[..., start : start + shared]
        below += blend_weights(shared) * (piece[..., :shared] - below)
    canvas[..., start + shared : end] = piece[..., shared:]


def pad_to(image: FloatImage, height: int, width: int) -> FloatImage:
    """Mirror an image (H, W) at its lower and right edge, repeatedly if needed, up to height x width."""
    rows, columns = image.shape
    if (rows, columns) == (height, width):
        return image
    return np.pad(image, ((0, height - rows), (0, width - columns)), mode="symmetric")


def predict_in_windows(image: FloatImage, predict: Predict, grid: Grid, batch: int = 1) -> FloatImage:
    """Apply a window predictor to a whole image.

    image: (H, W) float32. predict: (N, 1, h, w) -> same shape; gets at most `batch` windows of one row at a time. grid:
    from `plan_windows`, or from `plan_axis` for each axis. Returns (H, W) float32.
    """
    rows, columns = grid.rows, grid.columns
    padded = pad_to(image, rows.padded, columns.padded)
    canvas = np.empty_like(padded)
    covered = 0
    for top in rows.starts:
        bottom, shared = top + rows.length, covered - top if covered else 0
        # only rows shared with the windows above need a buffer of their own, to be blended with them
        known, fresh = np.empty((shared, columns.padded), dtype=np.float32), canvas[covered:bottom]
        filled = 0
        for left, piece in _predicted_row(padded[top:bottom], predict, columns, batch):
            blend_into(known, piece[:shared], left, filled)
            blend_into(fresh, piece[shared:], left, filled)
            filled = left + columns.length
        blend_into(canvas.T, known.T, top, covered)
        covered = bottom
    return canvas[: image.shape[0], : image.shape[1]]


def _predicted_row(
    strip: FloatImage, predict: Predict, columns: AxisGrid, batch: int
) -> Iterator[tuple[int, FloatImage]]:
    for first in range(0, len(columns.starts), batch):
        lefts = columns.starts[first : first + batch]
        windows = np.stack([strip[None, :, left : left + columns.length] for left in lefts])
        for left, piece in zip(lefts, predict(windows), strict=True):
            yield left, piece[0]
