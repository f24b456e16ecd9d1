"""The library: array -> array. What is public is in `cxr_infer` itself."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_infer.formats.picture import Picture
from cxr_infer.imaging.arrays import gray_array
from cxr_infer.imaging.pixels import low_range
from cxr_infer.model.denoiser import Model, load_model
from cxr_infer.model.installed import AUTO
from cxr_infer.settings import ReadOptions, Settings


def denoise(
    image: ArrayLike,
    model: Model | str | Path = "window",
    *,
    strength: float = 1.0,
    window: int | None = None,
    overlap: int | None = None,
    repair_wrapped: bool = False,
    precision: str = AUTO,
    white: int | None = None,
    invert: bool = False,
) -> NDArray[np.generic]:
    """Remove the mottle of one X-ray.

    Warns where uint16 values use half of their range or less and no `white` is given, as the model would see them dark.

    Args:
        image: (H, W) uint8, uint16, or floating point in [0, 1], of any byte order; black 0, bone white. A list, a
            tensor on the CPU or a gray Pillow image will do too.
        model: A loaded model, or what `load_model` takes; then it is loaded for this one call.
        strength: 0 returns the input, 1 the network's result; between them the residual is blended.
        window: Side of a window in px, without the overlap. None: the whole image where memory allows.
        overlap: Least px that neighbouring windows share. None: the model's own.
        repair_wrapped: First undo the wrap-around of 8-bit noise.
        precision: Of a model given by name, see `load_model`.
        white: Value that means white in uint16, 4095 for 12-bit data; values above it stay as they are.
        invert: Black and white are swapped, in the result too.

    Returns:
        Array of the same shape and dtype.

    Raises:
        ImageError: The image is no gray array of these types.
        ModelError: The model cannot be loaded, or fails on the image.
        UsageError: A setting is out of range.

    Examples:
        >>> noisy = np.zeros((64, 64), np.uint8)
        >>> denoise(noisy, load_model("window")).dtype
        dtype('uint8')
    """
    settings, options = Settings(strength, window, overlap, repair_wrapped), ReadOptions(white=white, invert=invert)
    pixels, dtype = gray_array(image)
    loaded = model if isinstance(model, Model) else load_model(model, precision=precision)
    if pixels.dtype == np.uint16 and pixels.size and options.white is None and (note := low_range(pixels)):
        warnings.warn(note.replace("--white ", "white="), stacklevel=2)
    told_white = options.white if pixels.dtype == np.uint16 else None
    picture = Picture(pixels, white=told_white, inverted=options.invert)
    return picture.restored(loaded.denoise_unit(picture.unit(), settings)).pixels.astype(dtype)
