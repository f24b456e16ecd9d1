"""Recognise DICOM files by their first bytes."""

from __future__ import annotations

import struct

DICOM_HEAD = 132  # bytes: a preamble of 128 that may hold anything, then DICM (PS3.10 section 7.1)

# without a preamble, a file begins with an early element of group 0002 or 0008; the next group is at most 0018
# (acquisition), which every image has
META_GROUP, IDENTIFYING_GROUP, LAST_FIRST, LAST_GROUP = 0x0002, 0x0008, 0x0070, 0x0018
LONG_REPRESENTATIONS = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT"})
MOST_VALUE = 1024  # bytes per value
LEAST_ELEMENTS = 2  # consecutive valid elements
ENCODINGS = (("<", True), ("<", False), (">", True))  # byte order, and whether VRs are explicit


def is_dicom(head: bytes) -> bool:
    """Whether a file is DICOM, with or without preamble. head: its first DICOM_HEAD bytes."""
    return has_preamble(head) or any(_is_data_set(head, *encoding) for encoding in ENCODINGS)


def has_preamble(head: bytes) -> bool:
    """Whether a file has a preamble and the prefix DICM (PS3.10 section 7.1)."""
    return head[128:DICOM_HEAD] == b"DICM"


def _is_data_set(head: bytes, order: str, explicit: bool) -> bool:
    """Whether a file begins with elements of a DICOM header or data set, in ascending order."""
    at, last, count = 0, (0, -1), 0
    while at + 12 <= len(head):
        group, element = struct.unpack_from(f"{order}HH", head, at)
        if (group, element) <= last or (count == 0 and element > LAST_FIRST):
            return False
        if group not in (META_GROUP, IDENTIFYING_GROUP):
            return count >= LEAST_ELEMENTS and last[0] == IDENTIFYING_GROUP and group <= LAST_GROUP
        at += 4
        if explicit:
            representation = head[at : at + 2]
            if not (representation.isalpha() and representation.isupper()):
                return False
            long = representation in LONG_REPRESENTATIONS
            (length,) = struct.unpack_from(f"{order}I" if long else f"{order}H", head, at + (4 if long else 2))
            at += 8 if long else 4
        else:
            (length,) = struct.unpack_from(f"{order}I", head, at)
            at += 4
        if length > MOST_VALUE:
            return False
        last, count, at = (group, element), count + 1, at + length
    return count >= LEAST_ELEMENTS
