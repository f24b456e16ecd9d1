"""X-rays as a display shows them, made small enough to be looked at in a page: 8 bit, upright, one pair an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.intensity import to_bytes
from cxr_infer.radiograph import FloatImage, Radiograph

SIDE = 1024  # px, of the longer side at most

Shown = NDArray[np.uint8]  # (H, W), air black, bone white

# EXIF's numbers for how a viewer turns stored pixels (EXIF 2.32, table 6)
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
class BeforeAfter:
    """One image before and after, of one shape, at most SIDE px on a side."""

    before: Shown
    after: Shown


def displayed(radiograph: Radiograph, unit: FloatImage | None = None) -> Shown:
    """The image as a display shows it. What is larger than SIDE px is made smaller by averaging, never enlarged.

    unit: what `radiograph.unit()` gives, where that is known already.
    """
    image = radiograph.unit() if unit is None else unit
    shrink = SIDE / max(image.shape)
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in image.shape)
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)
    turned = TURNED.get(radiograph.orientation, np.asarray)
    return np.ascontiguousarray(turned(to_bytes(image)))
