"""Text is written with the bytes it was read with, whatever character set the file declares."""

from __future__ import annotations

import struct
import zlib

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tests.infer.formats.dicom.dicom_files import PROVENANCE, RAMP, computed, encoded, read, result, stored

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
UNKNOWN = "ISO_IR 999"  # pydicom does not write it
PLACEHOLDER = "." * 32  # replaced by the texts, one byte per character
TEXTS = {  # the declared character set and the text
    "latin 1 as UTF-8": ("ISO_IR 192", "Müller^Jörg".encode("latin-1")),
    "UTF-8 as latin 1": ("ISO_IR 100", "Müller^Jörg=山田".encode()),
    "UTF-8 as nothing": (None, "Müller^Jörg".encode()),
    "an unknown set": (UNKNOWN, b"\xfc\xff\x80"),
    "Shift JIS with a backslash in a character": ("ISO_IR 13", "ソ表^十".encode("shift_jis")),
    "ISO 2022": (["", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    "padded with NUL": ("ISO_IR 100", b"Doe^Jane\0\0"),
    "empty components": ("ISO_IR 100", b"^^Doe^^ =  "),
}


def file_with(kind: str, syntax: UID) -> tuple[bytes, bytes]:
    """A file with that text in five attributes, one private and one nested, and the text as stored there."""
    character_set, text = TEXTS[kind]
    content = text.ljust(len(PLACEHOLDER), b" ")
    dataset = computed(stored(RAMP, 12), 12, SpecificCharacterSet=None)
    dataset.PatientName = dataset.PatientID = dataset.SeriesDescription = PLACEHOLDER
    dataset.private_block(0x0011, "CXR TEST").add_new(0x02, "LO", PLACEHOLDER)
    step = Dataset()
    step.RequestedProcedureDescription = PLACEHOLDER
    dataset.RequestAttributesSequence = [step]
    if character_set is not None:
        dataset.SpecificCharacterSet = "ISO_IR 192" if character_set == UNKNOWN else character_set
    deflated = syntax == DeflatedExplicitVRLittleEndian
    whole = encoded(dataset, ExplicitVRLittleEndian if deflated else syntax)
    assert whole.count(PLACEHOLDER.encode()) == 5
    whole = whole.replace(PLACEHOLDER.encode(), content)
    if character_set == UNKNOWN:
        whole = whole.replace(b"ISO_IR 192", UNKNOWN.encode())
    return (deflate(whole) if deflated else whole), content


def deflate(whole: bytes) -> bytes:
    """The file in the deflated transfer syntax (PS3.5, A.5)."""
    explicit, deflated = (uid.encode() + b"\0" * (len(uid) % 2) for uid in (ExplicitVRLittleEndian, SYNTAXES[3]))
    head = b"\x02\x00\x10\x00UI"
    old = head + struct.pack("<H", len(explicit)) + explicit
    new = head + struct.pack("<H", len(deflated)) + deflated
    (length,) = struct.unpack_from("<I", whole, 140)
    end = 144 + length
    meta = whole[144:end].replace(old, new)
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return whole[:140] + struct.pack("<I", len(meta)) + meta + squeezer.compress(whole[end:]) + squeezer.flush()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", TEXTS)
def test_text_bytes_are_preserved(kind: str, syntax: UID) -> None:
    content, text = file_with(kind, syntax)
    written = read(content).encode(PROVENANCE)
    assert written.count(text) == 4, "the name, the ID, the private text and the nested text"
    described = text.rstrip(b" \0").lstrip(b" \0") + b" (denoised)"
    assert described in written


def test_a_long_description_is_cut_between_characters_or_replaced() -> None:
    for character_set, described, expected in (
        ("ISO_IR 100", "d" * 64, "d" * 53 + " (denoised)"),
        ("ISO_IR 192", "é" * 40, "denoised"),
        ("ISO_IR 192", "é" * 20, "é" * 20 + " (denoised)"),
    ):
        dataset = computed(stored(RAMP, 8), 8, SpecificCharacterSet=character_set, SeriesDescription=described)
        assert result(read(encoded(dataset))).SeriesDescription == expected
