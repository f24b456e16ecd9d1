"""Instances as files (PS3.10 section 7): the header written by the spool, and the parsing of senders' headers."""

from __future__ import annotations

import re
from io import BytesIO

from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.dsutils import create_file_meta

from cxr_infer.formats.dicom.reader import SOP_CLASSES
from cxr_infer.formats.dicom.signature import DICOM_HEAD, has_preamble
from cxr_infer.node.config import OTHER, Node
from cxr_infer.node.records import Arrival

# statuses and failure reasons (PS3.4 B.2.3, PS3.7 annex C, PS3.18 table 10.5.3-2)
OUT_OF_RESOURCES, MISMATCH, CANNOT_UNDERSTAND = 0xA700, 0xA900, 0xC000
INVALID_INSTANCE, CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED = 0x0117, 0x0122, 0xC122

# uncompressed first, if a sender offers both; otherwise as the sender stores it
SYNTAXES = [
    ExplicitVRLittleEndian,
    *(s for s in AllTransferSyntaxes if s.is_compressed and s != DeflatedExplicitVRLittleEndian),
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
]

VALID_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MOST_UID = 64
PREAMBLE = b"\0" * 128 + b"DICM"
GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"  # first element of a header; its value is 4 bytes long
META_GROUP = b"\x02\0"
HEADER_BEGIN = DICOM_HEAD + len(GROUP_LENGTH) + 4
MOST_HEADER = 1 << 16  # bytes


class NotTakenError(Exception):
    """An instance that the spool refuses. status: for DIMSE and STOW-RS. arrival: the UIDs, if known."""

    def __init__(self, status: int, reason: str, arrival: Arrival | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.arrival = status, reason, arrival


def is_uid(text: str) -> bool:
    return VALID_UID.fullmatch(text) is not None and len(text) <= MOST_UID


def storage_classes(node: Node) -> list[UID]:
    """Return the SOP classes that a node accepts: all storage classes, or those it can denoise."""
    classes = [UID(str(context.abstract_syntax)) for context in AllStoragePresentationContexts]
    return [each for each in classes if node.pass_ == OTHER or each in SOP_CLASSES]


def file_head(arrival: Arrival) -> bytes:
    """Return preamble and header of the file (PS3.10 section 7.1); the data set follows as received."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    buffer.write(PREAMBLE)
    meta = create_file_meta(
        sop_class_uid=UID(arrival.class_uid), sop_instance_uid=UID(arrival.uid), transfer_syntax=UID(arrival.syntax)
    )
    write_file_meta_info(buffer, meta)
    return bytes(buffer.getvalue())


def taken_apart(content: memoryview, classes: frozenset[str]) -> tuple[Arrival, memoryview]:
    """Split a file into what its header says and its data set. Raises NotTakenError.

    classes: accepted SOP classes. The data set, which may be deflated, is not decoded.
    """
    head = bytes(content[:HEADER_BEGIN])
    if not has_preamble(head) or head[DICOM_HEAD:-4] != GROUP_LENGTH:
        raise NotTakenError(CANNOT_UNDERSTAND, "not a DICOM file with a header (PS3.10)")
    end = HEADER_BEGIN + int.from_bytes(head[-4:], "little")
    if end > HEADER_BEGIN + MOST_HEADER or end >= len(content):
        raise NotTakenError(CANNOT_UNDERSTAND, "header cut off, or no data set")
    try:
        meta = read_dataset(BytesIO(content[HEADER_BEGIN:end]), is_implicit_VR=False, is_little_endian=True)
        uid, class_uid, syntax = (
            str(meta.get(keyword, ""))
            for keyword in ("MediaStorageSOPInstanceUID", "MediaStorageSOPClassUID", "TransferSyntaxUID")
        )
    except Exception as error:  # pydicom raises whatever it meets
        raise NotTakenError(CANNOT_UNDERSTAND, "header cannot be read") from error
    if not all(map(is_uid, (uid, class_uid, syntax))):
        raise NotTakenError(INVALID_INSTANCE, "header lacks required UIDs")
    arrival = Arrival(uid, class_uid, syntax)
    if class_uid not in classes:
        raise NotTakenError(CLASS_NOT_SUPPORTED, "SOP class not accepted", arrival)
    if syntax not in SYNTAXES:
        raise NotTakenError(SYNTAX_NOT_SUPPORTED, "transfer syntax not accepted", arrival)
    if syntax != DeflatedExplicitVRLittleEndian and content[end : end + 2] == META_GROUP:
        raise NotTakenError(CANNOT_UNDERSTAND, "header is longer than declared", arrival)
    return arrival, content[end:]
