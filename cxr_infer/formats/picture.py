"""A gray picture: pixels, metadata and encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_infer.errors import ImageError
from cxr_infer.formats.radiograph import Provenance
from cxr_infer.formats.resolution import Resolution
from cxr_infer.imaging.pixels import FloatImage, Pixels, from_unit, full_scale, swapped, to_unit
from cxr_infer.settings import ReadOptions, Settings

ORIENTATION, UPRIGHT = 0x0112, 1  # an EXIF and TIFF tag, and its value for upright pixels
RESOLUTIONS, RESOLUTION_UNIT, PROFILE_TAG = (282, 283), 296, 34675  # TIFF tags: XResolution and YResolution, ...
GRAY_PROFILE = b"GRAY"  # colour space of an ICC profile, at its byte 16
EQUAL_CHANNELS = "a colour file whose channels are equal; the result is gray"
TRANSPARENT = "has transparent pixels; flatten it to gray first"
COLOURED = "a colour image, not a gray X-ray; convert it to gray first"


@dataclass(frozen=True)
class Display:
    """Tone and colour metadata of a file, copied to the result if its format can hold it.

    profile: ICC profile. chunks: complete PNG chunks about gamma and colour. other_curve: whether the file has a tone
    curve that is not read.
    """

    profile: bytes = field(default=b"", repr=False)
    chunks: bytes = field(default=b"", repr=False)
    other_curve: bool = False

    def gray_profile(self) -> Display:
        """Return only its ICC profile, if that is a gray one, for formats without other metadata."""
        return Display(self.profile if self.profile[16:20] == GRAY_PROFILE else b"")


Encode: TypeAlias = "Callable[[Picture], bytes]"  # raises ImageError for pixels that the format cannot hold


@dataclass(frozen=True)
class Picture:
    """A gray picture.

    pixels: (H, W) uint8 or uint16, black 0 (white 0 if inverted), or float32 in [0, 1]. encoder: encodes the file.
    white: stored value that means white, None for the type's largest. inverted: whether black and white are swapped in
    `pixels`. orientation: EXIF orientation of the stored pixels. resolution, display: copied to the result if its
    format can hold them.
    """

    pixels: NDArray[Any]
    encoder: Encode | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    white: int | None = None
    inverted: bool = False
    orientation: int = UPRIGHT
    resolution: Resolution | None = None
    display: Display = Display()

    @property
    def bits(self) -> int:
        return self.pixels.dtype.itemsize * 8

    @property
    def stretch(self) -> float:
        return 1.0

    @property
    def outside_window(self) -> float | None:
        return None

    @property
    def pixel_spacing(self) -> float | None:
        return None  # PNG and TIFF only state the print density

    def shown(self) -> FloatImage:
        return self.unit()

    @property
    def is_float(self) -> bool:
        return self.pixels.dtype == np.float32

    def unit(self) -> FloatImage:
        upright = self._black_is_zero()
        return upright if self.is_float else to_unit(upright, self.white)

    def gray(self) -> FloatImage | Pixels:
        return self._black_is_zero() if self.white is None else self.unit()

    def _black_is_zero(self) -> NDArray[Any]:
        return swapped(self.pixels, self.white) if self.inverted else self.pixels

    def restored(self, denoised: FloatImage) -> Picture:
        if self.is_float:
            floats = np.asarray(denoised, dtype=np.float32)
            if self.inverted:  # 1 - (1 - x) may differ from x; adding the change keeps unchanged pixels exact
                floats = np.clip(self.pixels + (self.unit() - floats), 0, 1)
            return replace(self, pixels=floats)
        stored = from_unit(denoised, self.pixels.dtype, self.white)
        if self.inverted:
            stored = swapped(stored, self.white)
        if self.white is not None:
            stored = np.where(self.pixels > self.white, self.pixels, stored)
        return replace(self, pixels=stored)

    def with_pixels(self, pixels: NDArray[Any]) -> Picture:
        return replace(self, pixels=pixels)

    def encoding_notes(self, settings: Settings) -> tuple[str, ...]:
        """Return no notes: settings do not change how pictures are written."""
        return ()

    def encode(self, provenance: Provenance | None = None) -> bytes:
        """Encode the file, without provenance, for which pictures have no standard field. Raises ImageError."""
        if self.encoder is None:
            raise ImageError("cannot be encoded as an image; use .png or .tif")
        return self.encoder(self)


def orientation_of(exif: Image.Exif) -> int:
    """Return EXIF's orientation number; upright if it is missing or invalid."""
    orientation = exif.get(ORIENTATION, UPRIGHT)
    return orientation if orientation in range(1, 9) else UPRIGHT


def check_size(path: Path, size: tuple[int, int], options: ReadOptions) -> None:
    """Raise ImageError if a header declares more pixels, as (width, height), than are allowed."""
    width, height = size
    if width * height > options.max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} pixels are more than the {options.max_pixels} allowed; see --max-pixels"
        )


def gray_picture(path: Path, pixels: NDArray[Any], orientation: int = UPRIGHT, slack: int = 0) -> Picture:
    """Reduce (H, W) or (H, W, channels) pixels to one channel. Raises ImageError unless all channels are equal.

    slack: gray levels by which channels may differ, for lossy formats without gray.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: {pixels.dtype} pixels are not supported; convert it to 8 or 16 bit gray")
    if pixels.ndim == 2:
        return Picture(pixels, orientation=orientation)
    if pixels.shape[2] in (2, 4) and np.any(pixels[..., -1] != full_scale(pixels.dtype)):
        raise ImageError(f"{path}: {TRANSPARENT}")
    colours = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    if np.any(colours.max(axis=2) - colours.min(axis=2) > slack):
        raise ImageError(f"{path}: {COLOURED}")
    return Picture(np.ascontiguousarray(colours[..., 0]), notes=(EQUAL_CHANNELS,), orientation=orientation)
