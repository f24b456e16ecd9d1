"""Read X-ray files of any format as radiographs; write pixels as picture files."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_infer.errors import ImageError
from cxr_infer.files import read_content, write_bytes
from cxr_infer.formats.decoders import reason
from cxr_infer.formats.decoding import in_a_process_of_their_own
from cxr_infer.formats.foreign import CONVERT, Foreign, foreign_kind
from cxr_infer.formats.pgm import relative
from cxr_infer.formats.picture import Picture
from cxr_infer.formats.radiograph import Radiograph
from cxr_infer.formats.registry import PNG, SIGNATURE_LENGTH, MedicalFormat, PictureFormat, format_named, format_of
from cxr_infer.imaging.likeness import NO_RADIOGRAPH, bands, looks_drawn
from cxr_infer.imaging.pixels import Pixels, from_unit, low_range, to_bytes
from cxr_infer.settings import ReadOptions

BYTES_A_PIXEL = 8  # uncompressed 16-bit colour with alpha, the largest format
HEADERS = 16_000_000  # bytes of metadata allowed in a file

BEYOND_WHITE = "pixels above --white are left unchanged"
DISPLAY_LOST = "its gamma or colour profile is not copied; a viewer may show the result lighter or darker"


def read_radiograph(path: Path, content: bytes, options: ReadOptions, target: Path) -> Radiograph:
    """Decode an X-ray file of any format from untrusted content.

    path: for messages. target: path of the result; its suffix sets the format of pictures. Raises ImageError if the
    content cannot be read, or a picture would become DICOM or vice versa.
    """
    with in_a_process_of_their_own():
        return _read(path, content, options, target)


def _read(path: Path, content: bytes, options: ReadOptions, target: Path) -> Radiograph:
    found, meant, wanted = format_of(content[:SIGNATURE_LENGTH]), format_named(path.suffix), format_named(target.suffix)
    if isinstance(found, MedicalFormat):
        if isinstance(wanted, PictureFormat) and target.suffix != path.suffix:
            raise ImageError(f"{path}: is {found.name}, so its result cannot be a picture; rename {target.name}")
        return found.read(path, content, options)
    if isinstance(meant, MedicalFormat):
        raise ImageError(f"{path}: {_instead_of(meant, found, content[:SIGNATURE_LENGTH])}")
    if isinstance(wanted, MedicalFormat):
        raise ImageError(f"{path}: is a picture, so its result cannot be {wanted.name}; rename {target.name}")
    return read_picture(path, content, options, target.suffix)


def _instead_of(meant: MedicalFormat, found: PictureFormat | None, head: bytes) -> str:
    """Say what a file is, contrary to its name, and what to do with it."""
    if found is not None:
        return f"is a {found.name} by its content, not {meant.name}; rename it"
    kind = foreign_kind(head)
    return meant.unlike if kind is None else f"is {kind.name} by its content, not {meant.name}; {kind.way_out}"


def read_result(source: Radiograph, path: Path, content: bytes, options: ReadOptions) -> Radiograph:
    """Return the original with the pixels of its result; metadata of the result is not read.

    source: the original. path, content: of the result, as `source.restored(...).encode` wrote it. options: those used
    for the original. Raises ImageError.
    """
    found = format_of(content[:SIGNATURE_LENGTH])
    with in_a_process_of_their_own():
        if isinstance(found, MedicalFormat):
            return source.with_pixels(found.read_pixels(path, content, options))
        return source.with_pixels(read_picture(path, content, options, path.suffix).pixels)


def read_picture(path: Path, content: bytes, options: ReadOptions, suffix: str) -> Picture:
    """Decode a picture file.

    path: for messages. suffix: of the result; sets its format, which otherwise is that of the content. Raises
    ImageError if the content is not a picture, is damaged or too large, or has colour, transparency or several pages.
    """
    found = format_of(content[:SIGNATURE_LENGTH])
    if not isinstance(found, PictureFormat):
        other = relative(content)
        kind = Foreign(f"a {other} file") if other else foreign_kind(content[:SIGNATURE_LENGTH])
        what, way_out = (f"is {kind.name}, not an image", kind.way_out) if kind else ("is not an image", CONVERT)
        raise ImageError(f"{path}: {what} in a supported format; {way_out}")
    try:
        picture = found.open(path, content, options)
    except (ImageError, MemoryError):
        raise
    except struct.error as error:  # a truncated header; the text of the exception is of no use
        raise ImageError(f"{path}: cannot be decoded; is it damaged or incomplete?") from error
    except Exception as error:  # Pillow and OpenCV raise a dozen unrelated types
        raise ImageError(f"{path}: cannot be decoded: {reason(error)}; is it damaged or incomplete?") from error
    return _with_options(picture, _written_as(format_named(suffix)) or _written_as(found) or PNG, options)


def _written_as(format: MedicalFormat | PictureFormat | None) -> PictureFormat | None:
    """Return the format if results can be written in it, else None."""
    return format if isinstance(format, PictureFormat) and not format.lossy else None


def _with_options(picture: Picture, written_as: PictureFormat, options: ReadOptions) -> Picture:
    """Apply the user's reading options, add notes, and set the encoder of the result."""
    notes = list(picture.notes)
    if picture.bits == 16 and picture.white is None:
        if options.white is not None:
            picture = replace(picture, white=options.white)
            if picture.pixels.max() > options.white:
                notes.append(BEYOND_WHITE)
        elif (note := low_range(picture.pixels)) is not None:
            notes.append(note)
    if looks_drawn(_eight_bit(replace(picture, pixels=bands(picture.pixels)))):
        notes.append(NO_RADIOGRAPH)
    if written_as.carries(picture.display) != picture.display:
        notes.append(DISPLAY_LOST)
    return replace(picture, encoder=written_as.encode, notes=tuple(notes), inverted=options.invert)


def _eight_bit(picture: Picture) -> NDArray[np.uint8]:
    """Return (H, W) uint8; 16-bit values are scaled so that the range in use fits."""
    if picture.bits == 32 or picture.white is not None:
        return to_bytes(picture.unit())
    if picture.bits == 8:
        return np.asarray(picture.pixels)
    return np.asarray(picture.pixels >> max(0, int(picture.pixels.max()).bit_length() - 8), np.uint8)


def most_bytes(options: ReadOptions) -> int:
    """Return the largest accepted file size, bytes."""
    return BYTES_A_PIXEL * options.max_pixels + HEADERS


def read_gray(path: Path) -> Pixels:
    """Read a picture file as (H, W) uint8 or uint16, black 0. Raises ImageError."""
    options = ReadOptions()
    picture = read_picture(path, read_content(path, most_bytes(options)), options, path.suffix)
    return picture.pixels if picture.bits < 32 else from_unit(picture.pixels, np.dtype(np.uint16))


def write_image(path: Path, pixels: Pixels) -> None:
    """Write (H, W) gray or (H, W, 3) BGR pixels, uint8 or uint16, in the format of the suffix.

    The file appears under its name only once it is complete. Raises ImageError if it cannot be written.
    """
    format = format_named(path.suffix)
    encoder = format.encode if isinstance(format, PictureFormat) else None
    try:
        content = Picture(pixels, encoder).encode()
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    write_bytes(path, content)
