"""Whether a picture looks like a radiograph: a cheap note for the user, which was wrong about no X-ray it was tried on.

Pages, halftones and screenshots are drawn: most of their pixels share a gray level with their neighbours, which those
of a detector never do outside black borders. Measured on 158 NIH X-rays (clean, and at 20 to 200 photons) and phantoms,
as shares of the image: one gray level that is not black at most 0.29, inverted X-rays 0.46; two levels at most 0.51;
flat blocks that are neither black nor white at most 0.05. Scans of paper have grain themselves and pass unseen.
JPEG at quality 30 makes a third of a clean X-ray's blocks flat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

NO_RADIOGRAPH = (
    "looks like a page, drawing or screenshot, or lost its detail to compression, for which the models were not made"
)

LEAST = 64 * 64  # px; of a smaller image a share says little
BLACK, WHITE = 8, 247  # levels of 0..255 from which on a pixel counts as neither
ONE_LEVEL, TWO_LEVELS, FLAT = 0.55, 0.95, 0.25  # shares of the image
BLOCK = 8  # px
ENOUGH = 250_000  # px of an image, of which the shares are taken: so it costs the same however large the image


def bands(pixels: NDArray[Any]) -> NDArray[Any]:
    """Rows of an image (H, W), BLOCK together, evenly spread: about ENOUGH pixels of a larger one."""
    height, width = pixels.shape
    if pixels.size <= ENOUGH or height < BLOCK:
        return pixels
    together = pixels[: height // BLOCK * BLOCK].reshape(-1, BLOCK, width)
    return together[:: -(-pixels.size // ENOUGH)].reshape(-1, width)


def looks_drawn(gray: NDArray[np.uint8]) -> bool:
    """Whether (H, W) gray levels of 0..255, black 0, are more likely drawn than taken by a detector."""
    if gray.size < LEAST:
        return False
    shares = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel() / gray.size
    if shares[BLACK:].max() > ONE_LEVEL or np.sort(shares)[-2:].sum() > TWO_LEVELS > shares[:BLACK].sum():
        return True
    lowest, highest = (_of_blocks(extreme, gray) for extreme in (cv2.erode, cv2.dilate))
    flat = (lowest == highest) & (lowest > BLACK) & (lowest < WHITE)
    return bool(flat.mean() > FLAT)


def _of_blocks(extreme: Callable[..., NDArray[Any]], gray: NDArray[np.uint8]) -> NDArray[Any]:
    """The lowest or highest level of each block of BLOCK x BLOCK px; OpenCV does that ten times as fast as NumPy."""
    rows, columns = (extent // BLOCK * BLOCK for extent in gray.shape)
    kernel = np.ones((BLOCK, BLOCK), np.uint8)
    return extreme(gray[:rows, :columns], kernel, anchor=(0, 0))[::BLOCK, ::BLOCK]
