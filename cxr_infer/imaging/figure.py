"""Draw a comparison figure: noisy image, results of the models and clean image, each with a zoomed inset.

A figure is laid out once, in px at BASE_DPI. This module draws it as pixels, `figure_files` as SVG or PDF.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cxr_infer.imaging.metrics import mse, psnr_of_mse, ssim
from cxr_infer.imaging.pixels import ByteImage, FloatImage, to_bytes
from cxr_infer.settings import FIGURE_DPI

BASE_DPI = FIGURE_DPI  # px per inch of the layout
PANEL = 420  # px, width of a panel, 2.8 inches; the image keeps its aspect ratio
GAP = 14  # px
TITLE_HEIGHT, TITLE_SIZE = 34, 20  # px
CAPTION_HEIGHT, CAPTION_SIZE, CAPTION_LINE = 58, 18, 25  # px
TEXT_INSET, BASELINE = 2, 24  # px, offsets of text from the left and the top of its strip
FRAME = (255, 200, 60)  # RGB
ZOOM_SHARE = 0.18  # fraction of the image's smaller side shown in the inset
INSET_SHARE = 0.44  # fraction of the panel's width covered by the inset


@dataclass(frozen=True)
class Ground:
    """Gray levels, 0 to 255, of a figure's background and text."""

    paper: int
    ink: int


DARK, LIGHT = Ground(18, 235), Ground(255, 20)  # for reading rooms, and for print


@dataclass(frozen=True)
class Panel:
    """One image of the figure, (H, W) float32 in [0, 1], with its title and the lines below it."""

    title: str
    image: FloatImage
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Box:
    """A rectangle in px at BASE_DPI: x to the right, y down."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """Text whose baseline starts at x and y; size: px."""

    x: float
    y: float
    size: float
    text: str


@dataclass
class Sheet:
    """The layout of a figure: gray pictures, frames with their line width, and text, drawn in this order."""

    width: float
    height: float
    ground: Ground
    pictures: list[tuple[Box, ByteImage]] = field(default_factory=list)
    frames: list[tuple[Box, float]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def describe(clean: FloatImage, image: FloatImage) -> tuple[str, ...]:
    """Return the figures printed below a panel. Both images: (H, W) float32 in [0, 1]."""
    error = mse(clean, image)
    return (f"MSE {error:.5f}", f"PSNR {psnr_of_mse(error):.2f} dB  SSIM {ssim(clean, image):.3f}")


def most_detailed(clean: FloatImage) -> tuple[int, int]:
    """Return the centre (row, column) of the neighbourhood with the most fine structure, away from the border.

    clean: (H, W) float32 in [0, 1].
    """
    fine = np.abs(clean - cv2.GaussianBlur(clean, (0, 0), 3))
    side = max(3, int(ZOOM_SHARE * min(clean.shape)) | 1)
    detail = cv2.blur(np.minimum(fine, 0.05), (side, side))
    margin = side // 2
    if min(clean.shape) <= 2 * margin:
        return clean.shape[0] // 2, clean.shape[1] // 2
    inner = detail[margin : clean.shape[0] - margin, margin : clean.shape[1] - margin]
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(row) + margin, int(column) + margin


def lay_out(
    rows: Sequence[Sequence[Panel]],
    centres: Sequence[tuple[int, int] | None] | None = None,
    *,
    panel: float = PANEL,
    ground: Ground = DARK,
) -> Sheet:
    """Lay out rows of panels.

    rows: images of one shape each. centres: for each row, the row and column its insets show, or None for no inset; by
    default no row has one. panel: px, width of a panel.
    """
    captioned = any(one.lines for row in rows for one in row)
    caption = CAPTION_HEIGHT if captioned else 0
    heights = [_shown_height(row[0], panel) + TITLE_HEIGHT + caption for row in rows]
    width = GAP + max(map(len, rows)) * (panel + GAP)
    sheet = Sheet(width, GAP + sum(heights) + GAP * len(rows), ground)
    top = float(GAP)
    for row, height, centre in zip(rows, heights, centres or [None] * len(rows), strict=True):
        for place, one in enumerate(row):
            left = GAP + place * (panel + GAP)
            _lay_panel(sheet, one, Box(left, top, panel, height - caption), centre)
        top += height + GAP
    return sheet


def _shown_height(panel: Panel, width: float) -> float:
    height, columns = panel.image.shape
    return max(1.0, float(height) * width / float(columns))


def _lay_panel(sheet: Sheet, panel: Panel, box: Box, centre: tuple[int, int] | None) -> None:
    """Add the title, the picture, its inset and the lines below. box: the panel without those lines."""
    picture = to_bytes(panel.image)
    body = Box(box.left, box.top + TITLE_HEIGHT, box.width, box.height - TITLE_HEIGHT)
    sheet.labels.append(Label(box.left + TEXT_INSET, box.top + BASELINE, TITLE_SIZE, panel.title))
    sheet.pictures.append((body, picture))
    if centre is not None:
        _lay_inset(sheet, picture, body, centre)
    for number, line in enumerate(panel.lines):
        y = body.top + body.height + BASELINE + CAPTION_LINE * number
        sheet.labels.append(Label(box.left + TEXT_INSET, y, CAPTION_SIZE, line))


def _lay_inset(sheet: Sheet, picture: ByteImage, body: Box, centre: tuple[int, int]) -> None:
    """Enlarge the neighbourhood of `centre` in the lower corner that is farther from it, and frame both."""
    scale = body.width / picture.shape[1]
    side = max(1, min(int(ZOOM_SHARE * min(picture.shape)), *picture.shape))
    top, left = (int(np.clip(c - side // 2, 0, extent - side)) for c, extent in zip(centre, picture.shape, strict=True))
    inset = min(INSET_SHARE * body.width, body.height)
    right = left + side / 2 < picture.shape[1] / 2
    low = top + side / 2 < picture.shape[0] / 2
    place = Box(
        body.left + (body.width - inset if right else 0), body.top + (body.height - inset if low else 0), inset, inset
    )
    sheet.pictures.append((place, picture[top : top + side, left : left + side]))
    spot = Box(body.left + left * scale, body.top + top * scale, side * scale, side * scale)
    sheet.frames += [(spot, 1.0), (place, 2.0)]


def draw_sheet(sheet: Sheet, dpi: float = BASE_DPI) -> ByteImage:
    """Draw a sheet as pixels, (H, W, 3) uint8 BGR."""
    scale = dpi / BASE_DPI
    canvas = np.full((round(sheet.height * scale), round(sheet.width * scale)), sheet.ground.paper, np.uint8)
    for box, picture in sheet.pictures:
        left, top, right, bottom = _corners(box, scale)
        canvas[top:bottom, left:right] = resized(picture, right - left, bottom - top)
    drawn = Image.fromarray(canvas).convert("RGB")
    pen = ImageDraw.Draw(drawn)
    for box, line in sheet.frames:
        left, top, right, bottom = _corners(box, scale)
        pen.rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=max(1, round(line * scale)))
    for label in sheet.labels:
        font = ImageFont.load_default(label.size * scale)
        pen.text((label.x * scale, label.y * scale), label.text, (sheet.ground.ink,) * 3, font, anchor="ls")
    return np.ascontiguousarray(np.asarray(drawn)[..., ::-1])


def _corners(box: Box, scale: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom in whole px, the last two exclusive; each side is at least one px."""
    left, top = round(box.left * scale), round(box.top * scale)
    right, bottom = round((box.left + box.width) * scale), round((box.top + box.height) * scale)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def resized(picture: ByteImage, width: int, height: int) -> ByteImage:
    """Resize a picture: averaged if it shrinks, with square pixels if it grows."""
    mode = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=mode), dtype=np.uint8)


def draw_figure(
    panels: Sequence[Panel],
    centre: tuple[int, int] | None = None,
    columns: int | None = None,
    *,
    inset: bool = True,
    panel: int = PANEL,
) -> ByteImage:
    """Draw panels of one shape on a dark background, each with a zoomed inset.

    centre: row and column shown in the insets, by default the most detailed place of the first image. columns: panels
    per row, by default all. inset: whether to zoom. panel: px, width of a panel. Returns (H, W, 3) uint8 BGR.
    """
    if inset and centre is None:
        centre = most_detailed(panels[0].image)
    rows = list(_rows(panels, columns or len(panels)))
    return draw_sheet(lay_out(rows, [centre if inset else None] * len(rows), panel=panel))


def _rows(panels: Sequence[Panel], columns: int) -> Iterator[Sequence[Panel]]:
    for start in range(0, len(panels), columns):
        yield panels[start : start + columns]
