"""Name unsupported files in messages: what they are and what to do with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

CONVERT, UNPACK = "convert it to PNG", "unpack it first"


@dataclass(frozen=True)
class Foreign:
    """An unsupported kind of file. begins: pattern of its first bytes. way_out: advice to the user."""

    name: str
    begins: bytes = b""
    way_out: str = CONVERT

    def is_of(self, head: bytes) -> bool:
        return re.match(self.begins, head, re.DOTALL | re.IGNORECASE) is not None


FOREIGN_FORMATS = (
    Foreign("a GIF", rb"GIF8"),
    Foreign("a JPEG 2000 picture", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    Foreign("a JPEG XL picture", rb"\0\0\0\x0cJXL |\xff\x0a"),
    Foreign("a HEIC or AVIF picture", rb"....ftyp"),
    Foreign("a Photoshop file", rb"8BPS"),
    Foreign("an SVG drawing", rb"(<\?xml[^>]*>\s*)?<svg"),
    Foreign("a PDF", rb"%PDF"),
    Foreign("a ZIP archive", rb"PK\x03\x04", UNPACK),
    Foreign("a gzip archive", rb"\x1f\x8b", UNPACK),
    Foreign("a bzip2 archive", rb"BZh", UNPACK),
    Foreign("an xz archive", rb"\xfd7zXZ", UNPACK),
    Foreign("a 7z archive", rb"7z\xbc\xaf", UNPACK),
    Foreign("a RAR archive", rb"Rar!", UNPACK),
    Foreign("a NumPy array", rb"\x93NUMPY"),
    Foreign("an HDF5 file", rb"\x89HDF"),
    Foreign("an NRRD image", rb"NRRD\d"),
    Foreign("a MetaImage header", rb"ObjectType\s*="),
    Foreign("a FITS image", rb"SIMPLE  ="),
    Foreign("a web page", rb"\s*<(!doctype html|html)", "download the image itself"),
    Foreign("a Git LFS pointer", rb"version https://git-lfs", "fetch the image itself: git lfs pull"),
    Foreign("an ONNX or other model", rb"\x08[\x01-\x14]\x12.pytorch", "give it to --model"),
)
A_TEXT = Foreign("a text file", way_out="is it the right file?")
LEAST_TEXT = 12  # characters


def foreign_kind(head: bytes) -> Foreign | None:
    """Return the kind of a file by its first bytes; None if unknown."""
    known = next((kind for kind in FOREIGN_FORMATS if kind.is_of(head)), None)
    return known or (A_TEXT if _is_text(head) else None)


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")  # the last character may be cut
    whole = len(head) - len(text.encode()) < len("😀".encode())
    return whole and len(text) >= LEAST_TEXT and all(c.isprintable() or c.isspace() for c in text)
