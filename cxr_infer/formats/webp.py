"""WebP: read of either kind, written without loss."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import WebPImagePlugin

from cxr_infer.formats.libraries import encode, exif, opened, refuse_16_bits
from cxr_infer.formats.picture import UPRIGHT, Display, Picture
from cxr_infer.settings import ReadOptions

LOSSY = b"VP8 "  # the chunk of pixels that lost something
SLACK = 1  # levels: of Y'CbCr without colour, libwebp makes a green that is one apart
OPTIONS = (cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100 is lossless


def is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def open_webp(path: Path, content: bytes, options: ReadOptions) -> Picture:
    """Raises ImageError, and what Pillow and OpenCV raise."""
    picture, info = opened(WebPImagePlugin.WebPImageFile, path, content, options, SLACK if _is_lossy(content) else 0)
    return replace(picture, display=Display(info.get("icc_profile") or b""))


def _is_lossy(content: bytes) -> bool:
    """Whether one of its chunks is of the lossy kind (RFC 9649)."""
    at = 12
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        if name == LOSSY:
            return True
        at += 8 + length + length % 2
    return False


def carried(display: Display) -> Display:
    """What of it a WebP has a place for: it has no gray and takes any profile."""
    return Display(display.profile)


def encode_webp(picture: Picture) -> bytes:
    """Raises ImageError for pixels of more than 8 bits."""
    refuse_16_bits(picture, ".webp")
    metadata = {}
    if picture.orientation != UPRIGHT:
        metadata[cv2.IMAGE_METADATA_EXIF] = np.frombuffer(exif(picture.orientation), np.uint8)
    if picture.display.profile:
        metadata[cv2.IMAGE_METADATA_ICCP] = np.frombuffer(picture.display.profile, np.uint8)
    return encode(picture, ".webp", OPTIONS, metadata)
