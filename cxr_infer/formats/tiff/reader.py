"""Read TIFF and BigTIFF files that hold exactly one gray picture, and refuse others with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError
from cxr_infer.formats.picture import (
    COLOURED,
    EQUAL_CHANNELS,
    ORIENTATION,
    PROFILE_TAG,
    RESOLUTION_UNIT,
    RESOLUTIONS,
    TRANSPARENT,
    UPRIGHT,
    Display,
    Picture,
    check_size,
)
from cxr_infer.formats.resolution import INCH, Resolution, checked
from cxr_infer.formats.tiff.directory import IMAGE_LENGTH, IMAGE_WIDTH, ImageFileDirectory, picture_directory
from cxr_infer.formats.tiff.layout import FLOATING, JPEG, PHOTOMETRIC, TILE_LENGTH, TILE_WIDTH, YCBCR, Layout, layout_of
from cxr_infer.formats.tiff.pixels import stored_samples
from cxr_infer.settings import ReadOptions

COLOR_MAP, EXTRA_SAMPLES = 320, 338
CURVES = (291, 301)  # GrayResponseCurve, TransferFunction
ALPHA = frozenset({1, 2})  # values of ExtraSamples: associated and unassociated
UNSPECIFIED = 0  # of ExtraSamples
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}  # photometric -> samples without alpha
OTHER_PHOTOMETRICS = {4: "a transparency mask", 5: "CMYK", 8: "CIELab", 32803: "raw colour filter", 34892: "linear raw"}
LEAST_16_BIT_MAP = 256  # old programs wrote 8-bit values into the 16-bit colour map


def open_tiff(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Read TIFF 6.0 or BigTIFF: gray of 1 to 16 bits or float32, and colour if all channels are equal.

    Raises ImageError, and the exceptions of decoders on damaged data.
    """
    directory, mask = picture_directory(path, content)
    for one in filter(None, (directory, mask)):
        check_size(path, (one.number(IMAGE_WIDTH), one.number(IMAGE_LENGTH)), options)
        check_size(path, (one.number(TILE_WIDTH, 0), one.number(TILE_LENGTH, 0)), options)  # decoded as a whole
    photometric = _photometric(directory)
    layout = layout_of(directory)
    samples = stored_samples(directory, layout)
    if mask is not None and not stored_samples(mask, layout_of(mask)).all():
        raise ImageError(f"{path}: {TRANSPARENT}")
    gray, notes = _one_channel(directory, layout, photometric, samples)
    pixels, white = _black_is_zero(gray, layout, photometric)
    if layout.format == FLOATING and not (pixels.min() >= 0 and pixels.max() <= 1):  # also false for NaN
        raise ImageError(f"{path}: floating-point pixels must lie in [0, 1]; scale them first")
    orientation = directory.number(ORIENTATION, UPRIGHT)
    display = Display(directory.data(PROFILE_TAG), other_curve=any(tag in directory for tag in CURVES))
    return Picture(
        pixels,
        notes=notes,
        white=white,
        orientation=orientation if orientation in range(1, 9) else UPRIGHT,
        resolution=_resolution(directory),
        display=display,
    )


def _photometric(directory: ImageFileDirectory) -> int:
    photometric = directory.number(PHOTOMETRIC, -1)
    if photometric == -1:
        raise ImageError(f"{directory.path}: does not say whether 0 is black or white; save it again as gray")
    if photometric not in COLOURS:
        name = OTHER_PHOTOMETRICS.get(photometric, f"of photometric interpretation {photometric}")
        raise ImageError(f"{directory.path}: its pixels are {name}, not gray; convert it to gray first")
    return photometric


def _one_channel(
    directory: ImageFileDirectory, layout: Layout, photometric: int, samples: NDArray[Any]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Reduce (H, W, samples) to the gray channel (H, W), with notes. Raises ImageError if there is more."""
    path, number = directory.path, COLOURS[photometric]
    kind = f"{layout.samples} samples of {layout.bits} bits per pixel"
    extra = directory.numbers(EXTRA_SAMPLES) or [UNSPECIFIED] * (layout.samples - number)
    if len(extra) != layout.samples - number or (photometric == YCBCR and layout.compression != JPEG):
        raise ImageError(f"{path}: {kind} are not a gray picture; convert it to 8 or 16 bit gray")
    gray = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if gray and layout.samples > 2 and np.all(samples == samples[..., :1]):
        return np.ascontiguousarray(samples[..., 0]), (EQUAL_CHANNELS,)
    if len(extra) > 1 or not ALPHA.union(() if gray else (UNSPECIFIED,)).issuperset(extra):
        raise ImageError(f"{path}: {kind}, several pictures in one; split it into one gray file per sample")
    largest = 1 if layout.format == FLOATING else (1 << layout.bits) - 1
    if np.any(samples[..., number:] != largest):
        raise ImageError(f"{path}: {TRANSPARENT}")
    colours = _looked_up(directory, layout, samples[..., 0]) if photometric == PALETTE else samples[..., :number]
    if colours.shape[2] > 1 and np.any(colours != colours[..., :1]):
        raise ImageError(f"{path}: {COLOURED}")
    coloured = colours.shape[2] > 1 or bool(extra)
    return np.ascontiguousarray(colours[..., 0]), (EQUAL_CHANNELS,) if coloured else ()


def _looked_up(directory: ImageFileDirectory, layout: Layout, indices: NDArray[Any]) -> NDArray[np.uint8]:
    """Look up palette indices: (H, W) -> (H, W, 3)."""
    colours = np.array(directory.numbers(COLOR_MAP))
    if layout.bits > 8 or len(colours) != 3 << layout.bits:
        raise ImageError(f"{directory.path}: its palette of {len(colours)} values does not fit {layout.bits} bits")
    eight_bit = colours if colours.max() < LEAST_16_BIT_MAP else colours >> 8
    table: NDArray[np.uint8] = eight_bit.reshape(3, -1).T.astype(np.uint8)
    return np.take(table, indices, axis=0)


def _black_is_zero(gray: NDArray[Any], layout: Layout, photometric: int) -> tuple[NDArray[Any], int | None]:
    """Return (H, W) uint8, uint16 or float32 with black 0, and white unless it is the type's largest value."""
    if layout.format == FLOATING:
        return (1 - gray if photometric == WHITE_IS_ZERO else gray), None
    largest = 255 if photometric == PALETTE else (1 << layout.bits) - 1
    if photometric == WHITE_IS_ZERO:
        gray = largest - gray
    if largest < 255:  # 1, 2 or 4 bits; scale them to 8, as 255 is a multiple of their largest values
        return gray.astype(np.uint8) * np.uint8(255 // largest), None
    return gray, largest if 255 < largest < 65535 else None


def _resolution(directory: ImageFileDirectory) -> Resolution | None:
    x, y = map(directory.fraction, RESOLUTIONS)
    return checked(x, y, directory.number(RESOLUTION_UNIT, INCH))
