"""Detect pictures that are not radiographs, for a note to the user; no X-ray tried so far was mistaken for one.

Pages, halftones and screenshots are drawn: most of their pixels have the same gray level as their neighbours, which
detector pixels never do outside black borders. Measured on 158 NIH X-rays (clean, and at 20 to 200 photons) and
phantoms, as fractions of the image: one non-black gray level at most 0.29, in inverted X-rays 0.46; two levels at most
0.51; flat blocks that are neither black nor white at most 0.05. Scanned paper has grain of its own and is not detected.
JPEG at quality 30 makes a third of the blocks of a clean X-ray flat.
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

LEAST = 64 * 64  # px; fractions of a smaller image say little
BLACK, WHITE = 8, 247  # gray levels 0..255; at or beyond them a pixel counts as black or white
ONE_LEVEL, TWO_LEVELS, FLAT = 0.55, 0.95, 0.25  # fractions of the image
BLOCK = 8  # px
ENOUGH = 250_000  # px that are examined, so that the cost does not grow with the image


def bands(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return evenly spread bands of BLOCK rows of an image (H, W), about ENOUGH pixels in all."""
    height, width = pixels.shape
    if pixels.size <= ENOUGH or height < BLOCK:
        return pixels
    together = pixels[: height // BLOCK * BLOCK].reshape(-1, BLOCK, width)
    return together[:: -(-pixels.size // ENOUGH)].reshape(-1, width)


def looks_drawn(gray: NDArray[np.uint8]) -> bool:
    """Whether an image, (H, W) uint8 with black 0, is more likely drawn than taken by a detector."""
    if gray.size < LEAST:
        return False
    shares = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel() / gray.size
    if shares[BLACK:].max() > ONE_LEVEL or np.sort(shares)[-2:].sum() > TWO_LEVELS > shares[:BLACK].sum():
        return True
    lowest, highest = (_of_blocks(extreme, gray) for extreme in (cv2.erode, cv2.dilate))
    flat = (lowest == highest) & (lowest > BLACK) & (lowest < WHITE)
    return bool(flat.mean() > FLAT)


def _of_blocks(extreme: Callable[..., NDArray[Any]], gray: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the lowest or highest level of each BLOCK x BLOCK px; OpenCV is ten times as fast as NumPy here."""
    rows, columns = (extent // BLOCK * BLOCK for extent in gray.shape)
    kernel = np.ones((BLOCK, BLOCK), np.uint8)
    return extreme(gray[:rows, :columns], kernel, anchor=(0, 0))[::BLOCK, ::BLOCK]
