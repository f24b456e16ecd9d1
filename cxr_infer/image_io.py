"""Pictures: gray pixels of PNG, JPEG, TIFF, BMP, PGM and WebP files in, the same kind and bit depth out, lossless.

Pillow reads the headers, so that nothing is decoded that promises too much, and TIFF; OpenCV does the rest.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content, write_bytes
from cxr_infer.intensity import Pixels, from_unit, full_scale, to_unit
from cxr_infer.radiograph import FloatImage, Provenance, Reading

LOSSLESS_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".pgm", ".webp"})  # written back as what they are
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})  # written as NAME.jpg.png, so that no second compression is added
PICTURE_SUFFIXES = LOSSLESS_SUFFIXES | LOSSY_SUFFIXES

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

BYTES_A_PIXEL = 8  # of the largest uncompressed picture, 16-bit colour with alpha
HEADERS = 16_000_000  # bytes that notes in a file may take beside its pixels

ORIENTATION, UPRIGHT = 0x0112, 1  # an EXIF and TIFF tag, and its value for pixels stored as they are looked at
RESOLUTION = (282, 283, 296)  # TIFF tags: XResolution, YResolution, ResolutionUnit
IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLES_PER_PIXEL = 256, 257, 258, 262, 277
WHITE_IS_ZERO = 0
BIG_TIFF, BIG_TIFF_HEADER = (b"+\0", b"\0+"), 16  # bytes
PGM_GAP = rb"\s+(?:#[^\n]*\n\s*)*"  # white space and comments
PGM_HEADER = re.compile(rb"P5%b(\d{1,9})%b(\d{1,9})%b(\d{1,5})\s" % (PGM_GAP, PGM_GAP, PGM_GAP))
LONGEST_PGM_HEADER = 4096  # bytes

EQUAL_CHANNELS = "a colour file whose channels are equal; the result is gray"
LOW_RANGE = (
    "uses a sixteenth of the 16-bit range or less; if it holds 12-bit data, --white 4095 lets the model see it in full"
)
LOW_16_BIT = 1 << 12
BEYOND_WHITE = "pixels above --white are left as they are"


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

    @property
    def bits(self) -> int:
        return self.pixels.dtype.itemsize * 8

    def unit(self) -> FloatImage:
        return self.pixels if self.pixels.dtype == np.float32 else to_unit(self.pixels, self.white)

    def restored(self, denoised: FloatImage) -> Picture:
        if self.pixels.dtype == np.float32:
            return replace(self, pixels=np.asarray(denoised, dtype=np.float32))
        stored = from_unit(denoised, self.pixels.dtype, self.white)
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


def read_picture(path: Path, content: bytes, reading: Reading, suffix: str) -> Picture:
    """Decode the content of a picture file.

    path: for messages. reading: how much it may promise. suffix: of the kind of file that the result will be.
    Raises ImageError where it is no picture, damaged, truly coloured, transparent, of several pages, or too large.
    """
    opened = next((opened for magic, opened in KINDS if content.startswith(magic)), None)
    if opened is None:
        raise ImageError(
            f"{path}: not an image, whatever its name says; read are {', '.join(sorted(PICTURE_SUFFIXES))}"
        )
    try:
        picture = opened(path, content, reading)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow and OpenCV raise a dozen unrelated types on damaged files
        raise ImageError(f"{path}: cannot be decoded ({_reason(error)}); is it damaged or incomplete?") from error
    notes = picture.notes
    if reading.white is not None and picture.white is None and picture.bits == 16:
        picture = replace(picture, white=reading.white)
        if picture.pixels.max() > reading.white:
            notes = (*notes, BEYOND_WHITE)
    elif picture.white is None and picture.bits == 16 and picture.pixels.max() < LOW_16_BIT:
        notes = (*notes, LOW_RANGE)
    return replace(picture, suffix=suffix, notes=notes)


def _reason(error: Exception) -> str:
    """The first line of what a library says, short."""
    return " ".join(str(getattr(error, "err", "") or error).split())[:120] or type(error).__name__


def _check_size(path: Path, size: tuple[int, int], reading: Reading) -> None:
    width, height = size
    if width * height > reading.max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} pixels are more than the {reading.max_pixels} allowed; see --max-pixels"
        )


def _opened_with(plugin: Callable[[io.BytesIO], Any]) -> Callable[[Path, bytes, Reading], Picture]:
    """A reader that lets Pillow's plugin read the header and OpenCV the pixels."""

    def opened(path: Path, content: bytes, reading: Reading) -> Picture:
        header = plugin(io.BytesIO(content))
        _check_size(path, header.size, reading)
        if getattr(header, "n_frames", 1) > 1:
            raise ImageError(f"{path}: has several frames; split it into one file a frame")
        orientation = header.getexif().get(ORIENTATION, UPRIGHT)
        pixels = _decoded(path, content)
        return _gray(path, pixels, orientation if orientation in range(1, 9) else UPRIGHT)

    return opened


def _decoded(path: Path, content: bytes) -> NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ImageError(f"{path}: cannot be decoded; is it damaged or incomplete?")
    return pixels


def _gray(path: Path, pixels: NDArray[Any], orientation: int = UPRIGHT) -> Picture:
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


def _open_tiff(path: Path, content: bytes, reading: Reading) -> Picture:
    """TIFF 6.0 and BigTIFF: gray of 8, 12 or 16 bit or float32, either photometric; colour where channels are equal."""
    tags = _tiff_tags(content)
    _check_size(path, (int(tags[IMAGE_WIDTH]), int(tags[IMAGE_LENGTH])), reading)
    if tags.next:
        raise ImageError(f"{path}: has several pages; split it into one file a page")
    orientation = int(tags.get(ORIENTATION, UPRIGHT))
    resolution = tuple((tag, tags[tag]) for tag in RESOLUTION if tag in tags)
    pixels = _checked_tiff(content)
    if pixels is None or tags.get(SAMPLES_PER_PIXEL, 1) > 1:  # Pillow cuts 16-bit colour to 8 bit
        pixels = _decoded(path, content)
    if pixels.dtype == np.float32 and pixels.ndim == 2:
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # also false for NaN
            raise ImageError(f"{path}: floating-point pixels must lie in [0, 1]; scale them first")
        return Picture(pixels, "", (), None, orientation, resolution)
    picture = replace(_gray(path, pixels, orientation), resolution=resolution)
    if picture.bits == 8:
        return picture
    bits = int(tags.get(BITS_PER_SAMPLE, (1,))[0])
    white = (1 << bits) - 1 if bits < 16 else None
    if tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:  # both libraries turn 8-bit pixels over, but not 16
        turned = (white or full_scale(picture.pixels.dtype)) - picture.pixels
        picture = replace(picture, pixels=np.asarray(turned, dtype=np.uint16))
    return replace(picture, white=white)


def _tiff_tags(content: bytes) -> Any:
    """The first directory of a TIFF; its attribute `next` tells where another one begins."""
    stream = io.BytesIO(content)
    tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(BIG_TIFF_HEADER if content[2:4] in BIG_TIFF else 8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _checked_tiff(content: bytes) -> NDArray[Any] | None:
    """The pixels by Pillow, None where it does not know their type.

    Raises where strips or tiles are damaged, which OpenCV would return as garbage.
    """
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(content))
    except SyntaxError:  # so it calls what it does not know, 16-bit WhiteIsZero in big-endian order among it
        return None
    image.load()
    pixels = np.array(image)
    return pixels.astype(np.uint16) if image.mode.startswith("I;16") else pixels


def _open_pgm(path: Path, content: bytes, reading: Reading) -> Picture:
    """Binary PGM; its header promises the value that means white, of one byte a pixel or two, big endian."""
    header = PGM_HEADER.match(content[:LONGEST_PGM_HEADER])
    if header is None:
        raise ImageError(f"{path}: not a binary PGM with a whole header; convert it to PNG")
    width, height, white = map(int, header.groups())
    _check_size(path, (width, height), reading)
    if not 0 < white < 1 << 16 or width * height == 0:
        raise ImageError(f"{path}: {width}x{height} pixels up to {white} make no PGM; is it damaged?")
    dtype = np.dtype(">u2") if white > 255 else np.dtype(np.uint8)
    if len(content) - header.end() < width * height * dtype.itemsize:
        raise ImageError(f"{path}: ends before its last pixel; is it incomplete?")
    stored = np.frombuffer(content, dtype, width * height, header.end()).reshape(height, width)
    pixels = stored.astype(dtype.newbyteorder("="))
    return Picture(pixels, "", (), white if white != full_scale(pixels.dtype) else None)


KINDS: tuple[tuple[bytes, Callable[[Path, bytes, Reading], Picture]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _opened_with(PngImagePlugin.PngImageFile)),
    (b"\xff\xd8\xff", _opened_with(JpegImagePlugin.JpegImageFile)),
    *((magic, _open_tiff) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"BM", _opened_with(BmpImagePlugin.BmpImageFile)),
    (b"P5", _open_pgm),
    (b"RIFF", _opened_with(WebPImagePlugin.WebPImageFile)),
)


def most_bytes(reading: Reading) -> int:
    """How large the file of an image may be that has as many pixels as are allowed."""
    return BYTES_A_PIXEL * reading.max_pixels + HEADERS


def read_gray(path: Path) -> Pixels:
    """One picture file as (H, W) uint8 or uint16, black 0. Raises ImageError as `read_picture` does."""
    reading = Reading()
    picture = read_picture(path, read_content(path, most_bytes(reading)), reading, path.suffix)
    return picture.pixels if picture.bits < 32 else from_unit(picture.pixels, np.dtype(np.uint16))


def write_image(path: Path, pixels: Pixels) -> None:
    """Write (H, W) gray or (H, W, 3) BGR pixels, uint8 or uint16, as the kind that the suffix names.

    The file appears under its name only once it is complete. Raises ImageError where it cannot be written.
    """
    try:
        content = Picture(pixels, path.suffix).encode()
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    write_bytes(path, content)
