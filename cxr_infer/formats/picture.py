"""A gray picture: its pixels, and the file that they become."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.formats.radiograph import FloatImage, Provenance
from cxr_infer.formats.resolution import Resolution, to_phys
from cxr_infer.imaging.intensity import Pixels, from_unit, full_scale, swapped, to_unit
from cxr_infer.settings import ReadOptions, Settings

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
RESOLUTIONS, RESOLUTION_UNIT, PROFILE_TAG = (282, 283), 296, 34675  # TIFF tags: XResolution and YResolution, ...
AFTER_PNG_HEADER = 33  # bytes: magic number and IHDR
GRAY_PROFILE = b"GRAY"  # colour space of an ICC profile, at its byte 16
WRITTEN_AS = {  # suffixes of the kinds that are written, and the kind
    ".png": ".png",
    ".tif": ".tif",
    ".tiff": ".tif",
    ".btf": ".tif",
    ".bmp": ".bmp",
    ".dib": ".bmp",
    ".pgm": ".pgm",
    ".pnm": ".pgm",
    ".webp": ".webp",
}
EQUAL_CHANNELS = "a colour file whose channels are equal; the result is gray"
TRANSPARENT = "has transparent pixels; flatten it to gray first"
COLOURED = "a colour image, not a gray X-ray; convert it to gray first"


@dataclass(frozen=True)
class Display:
    """What a file says of how bright its gray values are shown. It goes along where the kind of the result has a place.

    profile: an ICC profile. chunks: a PNG's about gamma and colour, whole. other_curve: there is one more, which is not
    read.
    """

    profile: bytes = field(default=b"", repr=False)
    chunks: bytes = field(default=b"", repr=False)
    other_curve: bool = False

    def profile_in(self, kind: str) -> bytes:
        """The profile where a gray result of that kind may carry it: WebP has no gray and takes any."""
        fits = kind == ".webp" or (kind in (".png", ".tif") and self.profile[16:20] == GRAY_PROFILE)
        return self.profile if fits else b""

    def is_lost_in(self, kind: str) -> bool:
        return self.other_curve or self.profile_in(kind) != self.profile or (kind != ".png" and self.chunks != b"")


@dataclass(frozen=True)
class Picture:
    """A gray picture.

    pixels: (H, W) uint8 or uint16, black 0 (white 0 where inverted), or float32 in [0, 1]. suffix: of the kind of file
    that `encode` makes. white: stored value that means white, None for the largest of the type. inverted: black and
    white are swapped in `pixels`. orientation: EXIF's number, by which a viewer turns the stored pixels. resolution and
    display: carried over where the kind of the result has a place for them.
    """

    pixels: NDArray[Any]
    suffix: str = ""
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

    def shown(self) -> FloatImage:
        return self.unit()

    @property
    def _is_float(self) -> bool:
        return self.pixels.dtype == np.float32

    def unit(self) -> FloatImage:
        upright = self._black_is_zero()
        return upright if self._is_float else to_unit(upright, self.white)

    def gray(self) -> FloatImage | Pixels:
        return self._black_is_zero() if self.white is None else self.unit()

    def _black_is_zero(self) -> NDArray[Any]:
        return swapped(self.pixels, self.white) if self.inverted else self.pixels

    def restored(self, denoised: FloatImage) -> Picture:
        if self._is_float:
            floats = np.asarray(denoised, dtype=np.float32)
            if self.inverted:  # 1 - (1 - pixel) is not always the pixel, but a change of nothing is none
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
        """None: each kind of picture has one way to be written."""
        return ()

    def encode(self, provenance: Provenance | None = None) -> bytes:
        """The file, provenance or not: pictures have no agreed place for it. Raises ImageError for another suffix."""
        kind = WRITTEN_AS.get(self.suffix.lower(), self.suffix.lower())
        if self._is_float and kind != ".tif":
            raise ImageError(f"floating-point pixels cannot be written as {kind}; use .tif")
        if kind == ".tif":
            return self._tiff()
        if kind == ".pgm":
            return self._pgm()
        encoded = self._by_opencv(kind)
        return with_chunks(encoded, self._png_chunks()) if kind == ".png" else encoded

    def _tiff(self) -> bytes:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[ORIENTATION] = self.orientation
        if self.resolution is not None:
            for tag, value in zip(RESOLUTIONS, (self.resolution.x, self.resolution.y), strict=True):
                tags[tag] = TiffImagePlugin.IFDRational(*value.as_integer_ratio())
            tags[RESOLUTION_UNIT] = self.resolution.unit
        profile = self.display.profile_in(".tif")
        options = {"icc_profile": profile} if profile else {}
        encoded = io.BytesIO()
        Image.fromarray(self.pixels).save(encoded, "TIFF", compression="tiff_lzw", tiffinfo=tags, **options)
        return encoded.getvalue()

    def _pgm(self) -> bytes:
        height, width = self.pixels.shape
        white = self.white or full_scale(self.pixels.dtype)
        stored = self.pixels.astype(">u2" if white > 255 else np.uint8)
        return b"P5\n%d %d\n%d\n" % (width, height, white) + stored.tobytes()

    def _png_chunks(self) -> bytes:
        profile = self.display.profile_in(".png")
        phys = to_phys(self.resolution) if self.resolution is not None else None
        return (
            self.display.chunks
            + (chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)) if profile else b"")
            + (chunk(b"pHYs", phys) if phys else b"")
        )

    def _by_opencv(self, kind: str) -> bytes:
        options = {".png": PNG_OPTIONS, ".webp": WEBP_OPTIONS}.get(kind, ())
        if self.bits == 16 and kind != ".png":
            raise ImageError(f"16-bit pixels cannot be written as {kind}; use .png or .tif")
        metadata = self._metadata(kind)
        try:
            if metadata:
                done, encoded = cv2.imencodeWithMetadata(kind, self.pixels, [*metadata], [*metadata.values()], options)
            else:
                done, encoded = cv2.imencode(kind, self.pixels, options)
        except cv2.error as error:
            raise ImageError(f"cannot be encoded as {kind or 'an image'}; use .png or .tif") from error
        if not done:
            raise ImageError(f"cannot be encoded as {kind}; use .png or .tif")
        return encoded.tobytes()

    def _metadata(self, kind: str) -> dict[int, NDArray[np.uint8]]:
        """What OpenCV is given to write beside the pixels; a PNG's profile is a chunk of ours."""
        metadata = {}
        if self.orientation != UPRIGHT and kind in (".png", ".webp"):
            metadata[cv2.IMAGE_METADATA_EXIF] = _exif(self.orientation, kind)
        if kind == ".webp" and self.display.profile:
            metadata[cv2.IMAGE_METADATA_ICCP] = np.frombuffer(self.display.profile, np.uint8)
        return metadata


def _exif(orientation: int, kind: str) -> NDArray[np.uint8]:
    """EXIF data that says nothing but the orientation; a PNG's begins with the TIFF header itself."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = exif.tobytes()
    return np.frombuffer(content.removeprefix(b"Exif\0\0") if kind == ".png" else content, dtype=np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    """A PNG with more chunks, which come right after its header as those about colour must."""
    return png[:AFTER_PNG_HEADER] + chunks + png[AFTER_PNG_HEADER:]


def orientation_of(exif: Image.Exif) -> int:
    """EXIF's number, upright where it says none or one that means nothing."""
    orientation = exif.get(ORIENTATION, UPRIGHT)
    return orientation if orientation in range(1, 9) else UPRIGHT


def check_size(path: Path, size: tuple[int, int], options: ReadOptions) -> None:
    """Raises ImageError where a header promises more pixels, as (width, height), than may be."""
    width, height = size
    if width * height > options.max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} pixels are more than the {options.max_pixels} allowed; see --max-pixels"
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


def gray_picture(path: Path, pixels: NDArray[Any], orientation: int = UPRIGHT, slack: int = 0) -> Picture:
    """The one channel that all of (H, W) or (H, W, channels) pixels show.

    slack: levels by which channels may differ where the kind of file has no gray and loses something.
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
