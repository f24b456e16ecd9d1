"""X-rays as displayed, upright and scaled down to 8-bit pictures for the HTML report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.imaging.figure import most_detailed
from cxr_infer.imaging.pixels import FloatImage, to_bytes

SIDE = 1024  # px, longest side of a whole image
DETAIL = 512  # px, side of the detail at full resolution, if the whole is scaled down
SEARCHED = 256  # px, size at which the detail is chosen: averaging removes most of the grain

DisplayImage = NDArray[np.uint8]  # (H, W), air black, bone white

# EXIF orientation -> transformation to upright (EXIF 2.32, table 6)
TURNED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}


@dataclass(frozen=True)
class View:
    """Pictures of an image. detail: part at full resolution if `whole` is scaled. place: its first row and column."""

    whole: DisplayImage
    detail: DisplayImage | None = None
    place: tuple[int, int] | None = None


@dataclass(frozen=True)
class BeforeAfter:
    """Pictures before and after, and of the reference if there is one; all of the same shape."""

    before: DisplayImage
    after: DisplayImage
    clean: DisplayImage | None = None


@dataclass(frozen=True)
class Pairs:
    """All pictures of an image."""

    whole: BeforeAfter
    detail: BeforeAfter | None = None


def paired(before: View, after: View, clean: View | None = None) -> Pairs:
    """Combine views of the same image, all with the detail at the same place. clean: of its reference."""
    whole = BeforeAfter(before.whole, after.whole, clean.whole if clean is not None else None)
    if before.detail is None or after.detail is None:
        return Pairs(whole)
    return Pairs(whole, BeforeAfter(before.detail, after.detail, clean.detail if clean is not None else None))


def view(radiograph: Radiograph, place: tuple[int, int] | None = None, orientation: int | None = None) -> View:
    """Render an image as displayed. Images larger than SIDE px are scaled down by averaging.

    place: first row and column of the detail; default: where the image has the most detail. orientation: EXIF
    orientation to apply; default: the image's own.
    """
    image = radiograph.shown()
    upright = TURNED.get(orientation or radiograph.orientation, np.asarray)

    def shown(part: FloatImage) -> DisplayImage:
        return np.ascontiguousarray(upright(to_bytes(part)))

    if max(image.shape) <= SIDE:
        return View(shown(image))
    small = _shrunk(image, SIDE)
    if min(image.shape) < DETAIL:
        return View(shown(small))
    row, column = place or _most_detailed(small, image.shape)
    return View(shown(small), shown(image[row : row + DETAIL, column : column + DETAIL]), (row, column))


def _shrunk(image: FloatImage, side: int) -> FloatImage:
    height, width = (max(1, round(extent * side / max(image.shape))) for extent in image.shape)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _most_detailed(small: FloatImage, shape: tuple[int, ...]) -> tuple[int, int]:
    """Choose the first row and column of the detail. shape: of the full image."""
    searched = _shrunk(small, SEARCHED)
    centre = most_detailed(searched)
    corner = [
        min(max(round(at * extent / seen) - DETAIL // 2, 0), extent - DETAIL)
        for at, extent, seen in zip(centre, shape, searched.shape, strict=True)
    ]
    return corner[0], corner[1]
