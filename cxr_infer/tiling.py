"""Cut an image into overlapping windows and blend the results back. Pure functions on numpy arrays.

Windows are evenly spaced and all of one shape. Neighbours are blended by linear interpolation, canvas + weight * (new -
canvas), which gives back equal values to the bit: a predictor that changes nothing reconstructs the image exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import UsageError

FloatImage = NDArray[np.float32]
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


def plan_axis(extent: int, window: int, overlap: int, multiple: int = 1) -> Axis:
    """Evenly spaced windows that cover an axis of `extent` px.

    window: largest side of a window; it is made only as large as the number of windows needs. overlap: least px that
    neighbours share. multiple: sides and starts are multiples of it, so that a network that works at coarser
    resolutions sees the same pixels together in every window as in the whole image; window and overlap are rounded up
    to it. Raises UsageError where the overlap leaves no progress.
    """
    cells, longest, shared = (-(-px // multiple) for px in (extent, window, overlap))
    if overlap < 0 or shared >= longest:
        largest = (longest - 1) * multiple
        raise UsageError(f"overlap {overlap} does not fit windows of {longest * multiple} px; use 0 to {largest}")
    if cells <= longest:
        return Axis(cells * multiple, (0,), cells * multiple)
    count = -(-(cells - shared) // (longest - shared))
    length = min(longest, -(-(cells + (count - 1) * shared) // count))
    starts = tuple(i * (cells - length) // (count - 1) * multiple for i in range(count))
    return Axis(length * multiple, starts, cells * multiple)


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


def predict_in_windows(
    image: FloatImage, predict: Predict, window: int, overlap: int, *, multiple: int = 1, batch: int = 8
) -> FloatImage:
    """Apply a predictor of windows to a whole image.

    image: (H, W) float32. predict: (N, 1, h, w) -> same shape, called with at most `batch` windows of one row at a
    time. window, overlap: px, see `plan_axis`. multiple: px that the sides of a window must be divisible by.
    Returns (H, W) float32.
    """
    rows = plan_axis(image.shape[0], window, overlap, multiple)
    columns = plan_axis(image.shape[1], window, overlap, multiple)
    padded = pad_to(image, rows.padded, columns.padded)
    canvas = np.empty_like(padded)
    covered = 0
    for top in rows.starts:
        band = np.empty((rows.length, columns.padded), dtype=np.float32)
        filled = 0
        for left, piece in _predicted_row(padded[top : top + rows.length], predict, columns, batch):
            blend_into(band, piece, left, filled)
            filled = left + columns.length
        blend_into(canvas.T, band.T, top, covered)
        covered = top + rows.length
    return canvas[: image.shape[0], : image.shape[1]]


def _predicted_row(strip: FloatImage, predict: Predict, columns: Axis, batch: int) -> Iterator[tuple[int, FloatImage]]:
    for first in range(0, len(columns.starts), batch):
        lefts = columns.starts[first : first + batch]
        windows = np.stack([strip[None, :, left : left + columns.length] for left in lefts])
        for left, piece in zip(lefts, predict(windows), strict=True):
            yield left, piece[0]
