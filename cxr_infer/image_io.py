"""Read and write image files: gray pixels in, the same file kind and bit depth out, never half a file."""

from __future__ import annotations

import contextlib
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from cxr_infer.errors import ImageError
from cxr_infer.intensity import Pixels, full_scale

LOSSLESS_SUFFIXES = frozenset({".png", ".tif", ".tiff"})  # written back as what they are
PHOTOMETRIC_INTERPRETATION, WHITE_IS_0 = 262, 0  # a TIFF tag and one of its values
PAGED_SUFFIXES = frozenset({".tif", ".tiff"})
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg"})  # written as NAME.jpg.png, so that no second compression is added
READABLE_SUFFIXES = LOSSLESS_SUFFIXES | LOSSY_SUFFIXES

# Measured on denoised 1024 px X-rays: 11 ms a megapixel and 2.2 bits a pixel. zlib's own search for repeats (strategy
# "default", levels 1 / 3 / 6) took 18 / 31 / 104 ms for 2.8 / 2.6 / 2.3 bits; of the other filters, Paeth took 13 ms
# for 1% less and the rest as long for 4 to 11% more.
PNG_OPTIONS = (
    (cv2.IMWRITE_PNG_COMPRESSION, 1),
    (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_AVG),
)


def output_name(name: str) -> str:
    """The name of the result of an image: the same, or with `.png` added where the source was lossy."""
    return f"{name}.png" if Path(name).suffix.lower() in LOSSY_SUFFIXES else name


def read_gray(path: Path) -> Pixels:
    """One image file as (H, W) uint8 or uint16, black 0, also where a TIFF stores white as 0.

    Colour files whose channels are equal are gray and are read as such; an opaque alpha channel is dropped.
    Raises ImageError where the file is missing, no image, truly coloured, transparent or of another pixel type.
    """
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if encoded.size == 0:
        raise ImageError(f"{path}: the file is empty")
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded ({error.err}); is it a damaged image?") from error
    if pixels is None:
        raise ImageError(f"{path}: not an image, or a damaged one")
    if path.suffix.lower() in PAGED_SUFFIXES and cv2.imcount(str(path)) > 1:
        raise ImageError(f"{path}: has several pages; split it into one file a page")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: {pixels.dtype} pixels are not supported; convert it to 8 or 16 bit gray")
    gray = _single_channel(np.asarray(pixels), path)
    if gray.dtype == np.uint16 and _stores_white_as_0(encoded.tobytes()):
        return np.iinfo(np.uint16).max - gray  # OpenCV turns such files over at 8 bit, but not at 16
    return gray


def _stores_white_as_0(encoded: bytes) -> bool:
    """Whether a file is a TIFF whose PhotometricInterpretation (tag 262) is WhiteIsZero (TIFF 6.0, section 8)."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(encoded[:4])
    if order is None:
        return False
    (directory,) = struct.unpack_from(f"{order}I", encoded, 4)
    (entries,) = struct.unpack_from(f"{order}H", encoded, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", encoded, entry)
        if tag == PHOTOMETRIC_INTERPRETATION:
            return bool(value == WHITE_IS_0)
    return False


def _single_channel(pixels: Pixels, path: Path) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] in (2, 4) and np.any(pixels[..., -1] != full_scale(pixels.dtype)):
        raise ImageError(f"{path}: has transparent pixels; flatten it to gray first")
    colours = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    if np.any(colours != colours[..., :1]):
        raise ImageError(f"{path}: a colour image, not a gray X-ray; convert it to gray first")
    return np.ascontiguousarray(colours[..., 0])


def write_image(path: Path, pixels: Pixels) -> None:
    """Write (H, W) gray or (H, W, 3) BGR pixels, uint8 or uint16, as the kind that the suffix names.

    The file appears under its name only once it is complete. Raises ImageError where it cannot be written.
    """
    try:
        options = [number for option in PNG_OPTIONS for number in option] if path.suffix.lower() == ".png" else []
        done, encoded = cv2.imencode(path.suffix, pixels, options)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be encoded as {path.suffix or 'an image'}; use .png or .tif") from error
    if not done:
        raise ImageError(f"{path}: cannot be encoded as {path.suffix}; use .png or .tif")
    write_bytes(path, encoded.tobytes())


def write_bytes(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a whole file at once: to a temporary name beside it, then renamed. Raises ImageError on failure.

    content: what the file holds; given as parts, it need never be in memory as a whole.
    """
    parts = (content,) if isinstance(content, bytes) else content
    # the name is known before the file exists, so that an interrupt at any moment leaves nothing behind
    temporary = path.with_name(f".cxr-{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            stream.writelines(parts)
        temporary.replace(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # once renamed, the temporary name is gone
            temporary.unlink()
