"""The bytes of a DICOM file -> its attributes, as Explicit VR Little Endian, and its pixel data as they came.

Attributes stay the bytes that they were: text that does not fit the character set, or numbers that are none, leave as
they came unless a result changes them. Files are read as DCMTK, GDCM and pydicom read them, with or without preamble
and header, and with what belongs to no data set before or after it.
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

MOST_HEADER = 16_000_000  # bytes of a data set beside its pixels
MOST_READS = 200_000  # of a file, 2 or 3 an attribute: each takes some hundred times the memory of its 8 bytes
BYTES_A_PIXEL = 2
PIXEL_DATA, SOP_CLASS_UID = 0x7FE00010, 0x00080016
COMMAND_GROUP, DELIMITER_GROUP = 0x0000, 0xFFFE
Ended: TypeAlias = Callable[[BaseTag, str | None, int], bool]  # of the tag, representation and length that come next

ITEM_ENDS = (b"\xfe\xff\x0d\xe0", b"\xff\xfe\xe0\x0d")  # the tag in either byte order
DELIMITER = 8  # bytes: the tag, and a length of 0
UNDEFINED = 0xFFFFFFFF  # length of what ends with a delimiter
# value representations whose bytes are words of so many
WORD_BYTES = {"OW": 2, "US": 2, "SS": 2, "AT": 2, "OF": 4, "OL": 4, "UL": 4, "SL": 4, "FL": 4} | dict.fromkeys(
    ("OD", "OV", "FD", "SV", "UV"), 8
)

NO_HEADER = "no DICOM header; the transfer syntax was inferred from the first attribute"
NO_PREAMBLE = "no DICOM preamble; the file begins with its header"
TWO_HEADERS = "has two DICOM headers; the first was used"
TRAILING = "bytes after its data set belong to no attribute; ignored"
NO_CLASS = "its data set lacks SOPClassUID; that of the DICOM header was used"
NO_SYNTAX = "its DICOM header names no transfer syntax; it was inferred from the first attribute"


@dataclass(frozen=True)
class DicomFile:
    """What a file holds.

    dataset: every attribute of the data set but the pixel data, Explicit VR Little Endian. pixel_data: as they came;
    None where there are none. pixel_vr: their value representation. encapsulated: whether they are fragments of a
    compressed image.
    """

    dataset: Dataset = field(repr=False)
    syntax: UID
    pixel_data: bytes | None = field(repr=False)
    pixel_vr: str
    encapsulated: bool
    notes: tuple[str, ...] = ()


def read_file(content: bytes, reading: ReadOptions, check_class: Callable[[Dataset], None]) -> DicomFile:
    """Take a file apart. check_class: called with what says which class it is, if possible before the rest is read.

    Raises ImageError where the data set names no transfer syntax that can be read, consists of too many attributes, or
    is deflated and grows beyond the largest image: pydicom would inflate it all.
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
            f"has {header / 1e6:.0f} MB of attributes besides its pixels; at most {MOST_HEADER / 1e6:.0f} MB are read"
        )
    signed = value(attributes, "PixelRepresentation") == 1
    dataset = _explicit(attributes, swapped=not syntax.is_little_endian, signed=signed)
    raw = pixels if isinstance(pixels, RawDataElement) else None
    encapsulated = bool(syntax.is_encapsulated) or (raw is not None and raw.length == UNDEFINED)
    return DicomFile(dataset, syntax, raw.value if raw else None, (raw and raw.VR) or "OW", encapsulated, notes)


def _trails(stream: BytesIO) -> bool:
    """Whether something follows, or was the end of an item that none began, at which pydicom stops behind it."""
    at = stream.tell()
    stream.seek(max(at - DELIMITER, 0))
    last = stream.read(DELIMITER)
    return last[:4] in ITEM_ENDS or bool(stream.read(1))


def _meta(stream: BytesIO) -> tuple[Dataset, bool]:
    """The group of the header, and whether a file has it twice; the first counts, the stream stands behind both."""
    seen: set[int] = set()

    def ended(tag: BaseTag, *_: object) -> bool:
        again = tag in seen
        seen.add(tag)
        return tag.group != META_GROUP or again

    meta = read_dataset(stream, False, True, stop_when=ended)
    other = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != META_GROUP)
    return meta, len(other) > 0


def _complete_class(attributes: Dataset, meta: Dataset) -> tuple[str, ...]:
    """Take the SOP class from the header where the data set does not say it, as in a DICOMDIR; and a note."""
    given = text(meta, "MediaStorageSOPClassUID")
    if text(attributes, "SOPClassUID") or not given:
        return ()
    attributes.SOPClassUID = given
    return (NO_CLASS,)


def _attributes(stream: BytesIO, syntax: UID, ended: Ended) -> Dataset:
    """The attributes up to one at which `ended`."""
    try:
        return read_dataset(stream, bool(syntax.is_implicit_VR), bool(syntax.is_little_endian), stop_when=ended)
    except OSError as error:  # into which pydicom turns whatever happens between the items of a sequence
        raise (error.__context__ if isinstance(error.__context__, ImageError) else error) from None


def _syntax(meta: Dataset, stream: BytesIO) -> tuple[UID, tuple[str, ...]]:
    """The transfer syntax that the header names, or else that of the first attribute; and a note."""
    named = UID(text(meta, "TransferSyntaxUID"))
    if not named:
        tag_and_representation = stream.read(6)
        stream.seek(-len(tag_and_representation), 1)
        if len(tag_and_representation) < 6:
            raise ImageError("names no transfer syntax and has no attributes; is it incomplete?")
        note = NO_SYNTAX if len(meta) else NO_HEADER
        return UID(_guessed(tag_and_representation)), (note,)
    if not named.is_transfer_syntax or named.is_private:
        raise ImageError("names no standard transfer syntax; convert it to Explicit VR Little Endian")
    return named, ()


def _guessed(first: bytes) -> str:
    """The transfer syntax of a data set that begins with these six bytes."""
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    if explicit and first[0] == 0 and first[1] != 0:
        return ExplicitVRBigEndian
    return ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian


def _ended() -> Ended:
    """Whether a tag is no longer one of the data set: zeros, erased memory, or the end of a sequence that none
    began, after the pixel data.
    """
    behind_pixels = False

    def ended(tag: BaseTag, *_: object) -> bool:
        nonlocal behind_pixels
        stops = behind_pixels and (tag.group in (COMMAND_GROUP, DELIMITER_GROUP) or tag == UNDEFINED)
        behind_pixels = behind_pixels or tag == PIXEL_DATA
        return stops

    return ended


class _CountingStream(BytesIO):
    """A file in memory that is not read for ever, however many attributes it is made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS:
            raise ImageError("has more attributes than any image; export it again")
        return super().read(size)


def _inflated(deflated: bytes, most: int) -> bytes:
    """A deflated data set (PS3.5 A.5). Raises ImageError where it is incomplete or larger than `most` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(deflated, most)
    if not inflater.eof:
        full = len(data) == most
        raise ImageError(
            f"inflates to more than {most / 1e6:.0f} MB; see --max-pixels" if full else "ends within its data set"
        )
    return data


def _explicit(source: Dataset, *, swapped: bool, signed: bool) -> Dataset:
    """A data set as Explicit VR Little Endian, every value the bytes that it was, its words turned if `swapped`."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    for tag in source.keys():  # noqa: SIM118 - not its elements
        element = source.get_item(tag, keep_deferred=True)  # else it would be taken apart if it is empty
        representation = _representation(tag, element.VR, source, signed)
        if representation == "SQ":
            nested = [_explicit(item, swapped=swapped, signed=signed) for item in source[tag].value or ()]
            elements[tag] = DataElement(tag, "SQ", Sequence(nested))
        elif isinstance(element, RawDataElement):
            undefined = element.length == UNDEFINED
            elements[tag] = _raw(tag, representation, element.value or b"", swapped, undefined)
        else:
            elements[tag] = element  # a number that pydicom took apart, as it needs it
    result = Dataset(elements)  # at once: to a data set that it knows, pydicom would add private text as text
    settle(result)
    return result


def settle(dataset: Dataset) -> None:
    """Let pydicom write bytes as they are, in a data set and all within it."""
    for tag in dataset.keys():  # noqa: SIM118 - not its elements
        element = dataset.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            for item in element.value:
                settle(item)
    dataset.set_original_encoding(False, True, dataset._character_set)


def _raw(tag: BaseTag, representation: str, content: bytes, swapped: bool, undefined: bool) -> RawDataElement:
    """An element of whole words, of even length."""
    size = WORD_BYTES.get(representation, 1)
    if swapped and size > 1:
        whole = len(content) // size * size
        content = np.frombuffer(content[:whole], f">u{size}").astype(f"<u{size}").tobytes() + content[whole:]
    if len(content) % 2:
        content += b" " if representation in TEXT and representation != "UI" else b"\0"
    return RawDataElement(tag, representation, UNDEFINED if undefined else len(content), content, 0, False, True)


def _representation(tag: BaseTag, given: str | None, source: Dataset, signed: bool) -> str:
    """The value representation of an element: what the file says, else what its tag allows."""
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
