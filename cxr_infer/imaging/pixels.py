"""Convert stored pixel values to [0, 1] and back. The stored type sets the range, never an image's own maximum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError

FloatImage = NDArray[np.float32]  # (H, W), mostly in [0, 1]
ByteImage = NDArray[np.uint8]  # (H, W)
Pixels = NDArray[np.integer[Any]]  # stored gray values: uint8 or uint16
Float32Array = NDArray[np.float32]  # of any shape
Float64Array = NDArray[np.float64]

STRIP = 128  # rows whose intermediate results stay in the cache; a multiple of the blocks of `estimate_mottle`

FULL_SCALE: dict[np.dtype[Any], int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def full_scale(dtype: np.dtype[Any]) -> int:
    """Return the stored value of white, 255 or 65535. Raises ImageError for any other type."""
    try:
        return FULL_SCALE[np.dtype(dtype).newbyteorder("=")]
    except KeyError:
        raise ImageError(f"pixels of type {dtype} are not supported; convert the image to 8 or 16 bit gray") from None


def to_unit(pixels: NDArray[Any], white: int | None = None) -> NDArray[np.float32]:
    """Convert stored uint8 or uint16 pixels of any shape to float32 in [0, 1].

    white: stored value of white, if it is not the maximum of the type; larger values become white.
    Raises ImageError for pixels of another type.
    """
    scale = white or full_scale(pixels.dtype)
    unit = np.divide(pixels, np.float32(scale), dtype=np.float32)
    return np.asarray(unit if white is None else np.minimum(unit, np.float32(1), out=unit), dtype=np.float32)


def from_unit(image: NDArray[np.floating[Any]], dtype: np.dtype[Any], white: int | None = None) -> Pixels:
    """Convert float pixels (at least one axis) to uint8 or uint16, rounded to nearest, clipped to black and white.

    white: as in `to_unit`. Raises ImageError for another `dtype`.
    """
    scale = white or full_scale(dtype)
    stored = np.empty(image.shape, dtype=dtype)
    for rows in row_strips(len(image)):  # strips, because several copies of a large image are in memory already
        scaled = np.multiply(image[rows], np.float32(scale), dtype=np.float32)
        np.rint(scaled, out=scaled)
        stored[rows] = np.clip(scaled, 0, scale, out=scaled)
    return stored


def swapped(pixels: NDArray[Any], white: int | None = None) -> NDArray[Any]:
    """Swap black and white of stored uint8 or uint16 pixels, or of floats in [0, 1]. white: as in `to_unit`."""
    if np.issubdtype(pixels.dtype, np.floating):
        return np.asarray(pixels.dtype.type(1) - pixels)
    scale = pixels.dtype.type(white or full_scale(pixels.dtype))
    return np.asarray(scale - np.minimum(pixels, scale))


def low_range(pixels: NDArray[Any]) -> str | None:
    """Return a note if 16-bit pixels use at most half of their range, so that the model would see them dark."""
    bits = int(pixels.max()).bit_length()
    if not 0 < bits < 16:
        return None
    return (
        f"uses {bits} of 16 bits; if it holds {bits}-bit data, --white {(1 << bits) - 1} lets the model see it in full"
    )


def to_bytes(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Convert float pixels (at least one axis) to uint8, rounded to nearest, clipped to black and white."""
    return np.asarray(from_unit(image, np.dtype(np.uint8)), dtype=np.uint8)


def resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize an image (H, W) float32: area average if the result has fewer pixels, else cubic.

    Training and inference resize whole images by this rule. Cubic values may lie slightly outside [0, 1].
    """
    if image.shape == (height, width):
        return image
    interpolation = cv2.INTER_AREA if height * width < image.size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.float32)


def row_strips(height: int) -> Iterator[slice]:
    """Yield slices of at most STRIP rows that cover rows 0 to `height`, to compute with little memory."""
    for top in range(0, height, STRIP):
        yield slice(top, min(top + STRIP, height))
