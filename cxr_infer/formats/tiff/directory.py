"""Parse the directories of a TIFF or BigTIFF, and find that of the picture.

TIFF 6.0, section 2, and the BigTIFF design of libtiff.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from cxr_infer.errors import ImageError

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_TIFF = (b"+\0", b"\0+")  # bytes 2 and 3

INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
BYTES, RATIONAL = frozenset({1, 2, 7}), 5  # BYTE, ASCII, UNDEFINED
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

NEW_SUBFILE_TYPE, SUBFILE_TYPE, IMAGE_WIDTH, IMAGE_LENGTH = 254, 255, 256, 257
IMAGE_DESCRIPTION, STRIP_OFFSETS, SAMPLES_PER_PIXEL, SUB_DIRECTORIES, THUMBNAIL = 270, 273, 277, 330, 513
IMAGE_DEPTH, TILE_DEPTH, STK_PLANES = 32997, 32998, 33629
REDUCED, MASK = 1, 4  # bits of NewSubfileType
OLD_REDUCED = 2  # value of SubfileType, the older tag

MOST_ENTRIES = 4096  # of a directory; real ones have a few dozen
MOST_DIRECTORIES = 1024  # of a file, reduced copies included


@dataclass(frozen=True)
class DirectoryEntry:
    """A tag: type, number and file offset of its values."""

    tag: int
    kind: int
    number: int
    at: int


@dataclass(frozen=True)
class ImageFileDirectory:
    """A directory. order: byte order, `<` or `>`. Methods raise struct.error if the file is truncated."""

    path: Path  # for messages
    content: bytes = field(repr=False)
    order: str
    entries: tuple[DirectoryEntry, ...]

    def _entry(self, tag: int) -> DirectoryEntry | None:
        return next((entry for entry in self.entries if entry.tag == tag), None)

    def __contains__(self, tag: int) -> bool:
        return self._entry(tag) is not None

    def _bytes(self, entry: DirectoryEntry) -> bytes:
        size = entry.number * SIZES.get(entry.kind, 1)
        if entry.at + size > len(self.content):
            raise struct.error(f"tag {entry.tag} ends beyond the file")
        return self.content[entry.at : entry.at + size]

    def numbers(self, tag: int) -> list[int]:
        """Return the integers of a tag, [] if it is missing or has another type."""
        entry = self._entry(tag)
        if entry is None or entry.kind not in INTEGERS:
            return []
        values: list[int] = np.frombuffer(self._bytes(entry), self.order + INTEGERS[entry.kind]).tolist()
        return values

    def number(self, tag: int, default: int | None = None) -> int:
        """Return the first integer of a tag. Raises ImageError if it is missing and has no default."""
        value = next(iter(self.numbers(tag)), default)
        if value is None:
            raise ImageError(f"{self.path}: lacks TIFF tag {tag}; is it damaged?")
        return value

    def count(self, tag: int) -> int:
        """Return the number of values of a tag, 0 if it is missing."""
        entry = self._entry(tag)
        return 0 if entry is None else entry.number

    def data(self, tag: int) -> bytes:
        """Return the bytes of a tag, b"" if it is missing or has another type."""
        entry = self._entry(tag)
        return self._bytes(entry) if entry is not None and entry.kind in BYTES else b""

    def fraction(self, tag: int) -> Fraction | None:
        """Return the first RATIONAL of a tag; None if it is missing or not positive."""
        entry = self._entry(tag)
        if entry is None or entry.kind != RATIONAL or not entry.number:
            return None
        above, below = struct.unpack_from(f"{self.order}II", self.content, entry.at)
        return Fraction(above, below) if above and below else None

    @property
    def description(self) -> str:
        """All ImageDescriptions, joined; some programs write two."""
        texts = (self._bytes(e) for e in self.entries if e.tag == IMAGE_DESCRIPTION and e.kind in BYTES)
        return "\n".join(text.decode("utf-8", "replace") for text in texts)


def picture_directory(path: Path, content: bytes) -> tuple[ImageFileDirectory, ImageFileDirectory | None]:
    """Return the directory of the file's only picture, and that of its transparency mask, if any.

    Reduced copies (thumbnails, overviews, pyramids) do not count as pictures. Raises ImageError if there are several
    pictures, in several directories or in one.
    """
    pictures: list[ImageFileDirectory] = []
    copies: list[ImageFileDirectory] = []
    masks: list[ImageFileDirectory] = []
    for directory in _directories(path, content):
        kind = directory.number(NEW_SUBFILE_TYPE, 0)
        reduced = kind & REDUCED or directory.number(SUBFILE_TYPE, 0) == OLD_REDUCED
        if THUMBNAIL in directory and STRIP_OFFSETS not in directory:  # an EXIF thumbnail
            continue
        (copies if reduced else masks if kind & MASK else pictures).append(directory)
        if len(pictures) > 1:
            raise ImageError(f"{path}: has several pages; split it into one file per page")
    if not pictures and len(copies) == 1:
        pictures = copies  # the full-size picture is missing
    if len(pictures) != 1 or len(masks) > 1:
        raise ImageError(f"{path}: has several reduced copies but no full-size picture; export it again")
    _refuse_stack(pictures[0])
    return pictures[0], masks[0] if masks else None


def _directories(path: Path, content: bytes) -> Iterator[ImageFileDirectory]:
    """Yield all directories, nested ones too, each once. Raises struct.error if the file is truncated."""
    order = "<" if content.startswith(b"II") else ">"
    big = content[2:4] in BIG_TIFF
    (first,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", content, 8 if big else 4)
    seen: set[int] = set()
    chains = [first]
    while chains:
        at, chain = chains.pop(0), set[int]()
        while at and at not in seen - chain:  # several chains may share directories
            if at in chain or len(seen) == MOST_DIRECTORIES:
                raise ImageError(f"{path}: its directories form a loop or never end; is it damaged?")
            seen.add(at)
            chain.add(at)
            entries, following = _entries(content, at, order, big)
            directory = ImageFileDirectory(path, content, order, entries)
            yield directory
            chains += directory.numbers(SUB_DIRECTORIES)
            at = following


def _entries(content: bytes, at: int, order: str, big: bool) -> tuple[tuple[DirectoryEntry, ...], int]:
    """Return the tags of the directory at an offset, and the offset of the next one, 0 for none."""
    pointer, count = (f"{order}Q", f"{order}Q") if big else (f"{order}I", f"{order}H")
    width = struct.calcsize(pointer)
    (number,) = struct.unpack_from(count, content, at)
    if number > MOST_ENTRIES:
        raise struct.error("too many tags in a directory")
    at += struct.calcsize(count)
    entries = []
    for _ in range(number):
        tag, kind = struct.unpack_from(f"{order}HH", content, at)
        (values,) = struct.unpack_from(pointer, content, at + 4)
        value_at = at + 4 + width
        if values * SIZES.get(kind, 1) > width:  # stored elsewhere, at this offset
            (value_at,) = struct.unpack_from(pointer, content, value_at)
        entries.append(DirectoryEntry(tag, kind, values, value_at))
        at += 4 + 2 * width
    return tuple(entries), struct.unpack_from(pointer, content, at)[0]


def _refuse_stack(directory: ImageFileDirectory) -> None:
    """Raise ImageError if a directory describes several pictures; most readers would show only the first."""
    depth = max(directory.number(IMAGE_DEPTH, 1), directory.number(TILE_DEPTH, 1))
    planes = max(depth, directory.count(STK_PLANES), _described_planes(directory))
    if planes > 1:
        raise ImageError(
            f"{directory.path}: a stack or volume of {planes} pictures; split it into one file per picture"
        )


def _described_planes(directory: ImageFileDirectory) -> int:
    """Return the number of pictures in a directory according to a description by ImageJ or tifffile."""
    text = directory.description
    planes = [1]
    if text.startswith("ImageJ="):
        planes += [int(number) for number in re.findall(r"^images=(\d{1,9})\s*$", text, re.MULTILINE)]
        planes.append(
            math.prod(int(n) for n in re.findall(r"^(?:channels|slices|frames)=(\d{1,9})\s*$", text, re.MULTILINE))
        )
    pixels = directory.number(IMAGE_WIDTH) * directory.number(IMAGE_LENGTH)
    for shape in re.findall(r'"shape": \[([0-9, ]{1,200})\]', text):
        extents = [int(extent) for extent in shape.split(",") if extent.strip()]
        # samples of a pixel are not separate pictures; `reader` checks them
        planes.append(math.prod(extents) // max(1, pixels * directory.number(SAMPLES_PER_PIXEL, 1)))
    return max(planes)
