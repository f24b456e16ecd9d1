"""Parse a DICOM file: its attributes as Explicit VR Little Endian, and its pixel data unchanged.

Attributes keep their bytes: text that does not fit the character set, or invalid numbers, are written back as they
were unless the result changes them. Like DCMTK, GDCM and pydicom, this reads files with or without preamble and file
meta information, and with extra bytes before or after the data set.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import TypeAlias

import numpy as np
from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from cxr_infer.errors import ImageError
from cxr_infer.formats.dicom.attributes import TEXT, text, value
from cxr_infer.formats.dicom.signature import DICOM_HEAD, META_GROUP, has_preamble
from cxr_infer.settings import ReadOptions

MOST_HEADER = 16_000_000  # bytes of a data set without its pixels
MOST_READS = 200_000  # of a file, 2 or 3 per attribute: 8 bytes of attribute take several hundred bytes of memory
BYTES_A_PIXEL = 2
PIXEL_DATA, SOP_CLASS_UID = 0x7FE00010, 0x00080016
COMMAND_GROUP, DELIMITER_GROUP = 0x0000, 0xFFFE
Ended: TypeAlias = Callable[[BaseTag, str | None, int], bool]  # given tag, VR and length of the next element

ITEM_ENDS = (b"\xfe\xff\x0d\xe0", b"\xff\xfe\xe0\x0d")  # the tag in either byte order
DELIMITER = 8  # bytes: the tag, and a length of 0
UNDEFINED = 0xFFFFFFFF  # length of elements that end with a delimiter
# value representation -> bytes per word
WORD_BYTES = {"OW": 2, "US": 2, "SS": 2, "AT": 2, "OF": 4, "OL": 4, "UL": 4, "SL": 4, "FL": 4} | dict.fromkeys(
    ("OD", "OV", "FD", "SV", "UV"), 8
)

NO_HEADER = "no DICOM header; the transfer syntax was inferred from the first attribute"
NO_PREAMBLE = "no DICOM preamble; the file begins with its header"
TWO_HEADERS = "has two DICOM headers; the first was used"
TRAILING = "has bytes after its data set; ignored"
NO_CLASS = "its data set lacks SOPClassUID; that of the DICOM header was used"
NO_SYNTAX = "its DICOM header names no transfer syntax; it was inferred from the first attribute"


@dataclass(frozen=True)
class DicomFile:
    """A parsed file.

    dataset: all attributes except the pixel data, Explicit VR Little Endian. pixel_data: as in the file; None if it
    has none. pixel_vr: their value representation. encapsulated: whether they are fragments of a compressed image.
    """

    dataset: Dataset = field(repr=False)
    syntax: UID
    pixel_data: bytes | None = field(repr=False)
    pixel_vr: str
    encapsulated: bool
    notes: tuple[str, ...] = ()


def read_file(content: bytes, reading: ReadOptions, check_class: Callable[[Dataset], None]) -> DicomFile:
    """Parse a file.

    check_class: called with the SOP class and the attributes before it, if possible before the rest is read.
    Raises ImageError if the transfer syntax cannot be read, the data set has too many attributes, or it is deflated and
    inflates beyond the largest image (pydicom would inflate all of it).
    """
    stream = _CountingStream(content)
    preamble = has_preamble(content)
    stream.seek(DICOM_HEAD if preamble else 0)
    meta, again = _meta(stream)
    syntax, notes = _syntax(meta, stream)
    notes += (() if preamble or not meta else (NO_PREAMBLE,)) + ((TWO_HEADERS,) if again else ())
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _CountingStream(_inflated(stream.read(), MOST_HEADER + BYTES_A_PIXEL * reading.max_pixels))
    start = stream.tell()
    first = _attributes(stream, syntax, lambda tag, *_: tag > SOP_CLASS_UID)
    notes += _complete_class(first, meta)
    if SOP_CLASS_UID in first:
        check_class(first)
    stream.seek(start)
    attributes = _attributes(stream, syntax, _ended())
    _complete_class(attributes, meta)
    check_class(attributes)
    notes += (TRAILING,) if _trails(stream) else ()
    pixels = attributes.get_item(PIXEL_DATA)
    for tag in [tag for tag in attributes.keys() if tag == PIXEL_DATA or tag.group in (COMMAND_GROUP, META_GROUP)]:  # noqa: SIM118 - not its elements
        del attributes[tag]
    header = sum(len(e.value) for e in attributes.elements() if isinstance(e.value, bytes))
    if header > MOST_HEADER:
        raise ImageError(
            f"has {header / 1e6:.0f} MB of attributes besides its pixels; the limit is {MOST_HEADER / 1e6:.0f} MB"
        )
    signed = value(attributes, "PixelRepresentation") == 1
    dataset = _explicit(attributes, swapped=not syntax.is_little_endian, signed=signed)
    raw = pixels if isinstance(pixels, RawDataElement) else None
    encapsulated = bool(syntax.is_encapsulated) or (raw is not None and raw.length == UNDEFINED)
    return DicomFile(dataset, syntax, raw.value if raw else None, (raw and raw.VR) or "OW", encapsulated, notes)


def _trails(stream: BytesIO) -> bool:
    """Whether bytes follow the data set, or pydicom stopped behind an item delimiter without an item."""
    at = stream.tell()
    stream.seek(max(at - DELIMITER, 0))
    last = stream.read(DELIMITER)
    return last[:4] in ITEM_ENDS or bool(stream.read(1))


def _meta(stream: BytesIO) -> tuple[Dataset, bool]:
    """Read the file meta information and leave the stream behind it; also return whether there was a second one."""
    seen: set[int] = set()

    def ended(tag: BaseTag, *_: object) -> bool:
        again = tag in seen
        seen.add(tag)
        return tag.group != META_GROUP or again

    meta = read_dataset(stream, False, True, stop_when=ended)
    other = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != META_GROUP)
    return meta, len(other) > 0


def _complete_class(attributes: Dataset, meta: Dataset) -> tuple[str, ...]:
    """Copy a missing SOP class from the file meta information; return a note if so."""
    given = text(meta, "MediaStorageSOPClassUID")
    if text(attributes, "SOPClassUID") or not given:
        return ()
    attributes.SOPClassUID = given
    return (NO_CLASS,)


def _attributes(stream: BytesIO, syntax: UID, ended: Ended) -> Dataset:
    """Read attributes up to the first for which `ended` is true."""
    try:
        return read_dataset(stream, bool(syntax.is_implicit_VR), bool(syntax.is_little_endian), stop_when=ended)
    except OSError as error:  # pydicom wraps any exception between the items of a sequence in it
        raise (error.__context__ if isinstance(error.__context__, ImageError) else error) from None


def _syntax(meta: Dataset, stream: BytesIO) -> tuple[UID, tuple[str, ...]]:
    """Return the transfer syntax by the header, or else inferred from the first attribute with a note."""
    named = UID(text(meta, "TransferSyntaxUID"))
    if not named:
        tag_and_representation = stream.read(6)
        stream.seek(-len(tag_and_representation), 1)
        if len(tag_and_representation) < 6:
            raise ImageError("has no transfer syntax and no attributes; is it incomplete?")
        note = NO_SYNTAX if len(meta) else NO_HEADER
        return UID(_guessed(tag_and_representation)), (note,)
    if not named.is_transfer_syntax or named.is_private:
        raise ImageError("its transfer syntax is not a standard one; convert it to Explicit VR Little Endian")
    return named, ()


def _guessed(first: bytes) -> str:
    """Infer the transfer syntax of a data set from its first six bytes."""
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    if explicit and first[0] == 0 and first[1] != 0:
        return ExplicitVRBigEndian
    return ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian


def _ended() -> Ended:
    """Return a function that tells where the data set ends: after the pixel data, zeros, erased memory (FFFF,FFFF) or
    a delimiter without a sequence are trailing bytes.
    """
    behind_pixels = False

    def ended(tag: BaseTag, *_: object) -> bool:
        nonlocal behind_pixels
        stops = behind_pixels and (tag.group in (COMMAND_GROUP, DELIMITER_GROUP) or tag == UNDEFINED)
        behind_pixels = behind_pixels or tag == PIXEL_DATA
        return stops

    return ended


class _CountingStream(BytesIO):
    """A file in memory that can be read only MOST_READS times, which limits its attributes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS:
            raise ImageError("has too many attributes for an image; export it again")
        return super().read(size)


def _inflated(deflated: bytes, most: int) -> bytes:
    """Inflate a data set (PS3.5 A.5). Raises ImageError if it is incomplete or inflates to more than `most` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, most)
    if not inflater.eof:
        full = len(data) == most
        raise ImageError(
            f"inflates to more than {most / 1e6:.0f} MB; see --max-pixels"
            if full
            else "ends within its data set; is it incomplete?"
        )
    return data


def _explicit(source: Dataset, *, swapped: bool, signed: bool) -> Dataset:
    """Convert a data set to Explicit VR Little Endian; values keep their bytes, words are swapped if `swapped`."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    for tag in source.keys():  # noqa: SIM118 - not its elements
        element = source.get_item(tag, keep_deferred=True)  # otherwise pydicom would decode empty ones
        representation = _representation(tag, element.VR, source, signed)
        if representation == "SQ":
            nested = [_explicit(item, swapped=swapped, signed=signed) for item in source[tag].value or ()]
            elements[tag] = DataElement(tag, "SQ", Sequence(nested))
        elif isinstance(element, RawDataElement):
            undefined = element.length == UNDEFINED
            elements[tag] = _raw(tag, representation, element.value or b"", swapped, undefined)
        else:
            elements[tag] = element  # a number that pydicom decoded for its own use
    result = Dataset(elements)  # all at once: added one by one, private text would be decoded
    settle(result)
    return result


def settle(dataset: Dataset) -> None:
    """Make pydicom write raw bytes unchanged, in a data set and its nested items."""
    for tag in dataset.keys():  # noqa: SIM118 - not its elements
        element = dataset.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            for item in element.value:
                settle(item)
    dataset.set_original_encoding(False, True, dataset._character_set)


def _raw(tag: BaseTag, representation: str, content: bytes, swapped: bool, undefined: bool) -> RawDataElement:
    """Return an element padded to even length, its words swapped if `swapped`."""
    size = WORD_BYTES.get(representation, 1)
    if swapped and size > 1:
        whole = len(content) // size * size
        content = np.frombuffer(content[:whole], f">u{size}").astype(f"<u{size}").tobytes() + content[whole:]
    if len(content) % 2:
        content += b" " if representation in TEXT and representation != "UI" else b"\0"
    return RawDataElement(tag, representation, UNDEFINED if undefined else len(content), content, 0, False, True)


def _representation(tag: BaseTag, given: str | None, source: Dataset, signed: bool) -> str:
    """Return the value representation of an element: that in the file, else that of its tag (PS3.6)."""
    if given is None and tag.element == 0:
        return "UL"
    if given is None and tag.is_private:
        return _private_representation(tag, source)
    if given is None:
        try:
            given = dictionary_VR(tag)
        except KeyError:
            return "UN"
    if " or " not in given:
        return given
    return "OW" if "OW" in given else "SS" if signed else "US"


def _private_representation(tag: BaseTag, source: Dataset) -> str:
    if tag.is_private_creator:
        return "LO"
    creator = source.get_item(tag.group << 16 | tag.element >> 8)
    if isinstance(creator, RawDataElement):
        try:
            return private_dictionary_VR(tag, (creator.value or b"").decode("latin-1").strip(" \0"))
        except KeyError:
            pass
    return "UN"
