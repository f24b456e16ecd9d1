"""Stored pixel values <-> [0, 1]. The stored type decides the range, never an image's own maximum."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError

Pixels = NDArray[np.integer[Any]]  # stored gray values: uint8 or uint16

FULL_SCALE: dict[np.dtype[Any], int] = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


def full_scale(dtype: np.dtype[Any]) -> int:
    """The stored value that means white: 255 or 65535. Raises ImageError for any other type."""
    try:
        return FULL_SCALE[np.dtype(dtype)]
    except KeyError:
        raise ImageError(f"pixels of type {dtype} are not supported; convert the image to 8 or 16 bit gray") from None


def to_unit(pixels: NDArray[Any], white: int | None = None) -> NDArray[np.float32]:
    """Stored uint8 or uint16 pixels of any shape -> float32 in [0, 1].

    white: the stored value that means white, where it is not the largest of the type; values above it are white too.
    """
    scale = white or full_scale(pixels.dtype)
    unit = pixels.astype(np.float32) / np.float32(scale)
    return unit if white is None else np.minimum(unit, np.float32(1), out=unit)


def from_unit(image: NDArray[np.floating[Any]], dtype: np.dtype[Any], white: int | None = None) -> Pixels:
    """Float pixels of any shape -> uint8 or uint16, rounded to nearest and saturated at black and white.

    white: as for `to_unit`.
    """
    scale = white or full_scale(dtype)
    scaled = np.multiply(image, np.float32(scale), dtype=np.float32)
    np.rint(scaled, out=scaled)  # in place: a large image is in memory often enough
    return np.asarray(np.clip(scaled, 0, scale, out=scaled), dtype=dtype)


def to_bytes(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Float pixels of any shape -> uint8, rounded to nearest and saturated at black and white."""
    return np.asarray(from_unit(image, np.dtype(np.uint8)), dtype=np.uint8)
