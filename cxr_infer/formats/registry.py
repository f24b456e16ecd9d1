"""Which files are X-rays, what their results are called, and who reads them: by content, whatever their names say."""

from __future__ import annotations

from pathlib import Path

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom import DICOM_HEAD, is_dicom, read_dicom, read_dicom_pixels
from cxr_infer.formats.foreign import what_it_is
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.readers import HEAD, LOSSY_SUFFIXES, PICTURE_SUFFIXES, kind_of, read_picture
from cxr_infer.settings import ReadOptions

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})  # meant as DICOM, so that damage is told
READABLE_SUFFIXES = PICTURE_SUFFIXES | DICOM_SUFFIXES
XRAY_HEAD = max(DICOM_HEAD, HEAD)  # bytes by which an X-ray is known


def is_xray(head: bytes) -> bool:
    """Whether the first XRAY_HEAD bytes of a file are those of a kind that is read here."""
    return is_dicom(head[:DICOM_HEAD]) or kind_of(head[:HEAD]) is not None


def output_name(name: str) -> str:
    """The name of the result of an image: the same, or with `.png` added where the source was lossy."""
    return f"{name}.png" if Path(name).suffix.lower() in LOSSY_SUFFIXES else name


def result_name(name: str) -> str:
    """Where the result of an image goes, as a path below the output. name: below the input, of an object store perhaps,
    where a path may have empty parts.
    """
    *folders, last = plain_name(name).split("/")
    return "/".join((*folders, output_name(last)))


def plain_name(name: str) -> str:
    """A path below a directory, without the empty parts that keys of object stores may have."""
    return "/".join(filter(None, name.split("/")))


def read_radiograph(path: Path, content: bytes, options: ReadOptions, target: Path) -> Radiograph:
    """Decode the content of an X-ray file of any kind.

    path: for messages. options: how it is read. target: where its result goes; its name decides what kind of
    picture that is; DICOM stays DICOM, and a picture a picture. Raises ImageError.
    """
    if is_dicom(content[:DICOM_HEAD]):
        if target.suffix.lower() in PICTURE_SUFFIXES and target.suffix != path.suffix:
            raise ImageError(f"{path}: a DICOM file, whose result is one too; it cannot be named {target.name}")
        return read_dicom(path, content, options)
    if path.suffix.lower() in DICOM_SUFFIXES:
        raise ImageError(f"{path}: {_instead_of_dicom(content[:XRAY_HEAD])}")
    if target.suffix.lower() in DICOM_SUFFIXES:
        raise ImageError(f"{path}: a picture, whose result is one too; it cannot be named {target.name}")
    return read_picture(path, content, options, target.suffix)


def _instead_of_dicom(head: bytes) -> str:
    """What a file is whose name is that of DICOM, and what to do."""
    kind = what_it_is(head)
    if kind is None:
        return "no DICOM file, lacking DICM after its first 128 bytes; is it damaged?"
    way_out = "give it the name of one" if kind_of(head[:HEAD]) is not None else kind.way_out
    return f"is {kind.name} by its content, not DICOM; {way_out}"


def read_result(source: Radiograph, path: Path, content: bytes, options: ReadOptions) -> Radiograph:
    """What a file became: itself with the pixels of its result, for which nothing else of that is needed.

    source: the original. path: of the result, whose content `source.restored(...).encode` made. options: as the
    original was read. Raises ImageError.
    """
    if is_dicom(content[:DICOM_HEAD]):
        pixels = read_dicom_pixels(path, content, options)
    else:
        pixels = read_picture(path, content, options, path.suffix).pixels
    return source.with_pixels(pixels)
