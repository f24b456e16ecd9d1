"""The published work's own test as a picture: clean, noisy and every model's result, with a zoomed inset each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import to_bytes

FloatImage = NDArray[np.float32]
Picture = NDArray[np.uint8]

PANEL = 420  # px, width of a panel; the image keeps its shape
GAP = 14  # px
TITLE_HEIGHT = 34  # px
CAPTION_HEIGHT = 58  # px
BACKGROUND = 18  # gray level; dark, as reading rooms are
INK = 235  # gray level
FRAME = (60, 200, 255)  # BGR
ZOOM_SHARE = 0.18  # of the image's smaller side that the inset shows
INSET_SHARE = 0.44  # of the panel's width that the inset covers
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Panel:
    """One image of the figure: (H, W) float32 in [0, 1], its title and the lines under it."""

    title: str
    image: FloatImage
    lines: tuple[str, ...] = ()


def describe(clean: FloatImage, image: FloatImage) -> tuple[str, ...]:
    """The figures under a panel. Both (H, W) float32 in [0, 1]."""
    error = mse(clean, image)
    return (f"MSE {error:.5f}", f"PSNR {psnr_of_mse(error):.2f} dB  SSIM {ssim(clean, image):.3f}")


def most_detailed(clean: FloatImage) -> tuple[int, int]:
    """Centre (row, column) of the neighbourhood with the most fine structure, away from the border."""
    fine = np.abs(clean - cv2.GaussianBlur(clean, (0, 0), 3))
    side = max(3, int(ZOOM_SHARE * min(clean.shape)) | 1)
    detail = cv2.blur(np.minimum(fine, 0.05), (side, side))
    margin = side // 2
    if min(clean.shape) <= 2 * margin:
        return clean.shape[0] // 2, clean.shape[1] // 2
    inner = detail[margin : clean.shape[0] - margin, margin : clean.shape[1] - margin]
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(row) + margin, int(column) + margin


def draw_figure(
    panels: Sequence[Panel],
    centre: tuple[int, int] | None = None,
    columns: int | None = None,
    *,
    inset: bool = True,
    panel: int = PANEL,
) -> Picture:
    """Lay out panels, with a zoomed inset each.

    panels: images of one shape. centre: row and column of what the insets show, by default the first image's most
    detailed place. columns: panels a row, by default all. inset: whether to zoom. panel: px, width of a panel.
    Returns (H, W, 3) uint8 BGR.
    """
    if inset and centre is None:
        centre = most_detailed(panels[0].image)
    captioned = any(p.lines for p in panels)
    drawn = [_draw_panel(p, centre if inset else None, panel, captioned) for p in panels]
    columns = columns or len(drawn)
    blank = np.full_like(drawn[0], BACKGROUND)
    drawn += [blank] * (-len(drawn) % columns)
    rows = [_joined(drawn[i : i + columns], axis=1) for i in range(0, len(drawn), columns)]
    picture = _joined(rows, axis=0)
    return np.pad(picture, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=BACKGROUND)


def _joined(pictures: Sequence[Picture], axis: int) -> Picture:
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, BACKGROUND, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)


def _draw_panel(panel: Panel, centre: tuple[int, int] | None, panel_width: int, captioned: bool) -> Picture:
    height, width = panel.image.shape
    scale = panel_width / width
    shown = to_bytes(panel.image)
    body = np.repeat(_resized(shown, panel_width, max(1, round(height * scale)))[..., None], 3, axis=2)
    if centre is not None:
        _draw_inset(body, shown, centre, scale)
    title = np.full((TITLE_HEIGHT, panel_width, 3), BACKGROUND, np.uint8)
    _write(title, panel.title, 24, 0.6)
    if not captioned:
        return np.concatenate([title, body])
    caption = np.full((CAPTION_HEIGHT, panel_width, 3), BACKGROUND, np.uint8)
    for number, line in enumerate(panel.lines):
        _write(caption, line, 22 + 25 * number, 0.55)
    return np.concatenate([title, body, caption])


def _resized(image: Picture, width: int, height: int) -> Picture:
    shrinks = width < image.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (width, height), interpolation=mode), dtype=np.uint8)


def _draw_inset(body: Picture, image: Picture, centre: tuple[int, int], scale: float) -> None:
    """Enlarge the neighbourhood of `centre` in the lower corner that is farther from it, and frame both; in place."""
    side = max(1, min(int(ZOOM_SHARE * min(image.shape)), *image.shape))
    top, left = (int(np.clip(c - side // 2, 0, extent - side)) for c, extent in zip(centre, image.shape, strict=True))
    inset_side = min(int(INSET_SHARE * body.shape[1]), body.shape[0])
    crop = cv2.resize(
        image[top : top + side, left : left + side], (inset_side, inset_side), interpolation=cv2.INTER_NEAREST
    )
    corner_left = body.shape[1] - inset_side if left + side / 2 < image.shape[1] / 2 else 0
    corner_top = body.shape[0] - inset_side if top + side / 2 < image.shape[0] / 2 else 0
    corners = [round(v * scale) for v in (left, top, left + side, top + side)]
    cv2.rectangle(body, (corners[0], corners[1]), (corners[2], corners[3]), FRAME, 1, cv2.LINE_AA)
    body[corner_top : corner_top + inset_side, corner_left : corner_left + inset_side] = np.asarray(crop)[..., None]
    end = (corner_left + inset_side - 1, corner_top + inset_side - 1)
    cv2.rectangle(body, (corner_left, corner_top), end, FRAME, 2)


def _write(strip: Picture, text: str, baseline: int, size: float) -> None:
    cv2.putText(strip, text, (2, baseline), FONT, size, (INK, INK, INK), 1, cv2.LINE_AA)
