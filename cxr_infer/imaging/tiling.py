"""Cut an image into overlapping windows and blend the results back. Pure functions on numpy arrays.

Windows are evenly spaced and all of one shape. Neighbours are blended by linear interpolation, canvas + weight * (new -
canvas), which gives back equal values to the bit: a predictor that changes nothing reconstructs the image exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from cxr_infer.errors import UsageError
from cxr_infer.imaging.pixels import FloatImage

Predict = Callable[[FloatImage], FloatImage]  # (N, 1, H, W) -> (N, 1, H, W)

# Share of an overlap, at either window's edge, in which that window has no say: what a network computes next to a cut
# it knows least.
BLIND_SHARE = 0.25


@dataclass(frozen=True)
class Axis:
    """The windows along one axis, in px: `length` long, one at every start, over an axis padded to `padded`."""

    length: int
    starts: tuple[int, ...]
    padded: int


@dataclass(frozen=True)
class Grid:
    """The windows over an image: all of them rows.length x columns.length px."""

    rows: Axis
    columns: Axis

    @property
    def window_pixels(self) -> int:
        return self.rows.length * self.columns.length

    @property
    def computed(self) -> int:
        """Pixels that go through the network, those of overlaps counted more than once."""
        return self.window_pixels * len(self.rows.starts) * len(self.columns.starts)


def plan_axis(extent: int, kept: int, overlap: int, multiple: int = 1) -> Axis:
    """Evenly spaced windows of at most kept + overlap px that cover an axis of `extent` px.

    kept: px that a window adds to its neighbours. overlap: least px that neighbours share. multiple: sides and starts
    are multiples of it, so that a network that works at coarser resolutions sees the same pixels together in every
    window as in the whole image; both lengths are rounded up to it.
    """
    cells, step, shared = (-(-px // multiple) for px in (extent, kept, overlap))
    return split_axis(extent, max(1, -(-(cells - shared) // step)), overlap, multiple)


def split_axis(extent: int, count: int, overlap: int, multiple: int = 1) -> Axis:
    """`count` windows, no longer than needed, that cover an axis of `extent` px; see `plan_axis`."""
    cells, shared = -(-extent // multiple), -(-overlap // multiple)
    length = min(cells, -(-(cells + (count - 1) * shared) // count))
    if length == cells:
        return Axis(cells * multiple, (0,), cells * multiple)
    starts = tuple(i * (cells - length) // (count - 1) * multiple for i in range(count))
    return Axis(length * multiple, starts, cells * multiple)


def plan_windows(shape: tuple[int, int], most_pixels: int, overlap: int, multiple: int = 1) -> Grid:
    """The windows of at most `most_pixels` each, of any proportions, that compute the fewest pixels in all.

    shape: (H, W) of the image. overlap, multiple: px, see `plan_axis`. No window of several is shorter than twice the
    overlap, so that most of what it computes is kept. Raises UsageError where `most_pixels` are too few for that, which
    (3 * overlap + 2 * multiple)^2 never are.
    """
    by_height, by_width = (_splits(extent, overlap, multiple) for extent in shape)
    grids = []
    for rows in by_height:
        columns = next((axis for axis in by_width if rows.length * axis.length <= most_pixels), None)
        if columns is not None:
            grids.append(Grid(rows, columns))
    if not grids:
        raise UsageError(f"windows of {most_pixels} pixels are too small for an overlap of {overlap} px; allow more")
    return min(grids, key=lambda grid: grid.computed)


def _splits(extent: int, overlap: int, multiple: int) -> list[Axis]:
    """One window, two, and so on, while they are at least twice as long as their overlap."""
    splits = [split_axis(extent, 1, overlap, multiple)]
    while splits[-1].length > multiple:
        following = split_axis(extent, len(splits) + 1, overlap, multiple)
        if following.length < 2 * overlap:
            break
        splits.append(following)
    return splits


def blend_weights(overlap: int) -> FloatImage:
    """Weight of the later window over an overlap of `overlap` px: 0, a smooth rise, 1."""
    position = (np.arange(overlap) + 0.5) / max(overlap, 1)
    rise = np.clip((position - BLIND_SHARE) / (1 - 2 * BLIND_SHARE), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def blend_into(canvas: FloatImage, piece: FloatImage, start: int, covered: int) -> None:
    """Lay a piece on the last axis of a canvas, at `start`, where the canvas is filled up to `covered`; in place."""
    end = start + piece.shape[-1]
    shared = min(max(covered - start, 0), piece.shape[-1])
    if shared:
        below = canvas[..., start : start + shared]
        below += blend_weights(shared) * (piece[..., :shared] - below)
    canvas[..., start + shared : end] = piece[..., shared:]


def pad_to(image: FloatImage, height: int, width: int) -> FloatImage:
    """Mirror an image at its lower and right edge up to a shape, as often as that takes."""
    rows, columns = image.shape
    if (rows, columns) == (height, width):
        return image
    return np.pad(image, ((0, height - rows), (0, width - columns)), mode="symmetric")


def predict_in_windows(image: FloatImage, predict: Predict, grid: Grid, batch: int = 1) -> FloatImage:
    """Apply a predictor of windows to a whole image.

    image: (H, W) float32. predict: (N, 1, h, w) -> same shape, called with at most `batch` windows of one row at a
    time. grid: from `plan_windows` or `plan_axis` for the image's height and width. Returns (H, W) float32.
    """
    rows, columns = grid.rows, grid.columns
    padded = pad_to(image, rows.padded, columns.padded)
    canvas = np.empty_like(padded)
    covered = 0
    for top in rows.starts:
        bottom, shared = top + rows.length, covered - top if covered else 0
        # only the rows that the windows above know as well are kept apart, to be blended with theirs
        known, fresh = np.empty((shared, columns.padded), dtype=np.float32), canvas[covered:bottom]
        filled = 0
        for left, piece in _predicted_row(padded[top:bottom], predict, columns, batch):
            blend_into(known, piece[:shared], left, filled)
            blend_into(fresh, piece[shared:], left, filled)
            filled = left + columns.length
        blend_into(canvas.T, known.T, top, covered)
        covered = bottom
    return canvas[: image.shape[0], : image.shape[1]]


def _predicted_row(strip: FloatImage, predict: Predict, columns: Axis, batch: int) -> Iterator[tuple[int, FloatImage]]:
    for first in range(0, len(columns.starts), batch):
        lefts = columns.starts[first : first + batch]
        windows = np.stack([strip[None, :, left : left + columns.length] for left in lefts])
        for left, piece in zip(lefts, predict(windows), strict=True):
            yield left, piece[0]
