"""Stored pixel values <-> [0, 1]. The stored type decides the range, never an image's own maximum."""

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

STRIP = 128  # px of rows: what is computed of them stays in the cache; a multiple of the blocks of `estimate_mottle`

FULL_SCALE: dict[np.dtype[Any], int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def full_scale(dtype: np.dtype[Any]) -> int:
    """The stored value that means white: 255 or 65535. Raises ImageError for any other type."""
    try:
        return FULL_SCALE[np.dtype(dtype).newbyteorder("=")]
    except KeyError:
        raise ImageError(f"pixels of type {dtype} are not supported; convert the image to 8 or 16 bit gray") from None


def to_unit(pixels: NDArray[Any], white: int | None = None) -> NDArray[np.float32]:
    """Stored uint8 or uint16 pixels of any shape -> float32 in [0, 1].

    white: the stored value that means white, where it is not the largest of the type; values above it are white too.
    """
    scale = white or full_scale(pixels.dtype)
    unit = np.divide(pixels, np.float32(scale), dtype=np.float32)
    return np.asarray(unit if white is None else np.minimum(unit, np.float32(1), out=unit), dtype=np.float32)


def from_unit(image: NDArray[np.floating[Any]], dtype: np.dtype[Any], white: int | None = None) -> Pixels:
    """Float pixels (of one axis or more) -> uint8 or uint16, rounded to nearest, saturated at black and white.

    white: as for `to_unit`.
    """
    scale = white or full_scale(dtype)
    stored = np.empty(image.shape, dtype=dtype)
    for rows in row_strips(len(image)):  # a large image is in memory often enough
        scaled = np.multiply(image[rows], np.float32(scale), dtype=np.float32)
        np.rint(scaled, out=scaled)
        stored[rows] = np.clip(scaled, 0, scale, out=scaled)
    return stored


def swapped(pixels: NDArray[Any], white: int | None = None) -> NDArray[Any]:
    """Stored uint8 or uint16 pixels, or floats in [0, 1], with black and white exchanged. white: as for `to_unit`."""
    if np.issubdtype(pixels.dtype, np.floating):
        return np.asarray(pixels.dtype.type(1) - pixels)
    scale = pixels.dtype.type(white or full_scale(pixels.dtype))
    return np.asarray(scale - np.minimum(pixels, scale))


def low_range(pixels: NDArray[Any]) -> str | None:
    """A note where 16-bit pixels use half of their range or less, so that the model would see them dark."""
    bits = int(pixels.max()).bit_length()
    if not 0 < bits < 16:
        return None
    return (
        f"uses {bits} of 16 bits; if it holds {bits}-bit data, --white {(1 << bits) - 1} lets the model see it in full"
    )


def to_bytes(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Float pixels of any shape -> uint8, rounded to nearest and saturated at black and white."""
    return np.asarray(from_unit(image, np.dtype(np.uint8)), dtype=np.uint8)


def resized(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """An image (H, W) float32 at another size: area average where it has fewer pixels then, else cubic.

    Training and inference see whole images by this rule; cubic values may lie slightly outside [0, 1].
    """
    if image.shape == (height, width):
        return image
    interpolation = cv2.INTER_AREA if height * width < image.size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.float32)


def row_strips(height: int) -> Iterator[slice]:
    """Slices of at most STRIP px that cover rows 0 to `height`: what is computed of a strip needs little memory."""
    for top in range(0, height, STRIP):
        yield slice(top, min(top + STRIP, height))
