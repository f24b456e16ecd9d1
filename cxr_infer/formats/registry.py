"""The supported formats, recognised by content rather than name, and the names of results.

To add a format, add an entry to FORMATS and a module with the functions it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cxr_infer.formats import png, webp
from cxr_infer.formats.bmp import encode_bmp, is_bmp, open_bmp
from cxr_infer.formats.dicom.optional import read_dicom, read_dicom_pixels
from cxr_infer.formats.dicom.signature import DICOM_HEAD, is_dicom
from cxr_infer.formats.jpeg import JPEG_MAGIC, encode_jpeg, open_jpeg
from cxr_infer.formats.pgm import encode_pgm, is_pgm, open_pgm
from cxr_infer.formats.picture import Display, Encode, Picture
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.tiff import writer as tiff
from cxr_infer.formats.tiff.directory import MAGICS as TIFF_MAGICS
from cxr_infer.formats.tiff.reader import open_tiff
from cxr_infer.settings import ReadOptions

SIGNATURE_LENGTH = DICOM_HEAD  # bytes needed to recognise a format


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format.

    name: for messages. suffixes: lower case, with dot. begins: whether a file has this format, by its first
    SIGNATURE_LENGTH bytes.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]


@dataclass(frozen=True, kw_only=True)
class MedicalFormat(Format):
    """A format whose results have the same format and keep the names of their sources.

    read: (path for messages, whole content, options) -> radiograph. read_pixels: likewise -> (H, W) stored values, for
    originals and results. unlike: message for files with its suffix but other content. index: name of files that look
    like it but hold no image.
    """

    read: Callable[[Path, bytes, ReadOptions], Radiograph]
    read_pixels: Callable[[Path, bytes, ReadOptions], NDArray[Any]]
    unlike: str
    index: str


def carries_nothing(display: Display) -> Display:
    return Display()


@dataclass(frozen=True, kw_only=True)
class PictureFormat(Format):
    """A plain picture format; pictures can be converted between them.

    open: (path for messages, whole content, options) -> picture. encode: picture -> file content. carries: the part of
    a display's metadata that the format can hold. lossy: whether results are written as PNG instead.
    """

    open: Callable[[Path, bytes, ReadOptions], Picture]
    encode: Encode
    carries: Callable[[Display], Display] = carries_nothing
    lossy: bool = False


DICOM = MedicalFormat(
    name="DICOM",
    suffixes=(".dcm", ".dicom", ".ima"),
    begins=is_dicom,
    read=read_dicom,
    read_pixels=read_dicom_pixels,
    unlike="not a DICOM file (no DICM after the first 128 bytes); is it damaged?",
    index="DICOMDIR",  # index of a medium (PS3.10 section 8)
)
PNG = PictureFormat(
    name="PNG",
    suffixes=(".png",),
    begins=lambda head: head.startswith(png.PNG_MAGIC),
    open=png.open_png,
    encode=png.encode_png,
    carries=png.carried,
)
JPEG = PictureFormat(
    name="JPEG",
    suffixes=(".jpg", ".jpeg", ".jpe", ".jif", ".jfif"),
    begins=lambda head: head.startswith(JPEG_MAGIC),
    open=open_jpeg,
    encode=encode_jpeg,
    lossy=True,
)
TIFF = PictureFormat(
    name="TIFF",
    suffixes=(".tif", ".tiff", ".btf"),
    begins=lambda head: head.startswith(TIFF_MAGICS),
    open=open_tiff,
    encode=tiff.encode_tiff,
    carries=tiff.carried,
)
BMP = PictureFormat(name="BMP", suffixes=(".bmp", ".dib"), begins=is_bmp, open=open_bmp, encode=encode_bmp)
PGM = PictureFormat(name="PGM", suffixes=(".pgm", ".pnm"), begins=is_pgm, open=open_pgm, encode=encode_pgm)
WEBP = PictureFormat(
    name="WebP",
    suffixes=(".webp",),
    begins=webp.is_webp,
    open=webp.open_webp,
    encode=webp.encode_webp,
    carries=webp.carried,
)

MEDICAL_FORMATS = (DICOM,)
PICTURE_FORMATS = (PNG, JPEG, TIFF, BMP, PGM, WEBP)
FORMATS: tuple[MedicalFormat | PictureFormat, ...] = MEDICAL_FORMATS + PICTURE_FORMATS  # in this order

_BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}
READABLE_SUFFIXES = frozenset(_BY_SUFFIX)
PICTURE_SUFFIXES = frozenset(suffix for format in PICTURE_FORMATS for suffix in format.suffixes)


def format_of(head: bytes) -> MedicalFormat | PictureFormat | None:
    """Return the format of a file by its first SIGNATURE_LENGTH bytes; None if it is not supported."""
    return next((format for format in FORMATS if format.begins(head)), None)


def format_named(suffix: str) -> MedicalFormat | PictureFormat | None:
    """Return the format with this suffix, in any case; None if unknown."""
    return _BY_SUFFIX.get(suffix.lower())


def is_xray(head: bytes) -> bool:
    """Whether a file has a supported format. head: its first SIGNATURE_LENGTH bytes."""
    return format_of(head) is not None


def index_of(name: str) -> str | None:
    """Return the format of which a file with this name is a media index (DICOMDIR); None for any other name."""
    return next((format.name for format in MEDICAL_FORMATS if format.index == name), None)


def keeps_name(head: bytes) -> bool:
    """Whether a result keeps the name of its source. head: first SIGNATURE_LENGTH bytes of the source."""
    return isinstance(format_of(head), MedicalFormat)


def is_lossy(suffix: str) -> bool:
    """Whether pictures with this suffix are lossy."""
    format = format_named(suffix)
    return isinstance(format, PictureFormat) and format.lossy


def can_be_result(suffix: str) -> bool:
    """Whether a result may have this suffix."""
    return format_named(suffix) is not None and not is_lossy(suffix)


def output_name(name: str) -> str:
    """Return the name of a result: that of the source, with `.png` added if the source is lossy."""
    return f"{name}.png" if is_lossy(Path(name).suffix) else name


def result_name(name: str) -> str:
    """Return the path of a result below the output.

    name: path below the input; keys of object stores may have empty parts.
    """
    *folders, last = plain_name(name).split("/")
    return "/".join((*folders, output_name(last)))


def plain_name(name: str) -> str:
    """Return a path below a directory, without the empty parts that keys of object stores may have."""
    return "/".join(filter(None, name.split("/")))
