"""Measure each block of an image, at full size or reduced: brightness, high-pass energy and saturation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.imaging.pixels import FloatImage, Pixels, row_strips, to_unit

BlockMap = NDArray[np.float64]  # one value per block: (rows, columns)

BLOCK = 8  # px, side of a block
FINE = 1  # px between the taps of the high-pass that sees the least anatomy
TAP_SPACING = 3  # px between the taps of the high-pass: measured to work for mottle blurred by up to 0.8 px
DARKEST, BRIGHTEST = 1e-12, float(np.nextafter(np.float32(1), np.float32(0)))  # pixels that are not saturated
SAMPLED = 1 << 14  # pixels searched for the step of the stored values
FEW_VALUES = 0.5  # of the sampled pixels; with more distinct values, the step is too fine to matter


@dataclass(frozen=True)
class Blocks:
    """Measurements of every whole 8x8 block of an image reduced `scale` times, (rows, columns) each.

    fine, coarse: mean square of the high-pass (gain 1 for white noise) with taps FINE and TAP_SPACING px apart. mean:
    brightness in [0, 1]. saturated: fraction of pixels at 0 or 1.
    """

    fine: BlockMap
    coarse: BlockMap
    mean: BlockMap
    saturated: BlockMap
    scale: int

    @cached_property
    def flatness(self) -> BlockMap:
        """Squared brightness change around each block; lower is flatter.

        It uses the blocks' means only, which hold almost none of the noise seen by the high-pass. Choosing the flattest
        blocks therefore does not select blocks with little noise.
        """
        padded = np.pad(self.mean, 1, mode="edge")
        middle = padded[1:-1, 1:-1]
        left, right, up, down = padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]
        gradient = ((right - left) ** 2 + (down - up) ** 2) / 4
        return np.asarray(gradient + (left + right + up + down - 4 * middle) ** 2)


def high_pass(image: FloatImage, spacing: int) -> FloatImage:
    """Apply the mixed second difference [1 -2 1; -2 4 -2; 1 -2 1] / 6 (Immerkaer 1996), taps `spacing` px apart."""
    taps = np.zeros(2 * spacing + 1, dtype=np.float32)
    taps[[0, spacing, -1]] = np.array([1, -2, 1]) / np.sqrt(6)
    return np.asarray(cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REFLECT_101))


def unit_rows(rows: FloatImage | Pixels) -> FloatImage:
    """Convert stored pixels to float32 in [0, 1]; float pixels only change their type."""
    return to_unit(rows) if np.issubdtype(rows.dtype, np.integer) else np.ascontiguousarray(rows, np.float32)


def reduced(image: FloatImage, scale: int) -> FloatImage:
    """Average scale x scale px. OpenCV's area interpolation does exactly that for whole factors."""
    rows, columns = (side // scale for side in image.shape)
    whole = image[: rows * scale, : columns * scale]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _squared(values: FloatImage) -> FloatImage:
    return np.asarray(np.multiply(values, values, out=values))


def measure_blocks(image: FloatImage | Pixels, scale: int = 1) -> Blocks:
    """Measure every whole block, one strip of rows at a time.

    image: (H, W) float32 in [0, 1], or stored uint8 or uint16 pixels; at least BLOCK * scale px on each side. scale: 1,
    2, 4, 8 or 16.
    """
    side = BLOCK * scale
    parts = []
    for strip in row_strips(image.shape[0] // side * side):
        first = max(strip.start - TAP_SPACING * scale, 0)  # the high-pass needs the adjacent rows
        unit = unit_rows(image[first : strip.stop + TAP_SPACING * scale, : image.shape[1] // scale * scale])
        inner = unit[strip.start - first : strip.stop - first]
        between = cv2.inRange(inner, DARKEST, BRIGHTEST).astype(np.float32)  # 255 where it is
        small = unit if scale == 1 else reduced(unit, scale)
        top = (strip.start - first) // scale
        rows = slice(top, top + (strip.stop - strip.start) // scale)
        energies = (reduced(_squared(high_pass(small, spacing)[rows]), BLOCK) for spacing in (FINE, TAP_SPACING))
        parts.append([*energies, reduced(small[rows], BLOCK), 1 - reduced(between, side) / 255])
    fine, coarse, mean, saturated = (np.concatenate(column).astype(np.float64) for column in zip(*parts, strict=True))
    return Blocks(fine, coarse, mean, saturated, scale)


def stored_step(image: FloatImage | Pixels) -> float:
    """Return the step between representable pixel values, [0, 1]; 0 if it is too fine to tell.

    Detects 8-bit pixels stored as 16 bits or floats by the gaps between their values.
    """
    every = max(image.size // SAMPLED, 1)  # rows from one sample to the next
    sample = image[min(every, len(image)) // 2 :: every].ravel()[:SAMPLED]
    stored: Any = np.unique(sample)  # of the image's type
    values = np.unique(unit_rows(stored))
    if not 2 < len(values) < FEW_VALUES * len(sample):
        return 0.0
    return float(np.quantile(np.diff(values), 0.1))
