"""A gray picture: its pixels, and the file that they become."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.intensity import Pixels, from_unit, full_scale, to_unit
from cxr_infer.radiograph import FloatImage, Provenance, Reading

# Measured on denoised 1024 px X-rays: 11 ms a megapixel and 2.2 bits a pixel. zlib's own search for repeats (strategy
# "default", levels 1 / 3 / 6) took 18 / 31 / 104 ms for 2.8 / 2.6 / 2.3 bits; of the other filters, Paeth took 13 ms
# for 1% less and the rest as long for 4 to 11% more.
PNG_OPTIONS = (
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_AVG,
)
WEBP_OPTIONS = (cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100 is lossless

ORIENTATION, UPRIGHT = 0x0112, 1  # an EXIF and TIFF tag, and its value for pixels stored as they are looked at
EQUAL_CHANNELS = "a colour file whose channels are equal; the result is gray"


@dataclass(frozen=True)
class Picture:
    """A gray picture.

    pixels: (H, W) uint8 or uint16, black 0, or float32 in [0, 1]. suffix: of the kind of file that `encode` makes.
    white: stored value that means white, None for the largest of the type. orientation: EXIF's number, by which a
    viewer turns the stored pixels. resolution: TIFF tags that are carried over.
    """

    pixels: NDArray[Any]
    suffix: str
    notes: tuple[str, ...] = ()
    white: int | None = None
    orientation: int = UPRIGHT
    resolution: tuple[tuple[int, Any], ...] = field(default=(), repr=False)
    invert: bool = False

    @property
    def bits(self) -> int:
        return self.pixels.dtype.itemsize * 8

    @property
    def stretch(self) -> float:
        return 1.0

    @property
    def inverted(self) -> bool | None:
        return True if self.invert else None

    @property
    def outside_window(self) -> float | None:
        return None

    def unit(self) -> FloatImage:
        unit = self.pixels if self.pixels.dtype == np.float32 else to_unit(self.pixels, self.white)
        return np.float32(1) - unit if self.invert else unit

    def gray(self) -> FloatImage | Pixels:
        return self.pixels if self.white is None and not self.invert else self.unit()

    def shown(self) -> FloatImage:
        return self.unit()

    def restored(self, denoised: FloatImage) -> Picture:
        if self.pixels.dtype == np.float32:
            pixels = np.where(denoised == self.unit(), self.pixels, 1 - denoised) if self.invert else denoised
            return replace(self, pixels=np.asarray(pixels, dtype=np.float32))
        stored = from_unit(1 - denoised if self.invert else denoised, self.pixels.dtype, self.white)
        if self.white is not None:
            stored = np.where(self.pixels > self.white, self.pixels, stored)
        return replace(self, pixels=stored)

    def encode(self, provenance: Provenance | None = None) -> bytes:
        """The file, provenance or not: pictures have no agreed place for it. Raises ImageError for another suffix."""
        suffix = self.suffix.lower()
        if self.pixels.dtype == np.float32 and suffix not in (".tif", ".tiff"):
            raise ImageError(f"floating-point pixels cannot be written as {suffix}; use .tif")
        if suffix in (".tif", ".tiff"):
            return self._tiff()
        if suffix == ".pgm":
            return self._pgm()
        return self._by_opencv(suffix)

    def _tiff(self) -> bytes:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in (*self.resolution, (ORIENTATION, self.orientation)):
            tags[tag] = value
        encoded = io.BytesIO()
        Image.fromarray(self.pixels).save(encoded, "TIFF", compression="tiff_lzw", tiffinfo=tags)
        return encoded.getvalue()

    def _pgm(self) -> bytes:
        height, width = self.pixels.shape
        white = self.white or full_scale(self.pixels.dtype)
        stored = self.pixels.astype(">u2" if white > 255 else np.uint8)
        return b"P5\n%d %d\n%d\n" % (width, height, white) + stored.tobytes()

    def _by_opencv(self, suffix: str) -> bytes:
        options = {".png": PNG_OPTIONS, ".webp": WEBP_OPTIONS}.get(suffix, ())
        if self.bits == 16 and suffix != ".png":
            raise ImageError(f"16-bit pixels cannot be written as {suffix}; use .png or .tif")
        try:
            if self.orientation != UPRIGHT and suffix in (".png", ".webp"):
                done, encoded = cv2.imencodeWithMetadata(
                    suffix, self.pixels, [cv2.IMAGE_METADATA_EXIF], [_exif(self.orientation, suffix)], options
                )
            else:
                done, encoded = cv2.imencode(suffix, self.pixels, options)
        except cv2.error as error:
            raise ImageError(f"cannot be encoded as {suffix or 'an image'}; use .png or .tif") from error
        if not done:
            raise ImageError(f"cannot be encoded as {suffix}; use .png or .tif")
        return encoded.tobytes()


def _exif(orientation: int, suffix: str) -> NDArray[np.uint8]:
    """EXIF data that says nothing but the orientation; a PNG's begins with the TIFF header itself."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = exif.tobytes()
    return np.frombuffer(content.removeprefix(b"Exif\0\0") if suffix == ".png" else content, dtype=np.uint8)


def check_size(path: Path, size: tuple[int, int], reading: Reading) -> None:
    """Raises ImageError where a header promises more pixels, as (width, height), than may be."""
    width, height = size
    if width * height > reading.max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} pixels are more than the {reading.max_pixels} allowed; see --max-pixels"
        )


def decode(path: Path, content: bytes) -> NDArray[Any]:
    """What OpenCV makes of a file: (H, W) or (H, W, channels), turned by nobody. Raises ImageError where it cannot."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise
    if pixels is None:
        raise ImageError(f"{path}: cannot be decoded; is it damaged or incomplete?")
    return pixels


def gray_picture(path: Path, pixels: NDArray[Any], orientation: int = UPRIGHT) -> Picture:
    """The one channel that all of (H, W) or (H, W, channels) pixels show."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: {pixels.dtype} pixels are not supported; convert it to 8 or 16 bit gray")
    if pixels.ndim == 2:
        return Picture(pixels, "", (), None, orientation)
    if pixels.shape[2] in (2, 4) and np.any(pixels[..., -1] != full_scale(pixels.dtype)):
        raise ImageError(f"{path}: has transparent pixels; flatten it to gray first")
    colours = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    if np.any(colours != colours[..., :1]):
        raise ImageError(f"{path}: a colour image, not a gray X-ray; convert it to gray first")
    return Picture(np.ascontiguousarray(colours[..., 0]), "", (EQUAL_CHANNELS,), None, orientation)
