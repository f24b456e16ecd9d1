"""Convert a caller's image to a gray NumPy array, or raise an error that says how to make one."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cxr_infer.errors import ImageError

PILLOW_MODES = frozenset({"L", "F", "I;16", "I;16L", "I;16B", "I;16N"})  # modes whose numbers are gray values
WAY_OUT = "give a (height, width) array of uint8, uint16, or floating point in [0, 1]"


def gray_array(image: ArrayLike) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Return the pixels, (H, W) uint8, uint16 or float32 in [0, 1] in native byte order, and their original dtype.

    Raises ImageError if NumPy cannot convert the image, or if its type, shape or range is unsupported.
    """
    stored = _as_array(image)
    if stored.ndim != 2 or stored.size == 0:
        raise ImageError(f"an image of shape {stored.shape} is not a gray (height, width) image; {WAY_OUT}")
    if np.issubdtype(stored.dtype, np.floating):
        unit = stored.astype(np.float32, copy=False)
        if not (unit.min() >= 0 and unit.max() <= 1):  # also false for NaN
            raise ImageError("floating-point pixels must lie in [0, 1]; scale them first")
        return unit, stored.dtype
    native = stored.dtype.newbyteorder("=")
    if native not in (np.uint8, np.uint16):
        raise ImageError(f"pixels of type {stored.dtype} are not supported; {WAY_OUT}")
    return stored.astype(native, copy=False), stored.dtype


def _as_array(image: ArrayLike) -> NDArray[Any]:
    if isinstance(image, str | os.PathLike):
        raise ImageError(f"{os.fspath(image)!r} is a path, not an image; use denoise_file, or open it first")
    if isinstance(image, Image.Image) and image.mode not in PILLOW_MODES:
        raise ImageError(f"a Pillow image of mode {image.mode} is not gray; use .convert('L') first")
    if np.ma.is_masked(image):
        raise ImageError("an array with masked pixels is not a complete image; fill them first")
    try:
        return np.asarray(image)
    except Exception as error:  # each kind of input raises its own: a tensor on a GPU, rows of unequal length, ...
        reason = " ".join(str(error).split())[:160]
        raise ImageError(f"cannot convert a {type(image).__name__} to an array: {reason}; {WAY_OUT}") from error
